"""What the gate holds leaves the warehouse as if it had never come, and comes back when a person says so."""

import json
from datetime import timedelta
from pathlib import Path
from typing import Any

import psycopg
import pytest
from typer.testing import CliRunner

from kkbc import nights
from kkbc.cli.application import app
from kkbc.core.errors import GateFailed, UserError
from kkbc.core.settings import get_settings
from kkbc.exchange.slices import Slice
from kkbc.gate import AuditResult, Finding
from kkbc.slices import AuditNote, hold, holds, release
from kkbc.slices.quarantine import Address, show
from kkbc.warehouse import connect
from tests.slices.quarantine.scene import DAY, NEW, Office, Rules, accepted, quarantined, query, retry_now, state, sums

R1, R2, R3 = (Slice("pendaftaran", "KC001", DAY, revision) for revision in (1, 2, 3))
WHY = {str(R1): ["ten times the usual"], str(R2): ["ten times the usual"], str(R3): ["ten times the usual"]}
BAD = {"nik": "123"}


def people(*numbers: int) -> list[dict[str, str]]:
    return [{"no_pendaftaran": f"R-{n}", "nik": f"117101120390900{n}"} for n in numbers]


def held(build_id: int | None = None) -> list[Slice]:
    """Holds what is new of the branch, in a build of its own unless one is given."""
    build_id = build_id or nights.open_build("r")
    with connect("loader", autocommit=True) as conn:
        return hold(conn, build_id, "KC001", WHY)


def let_in(slice_: Slice) -> int:
    with connect("loader", autocommit=True) as conn:
        return release(conn, slice_, AuditNote("market days, as announced", "a tester"))


def published() -> None:
    """A build over all that is there, published."""
    build_id = nights.open_build("r")
    query(
        f"update ops.build set outcome = 'published', load_id = (select max(load_id) from ops.slice)"
        f" where build_id = {build_id} returning 1"
    )


def statuses() -> list[Any]:
    return query("select feed, revision, status from ops.slice order by feed, revision")


def rows_with_loads() -> list[Any]:
    """Raw and vault with every column, the load too."""
    return [
        query(f"select to_jsonb(t) from {table} t order by _line")
        for table in ("raw.registrations", "vault.registrations")
    ]


def test_a_new_slice_is_held_with_all_that_the_branch_sent_besides(office: Office) -> None:
    office.sends(*people(1), BAD)
    day_before = dict.fromkeys(("tgl_bayar", "diubah_pada"), "2023-12-10 09:00")
    office.sends(day_before, feed="iuran", day=DAY - timedelta(days=1))

    assert held() == [Slice("iuran", "KC001", DAY - timedelta(days=1), 1), R1]

    assert query("select from raw.registrations union all select from vault.registrations") == []
    assert query("select from raw.contributions union all select from vault.contributions") == []
    assert statuses() == [("iuran", 1, "held"), ("pendaftaran", 1, "held")]
    assert quarantined() == [(3, ["NIK_FORMAT"], None)]
    assert [(found.slice, found.reasons, found.restored_revision) for found in holds()] == [
        (Slice("iuran", "KC001", DAY - timedelta(days=1), 1), [f"held with {', '.join(sorted(WHY))}"], None),
        (R1, ["ten times the usual"], None),
    ]
    assert show(Address.parse(str(R1))).slice["status"] == "held"
    # Nothing of it is outstanding: it is neither fetched nor retried, and holding again finds nothing.
    versions = query("select xmin::text, to_jsonb(s) from ops.slice s order by 2")
    office.pull()
    assert sums(retry_now()) == (0, 0, 0, 0)
    assert held(1) == []
    assert query("select xmin::text, to_jsonb(s) from ops.slice s order by 2") == versions


