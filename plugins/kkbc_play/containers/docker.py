"""The Docker engine of this machine, by its command line."""

import contextlib
import os
import shutil
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from kkbc.core.errors import UserError
from kkbc.core.settings import PROJECT_ROOT

INSTALL = "as root on Debian: sh docker/trial/install-engine.sh"
ENGINE_SECONDS = 60
STOP_SECONDS = 60
LINES_SHOWN = 15

Say = Callable[[str], None]


def run(
    arguments: Sequence[str | Path],
    *,
    environment: Mapping[str, str] | None = None,
    seconds: float = 300,
    log: Path | None = None,
) -> str:
    """What `docker ARGUMENTS` prints. Raises UserError with its last lines when it fails or takes longer.

    `log` is a file that gets what it prints instead.
    """
    command = ["docker", *map(str, arguments)]
    everything = {**os.environ, **(environment or {})}
    try:
        with contextlib.nullcontext(subprocess.PIPE) if log is None else log.open("a") as out:
            done = subprocess.run(
                command,
                stdout=out,
                stderr=subprocess.PIPE if log is None else subprocess.STDOUT,
                text=True,
                env=everything,
                cwd=PROJECT_ROOT,
                timeout=seconds,
            )
    except subprocess.TimeoutExpired as error:
        raise UserError(
            f"`{' '.join(command)}` took longer than {seconds:.0f} s", "see its containers' logs"
        ) from error
    if done.returncode:
        said = log.read_text(encoding="utf-8") if log else done.stderr or done.stdout
        last = "\n".join(said.strip().splitlines()[-LINES_SHOWN:])
        raise UserError(f"`{' '.join(command)}` failed with status {done.returncode}:\n{last}")
    return "" if log else str(done.stdout)


class Engine:
    """The engine: one that runs already, or one that this starts and stops again."""

    def __init__(self, folder: Path, say: Say) -> None:
        self.folder = folder
        self._say = say
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> str:
        """Makes sure that an engine and the plugins `compose` and `buildx` are there; returns what they are.

        An engine that is started keeps its images in `folder`. Raises UserError naming what is missing.
        """
        if shutil.which("docker") is None:
            raise UserError("Docker is not installed", INSTALL)
        if not answers():
            self._say("no Docker engine runs on this machine: starting dockerd")
            self._start()
        versions = [run(["version", "--format", "engine {{.Server.Version}}"]).strip()]
        for plugin in ("compose", "buildx"):
            try:
                versions.append(f"{plugin} {run([plugin, 'version']).split()[-1 if plugin == 'compose' else 1]}")
            except UserError as error:
                raise UserError(f"Docker's plugin {plugin} is not installed", INSTALL) from error
        return ", ".join(versions)

    def stop(self) -> None:
        """Stops the engine if this started it."""
        if self._process is not None:
            self._process.terminate()
            self._process.wait(STOP_SECONDS)
            self._process = None

    def _start(self) -> None:
        dockerd = shutil.which("dockerd")
        if dockerd is None:
            raise UserError("no Docker engine runs and dockerd is not installed", INSTALL)
        if os.geteuid() != 0:
            raise UserError("no Docker engine runs, and only root can start one", "start it, or run this as root")
        data, log = self.folder / "engine", self.folder / "engine.log"
        with log.open("ab") as file:
            self._process = subprocess.Popen(
                [dockerd, "--data-root", str(data)], stdout=file, stderr=file, start_new_session=True
            )
        deadline = time.monotonic() + ENGINE_SECONDS
        while not answers():
            if self._process.poll() is not None or time.monotonic() > deadline:
                raise UserError("dockerd did not start", f"read {log}")
            time.sleep(0.5)


def answers() -> bool:
    """Whether an engine answers."""
    try:
        run(["version", "--format", "{{.Server.Version}}"], seconds=30)
    except UserError:
        return False
    return True
