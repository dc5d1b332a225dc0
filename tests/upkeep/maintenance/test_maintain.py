"""Maintenance takes what is past its time and nothing that anybody may still ask for; again, it takes nothing more."""

import os
import re
import time
from collections.abc import Sequence
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pytest
import yaml

import kkbc.intake.process
from kkbc import nights
from kkbc.core import clock, tokens
from kkbc.core.errors import UserError
from kkbc.core.settings import PROJECT_ROOT, get_settings
from kkbc.exchange.slices import Slice
from kkbc.intake.landing import Landing
from kkbc.nights import RunRequest
from kkbc.rights.persons import persons
from kkbc.rights.restriction import release, restrict
from kkbc.slices import AuditNote
from kkbc.slices.record import SliceRecord
from kkbc.slices.rejudging import Rejudge
from kkbc.upkeep.maintenance import PARTS, maintain
from kkbc.warehouse import connect
from tests.deliveries import deliver

DAY = date(2023, 12, 11)
BAD = {"tgl_lahir": "1890-01-01"}


def run(statement: str, *values: Any) -> list[Any]:
    with connect() as conn:
        cursor = conn.execute(statement.encode(), values or None)
        return cursor.fetchall() if cursor.description else []


def did(part: str, **more: Any) -> dict[str, int]:
    (done,) = maintain([part], **more)
    return done.did


@pytest.fixture
def root(warehouse: str, home: Path, tmp_path: Path) -> Path:
    tokens.ensure_key(home)
    folder = tmp_path / "branches"
    folder.mkdir()
    return folder


def send(root: Path, *names: str, revision: int = 1, people: Sequence[str] = (), **more: Any) -> None:
    """Delivers registrations, the last of them bad, and pulls them."""
    rows = [{"no_pendaftaran": name, **(BAD if name == names[-1] else {})} for name in names]
    for row, nik in zip(rows, people, strict=False):
        row["nik"] = nik
    deliver(root, {"pendaftaran": rows}, revision=revision, **more)
    nights.open_run(RunRequest(DAY, root), mode="plain", run_id="r")
    nights.pull_branch("r", "KC001")


def publish() -> None:
    run(
        "insert into ops.build (run_id, as_of, first_business_date, outcome) values ('r', %s, %s, 'published')",
        DAY,
        DAY,
    )
    run("update ops.slice set build_id = (select max(build_id) from ops.build)")


def age(days: int) -> None:
    """Makes all that is on record so many days older."""
    run(
        f"update ops.slice set loaded_at = loaded_at - interval '{days} days',"
        f" first_seen_at = now() - interval '{days} days'"
    )


def landed(home: Path) -> set[str]:
    """Kinds of files by revision, as in r1/sent and r2/accepted."""
    return {
        re.sub(r".*/(r\d+)-[^/]+/(?:sent/.*|rows/([a-z]+)-.*)", lambda m: f"{m[1]}/{m[2] or 'sent'}", str(path))
        for path in (home / "landing").rglob("*")
        if path.is_file()
    }


@pytest.fixture
def two_revisions(root: Path) -> Path:
    send(root, "A", "B")
    send(root, "A", "B", "C", revision=2)
    return root


def test_a_superseded_revision_stays_until_the_one_that_replaced_it_was_published(
    two_revisions: Path, home: Path
) -> None:
    everything = landed(home)
    assert len(everything) == 6
    age(1000)
    assert did("landing")["files"] == 0
    publish()
    foreseen = did("landing", dry_run=True)
    assert foreseen["superseded"] == 1
    assert landed(home) == everything
    assert did("landing") == foreseen
    assert landed(home) == {"r2/sent", "r2/accepted", "r2/quarantined"}
    assert did("landing")["files"] == 0


def test_rows_of_a_superseded_revision_go_before_its_bytes(two_revisions: Path, home: Path) -> None:
    publish()
    age(100)
    found = did("landing")
    assert (found["superseded"], found["superseded_rows"]) == (0, 1)
    assert landed(home) == {"r1/sent", "r2/sent", "r2/accepted", "r2/quarantined"}