def test_the_revision_before_is_back_exactly_as_it_was(office: Office, rules: Rules) -> None:
    """Rows that a retry brought in, and one that it pushed out, included."""
    office.sends(
        *people(1),
        {"no_pendaftaran": "R-2", "nik": "1171011203909002", "diubah_pada": "2023-12-11 08:00"},
        {"no_pendaftaran": "R-2", "nik": "1171011203909002", "diubah_pada": "2023-12-11 12:00", **NEW},
        {"no_pendaftaran": "R-3", "nik": "1171011203909003", **NEW},
        BAD,
    )
    rules.correct()
    retry_now()
    assert accepted() == [("R-1", 2), ("R-2", 4), ("R-3", 5)]
    published()
    before, rows, bad = state(), rows_with_loads(), quarantined()

    office.sends(*people(7), revision=2)
    assert accepted() == [("R-7", 2)]
    build_id = nights.open_build("r")
    assert held(build_id) == [R2]

    assert rows_with_loads() == rows
    assert quarantined() == bad
    assert state()["slices"][0] == before["slices"][0]
    assert statuses() == [("pendaftaran", 1, "loaded"), ("pendaftaran", 2, "held")]
    # The build looks at that day again, by the slice that is held.
    assert query(f"select revision from ops.slice where build_id = {build_id}") == [(2,)]
    assert holds()[0].restored_revision == 1


def test_a_released_slice_is_loaded_for_the_next_build_and_never_held_again(office: Office) -> None:
    office.sends(*people(1))
    published()
    office.sends(*people(1, 2), BAD, revision=2)
    before = state()
    held()

    assert let_in(R2) == 2

    after = state()
    assert {name: after[name] for name in after if name != "slices"} == {
        name: before[name] for name in before if name != "slices"
    }
    assert after["slices"] == before["slices"]  # with no build: the next one takes it
    assert [(found.closed_as, found.released_by, found.release_why) for found in holds(closed=True)] == [
        ("released", "a tester", "market days, as announced")
    ]
    assert holds() == []
    assert held() == []
    with pytest.raises(UserError, match="is not held: it was released"):
        let_in(R2)
    with pytest.raises(UserError, match="is not held: it was never held"):
        let_in(R1)


def test_a_new_revision_needs_no_release(office: Office) -> None:
    office.sends(*people(1), BAD)
    held()
    office.sends(*people(2), revision=2)
    assert accepted() == [("R-2", 2)]
    assert statuses() == [("pendaftaran", 1, "superseded"), ("pendaftaran", 2, "loaded")]
    assert quarantined() == [(3, ["NIK_FORMAT"], "superseded")]
    assert [found.closed_as for found in holds(closed=True)] == ["superseded"]
    with pytest.raises(UserError, match="it was superseded"):
        let_in(R1)
    # A revision that never went through the gate is not what comes back.
    assert held() == [R2]
    assert accepted() == []


def test_a_revision_between_is_in_force_until_the_higher_one_is_released(office: Office) -> None:
    office.sends(*people(1))
    published()
    office.sends(*people(3), revision=3)
    held()
    office.sends(*people(2), revision=2)
    assert [status for _, _, status in statuses()] == ["superseded", "loaded", "held"]
    assert accepted() == [("R-2", 2)]
    let_in(R3)
    assert [status for _, _, status in statuses()] == ["superseded", "superseded", "loaded"]
    assert accepted() == [("R-3", 2)]


def test_what_was_published_stays_whatever_else_is_held(office: Office, rules: Rules) -> None:
    office.sends(*people(1), {"no_pendaftaran": "R-2", **NEW})
    published()
    rules.correct()
    retry_now()
    assert query("select build_id from ops.slice") == [(None,)]
    assert held() == []
    assert accepted() == [("R-1", 2), ("R-2", 3)]


def test_a_hold_that_is_cut_off_is_done_as_a_whole_the_next_time(
    office: Office, monkeypatch: pytest.MonkeyPatch
) -> None:
    office.sends(*people(1))
    published()
    office.sends(*people(2), revision=2)
    build_id = nights.open_build("r")
    before = (state(), rows_with_loads())

    def cut_off(*_: Any) -> int:
        raise psycopg.OperationalError("the server is gone")

    with monkeypatch.context() as patch:
        patch.setattr("kkbc.slices.holding.copy_rows", cut_off)
        with pytest.raises(psycopg.OperationalError):
            held(build_id)
    assert (state(), rows_with_loads()) == before
    assert holds() == []
    # The build that was cut off hands its slices on.
    assert held() == [R2]
    assert accepted() == [("R-1", 2)]


def test_rows_that_landing_has_lost_are_not_lost_without_a_word(office: Office, home: Path) -> None:
    office.sends(*people(1))
    published()
    office.sends(*people(2), revision=2)
    for path in (home / "landing").rglob("r1-*/rows/accepted-*.parquet"):
        path.unlink()
    with pytest.raises(UserError, match="landing holds 0 of 1 rows"):
        held()
    assert accepted() == [("R-2", 2)]


