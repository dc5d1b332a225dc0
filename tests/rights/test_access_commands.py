"""`kkbc access`, and the look of `kkbc doctor` at the record."""

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result
from typer.testing import CliRunner

from kkbc.cli.application import app
from kkbc.core.tokens import ensure_key
from kkbc.rights.persons import persons
from kkbc.upkeep.doctor import examine
from kkbc.warehouse import connect
from kkbc.warehouse.access_record import note_access

NIK, OTHER = "3171011203909001", "3171011203909002"


@pytest.fixture
def record(warehouse: str, home: Path) -> list[str]:
    """Two entries, of two persons; yields the hashes."""
    ensure_key(home)
    first, second = persons([NIK, OTHER])
    note_access("subject-report", done_by="sari", why="request [17]", subjects=[first.subject], rows=3)
    note_access("erase", done_by="budi", why="request 18", subjects=[first.subject, second.subject])
    return hashes()


def hashes() -> list[str]:
    with connect("auditor") as conn:
        return [row[0] for row in conn.execute("select hash from ops.access order by access_id").fetchall()]


def kkbc(*arguments: str, stdin: str = "") -> Result:
    return CliRunner().invoke(app, ["access", *arguments], input=stdin.encode())


def listed(*arguments: str, stdin: str = "") -> list[dict[str, Any]]:
    return json.loads(kkbc("list", *arguments, "--json", stdin=stdin).stdout)  # type: ignore[no-any-return]


def look() -> Any:
    return next(finding for finding in examine() if finding.name == "access record")


def test_the_record_is_listed(record: list[str]) -> None:
    assert [(e["action"], e["done_by"], e["why"], e["persons"], e["rows"], e["hash"]) for e in listed()] == [
        ("subject-report", "sari", "request [17]", 1, 3, record[0]),
        ("erase", "budi", "request 18", 2, None, record[1]),
    ]
    printed = kkbc("list").stdout
    assert "request [17]" in printed
    assert "sari" in printed
    assert listed("--since", "2100-01-01") == []
    assert "Nothing of that kind" in kkbc("list", "--since", "2100-01-01").stdout


def test_what_concerns_a_person_is_listed_for_a_nik_from_a_file(record: list[str], tmp_path: Path) -> None:
    assert [e["action"] for e in listed("--subject-from", "-", stdin=f"{OTHER}\n")] == ["erase"]
    assert [e["action"] for e in listed("--subject-from", "-", stdin="3171-0112-0390-9001")] == [
        "subject-report",
        "erase",
    ]
    assert listed("--subject-from", "-", stdin="3171011203909003") == []
    path = tmp_path / "nik.txt"
    path.write_text(OTHER)
    path.chmod(0o644)
    failed = kkbc("list", "--subject-from", str(path))
    assert "can be read by others" in str(failed.exception)
    path.chmod(0o600)
    assert [e["action"] for e in listed("--subject-from", str(path))] == ["erase"]


@pytest.mark.parametrize("given", ["", "\n\n", "12345", "317101120390900X"])
def test_what_is_no_nik_is_refused_without_repeating_it(record: list[str], given: str) -> None:
    failed = kkbc("list", "--subject-from", "-", stdin=given)
    assert failed.exit_code != 0
    assert given.strip() not in str(failed.exception) or not given.strip()


def test_a_record_that_is_as_it_was_written(record: list[str]) -> None:
    done = kkbc("verify", "--head", record[0][:16], "--head", record[1])
    assert done.exit_code == 0
    assert f"2 entries, the last {record[1]}" in done.stdout
    assert (look().state, look().found) == ("ok", f"2 entries, the last {record[1]}")


def test_a_record_that_was_changed_fails(record: list[str]) -> None:
    with connect() as owner:
        owner.execute("alter table ops.access disable trigger append_only")
        owner.execute("update ops.access set why = 'x' where access_id = 1")
    done = kkbc("verify", "--json")
    assert done.exit_code == 1
    assert [fault["access_id"] for fault in json.loads(done.stdout)["faults"]] == [1]
    assert kkbc("verify").exit_code == 1
    assert look().state == "fail"
    assert "kkbc access verify" in look().remedy


def test_a_chain_that_the_owner_wrote_anew_shows_by_a_hash_kept_elsewhere(record: list[str]) -> None:
    with connect() as owner:
        owner.execute("alter table ops.access disable trigger append_only")
        owner.execute("delete from ops.access")
        owner.execute("alter sequence ops.access_id restart")
        owner.execute("alter table ops.access enable trigger append_only")
    note_access("subject-report", done_by="sari", why="harmless")
    note_access("erase", done_by="budi", why="request 18")
    assert kkbc("verify").exit_code == 0
    done = kkbc("verify", "--head", record[1])
    assert done.exit_code == 1
    assert "the record was rewritten since" in done.stdout
    assert kkbc("verify", "--head", "").exit_code == 1
