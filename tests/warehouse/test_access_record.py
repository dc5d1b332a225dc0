"""Who looked at persons is on record, and the record shows what was done to it."""

import psycopg
import pytest
from psycopg import sql

from kkbc.core.errors import UserError
from kkbc.warehouse import connect
from kkbc.warehouse.access_record import Gap, acknowledge, entries, faults, note_access


def note(action: str = "vault", **given: str) -> int:
    return note_access(action, **{"done_by": "sari", "why": "a question of the branch", **given})  # type: ignore[arg-type]


def test_an_access_is_kept_with_who_and_why(warehouse: str) -> None:
    first = note("subject-report")
    second = note_access("erase", done_by="budi", why="request 17", subjects=["ab" * 16], rows=3)
    with connect("auditor") as conn:
        rows = conn.execute(
            "select access_id, action, done_by, why, subjects, rows, previous_hash, hash from ops.access order by 1"
        ).fetchall()
    assert rows[0][:6] == (first, "subject-report", "sari", "a question of the branch", [], None)
    assert rows[1][:6] == (second, "erase", "budi", "request 17", ["ab" * 16], 3)
    assert rows[0][6] == ""
    assert rows[1][6] == rows[0][7] != rows[1][7]
    assert faults() == []


@pytest.mark.parametrize("given", [{"done_by": " "}, {"why": ""}, {"action": ""}])
def test_an_access_without_name_or_reason_is_refused(warehouse: str, given: dict[str, str]) -> None:
    with pytest.raises(psycopg.errors.InvalidParameterValue):
        note(**given)


@pytest.mark.parametrize("role", ["loader", "transformer", "auditor", "publisher", "pii", "bi", "analyst", "branch_bi"])
@pytest.mark.parametrize(
    "statement",
    [
        "update ops.access set why = ''",
        "delete from ops.access",
        "truncate ops.access",
        "insert into ops.access select * from ops.access",
        "select setval('ops.access_id', 1)",
        "alter table ops.access disable trigger append_only",
    ],
)
def test_no_role_changes_the_record(warehouse: str, role: str, statement: str) -> None:
    note()
    with connect(role) as conn, pytest.raises(psycopg.errors.InsufficientPrivilege):  # type: ignore[arg-type]
        conn.execute(statement)


@pytest.mark.parametrize(
    "statement", ["update ops.access set why = ''", "delete from ops.access", "truncate ops.access cascade"]
)
def test_the_owner_neither_by_mistake(warehouse: str, statement: str) -> None:
    note()
    with connect() as conn, pytest.raises(psycopg.errors.InsufficientPrivilege, match="append-only"):
        conn.execute(statement)


def tamper(statement: str) -> None:
    with connect() as conn:
        conn.execute("alter table ops.access disable trigger append_only")
        conn.execute(statement)
        conn.execute("alter table ops.access enable trigger append_only")


@pytest.mark.parametrize(
    ("statement", "where", "fault"),
    [
        ("update ops.access set why = 'another' where access_id = 2", 2, "changed"),
        ("update ops.access set noted_at = noted_at - interval '1 day' where access_id = 3", 3, "changed"),
        ("update ops.access set subjects = '{}' where access_id = 1", 1, "changed"),
        (
            "update ops.access a set why = 'x', hash = ops.access_hash((access_id, noted_at, action, login, done_by,"
            " 'x', subjects, rows, previous_hash, hash)::ops.access) where access_id = 1",
            2,
            "does not follow",
        ),
        ("delete from ops.access where access_id = 2", 2, "taken out"),
        ("delete from ops.access where access_id = 3", 3, "taken out"),
        ("delete from ops.access where access_id = 1", 1, "taken out"),
        ("delete from ops.access", 3, "taken out"),
    ],
)
def test_what_the_owner_changes_on_purpose_shows(warehouse: str, statement: str, where: int, fault: str) -> None:
    for why in ("one", "two", "three"):
        note_access("vault", done_by="sari", why=why, subjects=["s"])
    assert faults() == []
    tamper(statement)
    assert any(found.access_id == where and fault in found.fault for found in faults())


def roll_back() -> None:
    """Looks, and takes it back."""
    with connect("pii") as conn:
        conn.execute("select ops.note_access('vault', 'sari', 'look', '{}', null)")
        conn.rollback()


@pytest.mark.parametrize("more", [0, 1])
def test_reading_and_then_rolling_back_shows(warehouse: str, more: int) -> None:
    note()
    roll_back()
    for _ in range(more):
        note()
    (found,) = faults()
    assert found.access_id == 2
    assert "rolled back" in found.fault


@pytest.mark.parametrize("more", [0, 1])
def test_a_gap_is_acknowledged_once_and_another_one_shows(warehouse: str, more: int) -> None:
    note()
    roll_back()
    roll_back()
    for _ in range(more):
        note()
    assert acknowledge(2, done_by="budi", why="sari was asked") == Gap(2, 3)
    assert faults() == []
    (entry,) = [e for e in entries() if "acknowledged" in e.action]
    assert (entry.action, entry.done_by, entry.why) == ("gap 2-3 acknowledged", "budi", "sari was asked")
    with pytest.raises(UserError, match="no gap with the number 2 is open"):
        acknowledge(2, done_by="budi", why="again")
    roll_back()
    (found,) = faults()
    assert found.access_id == entry.access_id + 1
    tamper(f"delete from ops.access where access_id = {entry.access_id}")
    assert {2, 3} & {found.access_id for found in faults()} or "taken out" in faults()[0].fault


@pytest.mark.parametrize("number", [0, 1, 3, 99])
def test_what_is_no_gap_cannot_be_acknowledged(warehouse: str, number: int) -> None:
    note()
    roll_back()
    note()
    with pytest.raises(UserError, match="no gap with the number"):
        acknowledge(number, done_by="budi", why="x")
    assert [found.access_id for found in faults()] == [2]


def test_an_entry_that_was_taken_out_is_a_fault_though_its_number_is_acknowledged(warehouse: str) -> None:
    for _ in range(3):
        note()
    tamper("delete from ops.access where access_id = 2")
    acknowledge(2, done_by="budi", why="x")
    assert [(found.access_id, "does not follow" in found.fault) for found in faults()] == [(3, True)]


def test_nobody_but_the_owner_acknowledges(warehouse: str) -> None:
    name = f"sari_{warehouse.rsplit('/', 1)[-1].partition('?')[0]}"
    note()
    roll_back()
    with connect() as conn:
        conn.execute(sql.SQL("create role {} login in role pii").format(sql.Identifier(name)))
    try:
        with connect() as conn:
            conn.execute(sql.SQL("set session authorization {}").format(sql.Identifier(name)))
            conn.execute("set role pii")
            conn.execute("select ops.note_access('gap 2-2 acknowledged', 'sari', 'nothing', '{}', null)")
        assert [found.access_id for found in faults()] == [2]
    finally:
        with connect() as conn:
            conn.execute(sql.SQL("drop role {}").format(sql.Identifier(name)))
