"""The raw and vault tables hold what the contracts say, and each role may do its work and no more."""

import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psycopg
import pytest
from alembic import command
from alembic.config import Config
from sqlalchemy import create_engine

from kkbc.core import tokens
from kkbc.exchange.contracts import load_contract
from kkbc.exchange.masking import mark
from kkbc.slices import analyze_changed, mask_stored
from kkbc.warehouse import connect, migrate, schema

LINEAGE = {"_business_date", "_branch_id", "_revision", "_file", "_line", "_load_id", "_warnings"}
WAREHOUSE_TYPE = {
    "text": "text",
    "code": "text",
    "date": "date",
    "month": "date",
    "timestamp": "timestamp with time zone",
    "int": "bigint",
    "idr": "bigint",
}


def columns(schema: str, table: str) -> dict[str, tuple[str, bool]]:
    """Type and nullability of each column."""
    with connect() as conn:
        rows = conn.execute(
            "select column_name, data_type, is_nullable = 'YES' from information_schema.columns"
            " where table_schema = %s and table_name = %s",
            [schema, table],
        ).fetchall()
    return {name: (kind, nullable) for name, kind, nullable in rows}


@pytest.mark.parametrize("feed", ["pendaftaran", "iuran", "kegiatan", "target"])
def test_raw_tables_keep_to_the_contract(warehouse: str, feed: str) -> None:
    contract = load_contract(feed)
    found = columns("raw", contract.table)
    expected = {
        c.name: (WAREHOUSE_TYPE[c.type], not c.required and c.default is None)
        for c in contract.columns
        if not c.personal
    }
    derived = {"participant_token", "birth_year"} & set(found)
    assert {n: t for n, t in found.items() if n not in LINEAGE | derived} == expected
    assert set(found) >= LINEAGE
    assert ("participant_token" in found) == contract.has_nik


@pytest.mark.parametrize("feed", ["pendaftaran", "iuran", "kegiatan"])
def test_personal_columns_lie_in_the_vault_only(warehouse: str, feed: str) -> None:
    contract = load_contract(feed)
    personal = {c.name for c in contract.columns if c.personal}
    assert personal
    assert personal <= set(columns("vault", contract.table))
    assert not personal & set(columns("raw", contract.table))


def test_migrating_again_changes_nothing(warehouse: str) -> None:
    migrate()
    assert columns("ops", "slice")


@pytest.mark.parametrize(
    ("role", "statement"),
    [
        ("transformer", "select * from vault.registrations"),
        ("auditor", "select * from vault.registrations"),
        ("publisher", "select * from vault.registrations"),
        ("bi", "select * from raw.registrations"),
        ("analyst", "select * from raw.registrations"),
        ("bi", "select * from ops.slice"),
        ("loader", "create table raw.mine (a int)"),
        ("loader", "drop table raw.registrations"),
        ("transformer", "delete from raw.registrations"),
        ("auditor", "create table audit.mine (a int)"),
        ("pii", "delete from vault.registrations"),
        ("branch_bi", "select * from vault.registrations"),
        ("loader", "delete from ops.quarantine_event"),
        ("loader", "update ops.quarantine_event set why = 'another'"),
        ("transformer", "update ops.quarantine set closed_as = 'accepted'"),
    ],
)
def test_roles_cannot_do_what_is_not_theirs(warehouse: str, role: str, statement: str) -> None:
    with connect(role) as conn, pytest.raises(psycopg.errors.InsufficientPrivilege):  # type: ignore[arg-type]
        conn.execute(statement)


def test_months_of_long_ago_share_a_partition(warehouse: str) -> None:
    with connect("loader") as conn:
        for day in ("1900-01-01", "1999-02-11", "2013-12-31", "2014-01-01"):
            conn.execute("select ops.ensure_partitions(%s)", [day])
    with connect() as conn:
        found = conn.execute("select inhparent::regclass::text, inhrelid::regclass::text from pg_inherits").fetchall()
    made: dict[str, set[str]] = {}
    for parent, part in found:
        if (name := part.removeprefix(parent)) in ("_before_2014", "_2014_01") or name < "_2014":
            made.setdefault(parent, set()).add(name)
    vault = {f"vault.{table}" for table in ("registrations", "contributions", "activities")}
    assert set(made) == vault | {
        f"raw.{table}" for table in ("registrations", "contributions", "activities", "targets")
    }
    assert all(names == {"_before_2014", "_2014_01"} for names in made.values())


def test_loader_makes_partitions_of_any_month(warehouse: str) -> None:
    with connect("loader") as conn:
        conn.execute("select ops.ensure_partitions('2014-02-11'), ops.ensure_partitions('2014-02-28')")
        conn.execute("select ops.ensure_partitions('2031-12-01')")
    assert "participant_token" in columns("vault", "registrations_2014_02")
    assert "payment_id" in columns("raw", "contributions_2031_12")