def test_the_gate_holds_what_is_far_out_and_reports_it_alone_when_it_only_warns(
    office: Office, monkeypatch: pytest.MonkeyPatch
) -> None:
    office.sends(*({"no_pendaftaran": f"R-{n}", "nik": f"117101120390{n:04}"} for n in range(1, 101)))
    query(
        "insert into ops.slice (feed, branch_id, business_date, revision, status, manifest_sha256, rows_sent,"
        " rows_accepted, load_id) select 'pendaftaran', 'KC001', date '2023-12-11' - 7 * week, 1, 'loaded', 'x', 10,"
        " 10, 0 from generate_series(1, 4) as week returning 1"
    )
    query("update ops.slice set build_id = null, run_id = 'r' returning 1")
    published_before = query(
        "insert into ops.build (as_of, first_business_date, outcome, load_id)"
        " values ('2023-12-10', '2023-11-01', 'published', 0) returning build_id"
    )[0][0]
    query(f"update ops.slice set build_id = {published_before} where load_id = 0 returning 1")
    build_id = nights.open_build("r")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("KKBC_GATE", "warn")
        get_settings.cache_clear()
        outcome = nights.audit_slices(build_id)
    get_settings.cache_clear()
    assert (outcome["held"], outcome["to_hold"], len(accepted())) == ([], 1, 100)

    outcome = nights.audit_slices(build_id)

    assert outcome["held"] == [str(R1)]
    assert accepted() == []
    assert holds()[0].reasons == [
        "pendaftaran new_volume_over_most where rows_sent >= 50 on"
        " pendaftaran/KC001/2023-12-11/r1: observed 10, wanted <= 5"
    ]

    runner = CliRunner()
    listed = json.loads(runner.invoke(app, ["gate", "list", "--json"]).stdout)
    assert [found["slice"] for found in listed] == [str(R1)]
    assert "observed 10" in runner.invoke(app, ["gate", "show", str(R1)]).stdout.replace("\n", " ")
    assert isinstance(runner.invoke(app, ["gate", "release", "KC044", "--why", "x"]).exception, UserError)
    released = runner.invoke(app, ["gate", "release", "KC001", "--why", "market days", "--json"])
    assert json.loads(released.stdout) == {"released": [{"slice": str(R1), "rows": 100}]}
    outcome = nights.audit_slices(nights.open_build("r"))
    assert (outcome["held"], outcome["to_hold"]) == ([], 0)
    assert len(accepted()) == 100


def test_when_too_many_would_be_held_it_is_not_the_branches() -> None:
    def far_out(branches: int) -> AuditResult:
        places = tuple((f"iuran/KC{n:03}/{DAY}/r1", "9") for n in range(1, branches + 1))
        return AuditResult("loaded_slices", 7, (Finding("iuran", "e", "c", "hold", False, "<= 5", branches, places),))

    assert list(far_out(5).to_hold("fail", 5)) == ["KC001", "KC002", "KC003", "KC004", "KC005"]
    assert len(far_out(24).to_hold("fail", 122)) == 24
    for branches, of in ((6, 6), (25, 122)):
        with pytest.raises(GateFailed, match=rf"would hold {branches} of {of} branches"):
            far_out(branches).to_hold("fail", of)
        assert far_out(branches).to_hold("warn", of) == {}


def test_what_comes_before_the_models_are_built_goes_through_the_gate_first(
    office: Office, monkeypatch: pytest.MonkeyPatch
) -> None:
    office.sends(*people(1))
    build_id = nights.open_build("r")
    office.sends({}, feed="iuran")
    audited: list[Any] = []

    def build(layer: str, **more: Any) -> list[Any]:
        with connect("transformer", autocommit=True) as conn:
            more["ready"](conn)
        return []

    monkeypatch.setattr("kkbc.nights.build.build", build)
    monkeypatch.setattr(
        "kkbc.nights.build.audit_slices",
        lambda build_id: audited.append(query("select build_id, feed from ops.slice order by 2")),
    )
    nights.build_layer(build_id, "seeds")
    assert audited == []
    nights.build_layer(build_id, "models")
    assert audited == [[(build_id, "iuran"), (build_id, "pendaftaran")]]
    # What its audit may know of: the loads up to now.
    assert query("select load_id = (select max(load_id) from ops.slice) from ops.build") == [(True,)]
