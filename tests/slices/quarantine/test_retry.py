"""Quarantined rows find their way back: judged again by today's rules, and loaded as if they had come today."""

import json
import random
from datetime import timedelta
from pathlib import Path

import pytest

from kkbc.exchange.contracts import load_contract
from kkbc.exchange.registry import load_registry
from kkbc.slices import AuditNote
from kkbc.slices.quarantine import Selection
from kkbc.warehouse import server
from tests.deliveries import deliver
from tests.slices.quarantine.scene import (
    DAY,
    NEW,
    NOTE,
    Office,
    Rules,
    accepted,
    counts,
    events,
    fingerprint,
    fresh_warehouse,
    quarantined,
    query,
    retry_now,
    state,
    sums,
    versions,
)


def test_rows_that_pass_today_are_loaded_and_keep_their_history(office: Office, rules: Rules) -> None:
    office.sends({}, {"no_pendaftaran": "R-2", "nik": "1171011203909002", "no_hp": "021", **NEW})
    assert quarantined() == [(3, ["CODE_UNKNOWN"], None)]
    assert counts() == [(2, 1, 1, 0, 2, 1)]
    query("update ops.quarantine set first_seen_at = '2023-12-12 00:00Z' returning 1")
    rules.correct()
    assert sums(retry_now()) == (1, 1, 0, 0)
    assert accepted() == [("R-1", 2), ("R-2", 3)]
    assert query("select nik, phone, _line from vault.registrations order by _line") == [
        ("1171011203909001", "+6281234567890", 2),
        ("1171011203909002", None, 3),
    ]
    assert counts() == [(2, 2, 0, 1, 2, 1)]
    assert quarantined() == [(3, ["CODE_UNKNOWN"], "accepted")]
    assert query("select first_seen_at::date::text, closed_at::date = now()::date, closed_why from ops.quarantine") == [
        ("2023-12-12", True, NOTE.why)
    ]
    assert query("select line, event, errors_before, why, done_by from ops.quarantine_event") == [
        (3, "accepted", ["CODE_UNKNOWN"], NOTE.why, "a tester")
    ]


def test_a_retried_row_says_where_it_came_from(office: Office, rules: Rules, home: Path) -> None:
    office.sends({}, {"no_pendaftaran": "R-2", **NEW})
    rules.correct()
    retry_now()
    ((load, retries),) = query("select load_id, retry_load_ids from ops.slice")
    assert len(retries) == 1
    assert query("select _line, _revision, _file, _load_id, _warnings from raw.registrations order by _line") == [
        (2, 1, "pendaftaran.csv", load, []),
        (3, 1, "pendaftaran.csv", retries[0], []),
    ]
    assert query("select distinct _load_id from vault.registrations order by 1") == [(load,), (retries[0],)]
    # The same person by the same token, and no person outside the vault.
    assert query("select count(distinct participant_token) from raw.registrations") == [(1,)]
    noted = query("select to_jsonb(e), to_jsonb(q) from ops.quarantine_event e, ops.quarantine q")
    assert "1171011203909001" not in str(noted)


def test_the_next_build_covers_the_slice_again(office: Office, rules: Rules) -> None:
    office.sends({}, {"no_pendaftaran": "R-2", **NEW})
    query(
        "insert into ops.build (run_id, as_of, first_business_date)"
        " values ('r', '2023-12-11', '2023-12-11') returning 1"
    )
    query("update ops.slice set build_id = 1 returning 1")
    query("update ops.build set outcome = 'published' returning 1")
    assert sums(retry_now()) == (1, 0, 0, 0)
    assert query("select build_id from ops.slice") == [(1,)]
    rules.correct()
    retry_now()
    assert query("select build_id from ops.slice") == [(None,)]


def test_rows_that_are_still_bad_stay_and_old_codes_stay_on_record(office: Office, rules: Rules) -> None:
    office.sends({"nik": "123", **NEW}, {"no_pendaftaran": "R-2", "nik": "123"})
    assert quarantined() == [(2, ["CODE_UNKNOWN", "NIK_FORMAT"], None), (3, ["NIK_FORMAT"], None)]
    rules.correct()
    assert sums(retry_now()) == (2, 0, 1, 0)
    assert quarantined() == [(2, ["NIK_FORMAT"], None), (3, ["NIK_FORMAT"], None)]
    assert events() == [(2, "judged_anew", ["CODE_UNKNOWN", "NIK_FORMAT"], ["NIK_FORMAT"])]
    assert query("select fields from ops.quarantine where line = 2") == [(["nik:NIK_FORMAT"],)]
    assert counts() == [(2, 0, 2, 0, 0, 0)]
    assert query("select build_id, retry_load_ids from ops.slice") == [(None, [])]


