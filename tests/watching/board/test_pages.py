"""What the board answers, without a running Airflow: its login is replaced, or found to be in the way."""

import re
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from airflow.api_fastapi.common.db.common import _get_session
from airflow.api_fastapi.core_api.security import get_user
from fastapi.routing import APIRoute
from fastapi.testclient import TestClient

from kkbc.reporting.places import folder_of
from kkbc.watching.board import app as board
from kkbc.watching.board.night import STATES
from tests.watching.board.conftest import DAY, Ops

HTML = {"accept": "text/html"}
OURS = {"origin": "http://testserver"}


class Reader:
    """Somebody who is logged in."""

    def get_name(self) -> str:
        return "ani"


class Airflow:
    """Of Airflow: whether a reader may trigger, its session of the metadata, and the DAG."""

    allows = True
    asked: Any = None
    is_stale = is_paused = False

    def is_authorized_dag(self, **_: Any) -> bool:
        return self.allows

    def get(self, *_: Any) -> "Airflow":
        return self

    def execute(self, statement: Any) -> "Airflow":
        self.asked = statement.compile(compile_kwargs={"literal_binds": True})
        return self

    def first(self) -> Any:
        return SimpleNamespace(task_id="pull_group", map_index=7)


@pytest.fixture
def airflow(monkeypatch: pytest.MonkeyPatch) -> Airflow:
    fake = Airflow()
    monkeypatch.setattr(board, "get_auth_manager", lambda: fake)
    return fake


@pytest.fixture
def anonymous() -> Iterator[TestClient]:
    """A browser that is not logged in."""
    board._health.clear()
    with TestClient(board.make_app(), follow_redirects=False) as client:
        yield client


@pytest.fixture
def reader(airflow: Airflow) -> Iterator[TestClient]:
    """A browser that is."""
    app = board.make_app()
    app.dependency_overrides = {
        get_user: Reader,
        board.may_see: lambda: None,
        board.may_pull: lambda: None,
        board.log_action: lambda: None,
        _get_session: lambda: airflow,
    }
    with TestClient(app, follow_redirects=False) as client:
        yield client


def routes() -> list[tuple[str, str]]:
    """Every way to ask the application something, with values for what stands in its path."""
    values = {"branch_id": "KC001", "attempt_id": "1", "name": "board.css"}
    return [
        (method, re.sub(r"{(\w+)}", lambda found: values[found[1]], route.path))
        for route in board.make_app().routes
        for method in getattr(route, "methods", None) or [f"{route!r} has no method"]
        if getattr(route, "path", "") != "/health"
    ]


def test_every_route_but_health_is_known_here() -> None:
    assert len(routes()) == 6
    assert all(isinstance(route, APIRoute) for route in board.make_app().routes)


@pytest.mark.parametrize(("method", "path"), routes())
def test_nobody_gets_in_without_a_login(anonymous: TestClient, method: str, path: str) -> None:
    answer = anonymous.request(method, path, params={"day": "2023-12-12"}, headers=OURS)
    assert answer.status_code == 401
    assert answer.json() == {"detail": "Not authenticated"}


def test_a_browser_is_sent_to_the_login_and_comes_back(anonymous: TestClient) -> None:
    answer = anonymous.get("/", params={"day": "2023-12-12"}, headers=HTML)
    assert answer.status_code == 303
    assert answer.headers["location"] == "/api/v2/auth/login?next=%2F%3Fday%3D2023-12-12"


def test_the_report_of_a_night_is_shown_as_it_was_written(reader: TestClient, ops: Ops) -> None:
    ops.run("r", DAY)
    ops.branch("KC001")
    assert "Laporan malam ini" not in reader.get("/", params={"day": str(DAY)}).text
    missing = reader.get("/reports/nasional", params={"day": str(DAY)}, headers=HTML)
    assert missing.status_code == 404
    assert "Laporan nasional malam 12-12-2023 belum ditulis" in missing.text
    folder = folder_of(DAY)
    folder.mkdir(parents=True)
    for name in ("nasional", "KC001"):
        (folder / f"{name}.html").write_text(f"<p>{name}</p>", encoding="utf-8")
    assert f'href="/kkbc/reports/nasional?day={DAY}"' in reader.get("/", params={"day": str(DAY)}).text
    assert f'href="/kkbc/reports/KC001?day={DAY}"' in reader.get("/branches/KC001", params={"day": str(DAY)}).text
    shown = reader.get("/reports/KC001", params={"day": str(DAY)})
    assert shown.text == "<p>KC001</p>"
    assert shown.headers["content-security-policy"].startswith("default-src 'none'; style-src 'unsafe-inline'")
    for name in ("..%2F..%2Fkeys%2Fpii", "figures.zip", "kc001"):
        assert reader.get(f"/reports/{name}", params={"day": str(DAY)}).status_code in (404, 422)


