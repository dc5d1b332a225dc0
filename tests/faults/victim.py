"""Processes that do what a worker does, and kill themselves at a named point. Nothing of it is known to the pipeline.

Run as a program it imports the pipeline once and then serves lines of JSON on standard input:
{"start": {...}} forks a victim and answers with its pid, {"wait": pid, "seconds": n} with how it ended (the code of
`os.waitstatus_to_exitcode`, null when it had to be stopped because it took too long).
"""

import functools
import importlib
import json
import os
import signal
import sys
import time
import traceback
from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import Any, NoReturn

Call = Callable[..., Any]


def die() -> NoReturn:
    """Ends this process as the kernel would: nothing is flushed, closed or cleaned up."""
    os.kill(os.getpid(), signal.SIGKILL)
    while True:
        time.sleep(60)


class Traps:
    """Functions wrapped by name. The traps spring one after the other; at the last one the process dies.

    A trap is {"at": "module:attribute", "when": before | after | half, "nth": arrivals it takes, "having": text that
    one of the arguments, a string, path, list, tuple or statement of SQL, must hold}.
    """

    def __init__(self, traps: list[dict[str, Any]]) -> None:
        self.left = list(traps)
        self.arrivals = 0
        for trap in traps:
            self._set(trap)

    def _set(self, trap: dict[str, Any]) -> None:
        if trap["at"] == "source:fetch":
            pulling = importlib.import_module("kkbc.nights.visit")
            pulling.open_source = self._opening(pulling.open_source, trap)
            return
        module, _, path = trap["at"].partition(":")
        *owners, name = path.split(".")
        owner = functools.reduce(getattr, owners, importlib.import_module(module))
        setattr(owner, name, self._wrapped(getattr(owner, name), trap))

    def _opening(self, open_source: Call, trap: dict[str, Any]) -> Call:
        """Whatever way a branch delivers by, it is the fetch of its source that is meant."""

        def opened(*args: Any) -> Any:
            source = open_source(*args)
            source.fetch = self._wrapped(source.fetch, trap)
            return source

        return opened

    def _wrapped(self, function: Call, trap: dict[str, Any]) -> Call:
        @functools.wraps(function)
        def wrapper(*args: Any, **kwargs: Any) -> Any:
            if not self._springs(trap, args):
                return function(*args, **kwargs)
            if trap["when"] == "half":
                HALVES[trap["at"]](function, *args, **kwargs)
                die()
            if trap["when"] == "before":
                self._next()
                return function(*args, **kwargs)
            result = function(*args, **kwargs)
            self._next()
            return result

        return wrapper

    def _springs(self, trap: dict[str, Any], args: tuple[Any, ...]) -> bool:
        having = trap.get("having", "")
        texts = [_text(argument) for argument in args]
        if not self.left or self.left[0] is not trap or (having and not any(having in text for text in texts)):
            return False
        self.arrivals += 1
        return bool(self.arrivals == trap.get("nth", 1))

    def _next(self) -> None:
        self.left.pop(0)
        self.arrivals = 0
        if not self.left:
            die()


def _text(argument: Any) -> str:
    """What an argument says, of those kinds that are looked into."""
    if hasattr(argument, "as_string"):
        return str(argument.as_string())
    return str(argument) if isinstance(argument, str | Path | tuple | list) else ""


