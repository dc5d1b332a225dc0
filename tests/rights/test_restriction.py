"""`kkbc restrict`: who is held out of the marts, by token, and what builds hear of it."""

import json
from typing import Any

import psycopg
import pytest

from kkbc.marts import state
from kkbc.rights.persons import persons
from kkbc.warehouse import connect
from tests.rights.conftest import Kkbc
from tests.slices.quarantine.scene import Office

NIK, OTHER = "1171011203909001", "1171011203909002"


def restricted() -> list[str]:
    with connect("transformer") as conn:
        return [
            token for (token,) in conn.execute("select participant_token from ops.restricted_participant").fetchall()
        ]


def changed(kkbc: Kkbc, *arguments: str, stdin: str) -> Any:
    done = kkbc("restrict", *arguments, "--why", "request 12", "--json", stdin=stdin)
    assert done.exit_code == 0, done
    return json.loads(done.stdout)


def test_a_person_is_restricted_once_and_released(office: Office, kkbc: Kkbc) -> None:
    first, second = (person.token for person in persons([NIK, OTHER]))
    office.sends({"nik": NIK})
    told = {"persons": 1, "changed": 1, "restricted": True, "unknown_lines": []}
    assert changed(kkbc, stdin=NIK) == told
    assert changed(kkbc, stdin=f"{NIK}\n{OTHER}") == {**told, "persons": 2, "unknown_lines": [2]}
    assert sorted(restricted()) == sorted([first, second])
    assert changed(kkbc, "--release", stdin=NIK) == {**told, "restricted": False}
    assert changed(kkbc, "--release", stdin=NIK)["changed"] == 0
    assert restricted() == [second]
    assert changed(kkbc, stdin=NIK)["changed"] == 1
    listed = json.loads(kkbc("restrict", "list", "--json").stdout)
    assert [(row["participant_token"], row["released_at"] is None) for row in listed] == [
        (first, False),
        (second, True),
        (first, True),
    ]
    assert NIK not in json.dumps(listed)
    assert "request 12" in kkbc("restrict", "list").stdout


def test_every_change_is_on_record(office: Office, kkbc: Kkbc) -> None:
    changed(kkbc, stdin=NIK)
    changed(kkbc, "--release", stdin=NIK)
    (person,) = persons([NIK])
    with connect("auditor") as conn:
        noted = conn.execute("select action, why, subjects from ops.access order by access_id").fetchall()
    assert noted == [
        ("restrict", "request 12", [person.subject]),
        ("release of a restriction", "request 12", [person.subject]),
    ]


def test_it_takes_a_reason_and_a_person(office: Office, kkbc: Kkbc) -> None:
    assert "no reason is given" in str(kkbc("restrict", stdin=NIK).exception)
    assert "standard input names nobody" in str(kkbc("restrict", "--why", "x").exception)
    assert "Nobody" in kkbc("restrict", "list").stdout
    assert restricted() == []


def test_a_build_is_due_when_a_restriction_began_or_ended(office: Office, kkbc: Kkbc) -> None:
    from datetime import date

    day = date(2023, 12, 11)
    with connect("transformer") as conn:
        state.complete(conn, day, day, state.project_digest(), None)
        assert not state.outdated(conn)
    for arguments in ((), ("--release",)):
        changed(kkbc, *arguments, stdin=NIK)
        with connect("transformer") as conn:
            assert state.outdated(conn)
            state.complete(conn, day, day, state.project_digest(), None)
            assert not state.outdated(conn)


@pytest.mark.parametrize("role", ["transformer", "auditor"])
@pytest.mark.parametrize("column", ["restricted_by", "why"])
def test_builds_see_tokens_and_nothing_else(office: Office, role: str, column: str) -> None:
    with connect(role) as conn:  # type: ignore[arg-type]
        assert [c.name for c in conn.execute("select * from ops.restricted_participant").description or []] == [
            "participant_token"
        ]
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            conn.execute(f"select {column} from vault.restricted")  # type: ignore[arg-type]
