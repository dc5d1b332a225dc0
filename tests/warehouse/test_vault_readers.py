"""The vault is read through functions that note it, or not at all."""

from typing import Any

import psycopg
import pytest

from kkbc.exchange.contracts import feeds, load_contract
from kkbc.warehouse import connect
from kkbc.warehouse.access_record import faults

ROWS = """
insert into vault.registrations (_business_date, _branch_id, _revision, _line, _load_id, participant_token, nik,
    full_name, birth_place, birth_date)
values ('2023-12-11', 'KC044', 1, 2, 1, 'token a', '3171011203909001', 'Sari', 'Ende', '1990-03-12'),
    ('2023-12-11', 'KC044', 1, 3, 1, 'token b', '3171011203909002', 'Budi', 'Ende', '1990-03-12'),
    ('2023-12-12', 'KC044', 1, 2, 2, 'token a', '3171011203909001', 'Sari', 'Ende', '1990-03-12')
"""
TABLES = [load_contract(feed).table for feed in feeds() if load_contract(feed).has_persons]


@pytest.fixture
def persons(warehouse: str) -> None:
    with connect() as owner:
        owner.execute("select ops.ensure_partitions('2023-12-11')")
        owner.execute(ROWS)


def read(call: str, *given: Any) -> list[tuple[Any, ...]]:
    with connect("pii") as conn:
        return conn.execute(
            f"select full_name, _business_date::text from vault.read_registrations({call})", given
        ).fetchall()  # type: ignore[arg-type]


def noted() -> list[tuple[Any, ...]]:
    with connect() as conn:
        return conn.execute(
            "select action, why, rows, array(select participant_token from vault.seen s"
            " where s.access_id = a.access_id order by 1) from ops.access a order by access_id"
        ).fetchall()


@pytest.mark.parametrize("role", ["pii", "auditor", "transformer", "publisher", "bi", "analyst", "branch_bi"])
@pytest.mark.parametrize("table", [*TABLES, "seen", "restricted", "person"])
def test_no_role_reads_a_table_of_the_vault(warehouse: str, role: str, table: str) -> None:
    with connect(role) as conn, pytest.raises(psycopg.errors.InsufficientPrivilege):  # type: ignore[arg-type]
        conn.execute(f"select from vault.{table}")  # type: ignore[arg-type]


@pytest.mark.parametrize("column", ["nik", "full_name", "birth_date"])
def test_the_loader_reads_no_person_either(warehouse: str, column: str) -> None:
    with connect("loader") as conn:
        conn.execute("select _line, participant_token from vault.registrations")
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            conn.execute(f"select {column} from vault.registrations")  # type: ignore[arg-type]


def test_the_loader_does_not_read_whom_it_notes(warehouse: str) -> None:
    with connect("loader") as conn:
        conn.execute("insert into vault.person (nik, participant_token) values ('3171011203909001', 'token a')")
        conn.execute("select participant_token, last_at from vault.person")
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            conn.execute("select nik from vault.person")


def test_reading_a_person_is_noted_with_the_reason(persons: None) -> None:
    assert read("'request 12', nik => %s", "3171011203909001") == [("Sari", "2023-12-11"), ("Sari", "2023-12-12")]
    assert read("'request 13', token => 'token b'") == [("Budi", "2023-12-11")]
    assert read("'request 14', 'nobody'") == []
    assert noted() == [
        ("vault.registrations", "request 12", 2, ["token a"]),
        ("vault.registrations", "request 13", 1, ["token b"]),
        ("vault.registrations", "request 14", 0, []),
    ]
    assert faults() == []


def test_reading_a_slice_notes_all_whose_rows_it_gave(persons: None) -> None:
    assert len(read("'spot check', branch_id => 'KC044', business_date => '2023-12-11'")) == 2
    assert noted() == [("vault.registrations KC044 2023-12-11", "spot check", 2, ["token a", "token b"])]
    with connect("auditor") as conn:
        found = conn.execute("select why from ops.accesses_of('no subject', 'token b')").fetchall()
        assert found == [("spot check",)]
        assert conn.execute("select why from ops.accesses_of('no subject', 'token c')").fetchall() == []


@pytest.mark.parametrize("call", ["' ', nik => 'x'", "null, nik => 'x'", "'why'", "'why', branch_id => 'KC044'"])
def test_nothing_is_read_without_a_reason_or_of_everybody(persons: None, call: str) -> None:
    with pytest.raises(psycopg.errors.InvalidParameterValue):
        read(call)


def test_a_reading_that_is_rolled_back_shows(persons: None) -> None:
    with connect("pii") as conn:
        conn.execute("select * from vault.read_registrations('look', nik => '3171011203909001')")
        conn.rollback()
    (found,) = faults()
    assert "rolled back" in found.fault


@pytest.mark.parametrize("table", TABLES)
def test_every_table_of_the_vault_has_its_reader(warehouse: str, table: str) -> None:
    with connect("pii") as conn:
        rows = conn.execute(
            f"select * from vault.read_{table}('why', branch_id => 'KC044', business_date => '2023-12-11')"  # type: ignore[arg-type]
        )
        assert rows.fetchall() == []


@pytest.mark.parametrize("role", ["loader", "auditor", "transformer", "publisher", "bi", "analyst", "branch_bi"])
def test_no_other_role_calls_it(warehouse: str, role: str) -> None:
    with connect(role) as conn, pytest.raises(psycopg.errors.InsufficientPrivilege):  # type: ignore[arg-type]
        conn.execute("select * from vault.read_registrations('why', nik => 'x')")