def _cut(path: Path) -> None:
    os.truncate(path, path.stat().st_size // 2)


def _half_a_fetch(fetch: Call, delivery: Any, entry: Any, target: Path) -> None:
    fetch(delivery, entry, target)
    _cut(target)


def _half_a_parquet_file(write: Call, frame: Any, path: Path, **options: Any) -> None:
    write(frame, path, **options)
    _cut(path)


def _half_a_copy_of_a_file(copy: Call, source: str, target: str, **options: Any) -> None:
    copy(source, target, **options)
    _cut(Path(target))


def _half_a_tree(remove: Call, path: str, **options: Any) -> None:
    if Path(path).is_dir():
        for number, item in enumerate(sorted(Path(path).iterdir())):
            if number % 2 == 0:
                item.unlink()


def _half_a_copy_write(write: Call, copy: Any, buffer: Any) -> None:
    write(copy, bytes(buffer)[: len(buffer) // 2])
    time.sleep(0.01)  # for the half to reach the server


def _commit_without_waiting(leave: Call, transaction: Any, *_: Any) -> None:
    connection = transaction.connection.pgconn
    connection.send_query(b"commit")
    connection.flush()


def _statement_without_waiting(execute: Call, connection: Any, query: Any, *_: Any, **__: Any) -> None:
    text = query if isinstance(query, str) else query.as_string()
    connection.pgconn.send_query(text.encode())
    connection.pgconn.flush()
    time.sleep(0.005)  # for the server to be in the middle of it


HALVES: dict[str, Call] = {
    "source:fetch": _half_a_fetch,
    "polars:DataFrame.write_parquet": _half_a_parquet_file,
    "shutil:copyfile": _half_a_copy_of_a_file,
    "shutil:rmtree": _half_a_tree,
    "psycopg:Copy.write": _half_a_copy_write,
    "psycopg:Transaction.__exit__": _commit_without_waiting,
    "psycopg:Connection.execute": _statement_without_waiting,
}


def pull(root: str, first: str, until: str, branches: list[str], run_id: str) -> None:
    """Opens a night, pulls the branches one by one, and sums the pulls up: what a worker does before the build."""
    from kkbc import nights

    request = nights.RunRequest(date.fromisoformat(until), Path(root), first_business_date=date.fromisoformat(first))
    nights.open_run(request, mode="plain", run_id=run_id)
    for branch_id in branches:
        nights.pull_branch(run_id, branch_id)
    nights.close_pull(run_id)


def command(*arguments: str) -> None:
    """The command line itself, with its exit status."""
    from kkbc.cli.application import main as kkbc

    sys.argv = ["kkbc", *arguments]
    kkbc()


def across_devices() -> None:
    """Makes spool and landing look like two file systems, as they may be: nothing is renamed from one to the other."""
    rename = os.rename

    def refusing(source: Any, target: Any, **options: Any) -> None:
        if "/spool/" in str(source) and "/spool/" not in str(target):
            raise OSError(18, "Invalid cross-device link")
        rename(source, target, **options)

    os.rename = refusing


def short_parts(rows: int) -> None:
    """Makes slices of some hundred rows long ones, that are taken in part by part."""
    pulling = importlib.import_module("kkbc.nights.slice_loader")
    pulling.take_in = functools.partial(pulling.take_in, batch_rows=rows)  # type: ignore[attr-defined]


def step(name: str, *arguments: Any) -> None:
    """One step of a night, as a task of Airflow does it."""
    from kkbc import nights

    getattr(nights, name)(*arguments)


def build(run_id: str) -> None:
    """All steps from the pulls of a run to its publication, but for the audits, which change nothing of it."""
    from kkbc import nights
    from kkbc.marts.runner import LAYERS

    build_id = nights.open_build(run_id)
    for layer in LAYERS:
        nights.build_layer(build_id, layer)
    nights.publish(build_id)


def prepare() -> None:
    """Makes a home that can take a night."""
    from kkbc.nights.prepare import prepare

    prepare()


CALLS: dict[str, Call] = {"prepare": prepare, "pull": pull, "command": command, "step": step, "build": build}


def _victim(task: dict[str, Any]) -> int:
    """In the forked process: sets the place and the traps, then does the work. Returns the exit status."""
    with open(task["log"], "ab", buffering=0) as log:  # noqa: PTH123
        for stream in (1, 2):
            os.dup2(log.fileno(), stream)
    os.environ.update(task["environment"])
    from kkbc.core.settings import get_settings

    get_settings.cache_clear()
    if task.get("across_devices"):
        across_devices()
    short_parts(task["rows_a_part"])
    Traps(task["traps"])
    try:
        CALLS[task["call"]](*task["arguments"])
    except SystemExit as leaving:
        return leaving.code if isinstance(leaving.code, int) else 0
    except BaseException:
        traceback.print_exc()
        return 1
    return 0


def _wait(pid: int, seconds: float) -> int | None:
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        done, status = os.waitpid(pid, os.WNOHANG)
        if done:
            return os.waitstatus_to_exitcode(status)
        time.sleep(0.002)
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    return None


def main(preload: list[str]) -> None:
    """Serves until standard input ends."""
    for module in preload:
        importlib.import_module(module)
    importlib.import_module("kkbc.exchange.contracts").feeds()  # which remembers the contracts
    print(json.dumps("ready"), flush=True)
    for line in sys.stdin:
        request = json.loads(line)
        if "wait" in request:
            print(json.dumps(_wait(request["wait"], request["seconds"])), flush=True)
            continue
        pid = os.fork()
        if pid == 0:
            status = 1
            try:
                status = _victim(request["start"])
            finally:
                sys.stdout.flush()
                sys.stderr.flush()
                os._exit(status)
        print(json.dumps(pid), flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
