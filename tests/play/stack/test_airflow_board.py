"""The branch board as a person meets it: a real Chromium before a real Airflow."""

import re
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date, timedelta
from pathlib import Path

import httpx
import pytest
from playwright.sync_api import FrameLocator, Page, expect, sync_playwright

from kkbc import nights
from kkbc.core import local_airflow
from kkbc.core.local_airflow import Airflow
from kkbc.core.settings import PROJECT_ROOT, get_settings
from kkbc.exchange.registry import load_registry
from kkbc.warehouse import connect
from kkbc_play.simulator import Scale, World
from kkbc_play.stack.api import Api
from tests.play.stack.conftest import ANSWERS_IN, REGISTRY, at

CHROMIUM = shutil.which("chromium")
ARGUMENTS = ["--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking"]
FIRST, NEXT = date(2023, 12, 18), date(2023, 12, 19)
# Airflow's interface loads its texts before it draws, which takes a busy machine longer than the usual five seconds.
PATIENCE = 60_000
OFFICES = len(load_registry().offices)
TINY = Scale(registrations=60, contributions=150, opening=300)
PULLED = ("KC001", "KC002", "KC030")

pytestmark = [
    pytest.mark.airflow,
    pytest.mark.skipif(CHROMIUM is None, reason="no chromium on this machine: apt-get install chromium"),
]


@pytest.fixture(autouse=True)
def current(running: Path) -> Iterator[None]:
    with at(running):
        yield


@pytest.fixture
def airflow(running: Path) -> Airflow:
    found = local_airflow.find(get_settings())
    assert found is not None
    return found


@pytest.fixture
def network(running: Path, airflow: Airflow, tmp_path: Path) -> Iterator[None]:
    """Two nights of the whole network, of which three branches were visited; nothing is built of them."""
    api = Api(airflow)
    api._call("PATCH", "dags/build_marts", json={"is_paused": True})
    registry = running / "branches.yml"
    shutil.copy(PROJECT_ROOT / "config" / "branches.yml", registry)
    load_registry.cache_clear()
    world = World(tmp_path, seed=3, scale=TINY, first_date=FIRST)
    try:
        for day in (FIRST, NEXT):
            world.play_night()
            nights.open_run(nights.RunRequest(day, world.branches_root), mode="plain", run_id=f"board {day}")
            for branch_id in PULLED:
                nights.pull_branch(f"board {day}", branch_id)
            nights.close_pull(f"board {day}")
        yield
    finally:
        registry.write_text(REGISTRY)
        api._call("PATCH", "dags/build_marts", json={"is_paused": False})


class Seen:
    """What a page did besides showing itself."""

    def __init__(self, page: Page, airflow: Airflow) -> None:
        self.complaints: list[str] = []
        self.foreign: list[str] = []
        page.on("console", lambda said: said.type == "error" and self.complaints.append(said.text))
        page.on("pageerror", lambda error: self.complaints.append(str(error)))
        page.on(
            "request",
            lambda asked: asked.url.startswith((airflow.url, "data:", "blob:")) or self.foreign.append(asked.url),
        )


@contextmanager
def browser() -> Iterator[Page]:
    """A page of a browser that has never been anywhere."""
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        try:
            page = chromium.new_page(viewport={"width": 1400, "height": 900}, locale="id-ID")
            page.set_default_timeout(PATIENCE)
            expect.set_options(timeout=PATIENCE)
            yield page
        finally:
            chromium.close()


def log_in(page: Page, airflow: Airflow) -> None:
    """Through Airflow's own login page, which comes up by itself."""
    page.fill("input[name=username]", local_airflow.ADMIN)
    page.fill("input[name=password]", airflow.password)
    page.click("button[type=submit]")


def ended(api: Api, run_id: str) -> str:
    deadline = time.monotonic() + 300
    while (state := str(api.get(f"dags/pull_branches/dagRuns/{run_id}")["state"])) not in ("success", "failed"):
        assert time.monotonic() < deadline
        time.sleep(1)
    return state