OLD_ROWS = """
insert into raw.registrations (_business_date, _branch_id, _revision, _file, _line, _load_id, participant_token,
    registration_no, branch_id, registered_at, birth_year, sex, occupation_code, work_place, work_start,
    declared_income, program_code, months_covered, channel_code, activity_code, segment_code, record_status, updated_at)
select '2023-12-11', 'KC001', 1, 'daftar budi.csv', n, 1, lpad(n::text, 32, '0'), '0812345678' || n, 'KC001', now(),
    1990, 'L', case n when 1 then 'NELAYAN' else 'PAK BUDI' end, 'Pasar ' || n, '05:00', 1000 + n, 'JKK_JKM', 1,
    'PASAR', 'BUDI SANTOSO', 'MANDIRI', 'BARU', now()
from generate_series(1, 2) as n;
insert into vault.registrations (_business_date, _branch_id, _revision, _line, _load_id, participant_token, nik,
    full_name, birth_date)
select '2023-12-11', 'KC001', 1, n, 1, lpad(n::text, 32, '0'), '1', 'N', '1990-01-01' from generate_series(1, 2) as n;
insert into raw.activities (_business_date, _branch_id, _revision, _line, _load_id, activity_code, branch_id,
    activity_type, activity_name, started_at, ended_at, place, contacts, record_status, updated_at)
values ('2023-12-11', 'KC001', 1, 2, 2, 'BUDI SANTOSO', 'KC001', 'PASAR', 'Bersama Budi', now(), now(), 'Pasar', 1,
    'BARU', now());
insert into ops.slice (feed, branch_id, business_date, revision, status, reason, detail, manifest_sha256, file_name,
    drift)
values ('pendaftaran', 'KC001', '2023-12-11', 1, 'rejected', 'HEADER', 'Budi', 'x', 'daftar budi.csv',
    '{"delimiter": ";", "extra_columns": ["Budi"]}');
"""


def test_persons_of_an_earlier_version_move_to_the_vault_or_become_marks(warehouse: str, home: Path) -> None:
    tokens.ensure_key(home)
    key = bytes.fromhex((home / "keys" / tokens.MARKS_FILE).read_text())
    config = Config()
    config.set_main_option("script_location", str(schema.MIGRATIONS))
    engine = create_engine("postgresql+psycopg://", creator=connect)

    def go(direction: Callable[[Config, str], None], to: str) -> None:
        with engine.begin() as alembic:
            config.attributes["connection"] = alembic
            direction(config, to)

    def run(query: str) -> list[tuple[Any, ...]]:
        with connect() as conn:
            cursor = conn.execute(query.encode())
            return cursor.fetchall() if cursor.description else []

    in_raw = "select work_place, work_start, declared_income from raw.registrations order by _line"
    in_vault = in_raw.replace("raw.", "vault.")
    incomes = [("Pasar 1", "05:00", 1001), ("Pasar 2", "05:00", 1002)]
    go(command.downgrade, "0012")
    run("select ops.ensure_partitions('2023-12-11')")
    run(OLD_ROWS)
    go(command.upgrade, "head")
    assert run(in_vault) == incomes
    assert run("select _line, activity_name, place, radio_station from vault.activities") == [
        (2, "Bersama Budi", "Pasar", None)
    ]
    assert run("select detail, drift from ops.slice") == [(None, {"delimiter": ";"})]

    assert mask_stored() > 0
    numbers = [mark(f"0812345678{n}", key, 32) for n in (1, 2)]
    activity, file = mark("BUDI SANTOSO", key), mark("daftar budi.csv", key) + ".csv"
    assert run(
        "select registration_no, occupation_code, activity_code, _file from raw.registrations order by _line"
    ) == [(numbers[0], "NELAYAN", activity, file), (numbers[1], mark("PAK BUDI", key), activity, file)]
    assert run("select activity_code from raw.activities") == [(activity,)]
    assert run("select file_name from ops.slice") == [(file,)]
    assert mask_stored() == 0

    go(command.downgrade, "0012")
    assert run(in_raw) == incomes
    assert run("select activity_name, place from raw.activities") == [("Bersama Budi", "Pasar")]
    go(command.upgrade, "head")
    assert run(in_vault) == incomes
    with connect("loader") as conn:  # a month that is not there yet
        conn.execute("select ops.ensure_partitions('2031-12-01')")
    assert "place" in columns("vault", "activities_2031_12")
    engine.dispose()


def test_the_gate_that_holds_can_be_taken_back(warehouse: str) -> None:
    """What is held then counts as superseded; the views of before are there again, and those of today after that."""
    with connect() as conn:
        conn.execute("insert into ops.build (as_of, first_business_date) values ('2023-12-11', '2023-12-11')")
        conn.execute(
            "insert into ops.slice (feed, branch_id, business_date, revision, status, manifest_sha256)"
            " values ('iuran', 'KC001', '2023-12-11', 1, 'held', 'x')"
        )
    config = Config()
    config.set_main_option("script_location", str(schema.MIGRATIONS))
    engine = create_engine("postgresql+psycopg://", creator=connect)
    for direction, to, status in ((command.downgrade, "0005", "superseded"), (command.upgrade, "head", "superseded")):
        with engine.begin() as alembic:
            config.attributes["connection"] = alembic
            direction(config, to)
        with connect("auditor") as conn:
            assert conn.execute("select status from ops.slice").fetchall() == [(status,)]
            assert conn.execute("select usual_rows from audit.slices").fetchall() == []
    engine.dispose()


