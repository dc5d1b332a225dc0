"""All that is read from landing again, for a retry, a re-read, a hold, a list, is the same when it is encrypted."""

import shutil
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from kkbc import nights
from kkbc.core import landing_keys
from kkbc.core.encryption import MAGIC
from kkbc.core.errors import UserError
from kkbc.core.settings import get_settings
from kkbc.exchange.contracts import load_contract
from kkbc.exchange.slices import Slice
from kkbc.slices import AuditNote, hold, release, reread
from kkbc.slices.quarantine import Address, Selection, extract, show
from kkbc.warehouse import connect, server
from tests.slices.quarantine.scene import (
    DAY,
    NEW,
    NOTE,
    Office,
    Rules,
    accepted,
    fresh_warehouse,
    query,
    retry_now,
    state,
    sums,
)

R1, R2 = (Slice("pendaftaran", "KC001", DAY, revision) for revision in (1, 2))
FIRST = [
    {"no_pendaftaran": "R-1", "nik": "1171011203909001"},
    {"no_pendaftaran": "R-2", "nik": "1171011203909002", **NEW},
    {"no_pendaftaran": "R-3", "nik": "1171011203909003", "kode_pekerjaan": "PENYAIR"},
    {"nik": "123"},
]


def turn_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KKBC_LANDING_ENCRYPTION", "true")
    get_settings.cache_clear()
    landing_keys.ensure()


def landed() -> list[bytes]:
    return [path.read_bytes() for path in Path(get_settings().landing).rglob("*") if path.is_file()]


WHO = AuditNote("a test of encryption", "a tester")


def story(office: Office, rules: Rules, folder: Path) -> list[Any]:
    """What the warehouse holds after each step of a slice's life, and what is shown of its quarantined rows."""
    # As the tests begin: nothing is delivered, and channel JMO is not in the contract.
    shutil.rmtree(office.root)
    rules.correct()
    rules.change("contracts/pendaftaran.odcs.yaml", " JMO,", "")
    told: list[Any] = []
    office.sends(*FIRST)
    told.append(state())
    told.append([row["raw"] for row in show(Address.parse(str(R1)), persons=WHO).rows])
    extract(Selection(), folder / "rows.parquet", persons=WHO)
    told.append(pl.read_parquet(folder / "rows.parquet").drop("first_seen_at").rows())
    rules.correct()
    told.append([sums(retry_now()), accepted(), state()])
    query(
        f"update ops.build set outcome = 'published', load_id = (select max(load_id) from ops.slice)"
        f" where build_id = {nights.open_build('r')} returning 1"
    )
    office.sends(*FIRST[:1], {"no_pendaftaran": "R-9", "nik": "1171011203909009"}, revision=2)
    with connect("loader", autocommit=True) as conn:
        told.append([str(slice_) for slice_ in hold(conn, nights.open_build("r"), "KC001", {str(R2): ["too many"]})])
        told.append([accepted(), state()])
        told.append([release(conn, R2, AuditNote("announced", "a tester")), accepted(), state()])
        told.append([reread(conn, "KC001", DAY, DAY, NOTE).summary(), accepted(), state()])
    return told


def test_the_life_of_a_slice_is_the_same(
    office: Office, rules: Rules, pg: server.Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    without = story(office, rules, tmp_path)
    assert not any(content.startswith(MAGIC) for content in landed())
    assert without[5][0] == [("R-1", 2), ("R-2", 3), ("R-3", 4)]  # what came back when revision 2 was held
    with fresh_warehouse(pg, monkeypatch, tmp_path / "other"):
        turn_on(monkeypatch)
        assert story(office, rules, tmp_path) == without
        assert len(landed()) == 6
        assert all(content.startswith(MAGIC) for content in landed())
        assert list((tmp_path / "other" / "spool").glob("*")) == []
    load_contract.cache_clear()


@pytest.mark.parametrize("before", [False, True])
def test_a_home_may_hold_both_kinds(office: Office, monkeypatch: pytest.MonkeyPatch, before: bool) -> None:
    """A slice that landed before the setting was changed, and one that landed after."""
    if before:
        turn_on(monkeypatch)
    office.sends(*FIRST)
    if before:
        monkeypatch.setenv("KKBC_LANDING_ENCRYPTION", "false")
        get_settings.cache_clear()
    else:
        turn_on(monkeypatch)
    office.sends({}, feed="iuran")
    assert {content.startswith(MAGIC) for content in landed()} == {True, False}
    there = state()
    with connect("loader", autocommit=True) as conn:
        report = reread(conn, "KC001", DAY, DAY, NOTE)
    assert report.failed == {}
    assert [done.accepted for done in report.slices] == [1, 2]
    again = state()
    assert {name: again[name] for name in again if name != "slices"} == {n: there[n] for n in there if n != "slices"}


def test_a_damaged_slice_is_left_as_it_was_and_the_others_are_read(
    office: Office, rules: Rules, monkeypatch: pytest.MonkeyPatch
) -> None:
    turn_on(monkeypatch)
    office.sends(*FIRST)
    office.sends({"total": "1"}, feed="iuran")
    before = accepted()
    (damaged,) = Path(get_settings().landing).glob("*/*/pendaftaran/*/sent/*")
    damaged.write_bytes(damaged.read_bytes()[:-1])
    rules.correct()
    report = retry_now()
    assert list(report.failed) == [str(R1)]
    assert "cannot be decrypted: it was cut off or altered: restore landing from its backup" in report.failed[str(R1)]
    assert [done.slice.feed for done in report.slices] == ["iuran"]
    with connect("loader", autocommit=True) as conn:
        rereading = reread(conn, "KC001", DAY, DAY, NOTE)
    assert list(rereading.failed) == [str(R1)]
    assert [done.slice.feed for done in rereading.slices] == ["iuran"]
    assert accepted() == before
    with pytest.raises(UserError, match="cannot be decrypted"):
        show(Address.parse(str(R1)), persons=WHO)


def test_a_retry_without_the_key_is_refused(office: Office, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    turn_on(monkeypatch)
    office.sends(*FIRST)
    (home / "keys" / "landing.key").unlink()
    with pytest.raises(UserError, match=r"landing\.key does not exist: restore the key"):
        retry_now()