@pytest.mark.parametrize("status", ["loaded", "held"])
@pytest.mark.parametrize("days", [3_649, 10_000])
def test_what_is_held_or_open_in_quarantine_stays_whatever_its_age(
    root: Path, home: Path, status: str, days: int
) -> None:
    send(root, "A", "B")
    publish()
    run("update ops.slice set status = %s", status)
    age(days)
    before = landed(home)
    assert did("landing")["files"] == 0
    assert landed(home) == before


def close_quarantine(days: int = 0) -> None:
    run(
        "update ops.quarantine set closed_as = 'resolved', closed_why = 'x',"
        " closed_at = now() - make_interval(days => %s)",
        days,
    )


@pytest.mark.parametrize(("days", "gone"), [(3_649, 0), (3_651, 1)])
def test_what_is_in_force_goes_after_years_when_nothing_of_it_is_open(
    root: Path, home: Path, days: int, gone: int
) -> None:
    send(root, "A", "B")
    close_quarantine()
    age(days)
    assert did("landing")["in_force"] == 0, "it was never published"
    publish()
    foreseen = did("landing", dry_run=True)
    assert foreseen["in_force"] == gone
    assert "r1/sent" in landed(home)
    assert did("landing") == foreseen
    assert ("r1/sent" in landed(home)) == (not gone)
    assert run("select landed_uri is null, status from ops.slice") == [(bool(gone), "loaded")]
    assert did("landing")["files"] == 0


def test_a_revision_that_is_held_keeps_the_one_that_comes_back(two_revisions: Path, home: Path) -> None:
    publish()
    close_quarantine()
    run("update ops.slice set status = 'held' where revision = 2")
    run("update ops.slice set status = 'loaded' where revision = 1")
    age(10_000)
    before = landed(home)
    assert did("landing")["in_force"] == 0
    assert "r1/sent" in before & landed(home)


def test_bytes_past_their_time_are_named_when_they_are_asked_for(root: Path, home: Path) -> None:
    send(root, "A", "B")
    close_quarantine()
    publish()
    age(10_000)
    did("landing")
    with connect("loader") as conn:
        record = SliceRecord.load(conn, Slice("pendaftaran", "KC001", DAY, 1))
    assert record is not None
    with pytest.raises(UserError, match="past its time"):
        Rejudge().whole(record)


def heard_of(name: str, day: date) -> None:
    """Has a person of the vault, by the number of the registration, be of another business date."""
    token = "(select participant_token from raw.registrations where registration_no = %s)"
    with connect() as conn:
        conn.execute("select ops.ensure_partitions(%s)", [day])
        for table in ("vault.registrations", "raw.registrations"):
            conn.execute(
                f"update {table} set _business_date = %s where participant_token = {token}".encode(), [day, name]
            )


def test_persons_who_were_not_heard_of_for_years_go_from_the_vault_and_facts_stay(root: Path, home: Path) -> None:
    send(
        root,
        "A",
        "B",
        "C",
        "D",
        people=("3171011203909001", "3171015203909002", "3171011203909003", "3171011203909004"),
    )
    today = clock.now().astimezone(clock.JAKARTA).date()
    heard_of("A", today - timedelta(days=3_651))
    heard_of("B", today - timedelta(days=3_650))
    tokens_of = dict(run("select registration_no, participant_token from raw.registrations"))
    foreseen = did("persons", dry_run=True)
    assert (foreseen["persons"], foreseen["vault_rows"]) == (1, 1)
    assert run("select count(*) from vault.registrations") == [(3,)]
    assert did("persons") == foreseen
    assert {token for (token,) in run("select participant_token from vault.registrations")} == {
        tokens_of["B"],
        tokens_of["C"],
    }
    assert dict(run("select registration_no, participant_token from raw.registrations")) == tokens_of
    assert did("persons")["persons"] == 0