def test_the_share_of_valid_niks_follows_the_verdicts(office: Office, rules: Rules) -> None:
    """KPI rule 4: rows sent whose NIK earns no error; a warning on the NIK is none, ROW_SHAPE is one."""
    rules.change(
        "contracts/pendaftaran.odcs.yaml",
        "check: nik_region, reference: provinces.code",
        "check: nik_region, reference: occupations.code",
    )
    office.sends({}, {"no_pendaftaran": "R-2", "nik": "9971011203909001"}, {"no_pendaftaran": "R-3", "kanal": "SURAT"})
    assert counts() == [(3, 0, 3, 0, 0, 0)]
    rules.correct()
    assert sums(retry_now()) == (3, 1, 1, 0)
    assert quarantined() == [(2, ["NIK_REGION"], "accepted"), (3, ["NIK_REGION"], None), (4, ["CODE_UNKNOWN"], None)]
    assert counts() == [(3, 1, 2, 0, 2, 1)]


def test_retrying_twice_changes_nothing(office: Office, rules: Rules) -> None:
    office.sends({}, {"no_pendaftaran": "R-2", **NEW}, {"no_pendaftaran": "R-3", "nik": "1"}, {"nik": "1", **NEW})
    rules.correct()
    assert sums(retry_now()) == (3, 1, 1, 0)
    before = versions()
    assert sums(retry_now()) == (2, 0, 0, 0)
    assert versions() == before


def test_a_dry_run_says_what_would_be_and_changes_nothing(office: Office, rules: Rules) -> None:
    office.sends({}, {"no_pendaftaran": "R-2", **NEW}, {"nik": "1", **NEW})
    rules.correct()
    before = versions()
    assert sums(retry_now(dry_run=True)) == (2, 1, 1, 0)
    assert versions() == before
    assert sums(retry_now()) == (2, 1, 1, 0)


# ---------------------------------------------------------------------------------------------------------------------
# The same key twice (Exchange rule 3): the latest updated_at wins, then the last line
# ---------------------------------------------------------------------------------------------------------------------
EARLY, LATE, LATER = ({"diubah_pada": f"2023-12-11 {hour}:00"} for hour in ("08", "12", "16"))


def test_a_row_that_passes_now_and_is_later_beats_the_accepted_one(office: Office, rules: Rules) -> None:
    office.sends({**EARLY, "no_hp": "021"}, {**LATE, **NEW})
    assert counts() == [(2, 1, 1, 1, 2, 0)]
    rules.correct()
    assert sums(retry_now()) == (1, 1, 0, 1)
    assert accepted() == [("R-1", 3)]
    assert query("select _line from vault.registrations") == [(3,)]
    assert quarantined() == [(2, ["KEY_DUPLICATE"], None), (3, ["CODE_UNKNOWN"], "accepted")]
    assert query("select warnings, fields from ops.quarantine where line = 2") == [
        (["PHONE_FORMAT"], ["branch_id:KEY_DUPLICATE", "registration_no:KEY_DUPLICATE"])
    ]
    assert counts() == [(2, 1, 1, 0, 2, 1)]
    assert events() == [(2, "displaced", [], ["KEY_DUPLICATE"]), (3, "accepted", ["CODE_UNKNOWN"], [])]


def test_a_row_that_passes_now_and_is_earlier_loses_to_the_accepted_one(office: Office, rules: Rules) -> None:
    office.sends({**EARLY, **NEW}, LATE)
    rules.correct()
    assert sums(retry_now()) == (1, 0, 1, 0)
    assert accepted() == [("R-1", 3)]
    assert quarantined() == [(2, ["KEY_DUPLICATE"], None)]
    assert counts() == [(2, 1, 1, 0, 2, 1)]


def test_of_two_that_changed_at_the_same_moment_the_last_line_wins(office: Office, rules: Rules) -> None:
    office.sends({**LATE, **NEW}, LATE)
    rules.correct()
    assert sums(retry_now()) == (1, 0, 1, 0)
    assert accepted() == [("R-1", 3)]


def test_of_two_that_pass_now_one_is_accepted(office: Office, rules: Rules) -> None:
    office.sends({**LATE, **NEW}, {**EARLY, **NEW})
    rules.correct()
    assert sums(retry_now()) == (2, 1, 1, 0)
    assert accepted() == [("R-1", 2)]
    assert quarantined() == [(2, ["CODE_UNKNOWN"], "accepted"), (3, ["KEY_DUPLICATE"], None)]


