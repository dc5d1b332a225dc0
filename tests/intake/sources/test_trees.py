"""What holds for deliveries of files whichever way they come: folder, S3, SFTP by two servers."""

import json
import os
from collections.abc import Iterator
from contextlib import closing
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import pytest

from kkbc.core import tokens
from kkbc.core.errors import SliceRejected
from kkbc.exchange.slices import Delivery, Entry
from kkbc.intake.sources import Source, Wanted, open_source
from kkbc.nights.attempt import PullReport
from kkbc.nights.visit import pull
from kkbc.warehouse import connect
from tests.deliveries import deliver

from .conftest import Way
from .pulled import ROWS, empty_warehouse, loaded

DAY = date(2023, 12, 11)
UNTIL = date(2024, 2, 12)
EVER = Wanted(date(2020, 1, 1), UNTIL)
NOT_IN_THE_DELIVERY = (
    "../2023-12-10/iuran.csv",
    "../../KC002/2023-12-11/iuran.csv",
    "/etc/hostname",
    "..",
    ".",
    "",
    "dalam",
    "dalam/iuran.csv",
    "iuran.csv/",
    "iuran\x00.csv",
    "iuran\n.csv",
    "\ud800.csv",
    "tidak-ada.csv",
    "x" * 300,
)


@pytest.fixture
def source(way: Way, home: Path) -> Iterator[Source]:
    way.connect(home)
    with closing(open_source(way.branch, None)) as opened:
        yield opened


def visit(way: Way, home: Path) -> PullReport:
    """What the branch has written by now is sent, and pulled."""
    way.sent()
    way.connect(home)
    tokens.ensure_key(home)
    with connect("loader") as conn:
        conn.execute(
            "insert into ops.run (run_id, as_of, mode) values ('r', %s, 'plain') on conflict do nothing", [DAY]
        )
    with connect("loader", autocommit=True) as conn:
        return pull(conn, way.branch, run_id="r", until=UNTIL, root=None)


def query(statement: str) -> list[Any]:
    with connect() as conn:
        return conn.execute(statement).fetchall()  # type: ignore[call-overload, no-any-return]


def test_a_delivery_comes_in_the_same_and_stays_untouched_at_the_branch(way: Way, warehouse: str, home: Path) -> None:
    deliver(way.folder, ROWS)
    way.sent()
    before = way.seal()
    report = visit(way, home)
    assert (report.kind, report.outcome, report.loaded, report.rejected, report.rows) == (way.kind, "loaded", 3, 0, 8)
    assert query(
        "select feed, revision, status, rows_sent, rows_accepted, rows_quarantined, _file"
        " from ops.slice join (select distinct _file, _branch_id from raw.registrations) f on _branch_id = branch_id"
        " order by feed"
    ) == [
        ("iuran", 1, "loaded", 2, 1, 1, "pendaftaran.csv"),
        ("kegiatan", 1, "loaded", 0, 0, 0, "pendaftaran.csv"),
        ("pendaftaran", 1, "loaded", 6, 3, 3, "pendaftaran.csv"),
    ]
    by_this_way = loaded()
    assert visit(way, home).outcome == "nothing_new"
    assert loaded() == by_this_way
    assert way.seal() == before

    empty_warehouse()
    folder = Way("file", way.folder, {"extra": {"root": str(way.folder)}})
    assert visit(folder, home).loaded == 3
    assert by_this_way == loaded()


def test_late_missing_and_restated_deliveries_of_any_age(way: Way, warehouse: str, home: Path) -> None:
    deliver(way.folder, {"pendaftaran": [{}], "iuran": [{}]}, day=UNTIL)
    (way.folder / "KC001" / UNTIL.isoformat() / "iuran.csv").unlink()
    first = visit(way, home)
    assert (first.loaded, first.rejected) == (1, 1)
    assert query("select feed, status, reason, manifest_rows from ops.slice order by feed") == [
        ("iuran", "rejected", "FILE_MISSING", 1),
        ("pendaftaran", "loaded", None, 1),
    ]
    # The file comes after all, and with it a delivery of sixty days ago.
    late = UNTIL - timedelta(days=60)
    deliver(way.folder, {"iuran": [{}]}, day=UNTIL, files=json.loads(manifest(way, UNTIL))["files"])
    deliver(way.folder, {"pendaftaran": [{"no_pendaftaran": "OLD"}, {"no_pendaftaran": "OLD-2"}]}, day=late)
    second = visit(way, home)
    assert (second.loaded, second.rejected) == (2, 0)
    # Then that is restated, and there is nothing more.
    deliver(way.folder, {"pendaftaran": [{"no_pendaftaran": "NEW"}]}, day=late, revision=2)
    assert visit(way, home).loaded == 1
    assert visit(way, home).outcome == "nothing_new"
    assert query("select business_date, feed, revision, status from ops.slice order by 1, 2, 3") == [
        (late, "pendaftaran", 1, "superseded"),
        (late, "pendaftaran", 2, "loaded"),
        (UNTIL, "iuran", 1, "loaded"),
        (UNTIL, "pendaftaran", 1, "loaded"),
    ]
    assert query("select registration_no from raw.registrations order by 1") == [("NEW",), ("R-1",)]


def manifest(way: Way, day: date) -> str:
    return (way.folder / "KC001" / day.isoformat() / "manifest.json").read_text()


