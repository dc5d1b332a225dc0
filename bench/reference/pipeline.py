"""The night of the reference: a process a task, as many at once as there are cores, each after those that it needs."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from queue import SimpleQueue

import psycopg
import yaml
from psycopg.conninfo import conninfo_to_dict

from kkbc.core.settings import PROJECT_ROOT

HERE = Path(__file__).parent
DBT_PROJECT = PROJECT_ROOT / "dbt_project"
# The project gives its dbt the same; a plan with nested loops over whole tables takes minutes.
PLANNER = "-c enable_nestloop=off"


@dataclass(frozen=True)
class Task:
    """A process to run when those in `after` have ended."""

    name: str
    command: Sequence[str] | Callable[[], None]
    after: tuple[str, ...] = ()


@dataclass
class Reference:
    """The reference in a database that `prepare` makes ready; `work` is a folder of its own."""

    conninfo: str
    work: Path
    key: str
    slots: SimpleQueue[int] = field(default_factory=SimpleQueue)

    def prepare(self) -> None:
        """Tables, registry, seeds and a parsed dbt project, which no night is charged for."""
        registry = yaml.load((PROJECT_ROOT / "config" / "branches.yml").read_text(), yaml.CSafeLoader)["branches"]
        with psycopg.connect(self.conninfo) as conn:
            conn.execute((HERE / "tables.sql").read_text(encoding="utf-8"))
            for branch in registry:
                if branch["branch_id"] != "HQ":
                    conn.execute(
                        "insert into ops.branch (branch_id, timezone, tier, active_from, active_to)"
                        " values (%(branch_id)s, %(timezone)s, %(tier)s, %(active_from)s, %(active_to)s)",
                        {"active_from": None, "active_to": None, **branch},
                    )
        for slot in range(os.cpu_count() or 1):
            self.slots.put(slot)
            days = {"as_of": "2023-12-11", "first_business_date": "2023-12-11"}
            self._run(self._dbt("parse", days, slot))
        self._run(self._dbt("seed", days, 0))

    def night(self, root: Path, as_of: date, first: date) -> dict[str, float]:
        """Loads, builds, audits and publishes; returns the seconds of the parts, which do not overlap."""
        branches = [path.name for path in sorted(root.iterdir())]
        environment = {"REFERENCE_ROOT": str(root)}
        days = {"as_of": as_of.isoformat(), "first_business_date": first.isoformat()}
        parts = {
            "branches": [Task(f"pull {name}", [sys.executable, str(HERE / "pull.py"), name]) for name in branches],
            "audit of raw": [Task("audit raw", [sys.executable, str(HERE / "audit.py"), "raw"])],
            "dbt": list(self._models(days)),
            "audit of marts": [Task("audit marts", [sys.executable, str(HERE / "audit.py"), "marts"])],
            "swap": [Task("swap", self._swap)],
        }
        seconds = {}
        for name, tasks in parts.items():
            began = time.perf_counter()
            self._all(tasks, environment)
            seconds[name] = time.perf_counter() - began
        return seconds

    def _models(self, days: dict[str, str]) -> list[Task]:
        manifest = json.loads((self.work / "target0" / "manifest.json").read_text(encoding="utf-8"))
        models = {name: node for name, node in manifest["nodes"].items() if node["resource_type"] == "model"}

        def build(name: str) -> Callable[[], None]:
            def run() -> None:
                slot = self.slots.get()
                try:
                    self._run(self._dbt("build", days, slot, "--full-refresh", "--select", name))
                finally:
                    self.slots.put(slot)

            return run

        return [
            Task(name, build(node["name"]), tuple(other for other in node["depends_on"]["nodes"] if other in models))
            for name, node in models.items()
        ]

    def _dbt(self, verb: str, days: dict[str, str], slot: int, *more: str) -> list[str]:
        """A command of dbt. Two processes in one target folder would write over each other's parse."""
        folders = ["--project-dir", str(DBT_PROJECT), "--profiles-dir", str(HERE)]
        folders += ["--target-path", str(self.work / f"target{slot}"), "--log-path", str(self.work / f"logs{slot}")]
        if verb == "build":
            # Unit tests of models are for developers; a test of two models runs with the later one.
            more += ("--exclude-resource-type", "unit_test", "--indirect-selection", "buildable")
        dbt = str(Path(sys.executable).with_name("dbt"))
        return [dbt, "--quiet", verb, *more, "--vars", json.dumps(days), *folders]

    def _swap(self) -> None:
        """What is published takes the place of what was, table by table, in one transaction."""
        manifest = json.loads((self.work / "target0" / "manifest.json").read_text(encoding="utf-8"))
        with psycopg.connect(self.conninfo) as conn:
            conn.execute("create schema if not exists bi")
            for node in manifest["nodes"].values():
                if node["resource_type"] == "model" and "publish" in node["config"]["meta"]:
                    conn.execute(f"drop table if exists bi.{node['name']} cascade")
                    conn.execute(f"alter table next.{node['name']} set schema bi")

    def _all(self, tasks: list[Task], environment: dict[str, str]) -> None:
        """Runs the tasks, as many at once as there are cores. Raises SystemExit for the first that fails."""
        waiting, done = {task.name: task for task in tasks}, set[str]()
        running: dict[Future[None], str] = {}
        with ThreadPoolExecutor(os.cpu_count()) as pool:
            while waiting or running:
                for task in [task for task in waiting.values() if done.issuperset(task.after)]:
                    del waiting[task.name]
                    command = task.command
                    call = command if callable(command) else lambda c=command: self._run(c, environment)
                    running[pool.submit(call)] = task.name
                ended, _ = wait(running, return_when=FIRST_COMPLETED)
                for future in ended:
                    done.add(running.pop(future))
                    if future.exception():
                        pool.shutdown(cancel_futures=True)
                        future.result()

    def _run(self, command: Sequence[str], environment: dict[str, str] | None = None) -> None:
        place = conninfo_to_dict(self.conninfo)
        own = {
            "REFERENCE_URL": f"postgresql+psycopg2://{place['user']}@/{place['dbname']}"
            f"?host={place['host']}&port={place['port']}",
            "REFERENCE_KEY": self.key,
            "DBT_HOST": str(place["host"]),
            "DBT_PORT": str(place["port"]),
            "DBT_USER": str(place["user"]),
            "DBT_DBNAME": str(place["dbname"]),
            "DBT_SEND_ANONYMOUS_USAGE_STATS": "false",
            "GX_ANALYTICS_ENABLED": "false",
        }
        if "dbt" in Path(command[0]).name:
            own["PGOPTIONS"] = f"{PLANNER} -c timezone=UTC"
        given = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
        ran = subprocess.run(command, env=given | own | (environment or {}), capture_output=True, text=True)
        if ran.returncode:
            said = (ran.stdout + ran.stderr).strip()[-3000:]
            raise SystemExit(f"{' '.join(command[:4])} failed:\n{said}")