def test_health_says_one_word(anonymous: TestClient, ops: Ops) -> None:
    answer = anonymous.get("/health")
    assert (answer.status_code, answer.json()) == (200, {"status": "late"})


def test_health_of_a_warehouse_that_is_not_there(anonymous: TestClient, home: Path) -> None:
    answer = anonymous.get("/health")
    assert (answer.status_code, answer.json()) == (503, {"status": "down"})


def test_the_board_shows_every_branch_with_its_state_rows_and_log(reader: TestClient, night_of_all_kinds: Ops) -> None:
    page = reader.get("/", headers=HTML).text
    assert page.count('<li class="tile') == 9
    tile = page[page.index('id="KC004"') : page.index('id="KC005"')]
    for text in ("Ditahan", "300 baris", "80,0 %", "/kkbc/visits/4/log", "/kkbc/branches/KC004/pull?day="):
        assert text in tile
    assert "Sumbagut" in page
    assert "Belum ada yang terbit" in page


def test_the_board_shows_one_state_alone(reader: TestClient, night_of_all_kinds: Ops) -> None:
    for state in STATES:
        page = reader.get("/", params={"state": state}, headers=HTML).text
        assert set(re.findall(r'<li class="tile (\w+)"', page)) == {state}


def test_pages_ask_no_other_host_and_hold_no_script_of_their_own(reader: TestClient, night_of_all_kinds: Ops) -> None:
    for path in ("/", "/branches/KC003", "/static/board.css", "/static/board.js"):
        answer = reader.get(path, params={"day": str(DAY)}, headers=HTML)
        assert answer.status_code == 200
        assert "//" not in re.sub(r"^//.*$", "", answer.text, flags=re.M), path
        assert answer.headers["x-content-type-options"] == "nosniff"
        if not path.startswith("/static"):
            assert "default-src 'none'" in answer.headers["content-security-policy"]
            assert re.findall(r"<script(?! src)|\son\w+=|\sstyle=", answer.text) == []


def test_what_a_branch_says_is_text(reader: TestClient, night_of_all_kinds: Ops) -> None:
    page = reader.get("/branches/KC003", params={"day": str(DAY)}, headers=HTML).text
    assert "BranchUnavailable: &lt;b&gt;nobody&lt;/b&gt; listens" in page
    assert "/kkbc/visits/9/log" in page


def test_a_held_branch_says_why(reader: TestClient, night_of_all_kinds: Ops) -> None:
    page = reader.get("/branches/KC004", params={"day": str(DAY)}, headers=HTML).text
    assert page.count("ten times the rows of a Tuesday") == 3


def test_an_empty_warehouse_and_a_day_without_a_night(reader: TestClient, ops: Ops) -> None:
    assert "Belum ada malam yang dijalankan" in reader.get("/", headers=HTML).text
    ops.run("night", DAY)
    ops.branch("KC001")
    page = reader.get("/", params={"day": "2024-02-29"}, headers=HTML).text
    assert "Malam 29-02-2024 belum dijalankan. Yang ada: 12-12-2023 sampai 12-12-2023." in page


def test_a_warehouse_that_is_not_there_is_one_line(reader: TestClient, home: Path) -> None:
    answer = reader.get("/", headers=HTML)
    assert answer.status_code == 503
    assert "the embedded PostgreSQL of" in answer.text
    assert "Traceback" not in answer.text


