"""The pages in a real Chromium: each chart drawn and whole, wide, narrow, dark and printed, and nothing asked for."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, sync_playwright

from kkbc.reporting import write_report
from tests.reporting.invented import Campaign

CHROMIUM = shutil.which("chromium")
ARGUMENTS = ["--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking"]
SCOPES = {"nation": {}, "office": {"kanwil_id": "KW01"}, "branch": {"branch_id": "KC001"}}

pytestmark = [
    pytest.mark.airflow,  # as the board's: what needs a browser is left out of `make test-fast`
    pytest.mark.skipif(CHROMIUM is None, reason="no chromium on this machine: apt-get install chromium"),
]


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        yield chromium
        chromium.close()


@pytest.fixture(scope="module", params=SCOPES)
def file(request: pytest.FixtureRequest, published: Campaign, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_report(**SCOPES[request.param], out=tmp_path_factory.mktemp("page") / "page.html")


# Texts of a chart that reach beyond its card, as the browser measures them.
CLIPPED = """() => [...document.querySelectorAll('figure svg text')].filter(text => {
    const card = text.closest('figure').getBoundingClientRect(), box = text.getBoundingClientRect();
    return box.width && (box.left < card.left - 1 || box.right > card.right + 1 || box.top < card.top - 1);
}).map(text => text.textContent)"""
DRAWN = "() => [...document.querySelectorAll('figure > svg')].map(svg => svg.querySelectorAll('path, rect').length)"
SMALLEST = """() => Math.min(...[...document.querySelectorAll('figure svg text')].map(text => {
    const matrix = text.getScreenCTM(); return parseFloat(getComputedStyle(text).fontSize) * matrix.a; }))"""


def opened(browser: Browser, file: Path, width: int, colours: str) -> tuple[Page, list[str]]:
    page = browser.new_page(viewport={"width": width, "height": 900}, color_scheme=colours)  # type: ignore[arg-type]
    complaints: list[str] = []
    page.on("console", lambda said: complaints.append(said.text))
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.on("request", lambda asked: asked.url.startswith(("file:", "data:")) or complaints.append(asked.url))
    page.goto(file.as_uri())
    return page, complaints


@pytest.mark.parametrize(("width", "colours"), [(1280, "light"), (390, "light"), (390, "dark")])
def test_every_chart_is_drawn_and_no_text_is_cut(browser: Browser, file: Path, width: int, colours: str) -> None:
    page, complaints = opened(browser, file, width, colours)
    drawn = page.evaluate(DRAWN)
    assert len(drawn) >= 7
    assert min(drawn) >= 2
    assert page.evaluate(CLIPPED) == []
    assert page.evaluate("document.documentElement.scrollWidth") == width
    assert page.evaluate(SMALLEST) >= 8.5
    assert complaints == []
    dark = page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(15, 20, 26)"
    assert dark == (colours == "dark")
    page.close()


def test_a_dark_page_has_light_texts_in_its_charts(browser: Browser, file: Path) -> None:
    fills = {}
    for colours in ("light", "dark"):
        page, _ = opened(browser, file, 1280, colours)
        fills[colours] = page.evaluate("getComputedStyle(document.querySelector('figure svg text')).fill")
        page.close()
    assert fills["light"] != fills["dark"]


def test_a_page_prints_on_paper_of_its_own_light(browser: Browser, file: Path, tmp_path: Path) -> None:
    page, complaints = opened(browser, file, 1280, "dark")
    page.emulate_media(media="print", color_scheme="dark")
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    printed = page.pdf(path=tmp_path / "page.pdf", prefer_css_page_size=True)
    assert 1 <= printed.count(b"/Type /Page\n") + printed.count(b"/Type /Page ") <= 5
    assert complaints == []
    page.close()