def test_a_loser_of_its_key_stays_one_whoever_wins(office: Office, rules: Rules) -> None:
    office.sends(EARLY, LATE, {**LATER, **NEW})
    assert quarantined() == [(2, ["KEY_DUPLICATE"], None), (4, ["CODE_UNKNOWN"], None)]
    assert sums(retry_now()) == (2, 0, 0, 0)
    rules.correct()
    assert sums(retry_now()) == (2, 1, 0, 1)
    assert accepted() == [("R-1", 4)]
    assert quarantined() == [
        (2, ["KEY_DUPLICATE"], None),
        (3, ["KEY_DUPLICATE"], None),
        (4, ["CODE_UNKNOWN"], "accepted"),
    ]


def test_a_loser_that_breaks_todays_rules_carries_their_code(office: Office, rules: Rules) -> None:
    """As a fresh load would have it: a row with another error does not carry KEY_DUPLICATE."""
    office.sends({**EARLY, "segmen": "PKL"}, LATE)
    rules.change(
        "contracts/pendaftaran.odcs.yaml", "values: [MANDIRI, PEKERJA_RENTAN, PKL]", "values: [MANDIRI, PEKERJA_RENTAN]"
    )
    path = rules.folder / "contracts" / "pendaftaran.odcs.yaml"
    before, after = path.read_text().split("values: [MANDIRI, PEKERJA_RENTAN]")
    head, _, tail = before.rpartition("severity: warning")
    path.write_text(f"{head}severity: error{tail}values: [MANDIRI, PEKERJA_RENTAN]{after}")
    load_contract.cache_clear()
    assert sums(retry_now()) == (1, 0, 1, 0)
    assert quarantined() == [(2, ["CODE_UNKNOWN"], None)]


def test_a_row_accepted_by_a_retry_may_be_displaced_by_a_later_one(office: Office, rules: Rules) -> None:
    rules.change("contracts/pendaftaran.odcs.yaml", "RADIO, ", "")
    office.sends({**EARLY, **NEW}, {**LATE, "kanal": "RADIO"})
    rules.change("contracts/pendaftaran.odcs.yaml", "PERISAI, MITRA", "PERISAI, JMO, MITRA")
    assert sums(retry_now()) == (2, 1, 0, 0)
    assert quarantined() == [(2, ["CODE_UNKNOWN"], "accepted"), (3, ["CODE_UNKNOWN"], None)]
    rules.correct()
    assert sums(retry_now(note=AuditNote("RADIO too", "another"))) == (1, 1, 0, 1)
    assert accepted() == [("R-1", 3)]
    assert quarantined() == [(2, ["KEY_DUPLICATE"], None), (3, ["CODE_UNKNOWN"], "accepted")]
    assert [(line, event) for line, event, *_ in events()] == [(2, "accepted"), (2, "displaced"), (3, "accepted")]
    ((_, retries),) = query("select load_id, retry_load_ids from ops.slice")
    assert len(retries) == 2


def test_keys_are_judged_over_what_the_contract_calls_a_key_today(office: Office, rules: Rules) -> None:
    """The rule that says which row wins was corrected: what it makes of rows that were set apart by the old one."""
    rules.correct()
    rules.change("contracts/pendaftaran.odcs.yaml", "latest: updated_at", "latest: _line")
    office.sends({**LATE}, {**EARLY})
    assert quarantined() == [(2, ["KEY_DUPLICATE"], None)]
    rules.correct()
    assert sums(retry_now()) == (1, 1, 0, 1)
    assert accepted() == [("R-1", 2)]
    assert quarantined() == [(2, ["KEY_DUPLICATE"], "accepted"), (3, ["KEY_DUPLICATE"], None)]


# ---------------------------------------------------------------------------------------------------------------------
# Against a fresh load
# ---------------------------------------------------------------------------------------------------------------------
def a_row(chance: random.Random) -> dict[str, str]:
    """One of few keys and instants; good, bad for good, or bad until the rules are corrected; or several of these."""
    row = {"no_pendaftaran": f"R-{chance.randint(1, 6)}", "diubah_pada": f"2023-12-11 {chance.randint(10, 13)}:00"}
    for share, change in (
        (0.4, NEW),
        (0.1, {"nik": "123"}),
        (0.1, {"nik": "1171011203709001"}),
        (0.1, {"kode_pekerjaan": "ASTRONOT"}),
        (0.1, {"no_hp": "021", "email": chance.choice(["", "a@b.id"])}),
        (0.1, {"penghasilan": "0"}),
        (0.1, {"nik": f"11710112039090{chance.randint(10, 99)}"}),
        (0.1, {"status_data": chance.choice(["BATAL", "KOREKSI", "HAPUS"])}),
    ):
        if chance.random() < share:
            row |= change
    return row


