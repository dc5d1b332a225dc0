"""The trial: build, start, and nights with more and more going wrong. Each step is a function of the trial."""

import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from kkbc_play.containers import checks, cluster, images, nights
from kkbc_play.containers.checks import Failed, Report
from kkbc_play.containers.docker import Engine, Say
from kkbc_play.containers.drop import HOST_KEY_FILE, Drop
from kkbc_play.containers.kills import POINTS, Kills
from kkbc_play.containers.stack import BIND, WITH_SPARK, WORKER, Container, Stack
from kkbc_play.simulator import Scale, World

SCALES = {"small": Scale(registrations=250, contributions=700, opening=1200), "default": Scale()}
SEED = 7
WORKERS = 3
RUNS_ALLOWED = 4
"""How often a night may begin anew when services went down in it; in production the schedule begins one every hour."""
DROP = "sftp"
RESTARTED = (
    *("redis", WORKER, "airflow-scheduler", "airflow-api-server", "postgres", "airflow-triggerer"),
    *("airflow-dag-processor", "superset", "docs", "metadata-backup", DROP),
)
RESTART_SECONDS = 900
SPARK_NIGHT_SECONDS = 3600
PUSH_SECONDS = 1.0
"""The branches are in the middle of their pushes by then."""


class Trial:
    """One trial in `folder`, which holds the world, the secrets and the logs."""

    def __init__(self, folder: Path, scale: str, say: Say) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        self.report = Report(say)
        self.engine = Engine(folder, say)
        self.bases: dict[str, str] = {}
        self._say = say
        self._scale = SCALES[scale]
        self._settings: dict[str, str] = {}

    @property
    def stack(self) -> Stack:
        """The compose project of this trial."""
        return Stack(self.folder, self._settings)

    @property
    def world(self) -> World:
        """The branches, which all deliver files."""
        return World(self.folder / "world", seed=SEED, scale=self._scale, ways="file")

    @property
    def drop(self) -> Drop:
        """The branches' way in."""
        return Drop(self.folder, self.folder / "keys", BIND)

    def run(self, steps: Sequence[str]) -> None:
        """Does the steps in order, on an engine that is started if need be. The first two must pass to go on."""
        with self.report.check("a Docker engine with compose and buildx") as check:
            check.detail = self.engine.start()
        if not self.report.passed:
            return
        for name in steps:
            STEPS[name](self)
            if name in ("build", "up") and not self.report.passed:
                return

    def build(self) -> None:
        """The base images, and the project's own images from its own Dockerfiles."""
        with self.report.check("base images") as check:
            self.bases = images.provide(self.folder, self._say)
            check.detail = ", ".join(f"{image}: {origin}" for image, origin in self.bases.items())
        if not self.report.passed:
            return
        with self.report.check("docker compose build") as check:
            self.stack.build()
            check.detail = "images kkbc, kkbc-sftp, kkbc-superset"

    def up(self) -> None:
        """All services, and the limits that Docker holds them to."""
        self.drop.make_keys(self.world.kinds)
        with self.report.check("docker compose up: every service healthy") as check:
            self.stack.up()
            check.detail = ", ".join(sorted({c.service for c in self.stack.containers()}))
        with self.report.check("limits, log rotation, stop grace, health checks") as check:
            check.detail = checks.bounds_hold(self.stack)

    def night(self) -> None:
        """A night in which branches push to the SFTP server, then docs, Superset and backup over what it published."""
        self._night("a night pushed by SFTP, through Celery")
        with self.report.check("docs site") as check:
            check.detail = checks.docs_are_served(self.stack)
        with self.report.check("Superset") as check:
            check.detail = checks.superset_shows_figures(self.stack)
        with self.report.check("backup by its DAG, verified") as check:
            state = nights.run_dag(self.stack, "backup")
            if state != "success":
                raise Failed(f"DAG backup: {state}")
            check.detail = checks.backup_is_whole(self.stack)
        with self.report.check("backup of Airflow's and Superset's databases, restored") as check:
            check.detail = checks.metadata_are_restored(self.stack)

    def scale(self) -> None:
        """More workers, which share a night."""
        with self.report.check(f"--scale {WORKER}={WORKERS}") as check:
            self._scale_up()
            check.detail = f"{len(self._workers())} workers healthy"
        night = self._night(f"a night by {WORKERS} workers")
        with self.report.check("workers shared the night") as check:
            tasks = nights.workers_of(self.stack, night) if night else {}
            check.detail = f"pull tasks by worker: {sorted(tasks.values(), reverse=True)}"
            if len(tasks) < 2:
                raise Failed("one worker did all")

    def kill(self) -> None:
        """Workers lost while they pull, load and publish. The runs go on by themselves, on the others."""
        self._scale_up()
        kills = Kills(self.stack, WORKERS, self._say)
        try:
            self._night("a night in which three workers are killed", meanwhile=kills)
        finally:
            kills.close()
        with self.report.check("a worker was killed at each point, and all are replaced") as check:
            check.detail = ", ".join(kills.done)
            if len(kills.done) < len(POINTS):
                raise Failed(f"none was caught {POINTS[len(kills.done)]}")
            self._scale_up()
            check.detail += f"; {len(self._workers())} workers healthy again"

    def restarts(self) -> None:
        """Every service restarted, one after the other, while a night is under way; as many nights as that takes.

        The SFTP server is restarted while the branches push.
        """
        todo = [name for name in RESTARTED if name != DROP]
        while todo:
            left = len(todo)
            night = self._night(
                "a night with restarts",
                meanwhile=lambda _: self._restart_next(todo),
                most_runs=RUNS_ALLOWED,
                in_the_push=None if left < len(RESTARTED) - 1 else lambda: self._restart(DROP),
            )
            if night is None or len(todo) == left:
                break
        with self.report.check("every service was restarted during a night") as check:
            if todo:
                raise Failed(f"not restarted: {', '.join(todo)}")
            self.stack.wait_ready()
            check.detail = "all healthy again"

    def down_up(self) -> None:
        """Removed and started again on its volumes: the same figures and host key, and another night."""
        stack, key = self.stack, self._host_key()
        with self.report.check("memory: the most that each service used") as check:
            check.detail = ", ".join(f"{name} {peak}" for name, peak in checks.peaks(stack).items())
        with self.report.check("graceful stop of all services") as check:
            check.detail = checks.nothing_was_killed(stack)
        with self.report.check("down and up with volumes kept: the same figures") as check:
            stack.down()
            stack.up(WORKERS)
            check.detail = checks.figures_equal_truth(stack, self._truth())
            if self._host_key() != key:
                raise Failed("the SFTP server has another host key")
        self._night("a night after down and up")

    def spark(self) -> None:
        """The marts by a Spark cluster: a night, one in which parts of it are lost; then one by PostgreSQL again."""
        self._settings = {**WITH_SPARK, "KKBC_ENGINE": "spark"}
        before = len(self.report.checks)
        with self.report.check("docker compose build with the profile spark") as check:
            self.stack.build()
            check.detail = "image kkbc-spark"
        if not self.report.checks[before].passed:
            return
        with self.report.check("docker compose up with the profile spark: every service healthy") as check:
            self.stack.up()
            services = [c.service for c in self.stack.containers()]
            check.detail = ", ".join(f"{services.count(name)} {name}" for name in cluster.SERVICES)
        with self.report.check("limits of Spark's services") as check:
            check.detail = checks.bounds_hold(self.stack)
        with self.report.check("Spark's Thrift server is reached by Airflow's workers alone") as check:
            check.detail = cluster.who_reaches_it(self.stack)
        self._spark_night("a night whose marts Spark makes")
        losses = cluster.Losses(self.stack, self._say)
        self._spark_night("a night in which a Spark worker and the master are killed during the build", losses)
        with self.report.check("both were killed during the build, and came back by themselves") as check:
            check.detail = losses.came_back()
        self._settings["KKBC_ENGINE"] = "postgres"
        with self.report.check("back to PostgreSQL: every service healthy") as check:
            self.stack.up()
        with self.report.check("graceful stop of Spark's services") as check:
            used = checks.peaks(self.stack)
            check.detail = checks.nothing_was_killed(self.stack, *cluster.SERVICES)
            check.detail += "; the most memory: " + ", ".join(f"{name} {used.get(name)}" for name in cluster.SERVICES)
        self._night("a night by PostgreSQL after Spark's, whose cluster is stopped")

    def close(self, *, keep: bool) -> None:
        """Removes containers, volumes and the engine that was started, or says how to reach what is kept."""
        if keep:
            self._say(f"kept: docker compose -p kkbc-trial ps; data and secrets in {self.folder}")
            return
        if (self.folder / "production.env").exists():
            self.stack.down(volumes=True)
            for name in ("pushed.json", "production.env"):
                (self.folder / name).unlink(missing_ok=True)
        self.engine.stop()

    def _spark_night(self, name: str, losses: Callable[[nights.Night], bool] | None = None) -> None:
        night = self._night(name, meanwhile=losses, seconds=SPARK_NIGHT_SECONDS)
        with self.report.check("that night's marts are Spark's") as check:
            if night is None:
                raise Failed("there was no such night")
            check.detail = cluster.made_by_it(self.stack, night.day)

    def _night(
        self,
        name: str,
        *,
        meanwhile: Callable[[nights.Night], bool] | None = None,
        most_runs: int = 2,
        in_the_push: Callable[[], None] | None = None,
        seconds: float = nights.NIGHT_SECONDS,
    ) -> nights.Night | None:
        """Plays, pushes and follows one night, then compares it; None when it failed.

        `in_the_push` is done while the branches push, and must be felt by them; `meanwhile`: see nights.follow.
        """
        before = len(self.report.checks)
        with self.report.check(name) as check:
            world = self.world
            played = world.play_night()
            host_key = self._host_key()
            aside = threading.Timer(PUSH_SECONDS, in_the_push or (lambda: None))
            aside.start()
            files, refused = self.drop.push(world.branches_root, host_key)
            aside.join()
            check.detail = f"{played.business_date}: {files} files pushed, {refused} connections refused or cut"
            if in_the_push and not refused:
                raise Failed("no branch was in its push when its server went down")
            night = nights.begin(self.stack, played.business_date, world.first_date)
            while_under_way = (lambda: meanwhile(night)) if meanwhile else None
            first = world.first_date
            nights.follow(self.stack, night, first, most_runs=most_runs, meanwhile=while_under_way, seconds=seconds)
            self.stack.wait_ready([name for name in RESTARTED if name != WORKER])
            check.detail += f"; {night}; tasks tried again: {nights.tries_of(self.stack, night)}"
            check.detail += f"; {checks.loaded_once(self.stack)}; {checks.published_once(self.stack)}"
            check.detail += f"; {checks.figures_equal_truth(self.stack, self._truth())}"
        return night if self.report.checks[before].passed else None

    def _truth(self) -> Path:
        return max((self.folder / "world" / "truth").glob("*.json"))

    def _host_key(self) -> str:
        return " ".join(self.stack.compose("exec", "-T", "sftp", "cat", HOST_KEY_FILE).split()[:2])

    def _scale_up(self) -> None:
        self.stack.scale(WORKERS)
        self.stack.wait_ready()

    def _workers(self) -> list[Container]:
        return [c for c in self.stack.containers() if c.service == WORKER and c.state == "running"]

    def _restart_next(self, todo: list[str]) -> bool:
        """Restarts the next service, and waits until it is healthy; whether there is another."""
        self._restart(todo.pop(0))
        return bool(todo)

    def _restart(self, name: str) -> None:
        began = time.monotonic()
        self.stack.compose("restart", name, seconds=RESTART_SECONDS, log=self.folder / "up.log")
        self.stack.wait_ready([name])
        self._say(f"     restarted {name}, healthy after {time.monotonic() - began:.0f} s")


STEPS: dict[str, Callable[[Trial], None]] = {
    "build": Trial.build,
    "up": Trial.up,
    "night": Trial.night,
    "scale": Trial.scale,
    "kill": Trial.kill,
    "restarts": Trial.restarts,
    "down-up": Trial.down_up,
    "spark": Trial.spark,
}
