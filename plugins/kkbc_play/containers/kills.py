"""Workers killed in one night, each at another point of it: while it pulls, in a load, in the publication.

The last two points last milliseconds. So that a worker is caught there, a session of the trial holds a table that the
load, or the publication, writes: what stands waiting for it is in the middle of its transaction.
"""

import time

import psycopg
from psycopg import sql

from kkbc_play.containers import nights
from kkbc_play.containers.docker import Say, run
from kkbc_play.containers.stack import WORKER, Container, Stack

PULL, LOAD, PUBLISH = "in its pulls", "in a load", "in the publication"
HELD = {LOAD: ("raw", "registrations"), PUBLISH: ("bi", "kpi_national_daily")}
"""Vault is written before raw, and the dimensions before the daily figures: half is done when these are waited for."""
POINTS = (PULL, LOAD, PUBLISH)
LOOKS = 20
"""Each a second apart, before the night is looked at again, which takes long where the api-server is busy."""


class Kills:
    """What is called between two looks at a night: kills a worker at one point after the other."""

    def __init__(self, stack: Stack, workers: int, say: Say) -> None:
        self.done: list[str] = []
        self._stack = stack
        self._workers = workers
        self._say = say
        self._holder: psycopg.Connection | None = None

    def __call__(self, night: nights.Night) -> bool:
        """Kills a worker if one is at the next point; whether there is another point."""
        point = POINTS[len(self.done)]
        try:
            worker = self._busiest(night) if point == PULL else self._caught(*HELD[point])
        except nights.PASSING:
            return True
        if worker is None:
            return True
        run(["kill", "--signal", "KILL", worker.name])
        self.close()
        self.done.append(f"{worker.name} {point}")
        self._say(f"     killed {self.done[-1]}")
        # As a machine would be replaced: it knows nothing of the tasks that it had.
        self._stack.scale(self._workers)
        return len(self.done) < len(POINTS)

    def close(self) -> None:
        """Lets go of the table."""
        if self._holder is not None:
            self._holder.close()
            self._holder = None

    def _busiest(self, night: nights.Night) -> Container | None:
        busy = nights.workers_of(self._stack, night, running=True)
        running = [c for c in self._stack.containers() if c.service == WORKER and busy.get(c.id[:12])]
        return max(running, key=lambda c: busy[c.id[:12]], default=None)

    def _caught(self, schema: str, table: str) -> Container | None:
        """The worker whose session waits for the table; the table is taken when this is asked first."""
        if self._holder is None:
            self._holder = self._stack.connect()
            self._holder.execute("begin")
            held = sql.SQL("lock table {} in share mode").format(sql.Identifier(schema, table))
            self._holder.execute(held)
        for _ in range(LOOKS):
            if (found := self._waiting(self._holder)) is not None:
                return found
            time.sleep(1)
        return None

    def _waiting(self, holder: psycopg.Connection) -> Container | None:
        # Who is connected is read once a transaction, and this one is as long as the table is held.
        holder.execute("select pg_stat_clear_snapshot()")
        waiting = holder.execute(
            "select host(client_addr) from pg_stat_activity where client_addr is not null"
            " and pg_backend_pid() = any(pg_blocking_pids(pid)) order by state_change limit 1"
        ).fetchone()
        found = self._stack.container_at(waiting[0]) if waiting else None
        return found if found is not None and found.service == WORKER else None
