"""Landed files that were rewritten without a person: pulls, retries and re-reads know them by what is on record."""

from pathlib import Path
from typing import Any

import pytest

from kkbc.core import tokens
from kkbc.core.needles import Needles
from kkbc.core.settings import get_settings
from kkbc.core.suppression import Suppression
from kkbc.exchange.contracts import load_contract
from kkbc.exchange.registry import load_registry
from kkbc.exchange.slices import Slice
from kkbc.intake.erasing import Persons, Taken, erase_from
from kkbc.intake.landing import Landing
from kkbc.intake.rewrites import Rewritten
from kkbc.intake.validation import Context
from kkbc.nights.visit import pull
from kkbc.slices import reread
from kkbc.slices.record import SliceRecord
from kkbc.slices.rewritten import record_rewrite
from kkbc.warehouse import connect
from tests.deliveries import deliver
from tests.slices.quarantine.scene import DAY, NEW, NOTE, Office, Rules, accepted, quarantined, query, retry_now

GONE, STAYS = "1171011203909001", "1171011203909002"
ROWS: list[dict[str, str]] = [
    {"no_pendaftaran": "R-1", "nik": GONE},
    {"no_pendaftaran": "R-2", "nik": STAYS},
    {"no_pendaftaran": "R-3", "nik": GONE, **NEW},
    {"no_pendaftaran": "R-4", "nik": STAYS, **NEW},
]
ERASED = ["ERASED"]
SLICE = Slice("pendaftaran", "KC001", DAY, 1)


@pytest.fixture
def listed() -> Suppression:
    key = b"s" * 32
    return Suppression((key,), frozenset({Suppression((key,)).token_of(GONE)}))


def record() -> SliceRecord:
    with connect("loader") as conn:
        found = SliceRecord.load(conn, SLICE)
    assert found is not None
    return found


def erase(*, on_record: bool = True) -> Rewritten:
    """Takes the person out of landing; nothing else of an erasure is done."""
    known = record()
    assert known.landed_uri is not None
    branch = load_registry().get("KC001")
    context = Context(SLICE, branch.zone, known.sent_at, frozenset({"KC001"}), seen_at=known.manifest_seen_at)
    taken = Taken(load_contract("pendaftaran"), context, tokens.load_key(), known.manifest_rows)
    landing = Landing(get_settings().landing)
    done = erase_from(
        landing, known.landed_uri, known.file_name, Persons(frozenset({GONE})), taken, known.landed_sha256
    )
    assert done is not None
    if on_record:
        with connect("loader") as conn:
            record_rewrite(conn, done, erasure_id=7)
            record_rewrite(conn, done, erasure_id=7)
    return done


def rewrites() -> list[Any]:
    return query("select old_sha256, new_sha256, rows_erased, erasure_id from ops.landed_rewrite order by rewrite_id")


def reread_now(suppression: Suppression | None = None) -> dict[str, Any]:
    with connect("loader", autocommit=True) as conn:
        return reread(conn, "KC001", DAY, DAY, NOTE, suppression).summary()


def nobody_in_landing() -> None:
    for path in Path(get_settings().landing).rglob("*"):
        assert not path.is_file() or not Needles([GONE]).count(path.read_bytes()), path


@pytest.mark.parametrize("on_record", [True, False])
def test_a_slice_that_was_rewritten_is_read_again(office: Office, on_record: bool) -> None:
    office.sends(*ROWS)
    sent = record().sha256
    done = erase(on_record=on_record)
    assert (done.old_sha256, done.lines) == (sent, (2, 4))
    assert record().sha256 == sent
    assert record().landed_sha256 == (done.new_sha256 if on_record else sent)
    summary = reread_now()
    assert (summary["failed"], summary["rows"], summary["accepted"]) == ({}, 4, 1)
    assert accepted() == [("R-2", 3)]
    # Nobody retries or resolves a row of a person who was erased.
    rows = {line: (errors, closed) for line, errors, closed in quarantined()}
    assert rows == {2: (ERASED, "erased"), 4: (ERASED, "erased"), 5: (["CODE_UNKNOWN"], None)}
    # What was not on record is now.
    assert rewrites() == [(sent, done.new_sha256, 2, 7 if on_record else None)]
    assert query("select rows_sent, rows_accepted, rows_quarantined, rows_nik_valid from ops.slice") == [(4, 1, 3, 4)]


def test_a_retry_leaves_tombstones_where_they_are(office: Office, rules: Rules) -> None:
    office.sends(*ROWS)
    erase()
    rules.correct()
    report = retry_now()
    assert report.failed == {}
    assert quarantined() == [(4, ERASED, "erased"), (5, ["CODE_UNKNOWN"], "accepted")]
    assert accepted() == [("R-1", 2), ("R-2", 3), ("R-4", 5)]


def test_bytes_that_nobody_recorded_are_not_those_that_were_loaded(office: Office) -> None:
    office.sends(*ROWS)
    (path,) = Path(get_settings().landing).glob("*/*/*/*/sent/*")
    path.write_bytes(path.read_bytes() + b"\n")
    assert "not the one that was loaded" in str(retry_now().failed)


def test_a_retry_keeps_persons_of_the_list_out(office: Office, rules: Rules, listed: Suppression) -> None:
    office.sends(*ROWS)
    rules.correct()
    report = retry_now(suppression=listed)
    assert report.failed == {}
    assert quarantined() == [(4, ERASED, "erased"), (5, ["CODE_UNKNOWN"], "accepted")]


def test_a_re_read_takes_persons_of_the_list_out(office: Office, listed: Suppression) -> None:
    office.sends(*ROWS)
    sent = record().sha256
    assert reread_now(listed)["failed"] == {}
    assert accepted() == [("R-2", 3)]
    nobody_in_landing()
    (rewrite,) = rewrites()
    assert (rewrite[0], rewrite[2], rewrite[3]) == (sent, 2, None)
    assert record().landed_sha256 == rewrite[1]
    assert reread_now(listed)["failed"] == {}
    assert rewrites() == [rewrite]


def pulled(root: Path, suppression: Suppression) -> None:
    """The branch is visited once more, in the run that is open."""
    with connect("loader", autocommit=True) as conn:
        pull(conn, load_registry().get("KC001"), run_id="r", until=DAY, root=root, suppression=suppression)


def test_a_pull_keeps_persons_of_the_list_out(office: Office, listed: Suppression) -> None:
    office.sends({})
    deliver(office.root, {"pendaftaran": ROWS}, revision=2)
    pulled(office.root, listed)
    assert accepted() == [("R-2", 3)]
    (rewrite,) = rewrites()
    assert query("select sha256, rows_sent, rows_accepted, rows_quarantined from ops.slice where revision = 2") == [
        (rewrite[0], 4, 1, 3)
    ]
    assert query("select line, errors from ops.quarantine where revision = 2 order by line") == [
        (2, ERASED),
        (4, ERASED),
        (5, ["CODE_UNKNOWN"]),
    ]


def test_nobody_of_the_list_stays_in_landing_when_a_slice_is_rejected(office: Office, listed: Suppression) -> None:
    office.sends({"nik": STAYS})
    folder = deliver(office.root, {"pendaftaran": ROWS}, revision=2)
    (folder / "pendaftaran.r2.csv").write_bytes((folder / "pendaftaran.r2.csv").read_bytes() + b"\n")
    pulled(office.root, listed)
    assert query("select status, reason from ops.slice where revision = 2") == [("rejected", "CHECKSUM")]
    nobody_in_landing()
    assert query("select new_bytes, rows_erased from ops.landed_rewrite") == [(0, 0)]
