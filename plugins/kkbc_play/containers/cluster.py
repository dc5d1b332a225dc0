"""The Spark cluster of the stack: what it made, who reaches it, and parts of it lost in the middle of a build."""

import contextlib
import json
from datetime import date

from kkbc.core.errors import UserError
from kkbc_play.containers.checks import Failed
from kkbc_play.containers.docker import Say, run
from kkbc_play.containers.nights import PASSING, Night
from kkbc_play.containers.stack import WORKER, Container, Stack

MASTER, SPARK_WORKER, THRIFT = SERVICES = ("spark-master", "spark-worker", "spark-thrift")
LOST = {SPARK_WORKER: 10, MASTER: 30}
"""How many models a build has begun when a part of each kind is killed. There are 59."""
LOG = "/var/lib/kkbc/dbt/logs/spark/dbt.log"
REACH = "import socket; socket.create_connection(('spark-thrift', 10000), 5)"
OUTSIDE = ("airflow-scheduler", "superset", "docs")
# Every process of a container but its first, which ends with them: as if the machine were lost.
KILL_ALL = "import os; os.kill(-1, 9)"


def made_by_it(stack: Stack, day: date) -> str:
    """Raises Failed when what Spark noted last is not a whole build of that day."""
    noted = json.loads(stack.compose("exec", "-T", WORKER, "cat", "/var/lib/kkbc/spark/built.json"))
    if noted.get("as_of") != day.isoformat():
        raise Failed(f"Spark's last whole build is of {noted.get('as_of')}, not of {day}")
    return f"build {noted['number']} of its folder, {len(noted['brought'])} tables brought"


def who_reaches_it(stack: Stack) -> str:
    """Raises Failed when Airflow's workers do not reach the Thrift server, or another service does."""
    stack.compose("exec", "-T", WORKER, "python", "-c", REACH)
    for service in OUTSIDE:
        try:
            stack.compose("exec", "-T", service, "python", "-c", REACH)
        except UserError:
            continue
        raise Failed(f"{service} reaches it")
    return f"{WORKER} does, {', '.join(OUTSIDE)} do not"


class Losses:
    """What is called between two looks at a night: kills a Spark worker, then the master, while dbt builds models.

    First called when dbt has not begun.
    """

    def __init__(self, stack: Stack, say: Say) -> None:
        self.killed: list[Container] = []
        self._stack = stack
        self._say = say
        self._before: int | None = None

    def __call__(self, _: Night) -> bool:
        """Kills the next part if the build has come far enough; whether there is another."""
        service, models = list(LOST.items())[len(self.killed)]
        try:
            begun = self._begun()
            if self._before is None:
                self._before = begun
            begun -= self._before
            if begun < models:
                return True
            victim = next(c for c in self._stack.containers() if c.service == service and c.state == "running")
        except PASSING:
            return True
        # Docker starts a container again that ended, but none that it was told to kill.
        with contextlib.suppress(UserError):
            run(["exec", victim.name, "python", "-c", KILL_ALL])
        self.killed.append(victim)
        self._say(f"     killed {victim.name} when {begun} models had begun")
        return len(self.killed) < len(LOST)

    def came_back(self) -> str:
        """Raises Failed when a part was not killed, or did not come back healthy without help."""
        if len(self.killed) < len(LOST):
            raise Failed(f"only killed: {', '.join(c.name for c in self.killed) or 'none'}")
        self._stack.wait_ready(SERVICES)
        times = {c.name: int(self._stack.inspect(c)["RestartCount"]) for c in self.killed}
        if not all(times.values()):
            raise Failed(f"not started again by Docker: {times}")
        return ", ".join(f"{name} started again {count} times" for name, count in times.items())

    def _begun(self) -> int:
        """How many models dbt has begun on Spark, in all builds of this worker."""
        count = f"cat {LOG} 2>/dev/null | grep -c 'START sql' || true"
        return int(self._stack.compose("exec", "-T", WORKER, "sh", "-c", count))
