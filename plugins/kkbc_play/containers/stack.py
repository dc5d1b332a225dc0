"""The production compose file as a project of its own: started, looked at, disturbed and taken away."""

import json
import subprocess
import sys
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg

from kkbc.core.errors import UserError
from kkbc.core.local_airflow import Airflow
from kkbc.core.settings import PROJECT_ROOT
from kkbc_play.containers.docker import run
from kkbc_play.stack.api import Api

PROJECT = "kkbc-trial"
# Not the address that production listens on, so that a stack of this machine is not in the way.
BIND = "127.0.0.2"
WORKER = "airflow-worker"
ONCE = "migrate"
WITH_SPARK = {"COMPOSE_PROFILES": "spark", "KKBC_WORKER_IMAGE": "kkbc-spark"}
BUILD_SECONDS = 3600
UP_SECONDS = 1200
READY_SECONDS = 900


@dataclass(frozen=True)
class Container:
    """A container of the project, as `docker compose ps` shows it."""

    service: str
    name: str
    id: str
    state: str
    health: str
    exit_code: int

    @property
    def ready(self) -> bool:
        """Whether it runs and is healthy; what runs once has ended well."""
        if self.service == ONCE:
            return self.state == "exited" and self.exit_code == 0
        return self.state == "running" and self.health == "healthy"


class Published(Airflow):
    """The Airflow of the stack, at the port that the compose file publishes."""

    @property
    def url(self) -> str:
        """Address of the user interface and of the API."""
        return f"http://{BIND}:{self.port}"


class Stack:
    """The project. Its secrets are made once in `folder`, where its logs of builds lie too.

    `settings` are what production.env of a deployment has besides secrets.
    """

    def __init__(self, folder: Path, settings: Mapping[str, str] | None = None) -> None:
        self.folder = folder
        self._settings = dict(settings or {})
        self.keys = folder / "keys"
        self.secrets_file = folder / "production.env"
        if not self.secrets_file.exists():
            command = [sys.executable, str(PROJECT_ROOT / "docker" / "make_env.py"), str(self.secrets_file)]
            subprocess.run(command, check=True, capture_output=True)
        lines = self.secrets_file.read_text(encoding="utf-8").splitlines()
        self.secrets = dict(line.split("=", 1) for line in lines if "=" in line and not line.startswith("#"))

    def compose(self, *arguments: str, seconds: float = 600, log: Path | None = None) -> str:
        """What `docker compose ARGUMENTS` prints."""
        files = ["-f", "docker-compose.yml", "-f", "docker/trial/compose.yml"]
        options = ["compose", "--progress", "plain", "-p", PROJECT, "--env-file", str(self.secrets_file), *files]
        environment = {"KKBC_BIND": BIND, "KKBC_VERSION": "trial", "KKBC_TRIAL_KEYS": str(self.keys)} | self._settings
        return run([*options, *arguments], environment=environment, seconds=seconds, log=log)

    def build(self) -> None:
        """Builds all images of the project."""
        self.compose("build", seconds=BUILD_SECONDS, log=self.folder / "build.log")

    def up(self, workers: int = 1) -> None:
        """Starts what is not running, with that many workers, and waits until all of it is healthy."""
        scale = f"{WORKER}={workers}"
        self.compose("up", "--detach", "--no-build", "--scale", scale, seconds=UP_SECONDS, log=self.folder / "up.log")
        self.wait_ready()

    def scale(self, workers: int) -> None:
        """Starts workers that are not running, and nothing else: what they need is there already.

        Without its dependencies a service counts as changed, so that those that run would be made anew.
        """
        options = ("--detach", "--no-build", "--no-deps", "--no-recreate", "--scale", f"{WORKER}={workers}", WORKER)
        self.compose("up", *options, seconds=UP_SECONDS, log=self.folder / "up.log")

    def down(self, *, volumes: bool = False) -> None:
        """Removes containers, those of Spark too, and networks, and with `volumes` all data."""
        profile = ("--profile", WITH_SPARK["COMPOSE_PROFILES"])
        options = ["--volumes"] if volumes else []
        self.compose(*profile, "down", *options, log=self.folder / "up.log", seconds=1200)

    def containers(self) -> list[Container]:
        """All containers of the project, stopped ones too."""
        lines = self.compose("ps", "--all", "--format", "json").splitlines()
        return [
            Container(c["Service"], c["Name"], c["ID"], c["State"], c["Health"], int(c["ExitCode"]))
            for c in map(json.loads, lines)
        ]

    def wait_ready(self, services: Iterable[str] = (), seconds: float = READY_SECONDS) -> None:
        """Waits until the services, or all, are healthy. Raises UserError naming those that do not get there."""
        deadline, wanted = time.monotonic() + seconds, set(services)
        while True:
            waiting = [c for c in self.containers() if not c.ready and (not wanted or c.service in wanted)]
            if not waiting:
                return
            if time.monotonic() > deadline:
                states = ", ".join(f"{c.name} is {c.state} {c.health} ({c.exit_code})" for c in waiting)
                raise UserError(f"not ready after {seconds:.0f} s: {states}", f"docker logs {waiting[0].name}")
            time.sleep(2)

    def inspect(self, container: Container) -> dict[str, Any]:
        """All that the engine knows of a container."""
        return dict(json.loads(run(["inspect", container.id]))[0])

    def container_at(self, address: str) -> Container | None:
        """The container with this address in the project's network, None when there is none any more."""
        for container in self.containers():
            networks = self.inspect(container)["NetworkSettings"]["Networks"].values()
            if any(network["IPAddress"] == address for network in networks):
                return container
        return None

    def api(self) -> Api:
        """A client of the stack's Airflow."""
        return Api(Published(8080, self.secrets["AIRFLOW_ADMIN_PASSWORD"]))

    def connect(self) -> psycopg.Connection:
        """The warehouse, as superuser: what no row policy hides is compared with the truth."""
        return psycopg.connect(
            host=BIND,
            user="postgres",
            password=self.secrets["POSTGRES_PASSWORD"],
            dbname="kkbc",
            autocommit=True,
            connect_timeout=5,
        )
