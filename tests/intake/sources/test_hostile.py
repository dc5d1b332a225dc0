"""What comes of a visit to a branch that means harm: an end, within bounds, and the good deliveries of its other days.

How much memory and time it takes is measured by bench/hostile.py.
"""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from kkbc.core.errors import BranchRefused, BranchTimeout, BranchUnavailable
from kkbc.core.settings import get_settings
from kkbc.exchange.registry import Branch
from kkbc.intake.sources.api import Patience
from kkbc.nights.attempt import PullReport
from kkbc.warehouse import connect, server
from tests.deliveries import as_csv

from . import hostile
from .hostile import DAY, DAYS, Attack
from .pulled import keep_connection, visit

Attacker = Callable[[Path], AbstractContextManager[Attack]]
# Three feeds on each of three days.
ALL = {(feed, day) for feed in hostile.FEEDS for day in DAYS}
IURAN = {("iuran", DAY)}
OTHER_DAYS = {(feed, day) for feed, day in ALL if day != DAY}


@pytest.fixture(autouse=True)
def small_limits(warehouse: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Bounds that are reached in a moment."""
    monkeypatch.setenv("KKBC_SLICE_BYTES", "1000000")
    monkeypatch.setattr("kkbc.intake.sources.http.Patience", lambda: replace(Patience(), pause_seconds=0.01))
    for module in ("sftp", "s3", "folder"):
        monkeypatch.setattr(f"kkbc.intake.sources.{module}.MOST_FILES", 1000)
    get_settings.cache_clear()
    yield
    get_settings.cache_clear()


def visit_to(attack: Attack) -> PullReport:
    keep_connection("penjahat", attack.kind, **attack.fields)
    return visit(Branch.model_validate({"branch_id": "KC001", "kind": attack.kind, "connection": "penjahat"}))


def slices(status: str) -> dict[tuple[str, Any], tuple[str, str, int]]:
    """Reason, detail and bytes of the slices that have a status."""
    with connect() as conn:
        rows = conn.execute(
            "select feed, business_date, reason, detail, bytes from ops.slice where status = %s", [status]
        ).fetchall()
    return {(feed, day): tuple(rest) for feed, day, *rest in rows}


@pytest.mark.parametrize("attacker", [hostile.sparse_folder, hostile.sparse_sftp, hostile.sparse_s3])
def test_of_a_file_without_measure_one_byte_more_than_announced_is_fetched(tmp_path: Path, attacker: Attacker) -> None:
    with attacker(tmp_path) as attack:
        report = visit_to(attack)
    assert (report.loaded, report.rejected) == (8, 1)
    ((reason, _, size),) = slices("rejected").values()
    assert slices("rejected").keys() == IURAN
    announced = len(as_csv("iuran", [{}]))
    assert (reason, size) == ("CHECKSUM", announced + 1)
    # All there is to fetch: the small files of three days, each manifest twice at most.
    assert attack.sent[0] < 20_000


@pytest.mark.parametrize(
    ("attacker", "rejected", "detail"),
    [
        (hostile.rows_without_end, IURAN, "it goes on after 1000000 bytes"),
        (hostile.cursor_of_ten_megabytes, IURAN, "a cursor of more than 4096 bytes"),
        (hostile.manifest_that_unfolds, ALL - OTHER_DAYS, "is no JSON object"),
    ],
)
def test_an_api_without_measure_loses_what_has_none_and_nothing_else(
    tmp_path: Path, attacker: Attacker, rejected: set[Any], detail: str
) -> None:
    with attacker(tmp_path) as attack:
        report = visit_to(attack)
    found = slices("rejected")
    assert found.keys() == rejected
    assert {(reason, detail in said) for reason, said, _ in found.values()} == {("UNREADABLE", True)}
    assert slices("loaded").keys() == ALL - rejected
    assert report.loaded == len(ALL - rejected)
    # As many rows as the limit has room for, and one page more.
    assert attack.sent[0] * 300 < 1_000_000 + 1000 * 300


def odd(answer: bytes) -> Any:
    return pytest.param(hostile.odd_answer(answer), id=repr(answer[9:40]))


@pytest.mark.parametrize(
    "attacker",
    [
        odd(b"HTTP/1.1 204 No Content\r\n\r\n"),
        odd(b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 3\r\n\r\nabc"),
        odd(b"HTTP/1.1 200 OK\r\nContent-Encoding: br, gzip\r\nContent-Length: 0\r\n\r\n"),
        odd(b"HTTP/1.1 200 OK\r\nContent-Type: text/html; charset=x-\xff\r\nContent-Length: 1\r\n\r\n{"),
        odd(b"HTTP/1.1 418 Teapot\r\nContent-Length: 0\r\n\r\n"),
        odd(b'HTTP/1.1 200 OK\r\nContent-Length: 45\r\n\r\n{"data": [], "next_cursor": "\\ud800", "total":1}'),
        odd(b'HTTP/1.1 200 OK\r\nContent-Length: 43\r\n\r\n{"data": [], "next_cursor": [[]], "total": 1}'),
    ],
)
def test_an_odd_answer_to_one_question_rejects_that_slice(tmp_path: Path, attacker: Attacker) -> None:
    with attacker(tmp_path) as attack:
        visit_to(attack)
    assert {key: reason for key, (reason, *_) in slices("rejected").items()} == {("iuran", DAY): "UNREADABLE"}
    assert slices("loaded").keys() == ALL - IURAN


@pytest.mark.parametrize(
    ("attacker", "error"),
    [
        (hostile.odd_answer(b"HTTP/1.1 302 Found\r\nLocation: http://x/\r\nContent-Length: 0\r\n\r\n"), BranchRefused),
        (hostile.odd_answer(b"HTTP/1.1 999 Oh\r\nContent-Length: 0\r\n\r\n"), BranchUnavailable),
        (hostile.odd_answer(b"HTTP/1.1 200 OK\r\nContent-Length: -5\r\n\r\n"), BranchUnavailable),
        (hostile.odd_answer(b"HTTP/0.9 what\r\n\r\n"), BranchUnavailable),
        (hostile.odd_answer(b"\x00\xff" * 100), BranchUnavailable),
        (hostile.odd_answer(b"HTTP/1.1 101 Switching\r\n\r\n"), BranchUnavailable),
        (
            hostile.odd_answer(
                b"HTTP/1.1 503 No\r\nRetry-After: Fri, 31 Dec 9999 23:59:59 -1200\r\nContent-Length: 0\r\n\r\n"
            ),
            BranchUnavailable,
        ),
    ],
)
def test_one_slice_that_an_api_fails_on_is_reported_when_all_else_is_taken(
    tmp_path: Path, attacker: Attacker, error: type[Exception]
) -> None:
    with attacker(tmp_path) as attack, pytest.raises(error):
        visit_to(attack)
    assert slices("loaded").keys() == ALL - IURAN


@pytest.mark.parametrize("attacker", [hostile.header_in_drips, hostile.continue_for_ever, hostile.early_hints_for_ever])
def test_an_answer_that_never_begins_ends_with_the_visits_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, attacker: Attacker
) -> None:
    monkeypatch.setenv("KKBC_VISIT_SECONDS", "3")
    get_settings.cache_clear()
    with attacker(tmp_path) as attack, pytest.raises(BranchTimeout):
        visit_to(attack)
    # What came before it stays.
    assert slices("loaded").keys() == {(feed, DAYS[0]) for feed in hostile.FEEDS} | {("pendaftaran", DAY)}


@pytest.mark.parametrize(
    ("attacker", "message", "most"),
    [
        (hostile.endless_sftp_listing, "has more than 10000 files", 1200),
        (hostile.endless_s3_listing, "has more than 10000 files", 3000),
        (hostile.names_in_one_answer, "has more than 10000 files", 0),
        (hostile.names_without_number, "answers nonsense", 0),
        (hostile.attributes_without_number, "answers nonsense", 0),
    ],
)
def test_a_listing_without_an_end_costs_its_day_and_no_other(
    tmp_path: Path, attacker: Attacker, message: str, most: int
) -> None:
    with attacker(tmp_path) as attack, pytest.raises(BranchRefused, match=f"{message}(.* in its folder| for its)"):
        visit_to(attack)
    assert slices("loaded").keys() == OTHER_DAYS
    if most:
        assert attack.sent[0] <= most


def test_a_crowded_folder_costs_its_day_and_no_other(tmp_path: Path) -> None:
    with hostile.sparse_folder(tmp_path) as attack:
        for number in range(1001):
            (tmp_path / "KC001" / str(DAY) / f"{number}.txt").touch()
        with pytest.raises(BranchRefused, match="files in its folder of 2023-12-11"):
            visit_to(attack)
    assert slices("loaded").keys() == OTHER_DAYS


@pytest.mark.parametrize("attacker", [hostile.packet_of_four_gigabytes, hostile.listing_of_a_hundred_megabytes])
def test_what_has_no_measure_before_anything_is_known_ends_the_visit(tmp_path: Path, attacker: Attacker) -> None:
    with attacker(tmp_path) as attack, pytest.raises(BranchUnavailable):
        visit_to(attack)
    # What the sockets in between have room for comes on top of what was read.
    assert attack.sent[0] < 40 << 20


def test_rows_of_a_database_that_are_too_long_do_not_travel(tmp_path: Path, pg: server.Server) -> None:
    with hostile.rows_of_two_megabytes(tmp_path, pg, rows=20) as attack:
        visit_to(attack)
    assert {key: said[:2] for key, said in slices("rejected").items()} == {
        ("iuran", DAY): ("UNREADABLE", "a row has more than 262144 bytes")
    }
    assert slices("loaded").keys() == ALL - IURAN
