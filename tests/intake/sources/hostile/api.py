"""Hostile branches with an API."""

import gzip
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from pathlib import Path

from tests.deliveries import TEMPLATE
from tests.intake.sources.branch_api import TOKEN, Asked, BranchApi, serving

from .attack import DAY, DAYS, FEEDS, Attack

FOREVER = 600.0
MANIFEST = "deliveries/"


@contextmanager
def _api(answers: dict[str, Callable[[Asked], None]], sent: list[int] | None = None) -> Iterator[Attack]:
    """Good deliveries by an API, but for `answers` about the middle day: each to paths that begin with its name."""
    api = BranchApi()
    for day in map(str, DAYS):
        listed = [{"feed": feed, "revision": 1, "rows": 1} for feed in FEEDS]
        said = {"schema_version": 1, "branch_id": "KC001", "business_date": day, "sent_at": f"{day}T19:00:00+07:00"}
        api.manifests[day] = said | {"revision": 1, "slices": listed}
        api.slices |= {(feed, day, 1): [TEMPLATE[feed]] for feed in FEEDS}
    about = str(DAY)

    def misbehave(asked: Asked) -> bool:
        if about not in asked.path_asked and asked.query.get("business_date") != about:
            return False
        for path, answer in answers.items():
            if asked.path_asked.startswith(path):
                answer(asked)
                return True
        return False

    api.misbehave = misbehave
    with serving(api):
        yield Attack("http", {"host": api.address, "password": TOKEN}, sent or [0])


def rows_without_end(root: Path) -> AbstractContextManager[Attack]:
    """An API that announces 10**15 rows, and gives page after page of them."""
    sent = [0]
    page = [TEMPLATE["iuran"]] * 1000

    def announce(asked: Asked) -> None:
        listed = [{"feed": feed, "revision": 1, "rows": 10**15 if feed == "iuran" else 1} for feed in FEEDS]
        asked.answer(200, asked.server.manifests[str(DAY)] | {"slices": listed})

    def give(asked: Asked) -> None:
        sent[0] += len(page)
        asked.answer(200, {"data": page, "next_cursor": f"from-{sent[0]}", "total": 10**15})

    return _api({MANIFEST: announce, "iuran": give}, sent)


def manifest_that_unfolds(root: Path) -> AbstractContextManager[Attack]:
    """A manifest that unfolds to 128 MiB of empty lists."""
    bomb = gzip.compress(b'{"files": [' + b"[]," * ((128 << 20) // 3) + b"[]]}")
    return _api({MANIFEST: lambda asked: asked.answer(200, bomb, Content_Encoding="gzip")})


def page_of_lists(root: Path) -> AbstractContextManager[Attack]:
    """A page as long as a page may be, of one item that is nothing but empty lists."""
    page = b'{"data": [[' + b"[]," * 2_796_000 + b"[]]]}"
    return _api({"iuran": lambda asked: asked.answer(200, page)})


def cursor_of_ten_megabytes(root: Path) -> AbstractContextManager[Attack]:
    """A cursor that makes no address."""
    page = {"data": [TEMPLATE["iuran"]], "next_cursor": "x" * 7_900_000, "total": 2}
    return _api({"iuran": lambda asked: asked.answer(200, page)})


def _drip(first: bytes, drop: bytes, pause: float) -> Callable[[Asked], None]:
    def answer(asked: Asked) -> None:
        until = time.monotonic() + FOREVER
        with suppress(OSError):
            asked.wfile.write(first)
            while time.monotonic() < until:
                asked.wfile.write(drop)
                time.sleep(pause)

    return answer


def header_in_drips(root: Path) -> AbstractContextManager[Attack]:
    """A header that goes on byte by byte."""
    return _api({"iuran": _drip(b"HTTP/1.1 200 OK\r\nX-Header: ", b"x", 0.05)})


def continue_for_ever(root: Path) -> AbstractContextManager[Attack]:
    """`100 Continue`, for ever."""
    return _api({"iuran": _drip(b"", b"HTTP/1.1 100 Continue\r\n\r\n", 0.01)})


def early_hints_for_ever(root: Path) -> AbstractContextManager[Attack]:
    """`103 Early Hints`, for ever."""
    return _api({"iuran": _drip(b"", b"HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n", 0.01)})


def odd_answer(answer: bytes) -> Callable[[Path], AbstractContextManager[Attack]]:
    """An API that answers the question for one slice with these bytes and hangs up."""

    def hang_up(asked: Asked) -> None:
        asked.wfile.write(answer)
        asked.close_connection = True

    def attack(root: Path) -> AbstractContextManager[Attack]:
        return _api({"iuran": hang_up})

    return attack