def test_a_person_who_was_heard_of_in_another_feed_stays_whole(root: Path, home: Path) -> None:
    nik = "3171011203909001"
    old, new = date(2010, 3, 1), clock.now().astimezone(clock.JAKARTA).date() - timedelta(days=10)
    send(root, "A", "B", people=(nik, "3171015203909002"))
    heard_of("A", old)
    with connect() as conn:
        conn.execute("select ops.ensure_partitions(%s)", [new])
        conn.execute(
            "insert into vault.contributions"
            " (_business_date, _branch_id, _revision, _line, _load_id, participant_token, nik)"
            " select %s, 'KC002', 1, 1, 1, participant_token, nik from vault.registrations",
            [new],
        )
    assert did("persons")["persons"] == 0
    run("delete from vault.contributions")
    assert did("persons") == {"persons": 1, "vault_rows": 1, "of_records": 0, "quarantined": 0}


def test_whom_a_record_is_of_is_kept_for_as_long_and_who_is_restricted_longer(root: Path) -> None:
    stays, goes, young = "1171011203909001", "1171011203909002", "1171011203909003"
    note = AuditNote("a test", "a tester")
    restrict(persons([stays, goes, young]), note)
    release(persons([goes, young]), note)
    run(f"update vault.person set last_at = now() - interval '3652 days' where nik <> '{young}'")
    assert did("persons", dry_run=True)["of_records"] == 1
    assert did("persons")["of_records"] == 1
    assert sorted(run("select nik from vault.person")) == [(stays,), (young,)]


def test_rows_that_wait_in_quarantine_for_too_long_are_closed_and_on_record(root: Path) -> None:
    send(root, "A", "B")
    run("update ops.quarantine set first_seen_at = now() - interval '730 days'")
    assert did("persons", dry_run=True)["quarantined"] == 1
    assert run("select closed_as from ops.quarantine") == [(None,)]
    assert did("persons")["quarantined"] == 1
    assert run("select closed_as, closed_why from ops.quarantine") == [("resolved", "open for more than 730 days")]
    assert run("select event, done_by from ops.quarantine_event") == [("resolved", "kkbc maintain")]


def test_exports_of_the_home_go_and_files_elsewhere_stay(warehouse: str, home: Path, tmp_path: Path) -> None:
    old = time.time() - 31 * 86_400
    paths = [home / "exports" / "a" / "x.csv", home / "subject-reports" / "y.html", home / "exports" / "new.csv"]
    elsewhere = tmp_path / "mine.csv"
    elsewhere.write_text("x")
    for path in [*paths, elsewhere]:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("x")
        os.utime(path, (old, old))
    os.utime(paths[2])
    (home / "exports" / "link").symlink_to(elsewhere)
    assert did("exports", dry_run=True) == {"files": 2, "bytes": 2}
    assert did("exports") == {"files": 2, "bytes": 2}
    assert [path.exists() for path in [*paths, elsewhere]] == [False, False, True, True]
    assert not (home / "exports" / "a").exists()


def test_a_home_without_an_airflow_has_nothing_to_clean_there(warehouse: str) -> None:
    assert did("airflow") == {"reachable": 0, "rows": 0}


def test_text_of_quarantined_rows_goes_when_all_of_the_slice_is_closed(root: Path, home: Path) -> None:
    send(root, "A", "B")
    run("update ops.quarantine set first_seen_at = now() - interval '1000 days'")
    assert did("landing")["files"] == 0
    run("update ops.quarantine set closed_at = now() - interval '179 days', closed_as = 'resolved'")
    assert did("landing")["files"] == 0
    run("update ops.quarantine set closed_at = now() - interval '181 days'")
    assert did("landing")["quarantined_rows"] == 1
    assert landed(home) == {"r1/sent", "r1/accepted"}