def test_manifests_come_by_day_and_revision_and_nothing_else_does(way: Way, source: Source) -> None:
    for day, revision in ((date(2023, 12, 30), 1), (DAY, 10), (DAY, 2), (DAY, 1), (UNTIL + timedelta(days=1), 1)):
        deliver(way.folder, {"iuran": [{}]}, day=day, revision=revision)
    deliver(way.folder, {"iuran": [{}]}, branch_id="KC0011")
    for name in ("2023-12-9", "20231212", "catatan", "2023-12-13/dalam", "2023-12-14"):
        folder = way.folder / "KC001" / name
        folder.mkdir(parents=True)
        (folder / ("manifest.json" if name != "2023-12-14" else "iuran.csv")).write_text("{}")
    (way.folder / "KC001" / "2023-12-15").write_text("a file")
    way.sent()
    found = [(manifest.business_date, manifest.name) for manifest in source.manifests(EVER)]
    assert found == [
        (DAY, "manifest.json"),
        (DAY, "manifest.r2.json"),
        (DAY, "manifest.r10.json"),
        (date(2023, 12, 30), "manifest.json"),
    ]


def test_a_stamp_changes_with_the_manifest_and_with_it_alone(way: Way, home: Path) -> None:
    way.connect(home)
    folder = deliver(way.folder, {"iuran": [{}]})
    deliver(way.folder, {"iuran": [{}]}, day=UNTIL)

    def stamps() -> list[str]:
        way.sent()
        with closing(open_source(way.branch, None)) as source:
            return [manifest.stamp for manifest in source.manifests(EVER)]

    before = stamps()
    (folder / "iuran.csv").write_bytes(b"other")
    assert stamps() == before
    deliver(way.folder, {"iuran": [{"id_bayar": f"P-{n}"} for n in range(10)]})
    after = stamps()
    assert after[0] != before[0]
    assert after[1] == before[1]


def test_a_branch_that_never_delivered_has_nothing(way: Way, source: Source) -> None:
    deliver(way.folder, {"iuran": [{}]}, branch_id="KC002")
    way.sent()
    assert list(source.manifests(EVER)) == []


def test_files_that_no_manifest_of_the_day_lists_are_reported(way: Way, source: Source) -> None:
    folder = deliver(way.folder, {"iuran": [{}]})
    deliver(way.folder, {"iuran": [{}]}, revision=2)
    for name in ("iuran-lama.csv", "Thumbs.db", "manifest.json.tmp"):
        (folder / name).write_bytes(b"x")
    way.sent()
    deliveries = [manifest.read() for manifest in source.manifests(EVER)]
    assert [delivery.unlisted for delivery in deliveries] == [("Thumbs.db", "iuran-lama.csv", "manifest.json.tmp")] * 2


def test_a_name_that_is_no_file_of_the_delivery_is_missing(way: Way, source: Source, tmp_path: Path) -> None:
    for branch_id, day in (("KC001", DAY), ("KC001", DAY - timedelta(days=1)), ("KC002", DAY)):
        (deliver(way.folder, {"iuran": [{}]}, branch_id=branch_id, day=day) / "dalam").mkdir()
    (way.folder / "KC001" / DAY.isoformat() / "dalam" / "iuran.csv").write_bytes(b"x")
    way.sent()
    outcomes = {}
    for name in NOT_IN_THE_DELIVERY:
        entry = Entry("iuran", 1, name, 10, "ab" * 32)
        with pytest.raises(SliceRejected) as caught:
            source.fetch(Delivery("KC001", DAY, 1, None, (entry,), "manifest.json", ""), entry, tmp_path / "target")
        outcomes[name] = caught.value.reason
    assert outcomes == dict.fromkeys(NOT_IN_THE_DELIVERY, "FILE_MISSING")


def test_a_file_comes_byte_for_byte_whatever_its_size(way: Way, source: Source, tmp_path: Path) -> None:
    folder = deliver(way.folder, {"iuran": [{}]})
    contents = {size: os.urandom(size) for size in (0, 1, 32767, 32768, 32769, 65536, (1 << 20) + 1, 5_000_003)}
    for size, content in contents.items():
        (folder / f"{size} tanda ü.csv.gz").write_bytes(content)
    way.sent()
    for size, content in contents.items():
        entry = Entry("iuran", 1, f"{size} tanda ü.csv.gz", size, "ab" * 32)
        delivery = Delivery("KC001", DAY, 1, None, (entry,), "manifest.json", "")
        source.fetch(delivery, entry, tmp_path / "target")
        assert (tmp_path / "target").read_bytes() == content


def test_a_manifest_without_an_end_is_no_manifest(way: Way, source: Source) -> None:
    folder = deliver(way.folder, {"iuran": [{}]})
    content = (folder / "manifest.json").read_bytes()
    (folder / "manifest.json").write_bytes(content[:-1] + b" " * (3 << 20) + content[-1:])
    way.sent()
    (found,) = source.manifests(EVER)
    delivery = found.read()
    assert delivery.rejection is not None
    assert delivery.rejection[0] == "UNREADABLE"
    # and the line is fit for the next question
    assert len(list(source.manifests(EVER))) == 1


def test_a_process_forked_after_a_visit_can_visit_too(way: Way, source: Source, home: Path) -> None:
    deliver(way.folder, {"iuran": [{}]})
    way.sent()
    assert [manifest.read().revision for manifest in source.manifests(EVER)] == [1]
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        answer = b"failed"
        try:
            with closing(open_source(way.branch, None)) as another:
                answer = ",".join(manifest.read().manifest_name for manifest in another.manifests(EVER)).encode()
        finally:
            os.write(writing, answer)
            os._exit(0)
    os.close(writing)
    with os.fdopen(reading, "rb") as answer_of_child:
        assert answer_of_child.read() == b"manifest.json"
    os.waitpid(child, 0)
    assert [manifest.read().revision for manifest in source.manifests(EVER)] == [1]
