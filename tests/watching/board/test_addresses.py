"""Whatever is typed into an address: a page, or a refusal in one line; never an error of the server."""

from collections.abc import Iterator
from typing import Any
from urllib.parse import quote

import pytest
from airflow.api_fastapi.common.db.common import _get_session
from airflow.api_fastapi.core_api.security import get_user
from fastapi.testclient import TestClient

from kkbc.watching.board import app as board
from tests.watching.board.conftest import DAY, Ops
from tests.watching.board.test_pages import HTML, OURS, Airflow, Reader

LONG = "9" * 5000
ODD = (
    *("", " ", "%00", "KC%00", "%0a", "%ff", "%ed%a0%80", "%d9%a1%d9%a2", "..%2f..", "'", "<b>x</b>", "{{7*7}}", LONG),
    *("-1", "0", "1e9999", "nan", "inf", "9223372036854775807", "9223372036854775808", "0x10", "1_000", "null", "true"),
)
DAYS = (
    *("0001-01-01", "9999-12-31", "1899-12-31", "2101-01-01", "2023-02-30", "0000-00-00", "-2023-12-12", "2023-W50-2"),
    *("10000-01-01", "1702339200", "-62135596800", "253402300799", "%d9%a2%d9%a0-12-12", "2023-12-12T23:59:59", *ODD),
)


class Log(Airflow):
    """Of Airflow's session, what its audit log does with it too."""

    def __init__(self) -> None:
        self.logged: list[Any] = []

    def add(self, row: Any) -> None:
        self.logged.append(row)

    def commit(self) -> None:
        """Nothing is kept."""

    def get(self, *_: Any) -> None:  # type: ignore[override]
        """Such a DAG is not there."""


@pytest.fixture
def session() -> Log:
    return Log()


@pytest.fixture
def browser(session: Log, monkeypatch: pytest.MonkeyPatch) -> Iterator[TestClient]:
    """A logged-in browser, before the audit log that Airflow really keeps; an error of the server is raised."""
    monkeypatch.setattr(board, "get_auth_manager", lambda: session)
    app = board.make_app()
    app.dependency_overrides = {
        get_user: Reader,
        board.may_see: lambda: None,
        board.may_pull: lambda: None,
        _get_session: lambda: session,
    }
    with TestClient(app, follow_redirects=False) as client:
        yield client


def test_no_address_is_an_error_of_the_server(browser: TestClient, night_of_all_kinds: Ops) -> None:
    there = f"day={DAY}"
    addresses = [
        *(f"/?day={day}" for day in DAYS),
        *(f"/branches/KC001?day={day}" for day in DAYS),
        *(f"/branches/{odd}?{there}" for odd in ODD),
        *(f"/visits/{odd}/log" for odd in ODD),
        *(f"/static/{odd}" for odd in ODD),
        *(f"/{odd}" for odd in ODD),
        *(f"/?state={odd}" for odd in ODD),
        *(f"/?asked={odd}" for odd in ODD),
        *("/branches/KC001", f"/branches/KC001?{there}&day=9999-12-31", f"/?{there}&day=0001-01-01", "/health?day=x"),
    ]
    for address in addresses:
        for accept in ("text/html", "application/json"):
            for method in ("GET", "HEAD", "POST", "DELETE"):
                answer = browser.request(method, address, headers={"accept": accept, **OURS})
                assert answer.status_code < 500 or address.startswith("/health"), (method, address[:80])
                assert "<b>x</b>" not in answer.text


def test_no_request_is_an_error_of_the_server(browser: TestClient, session: Log, night_of_all_kinds: Ops) -> None:
    addresses = [
        *(f"/branches/KC001/pull?day={day}" for day in DAYS),
        *(f"/branches/{odd}/pull?day={DAY}" for odd in ODD),
        # Parameters that Airflow's audit log takes for its own.
        *(
            f"/branches/KC001/pull?day={DAY}&{name}={odd}"
            for name in ("run_id", "dag_id", "logical_date")
            for odd in ODD
        ),
    ]
    for address in addresses:
        answer = browser.post(address, headers={**HTML, **OURS})
        assert 400 <= answer.status_code < 500, address[:80]
    for body in (b"", b"{", b"[]", b"\xff\x00", b'{"dag_id": "x"}'):
        answer = browser.post(
            f"/branches/KC001/pull?day={DAY}", content=body, headers={**OURS, "content-type": "application/json"}
        )
        assert answer.status_code == 422, body
    assert [(row.dag_id, row.run_id) for row in session.logged if row.dag_id or row.run_id] == []


@pytest.mark.parametrize("header", ["origin", "host", "accept", "cookie", "authorization"])
def test_no_header_is_an_error_of_the_server(browser: TestClient, ops: Ops, header: str) -> None:
    for value in ("http://[::1", "[", "://", "http://[x]:y", "\xff", "%00", LONG):
        for method, path in (("GET", "/"), ("POST", f"/branches/KC001/pull?day={DAY}")):
            answer = browser.request(method, path, headers={**HTML, **OURS, header: value.encode("latin-1")})
            assert answer.status_code < 500, (method, value[:20])


def test_an_anonymous_visitor_is_sent_to_the_login_whatever_was_typed() -> None:
    with TestClient(board.make_app(), follow_redirects=False) as anonymous:
        for day in DAYS:
            for headers in (HTML, {**HTML, "host": "["}):
                assert anonymous.get(f"/?day={day}", headers=headers).status_code == 303, day[:80]


def test_days_that_no_delivery_can_have_are_refused(browser: TestClient, night_of_all_kinds: Ops) -> None:
    for day in ("0001-01-01", "9999-12-31", "1899-12-31", "2101-01-01"):
        answer = browser.get("/", params={"day": day}, headers=HTML)
        assert answer.status_code == 422
        assert board.UNREADABLE in answer.text
    assert browser.get(f"/branches/{quote(chr(0))}?day={DAY}", headers=HTML).status_code == 422
    for day in ("1900-01-01", "2100-12-31"):
        assert browser.get("/", params={"day": day}, headers=HTML).status_code == 200
