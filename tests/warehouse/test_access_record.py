"""Who looked at persons is on record, and the record shows what was done to it."""

import psycopg
import pytest

from kkbc.warehouse import connect
from kkbc.warehouse.access_record import faults, note_access


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


@pytest.mark.parametrize("more", [0, 1])
def test_reading_and_then_rolling_back_shows(warehouse: str, more: int) -> None:
    note()
    with connect("pii") as conn:
        conn.execute("select ops.note_access('vault', 'sari', 'look', '{}', null)")
        conn.rollback()
    for _ in range(more):
        note()
    (found,) = faults()
    assert found.access_id == 2
    assert "rolled back" in found.fault
