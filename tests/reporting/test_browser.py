"""The pages in a real Chromium: each chart drawn and whole, wide, narrow, dark and printed, and nothing asked for."""

import shutil
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, sync_playwright

from kkbc.reporting import write_report
from tests.reporting.conftest import AS_OF, BRANCHES, campaign
from tests.reporting.invented import Campaign, publish

CHROMIUM = shutil.which("chromium")
ARGUMENTS = ["--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking"]
# Whose page of which campaign, and how many charts it has at least.
PAGES: dict[str, tuple[str, dict[str, str], int]] = {
    "nation": ("year", {}, 9),
    "office": ("year", {"kanwil_id": "KW01"}, 8),
    "branch": ("year", {"branch_id": "KC001"}, 8),
    "nation after one night": ("one night", {}, 4),
    "branch after one night": ("one night", {"branch_id": "KC001"}, 4),
    "nation after three nights": ("three nights", {}, 5),
    "office after three nights": ("three nights", {"kanwil_id": "KW01"}, 5),
    "branch after three nights": ("three nights", {"branch_id": "KC001"}, 5),
    "nation of a night without data": ("silent", {}, 8),
    "branch of a night without data": ("silent", {"branch_id": "KC001"}, 7),
}

# What is nought on a day without a delivery.
NOTHING = {
    *("branches_reported", "registrations", "acquisitions", "reactivations", "contributions_idr", "activities"),
    *("contacts", "activity_cost_idr", "repeat_registrations", "quarantined", "slices_late", "activated_30d"),
    *("rows_sent", "rows_accepted", "rows_quarantined", "warnings"),
}

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


@pytest.fixture(scope="module")
def files(published: Campaign, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A page of every kind, of a year of nights, of the first nights of a home, and of a night in which nobody sent."""
    folder, written = tmp_path_factory.mktemp("pages"), {}
    made = {
        "year": published,
        "one night": young(1),
        "three nights": young(3),
        "silent": silent(),
    }
    for name, shown in made.items():
        if shown is not published:
            publish(shown)
        for page, (campaign_, scope, _) in PAGES.items():
            if campaign_ == name:
                written[page] = write_report(**scope, out=folder / f"{page.replace(' ', '-')}.html")
    return written


def young(nights: int) -> Campaign:
    """A home of so many nights, as a first play leaves it: no cohort and no spot yet, and branches that are missing."""
    made = Campaign(AS_OF - timedelta(days=nights - 1), AS_OF, BRANCHES).invent()
    made.tables["kpi_retention"], made.tables["kpi_radio_lift"] = [], []
    for row in made.tables["kpi_national_daily"]:
        row["branches_reported"] = len(BRANCHES) - row["business_date"].day % 2
    return made


def silent() -> Campaign:
    """The campaign after a night in which no branch sent anything."""
    made = campaign()
    tonight = [row for table in made.tables.values() for row in table if row.get("business_date") == AS_OF]
    for row in tonight:
        row |= dict.fromkeys(NOTHING & set(row), 0)
        if "status" in row:
            row |= {"status": "missing", "revision": None, "valid_nik_rate": None, "contactable_rate": None}
    reasons = made.tables["quarantine_reasons_daily"]
    made.tables["quarantine_reasons_daily"] = [row for row in reasons if row["business_date"] != AS_OF]
    return made


@pytest.fixture(params=PAGES)
def name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(params=("nation", "office", "branch"))
def file(request: pytest.FixtureRequest, files: dict[str, Path]) -> Path:
    return files[request.param]


# Texts of a chart that reach beyond its card, as the browser measures them.
CLIPPED = """() => [...document.querySelectorAll('figure svg text')].filter(text => {
    const card = text.closest('figure').getBoundingClientRect(), box = text.getBoundingClientRect();
    return box.width && (box.left < card.left - 1 || box.right > card.right + 1 || box.top < card.top - 1);
}).map(text => text.textContent)"""
DRAWN = "() => [...document.querySelectorAll('figure > svg')].map(svg => svg.querySelectorAll('path, rect').length)"
# Two texts of a chart that lie over each other. A halo is the text itself, drawn twice at one place.
COVERED = """() => [...document.querySelectorAll('figure > svg')].flatMap(svg => {
    const texts = [...svg.querySelectorAll('text')].map(text => [text.textContent, text.getBoundingClientRect()])
        .filter(([said, box]) => said && box.width);
    return texts.flatMap(([said, box], n) => texts.slice(n + 1).filter(([other, beside]) => other !== said
        && Math.min(box.right, beside.right) - Math.max(box.left, beside.left) > 1
        && Math.min(box.bottom, beside.bottom) - Math.max(box.top, beside.top) > 4)
        .map(([other]) => `${said} | ${other}`));
})"""
# Cells of a table whose texts stand closer together than a letter is wide.
TOUCHING = """() => [...document.querySelectorAll('tr')].flatMap(row => {
    const cells = [...row.children].filter(cell => cell.textContent.trim()).map(cell => {
        const range = document.createRange(); range.selectNodeContents(cell);
        return [cell.textContent.trim(), range.getBoundingClientRect()]; });
    return cells.slice(1).filter(([, box], n) => box.top < cells[n][1].bottom && box.left - cells[n][1].right < 6)
        .map(([said]) => said);
})"""
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


def test_every_chart_is_drawn_and_no_text_is_cut_or_covered(
    browser: Browser, files: dict[str, Path], name: str
) -> None:
    page, complaints = opened(browser, files[name], 1280, "light")
    for width, colours in ((1280, "light"), (390, "light"), (390, "dark")):
        page.set_viewport_size({"width": width, "height": 900})
        page.emulate_media(color_scheme=colours)  # type: ignore[arg-type]
        drawn = page.evaluate(DRAWN)
        assert len(drawn) >= PAGES[name][2]
        assert min(drawn) >= 2
        for what in (CLIPPED, COVERED, TOUCHING):
            assert page.evaluate(what) == [], (width, colours)
        assert page.evaluate("document.documentElement.scrollWidth") == width
        assert page.evaluate(SMALLEST) >= 8.5
        dark = page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(15, 20, 26)"
        assert dark == (colours == "dark")
    assert complaints == []
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
    assert 1 <= printed.count(b"/Type /Page\n") + printed.count(b"/Type /Page ") <= 4
    assert complaints == []
    page.close()