def test_a_rejected_revision_stays_while_it_is_the_last_word(root: Path, home: Path) -> None:
    send(root, "A", "B", schema_version=9)
    assert run("select status from ops.slice") == [("rejected",)]
    age(1000)
    assert did("landing")["files"] == 0
    send(root, "A", "B", revision=2)
    assert did("landing")["rejected"] == 1
    assert {name.split("/")[0] for name in landed(home)} == {"r2"}


def test_folders_that_no_record_names_go_after_a_while(root: Path, home: Path) -> None:
    send(root, "A", "B")
    stray = home / "landing" / "KC001" / "2023-12-11" / "iuran" / "r1-0123456789ab" / "sent"
    stray.mkdir(parents=True)
    (stray / "iuran.csv").write_text("x")
    assert did("landing")["unknown"] == 0
    for path in (stray / "iuran.csv", stray, stray.parent):
        os.utime(path, (time.time() - 40 * 86400,) * 2)
    assert did("landing")["unknown"] == 1
    assert not stray.exists()
    assert landed(home) == {"r1/sent", "r1/accepted", "r1/quarantined"}


@pytest.fixture
def in_parts(root: Path, home: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """The folder of a slice of 50 rows in 5 parts."""
    monkeypatch.setattr(kkbc.intake.process, "BATCH_ROWS", 10)
    monkeypatch.setattr(kkbc.intake.process.take_in, "__kwdefaults__", {"batch_rows": 10})
    send(root, *(f"R-{number}" for number in range(50)))
    age(8)
    return str(run("select landed_uri from ops.slice")[0][0]).removeprefix("file://")


def kept(uri: str) -> list[tuple[int, pl.DataFrame]]:
    """Number of files and all rows, of both kinds."""
    landing = Landing(get_settings().landing)
    found = [landing.rows(uri, kind) for kind in ("accepted", "quarantined")]
    return [(len(frames.paths), pl.concat(list(frames))) for frames in found]


def test_parts_become_one_with_the_same_rows(in_parts: str) -> None:
    before = kept(in_parts)
    assert [count for count, _ in before] == [5, 5]
    assert did("compaction", dry_run=True)["slices"] == 1
    assert [count for count, _ in kept(in_parts)] == [5, 5]
    assert did("compaction")["slices"] == 1
    after = kept(in_parts)
    assert [count for count, _ in after] == [1, 1]
    for (_, old), (_, new) in zip(before, after, strict=True):
        assert old.equals(new)
    assert did("compaction") == {"slices": 0, "bytes": 0}
    assert sorted(path.name for path in Path(in_parts).iterdir()) == ["rows", "sent"]


def test_a_compaction_that_was_killed_between_two_names_is_fixed(in_parts: str) -> None:
    before = kept(in_parts)
    folder = Path(in_parts)
    (folder / "rows").rename(folder / "rows.earlier")
    (folder / "rows.compact").mkdir()
    did("compaction")
    for (_, old), (_, new) in zip(before, kept(in_parts), strict=True):
        assert old.equals(new)
    assert sorted(path.name for path in folder.iterdir()) == ["rows", "sent"]


def test_rows_past_their_time(root: Path) -> None:
    send(root, "A", "B")
    publish()
    run("insert into ops.publication (build_id, as_of, tables) values (1, %s, '{}')", DAY)
    run("insert into ops.build (run_id, as_of, first_business_date, outcome) values ('r', %s, %s, 'failed')", DAY, DAY)
    for build in (1, 2):
        run(
            "insert into ops.expectation_result (build_id, checkpoint, suite, expectation, severity, success,"
            " recorded_at) values (%s, 'c', 's', 'e', 'warn', true, now() - interval '401 days')",
            build,
        )
        run(
            "insert into ops.dbt_result (build_id, layer, unique_id, resource_type, status, seconds, recorded_at)"
            " values (%s, 'models', 'm', 'model', 'success', 1, now() - interval '401 days')",
            build,
        )
    run(
        "insert into ops.step (run_id, step, outcome, finished_at) values ('r', 'a', 'ok', now() - interval '401 days')"
    )
    run("insert into ops.step (run_id, step) values ('r', 'under way')")
    run(
        "insert into ops.notification (business_date, kind, channel, published, subject, body, facts, created_at)"
        " values (%s, 'night', 'log', true, 's', 'b', '{}', now() - interval '401 days')",
        DAY,
    )
    run("delete from ops.attempt")
    for branch, outcome, days in (("KC001", "failed", 500), ("KC001", "loaded", 402), ("KC001", "failed", 401)):
        run(
            "insert into ops.attempt (run_id, branch_id, kind, started_at, finished_at, outcome)"
            " values ('r', %s, 'file', now(), now() - make_interval(days => %s), %s)",
            branch,
            days,
            outcome,
        )
    expected = {"attempts": 1, "steps": 1, "dbt_results": 1, "expectation_results": 1, "notifications": 1}
    assert did("rows", dry_run=True) == expected
    assert did("rows") == expected
    assert set(did("rows").values()) == {0}
    assert run("select outcome from ops.attempt order by attempt_id") == [("loaded",), ("failed",)]
    assert run("select build_id from ops.expectation_result") == [(1,)]
    assert run("select build_id from ops.dbt_result") == [(2,)]


def test_partitions_are_there_before_the_first_row(warehouse: str) -> None:
    assert did("partitions", dry_run=True) == {"months_made": 4}
    assert did("partitions") == {"months_made": 4}
    assert did("partitions") == {"months_made": 0}
    assert run("select count(*) from pg_inherits where inhparent = 'raw.registrations'::regclass") == [(4,)]


def test_statistics_are_brought_up_to_date(root: Path) -> None:
    send(root, "A", "B")
    run("update pg_class set reltuples = -1 where oid = 'raw.registrations_2023_12'::regclass")
    assert did("analyze", dry_run=True)["tables"] >= 20
    assert did("analyze")["tables"] >= 20
    assert run("select reltuples::int from pg_class where oid = 'raw.registrations_2023_12'::regclass") == [(1,)]


def test_logs_go_and_what_is_no_log_stays(warehouse: str, home: Path) -> None:
    old, new, other = (home / "airflow" / "logs" / name for name in ("dag/a.log", "dag2/b.log", "dag/c.txt"))
    for path in (old, new, other):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("12345")
    for path in (old, other):
        os.utime(path, (time.time() - 31 * 86400,) * 2)
    assert did("logs", dry_run=True) == {"files": 1, "bytes": 5}
    assert old.exists()
    assert did("logs") == {"files": 1, "bytes": 5}
    assert (old.exists(), new.exists(), other.exists()) == (False, True, True)


def test_a_new_home_has_all_parts_run_twice(warehouse: str, home: Path) -> None:
    assert [done.part for done in maintain()] == list(PARTS)
    assert [done.part for done in maintain()] == list(PARTS)


def test_mistakes_are_named(warehouse: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UserError, match="unknown part 'everything': parts are: partitions"):
        maintain(["everything"])
    policy = yaml.safe_load((PROJECT_ROOT / "config" / "maintenance.yml").read_text())
    path = tmp_path / "maintenance.yml"
    monkeypatch.setenv("KKBC_MAINTENANCE", str(path))
    get_settings.cache_clear()
    for changes, message in (
        ({"superseded": 3}, "superseded of .* greater than or equal to 35"),
        ({"x": 1}, "x of .* not valid"),
    ):
        path.write_text(yaml.safe_dump(policy | changes))
        with pytest.raises(UserError, match=message):
            maintain(["logs"])


def test_the_dag_has_a_task_for_each_part() -> None:
    text = (PROJECT_ROOT / "dags" / "maintenance.py").read_text()
    written = re.search(r"^PARTS = \((.*?)^\)$", text, re.M | re.S)
    assert written is not None
    assert re.findall(r'"(\w+)"', written[1]) == list(PARTS)