def test_a_warehouse_of_an_older_program_says_what_fixes_it(reader: TestClient, ops: Ops) -> None:
    from kkbc.warehouse import connect

    with connect() as conn:
        conn.execute("alter view ops.branch_visit rename to branch_visit_of_old")
    ops.run("night", DAY)
    answer = reader.get("/", headers=HTML)
    assert answer.status_code == 503
    assert "kkbc migrate" in answer.text


def test_wrong_addresses_are_answered_in_one_line(reader: TestClient, night_of_all_kinds: Ops) -> None:
    for path in ("/branches/KC777?day=2023-12-12", "/visits/12345/log", "/static/page.html", "/nowhere"):
        assert reader.get(path, headers=HTML).status_code == 404, path
    assert reader.get("/?day=yesterday", headers=HTML).status_code == 422


def test_a_visit_leads_to_the_log_of_the_task_that_names_its_branch(
    reader: TestClient, airflow: Airflow, night_of_all_kinds: Ops
) -> None:
    answer = reader.get("/visits/4/log", headers=HTML)
    assert answer.headers["location"] == "/dags/pull_branches/runs/night/tasks/pull_group/mapped/7"
    asked = str(airflow.asked)
    assert "LIKE '%' || 'KC004' || '%'" in asked
    # A night of an earlier version had a task for each branch.
    assert "IN ('pull_group', 'pull_branch')" in asked


@pytest.fixture
def triggered(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """The runs that were asked of Airflow."""
    asked: list[dict[str, Any]] = []

    class Run:
        run_id = "manual__1+00:00"

    def trigger(dag_id: str, **given: Any) -> Run:
        asked.append({"dag_id": dag_id, **given})
        return Run()

    monkeypatch.setattr(board, "trigger_dag", trigger)
    return asked


def test_a_branch_is_pulled_again(reader: TestClient, night_of_all_kinds: Ops, triggered: list[dict[str, Any]]) -> None:
    answer = reader.post("/branches/KC003/pull", params={"day": str(DAY)}, headers={**HTML, **OURS})
    assert answer.status_code == 303
    assert answer.headers["location"] == "/kkbc/?day=2023-12-12&asked=manual__1%2B00%3A00"
    assert [(run["dag_id"], run["conf"]["branches"], run["triggering_user_name"]) for run in triggered] == [
        ("pull_branches", ["KC003"], "ani")
    ]
    page = reader.get("/", params={"asked": "manual__1+00:00"}, headers=HTML).text
    assert 'href="/dags/pull_branches/runs/manual__1%2B00%3A00"' in page


def test_another_sites_page_pulls_nothing(
    reader: TestClient, night_of_all_kinds: Ops, triggered: list[dict[str, Any]]
) -> None:
    for origin in ({}, {"origin": "null"}, {"origin": "http://evil.example"}):
        answer = reader.post("/branches/KC003/pull", params={"day": str(DAY)}, headers={**HTML, **origin})
        assert answer.status_code == 403, origin
    assert triggered == []


def test_an_action_that_cannot_be_done_says_why(
    reader: TestClient, airflow: Airflow, night_of_all_kinds: Ops, triggered: list[dict[str, Any]]
) -> None:
    there = {"params": {"day": str(DAY)}, "headers": {**HTML, **OURS}}
    assert reader.post("/branches/KC777/pull", **there).status_code == 404
    airflow.is_paused = True
    refused = reader.post("/branches/KC003/pull", **there)
    assert refused.status_code == 409
    assert "dijeda" in refused.text
    assert triggered == []


def test_who_may_not_trigger_sees_no_button(reader: TestClient, airflow: Airflow, night_of_all_kinds: Ops) -> None:
    airflow.allows = False
    for path in ("/", f"/branches/KC003?day={DAY}"):
        assert "/pull?" not in reader.get(path, headers=HTML).text


def test_bars_are_as_high_as_their_share_and_holes_are_marked() -> None:
    history = (10, None, 5, 0, 20, 100, 10)
    assert board.bars(history) == "M1.5 20v-10M7.5 20v-5M10.5 20v-1M13.5 20v-20M16.5 20v-20M19.5 20v-10"
    assert board.gaps(history) == "M4.5 20v-2"
    assert board.bars((None,)) == ""