@pytest.mark.parametrize("batch_rows", [50_000, 3])
def test_a_retry_leaves_what_a_fresh_load_by_todays_rules_would(
    office: Office,
    rules: Rules,
    root: Path,
    tmp_path: Path,
    pg: server.Server,
    monkeypatch: pytest.MonkeyPatch,
    batch_rows: int,
) -> None:
    monkeypatch.setattr("kkbc.slices.rejudging.BATCH_ROWS", batch_rows)
    rules.change("contracts/iuran.odcs.yaml", "values: [JKK_JKM, JKK_JKM_JHT]", "values: [JKK_JKM_JHT]")
    rules.change("contracts/kegiatan.odcs.yaml", "PASAR, KOMUNITAS", "KOMUNITAS")
    chance = random.Random(20231211)
    for i in range(20):
        deliver(
            root,
            {
                "pendaftaran": [a_row(chance) for _ in range(chance.choice([0, 1, 5, 20, 40]))],
                "iuran": [{"nik": chance.choice(["1171011203909001", "123"])}, {"id_bayar": f"P-{i}"}],
                "kegiatan": [{"jumlah_kontak": chance.choice(["5", "-5"])}],
            },
            day=DAY + timedelta(days=i),
        )
    office.pull(as_of=DAY + timedelta(days=30))
    first = state()
    rules.correct()
    report = retry_now()
    assert sums(report)[1] > 50
    assert sums(report)[3] > 5
    retried = state()
    assert retried != first
    with fresh_warehouse(pg, monkeypatch, tmp_path / "fresh"):
        office.pull(as_of=DAY + timedelta(days=30))
        loaded = state()
    for part in loaded:
        assert retried[part] == loaded[part], part
    assert query("select count(*) from ops.slice where rows_sent <> rows_accepted + rows_quarantined") == [(0,)]


def test_code_by_code_it_comes_to_the_same(
    office: Office, rules: Rules, root: Path, tmp_path: Path, pg: server.Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    chance = random.Random(1)
    for i in range(5):
        rows = [a_row(chance) for _ in range(30)]
        deliver(root, {"pendaftaran": rows}, day=DAY + timedelta(days=i))
    office.pull(as_of=DAY + timedelta(days=30))
    rules.correct()
    for code in ("KEY_DUPLICATE", "NIK_FORMAT", "CODE_UNKNOWN"):
        assert sums(retry_now(Selection(code=code)))[0] > 0
    retried = state()
    with fresh_warehouse(pg, monkeypatch, tmp_path / "fresh"):
        office.pull(as_of=DAY + timedelta(days=30))
        loaded = state()
    for part in loaded:
        assert retried[part] == loaded[part], part


def test_a_corrected_registry_counts_too(office: Office, rules: Rules, root: Path) -> None:
    """A target for an office that the registry does not know is quarantined until it does."""
    path = rules.folder / "branches.yml"
    lines = path.read_text().splitlines(keepends=True)
    path.write_text("".join(line for line in lines if "branch_id: KC002" not in line))
    load_registry.cache_clear()
    assert "KC002" not in {branch.branch_id for branch in load_registry().branches}
    content = "kode_kantor,bulan,target_peserta_baru,target_peserta_aktif,target_iuran\n" + "".join(
        f"KC002,2023-12,{n},1,1\n" for n in (1, 2)
    )
    folder = deliver(root, {}, branch_id="HQ")
    (folder / "target.csv").write_text(content)
    manifest = json.loads((folder / "manifest.json").read_text())
    manifest["files"] = [{"feed": "target", "name": "target.csv", "rows": 2, **fingerprint(content.encode())}]
    (folder / "manifest.json").write_text(json.dumps(manifest))
    office.pull("HQ")
    assert quarantined() == [(2, ["CODE_UNKNOWN"], None), (3, ["CODE_UNKNOWN"], None)]
    rules.correct()
    assert sums(retry_now(Selection(feed="target"))) == (2, 1, 1, 0)
    assert query("select branch_id, target_new, _line from raw.targets") == [("KC002", 2, 3)]
    assert query("select rows_nik_valid, rows_contactable from ops.slice") == [(None, None)]