def test_nobody_sees_the_board_without_a_login(airflow: Airflow) -> None:
    for path in ("", "branches/KC001?day=2023-12-18", "visits/1/log", "static/board.css"):
        assert httpx.get(f"{airflow.url}/kkbc/{path}", timeout=ANSWERS_IN).status_code == 401, path
    asked = httpx.post(
        f"{airflow.url}/kkbc/branches/KC001/pull?day=2023-12-18", headers={"origin": airflow.url}, timeout=ANSWERS_IN
    )
    assert asked.status_code == 401
    health = httpx.get(f"{airflow.url}/kkbc/health", timeout=ANSWERS_IN)
    assert health.status_code == 200
    assert set(health.json()) == {"status"}


def test_a_person_looks_at_the_board_and_pulls_a_branch_again(airflow: Airflow, network: None) -> None:
    with browser() as page:
        seen = Seen(page, airflow)
        page.goto(f"{airflow.url}/plugin/branch-board")
        log_in(page, airflow)
        expect(page.get_by_text("Papan cabang").first).to_be_visible()
        # Airflow's own page asks for things before it finds that nobody is logged in.
        seen.complaints.clear()
        board: FrameLocator = page.frame_locator("iframe[title='Papan cabang']")
        expect(board.locator("li.tile")).to_have_count(OFFICES)
        expect(board.locator("input[type=date]")).to_have_value(NEXT.isoformat())
        expect(board.locator("#KC001")).to_contain_text("Tepat waktu")
        expect(board.locator("#KC122")).to_contain_text("Belum ada")
        expect(board.locator("section").filter(has=page.locator("#KC001")).locator("h2")).to_contain_text("Sumbagut")

        board.locator("input[type=date]").fill(FIRST.isoformat())
        board.locator("a[rel=next]").wait_for()
        expect(board.locator("a[rel=next]")).to_have_attribute("href", re.compile(str(FIRST + timedelta(days=1))))
        expect(board.locator("li.tile")).to_have_count(OFFICES)

        board.locator("#KC030 .name a").click()
        expect(board.locator("h1")).to_contain_text("KC030")
        expect(board.locator("tbody").first.locator("tr")).to_have_count(3)

        board.get_by_role("button", name="Tarik ulang").click()
        asked = board.locator("a", has_text="lihat di Airflow")
        expect(asked).to_be_visible()
        run_id = httpx.URL(str(asked.get_attribute("href"))).path.rsplit("/", 1)[1]
        assert ended(Api(airflow), run_id) == "success"
        with connect("auditor") as conn:
            visited = conn.execute("select branch_id, outcome from ops.attempt where run_id = %s", [run_id]).fetchall()
            outcome = conn.execute("select as_of, outcome from ops.run where run_id = %s", [run_id]).fetchone()
        assert visited == [("KC030", "nothing_new")]
        assert outcome is not None
        assert outcome[0] == NEXT

        board.locator("input[type=date]").fill(NEXT.isoformat())
        log = board.locator("#KC030 a.log")
        expect(log).to_contain_text("Nihil")
        log.click()
        page.wait_for_url(re.compile(r"/dags/pull_branches/runs/[^/]+/tasks/pull_group/mapped/0"))
        expect(page.get_by_text("KC030").first).to_be_visible()

        assert seen.complaints == []
        assert seen.foreign == []


def test_another_sites_page_cannot_pull_with_a_readers_cookie(airflow: Airflow, network: None) -> None:
    with browser() as page:
        page.goto(f"{airflow.url}/kkbc/")
        log_in(page, airflow)
        expect(page.locator("li.tile")).to_have_count(OFFICES)
        api = Api(airflow)
        before = api.get("dags/pull_branches/dagRuns")["total_entries"]
        # The same machine by another name is another site. Chromium sends a fresh cookie along all the same, as
        # Airflow's login page sets it without SameSite: for two minutes only the origin tells.
        page.route("http://localhost:9/", lambda route: route.fulfill(content_type="text/html", body=FORM))
        page.goto("http://localhost:9/")
        page.evaluate(
            "url => { const f = document.forms[0]; f.action = url; }",
            f"{airflow.url}/kkbc/branches/KC001/pull?day={NEXT}",
        )
        with page.expect_navigation() as went:
            page.click("button")
        assert went.value is not None
        assert went.value.status in (401, 403)
        assert api.get("dags/pull_branches/dagRuns")["total_entries"] == before


FORM = "<!doctype html><form method=post><button>Win</button></form>"
