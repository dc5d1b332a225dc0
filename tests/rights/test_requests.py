"""Requests that wait for approval: put aside, counted, refused or erased, by the functions that the DAG calls."""

from pathlib import Path

import pytest

from kkbc.core import tokens
from kkbc.core.errors import UserError
from kkbc.rights import Wanted, approve_later, erase, requests, resume, tasks
from kkbc.warehouse import connect

from .scene import nik

WANTED = Wanted((nik(1), nik(2)), (1, 2))
SITI = {"id": "1", "name": "siti"}


@pytest.fixture
def waiting(warehouse: str, home: Path) -> str:
    tokens.ensure_key(home)
    return approve_later(WANTED, why="requested", who="a tester", request="req-7").request


def outcomes() -> list[tuple[str, str]]:
    with connect() as conn:
        return conn.execute("select request, outcome from ops.erasure order by 1").fetchall()


def test_a_request_that_waits_is_a_private_file_and_nothing_is_erased(waiting: str, home: Path) -> None:
    file = home / "requests" / "erase" / "req-7.json"
    assert file.stat().st_mode & 0o777 == 0o600
    assert file.parent.stat().st_mode & 0o777 == 0o700
    assert outcomes() == [("req-7", "waiting")]
    assert resume("req-7").niks == WANTED.niks
    with connect() as conn:
        assert conn.execute("select count(*) from vault.suppressed").fetchone() == (0,)


def test_whoever_approves_sees_counts_and_no_person(waiting: str) -> None:
    seen = tasks.count({"request": "req-7"})
    assert seen["persons"] == 2
    assert "| raw.registrations | 0 |" in seen["body"]
    assert not any(person in seen["body"] for person in WANTED.niks)


def test_a_refusal_is_on_record_and_leaves_nothing(waiting: str, home: Path) -> None:
    tasks.refuse({"request": "req-7"}, SITI)
    tasks.refuse({"request": "req-7"}, SITI)
    assert outcomes() == [("req-7", "refused")]
    assert not requests.file_of("req-7").exists()
    with connect() as conn:
        assert conn.execute("select action, done_by from ops.access").fetchall() == [
            ("erase refused", "siti (Airflow)")
        ]
    with pytest.raises(UserError, match="is refused, and its file is gone"):
        resume("req-7")


def test_an_approved_request_is_erased_once(waiting: str, home: Path) -> None:
    done = tasks.erase({"request": "req-7"}, SITI)
    assert done == {"request": "req-7", "persons": 2, "already": False}
    assert tasks.erase({"request": "req-7"}, SITI)["already"]
    assert outcomes() == [("req-7", "done")]
    assert not requests.file_of("req-7").exists()
    with connect() as conn:
        assert conn.execute("select done_by from ops.access").fetchall() == [("siti (Airflow)",)]


@pytest.mark.parametrize("name", ["", "../x", "a b", "x" * 65])
def test_a_name_that_leads_elsewhere_is_refused(home: Path, name: str) -> None:
    with pytest.raises(UserError, match="cannot name a request"):
        requests.file_of(name)


def test_an_unknown_request_is_said_to_be_so(warehouse: str, home: Path) -> None:
    tokens.ensure_key(home)
    for call in (lambda: resume("req-9"), lambda: tasks.count({"request": "req-9"})):
        with pytest.raises(UserError, match="request req-9 is not known"):
            call()


def test_what_was_found_is_cleaned_when_it_is_asked_for_again(warehouse: str, home: Path) -> None:
    """A log that was written after the files were cleaned, too."""
    tokens.ensure_key(home)
    with connect() as conn:
        conn.execute("create table ops.left_over as select %s as note", [nik(1)])
    done = erase(WANTED, why="requested", who="a tester", request="req-8")
    assert [found["place"] for found in done.findings] == ["warehouse: ops.left_over.note"]
    assert outcomes() == [("req-8", "running")]
    log = home / "run" / "later.log"
    log.parent.mkdir(exist_ok=True)
    log.write_text(nik(2))
    with connect() as conn:
        conn.execute("drop table ops.left_over")
    assert erase(WANTED, why="requested", who="a tester", request="req-8").findings == ()
    assert outcomes() == [("req-8", "done")]
    assert not log.exists()