def test_tables_that_loads_changed_are_analyzed(warehouse: str) -> None:
    with connect() as conn:
        conn.execute("alter table ops.slice set (autovacuum_enabled = off)")
        conn.execute(
            "insert into ops.slice (feed, branch_id, business_date, revision, status, manifest_sha256)"
            " select 'iuran', 'KC001', '2023-12-11', n, 'superseded', 'x' from generate_series(1, 60) as n"
        )
        conn.execute("select pg_stat_force_next_flush()")
    with connect("loader", autocommit=True) as conn:
        assert analyze_changed(conn) >= 1
        assert conn.execute("select reltuples from pg_class where oid = 'ops.slice'::regclass").fetchone() == (60,)
        assert analyze_changed(conn) == 0


DISPLACED = """
insert into ops.slice (feed, branch_id, business_date, revision, status, manifest_sha256)
values ('iuran', 'KC001', '2023-12-11', 1, 'loaded', 'x');
insert into ops.quarantine (feed, branch_id, business_date, revision, line, errors, warnings, fields, load_id)
values ('iuran', 'KC001', '2023-12-11', 1, 2, '{KEY_DUPLICATE}', '{}', '{}', 1);
insert into ops.quarantine_event (feed, branch_id, business_date, revision, line, event, errors_before, errors_after,
    fields_before, fields_after, why, done_by)
values ('iuran', 'KC001', '2023-12-11', 1, 2, 'beaten', '{}', '{KEY_DUPLICATE}', '{}', '{}', 'x', 'a tester');
"""


def test_the_history_of_the_quarantine_takes_the_name_of_today(warehouse: str) -> None:
    config = Config()
    config.set_main_option("script_location", str(schema.MIGRATIONS))
    engine = create_engine("postgresql+psycopg://", creator=connect)
    found = []
    for direction, to in ((command.downgrade, "0014"), (command.upgrade, "head"), (command.downgrade, "0014")):
        with engine.begin() as alembic:
            config.attributes["connection"] = alembic
            direction(config, to)
        with connect() as conn:
            if not found:
                conn.execute(DISPLACED)
            found.append(conn.execute("select event from ops.quarantine_event").fetchall())
    assert found == [[("beaten",)], [("displaced",)], [("beaten",)]]
    engine.dispose()


def test_a_months_partitions_are_made_next_to_a_load_of_another_month(warehouse: str) -> None:
    with connect() as owner:
        owner.execute("select ops.ensure_partitions('2023-11-01')")
    made = threading.Event()

    def make() -> None:
        with connect("loader") as conn:
            conn.execute("select ops.ensure_partitions('2023-12-01')")
        made.set()

    with connect("loader") as loading:
        for schema_name in ("vault", "raw"):
            # As a COPY does, of a slice that is loaded for the first time, and of one that is replaced.
            loading.execute(f"delete from {schema_name}.registrations where _business_date = '2023-11-01'")  # type: ignore[arg-type]
            if schema_name == "vault":
                maker = threading.Thread(target=make)
                maker.start()
                waits = "select from pg_stat_activity where wait_event_type = 'Lock' and datname = current_database()"
                with connect(autocommit=True) as watching:
                    deadline = time.monotonic() + 10
                    while not watching.execute(waits).fetchall():
                        assert time.monotonic() < deadline, "partitions are made without waiting for the load"
                        time.sleep(0.02)
        assert not made.is_set()
    maker.join()
    assert made.is_set()
    with connect() as owner:
        assert owner.execute("select to_regclass('raw.targets_2023_12') is not null").fetchone() == (True,)


def test_the_tokens_of_a_model_that_is_no_more_are_dropped(warehouse: str) -> None:
    """In an installation whose builds made it, as their role, and in one that never had it."""
    config = Config()
    config.set_main_option("script_location", str(schema.MIGRATIONS))
    engine = create_engine("postgresql+psycopg://", creator=connect)
    with engine.begin() as alembic:
        config.attributes["connection"] = alembic
        command.downgrade(config, "0019")
    engine.dispose()
    with connect("transformer") as conn:
        conn.execute("create table next.int_acquisitions_credited (participant_token text)")
        conn.execute("create table next.fct_acquisition (participant_token text)")
    for _ in range(2):
        migrate()
        with connect() as conn:
            left = conn.execute("select relname::text from pg_class where relnamespace = 'next'::regnamespace")
            assert left.fetchall() == [("fct_acquisition",)]
