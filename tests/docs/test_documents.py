"""`kkbc docs`: pages that ask nothing of any network, a dictionary of every column, and shares as the mart has them."""

import os
import re
import shutil
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date
from functools import partial
from html import escape
from html.parser import HTMLParser
from http.server import SimpleHTTPRequestHandler
from pathlib import Path

import pytest
from typer.testing import CliRunner

from kkbc.cli.application import app
from kkbc.core.errors import UserError
from kkbc.core.settings import get_settings
from kkbc.marts import runner
from kkbc.upkeep.documents import write_documents
from kkbc.upkeep.documents.mermaid import with_diagrams
from kkbc.upkeep.documents.pages import TRACKER
from kkbc.upkeep.documents.reconciliation import displacement, read_mart
from kkbc.upkeep.documents.site import DOCS
from kkbc.warehouse import connect, server
from tests.databases import database
from tests.dbt_project.conftest import publish_built
from tests.dbt_project.properties import PUBLISHED, indonesian
from tests.dbt_project.raw import World
from tests.dbt_project.recompute import seed
from tests.http_server import served

FIRST, AS_OF = date(2024, 1, 1), date(2024, 2, 3)
PAGES = ["index.html", "kamus-data.html", "data-dictionary.html", "lineage/index.html", "rekonsiliasi.html", "dbt.html"]
CHROMIUM = shutil.which("chromium")
DATA_DOCS = """<html><head><title>Suite</title><link rel="stylesheet" href="https://cdn.example/b.css"/>
<script src="https://cdn.example/jquery.js"></script></head><body><p>expect_x</p><img src="https://cdn.example/l.png"/>
<script>document.write("x")</script></body></html>"""
# Texts of a diagram in the colour of what is below them, or beyond its edge.
UNREADABLE = """diagram => { const edge = diagram.querySelector('svg').getBoundingClientRect();
    const fill = element => getComputedStyle(element).fill;
    const below = [...diagram.querySelectorAll('rect')].map(fill);
    return [...diagram.querySelectorAll('text')].filter(text => { const box = text.getBoundingClientRect();
        return below.includes(fill(text)) || box.left < edge.left || box.right > edge.right; })
        .map(text => text.textContent);
}"""
# Participants whose offices lie in Jakarta, Aceh, and a province that was split off Papua.
OFFICES = {"31": 5, "11": 2, "95": 3}


@pytest.fixture(scope="module")
def site(pg: server.Server, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The documents of a small world that was published."""
    offices = {row["province_code"]: row["branch_id"] for row in seed("branches")}
    moved = {"95": offices.get("95") or offices.get("94") or offices["93"]}
    world = World([{**offices, **moved}[code] for code in OFFICES])
    for branch, (code, participants) in zip(world.branches, OFFICES.items(), strict=True):
        for n in range(participants):
            world.registration(branch, f"{code}{n}", f"p{code}{n}", "2024-01-05")
            world.payment(branch, f"b{code}{n}", f"p{code}{n}", "2024-01-06", months=3)
    with pytest.MonkeyPatch.context() as patch, database(pg) as name:
        patch.setenv("KKBC_HOME", str(tmp_path_factory.mktemp("home")))
        patch.setenv("KKBC_DATABASE_URL", pg.conninfo(name))
        get_settings.cache_clear()
        with pytest.raises(UserError, match="nothing is published in schema bi"):
            write_documents()
        assert not (get_settings().home / "docs").exists()
        with connect() as conn:
            world.write(conn)
        for layer in runner.LAYERS:
            runner.build(layer, as_of=AS_OF, first_business_date=FIRST)
        publish_built(FIRST, AS_OF)
        for build in ("9", "10"):
            audited = get_settings().home / "gx" / build / "data_docs" / "validations" / f"suite_{build}" / "run"
            audited.mkdir(parents=True)
            (audited / "1.html").write_text(DATA_DOCS, encoding="utf-8")
        folder = get_settings().home / "docs"
        folder.mkdir(mode=0o700)
        (folder / ".contents.json").write_text('["of-before.html"]')
        for kept in ("of-before.html", "mine.html"):
            (folder / kept).write_text("")
        os.umask(0o077)  # as the program's entry point does
        result = CliRunner().invoke(app, ["docs"])
        assert result.exit_code == 0, result.output
        assert result.stdout.split() == [str(folder / page) for page in PAGES]
        assert f"Open {folder / 'index.html'} in a browser" in result.stderr
        assert not (folder / "of-before.html").exists()
        (folder / "mine.html").unlink()
        files = [path for path in folder.rglob("*") if path.is_file()]
        assert {stat.S_IMODE(path.stat().st_mode) for path in files} == {0o600}
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700
        yield folder
    get_settings.cache_clear()


class Asked(HTMLParser):
    """What a browser would fetch for a page (sources of every element), where it leads to, and its anchors."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.addresses: list[str] = []
        self.policies: list[str] = []
        self.links: list[str] = []
        self.anchors: set[str] = set()
        self.feed(text)

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        given = {name: value or "" for name, value in attributes}
        self.addresses += [given[name] for name in ("src", "srcset", "data", "poster", "action") if name in given]
        self.anchors |= {given[name] for name in ("id", "name") if name in given}
        if tag == "link" and given.get("rel") not in ("canonical", "prev", "next"):
            self.addresses.append(given.get("href", ""))
        if tag == "a" and "href" in given:
            self.links.append(given["href"])
        if given.get("http-equiv") == "Content-Security-Policy":
            self.policies.append(given["content"])


@pytest.fixture(scope="module")
def parsed(site: Path) -> dict[Path, Asked]:
    """Every page of the site."""
    return {path: Asked(path.read_text(encoding="utf-8")) for path in site.rglob("*.html")}


def test_no_page_loads_anything_from_elsewhere(site: Path, parsed: dict[Path, Asked]) -> None:
    assert {*PAGES, "runbooks/roll-back.html", "decisions/0042-tickets-of-gateways.html", "bi.html"} <= {
        path.relative_to(site).as_posix() for path in parsed
    }
    for path, page in parsed.items():
        for address in page.addresses:
            assert address.startswith("data:") or (path.parent / address.partition("?")[0]).is_file(), (path, address)
        text = path.read_text(encoding="utf-8")
        assert re.findall(r"(?:@import|url\()\s*[\"']?(?!data:|#)[^\s\"')]*//[^\s\"')]+", text) == [], path
        # And what a script might still ask for, the browser refuses.
        assert len(page.policies) == 1, path
        assert page.policies[0].startswith("default-src 'none'; "), path
        assert "http" not in page.policies[0]


def test_links_hold(site: Path, parsed: dict[Path, Asked]) -> None:
    """Of every page but dbt's, whose script makes its own; anchors too."""
    checked = 0
    for path, page in parsed.items():
        if path.name == "dbt.html":
            continue
        for link in page.links:
            if re.match(r"[a-z]+:|//", link):
                continue
            name, _, anchor = link.partition("#")
            target = (path.parent / name).resolve() if name else path
            assert target.is_file(), (path, link)
            if anchor and target in parsed:
                assert anchor in parsed[target].anchors or anchor == "__skip", (path, link)
            checked += 1
    assert checked > 5000


def test_every_column_of_every_mart_has_a_lineage_with_a_diagram(site: Path) -> None:
    for name, model in PUBLISHED.items():
        text = (site / "lineage" / f"{name}.html").read_text(encoding="utf-8")
        for column in model["columns"]:
            anchor = f"{name}-{column['name']}"
            row = re.findall(rf'<td><a href="#{anchor}">.*?</tr>', text, flags=re.S)
            assert len(row) == 1, anchor
            made_of = re.findall(r"<td>(.*?)</td>", row[0], flags=re.S)[1 + 1]
            assert "<code>" in made_of, anchor
            drawn = text.partition(f' id="{anchor}">')[2].partition("<h3")[0]
            assert f'aria-label="Columns that {name}.{column["name"]} is made of"' in drawn, anchor


def test_lineage_of_a_figure_reaches_what_the_branches_send(site: Path) -> None:
    """By hand, from the definitions: acquisitions are first coverage starts, costs those of the activity alone."""
    text = (site / "lineage" / "kpi_branch_daily.html").read_text(encoding="utf-8")
    (row,) = re.findall(r'<td><a href="#kpi_branch_daily-acquisitions">.*?</tr>', text, flags=re.S)
    assert "contributions.coverage_start" in row
    (row,) = re.findall(r'<td><a href="#kpi_branch_daily-contributions_idr">.*?</tr>', text, flags=re.S)
    assert "contributions.total_amount" in row
    text = (site / "lineage" / "kpi_activity.html").read_text(encoding="utf-8")
    (row,) = re.findall(r'<td><a href="#kpi_activity-cost">.*?</tr>', text, flags=re.S)
    assert re.findall(r"sources.html#[\w-]+", row) == ["sources.html#activities-cost"]


def test_data_docs_of_the_last_audit_are_there_without_their_scripts(site: Path) -> None:
    assert 'href="data-docs/validations/suite_10/run/1.html"' in (site / "data-docs.html").read_text(encoding="utf-8")
    text = (site / "data-docs" / "validations" / "suite_10" / "run" / "1.html").read_text(encoding="utf-8")
    assert "expect_x" in text
    assert "cdn.example" not in text
    assert "<script" not in text
    assert not (site / "data-docs" / "validations" / "suite_9").exists()


def test_every_diagram_of_the_docs_is_drawn(site: Path) -> None:
    drawn = 0
    for source in DOCS.rglob("*.md"):
        wanted = len(re.findall(r"^```mermaid$", source.read_text(encoding="utf-8"), flags=re.M))
        name = source.relative_to(DOCS).with_suffix(".html").as_posix().replace("README", "index")
        text = (site / name).read_text(encoding="utf-8")
        assert text.count('<div class="diagram"') == wanted, name
        assert "mermaid</code>" not in text, name
        names = re.findall(r'\bid="(diagram-[^"]+)"', text)
        assert len(set(names)) == len(names), "two diagrams of a page have no name in common"
        drawn += wanted
    assert drawn >= 3


def test_a_block_that_is_no_mermaid_is_one_line() -> None:
    with pytest.raises(
        UserError, match=r"^docs/x\.md, diagram-2: not drawn, .+: correct the block of Mermaid$"
    ) as error:
        with_diagrams(
            "```mermaid\nflowchart LR\n  A --> B\n```\n\n```mermaid\nflowchart LR\n  A --> [\n```\n", "docs/x.md"
        )
    assert "\n" not in str(error.value)


@pytest.mark.skipif(CHROMIUM is None, reason="no chromium on this machine")
def test_a_browser_searches_the_served_site_and_sees_the_diagrams(site: Path) -> None:
    """As `docs` of the compose file serves it; the search then runs in a worker, which a folder does not allow."""
    from playwright.sync_api import sync_playwright

    asked: list[str] = []
    with address_of(site) as address, sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        for colours in ("light", "dark"):
            page = browser.new_page(color_scheme=colours)  # type: ignore[arg-type]
            page.on("request", lambda request: asked.append(request.url))
            page.on("console", lambda said: asked.append(f"{said.type}: {said.text}"))
            page.on("pageerror", lambda error: asked.append(f"error: {error}"))
            for name, diagrams in (("architecture.html", 2), ("security.html", 1)):
                page.goto(f"{address}/{name}")
                for diagram in page.locator(".diagram").all():
                    box = diagram.locator("svg").bounding_box()
                    assert box is not None
                    assert min(box["width"], box["height"]) > 100
                    texts = diagram.locator("text").all_text_contents()
                    assert len(texts) >= 8
                    # What is written is told from what it is written on, and no text reaches beyond the drawing.
                    assert diagram.evaluate(UNREADABLE) == []
                assert page.locator(".diagram svg").count() == diagrams
            page.goto(f"{address}/index.html")
            page.keyboard.press("/")
            page.keyboard.type("akuisisi")
            page.locator(".md-search-result__item a[href*='kamus-data.html']").first.wait_for()
            page.close()
        browser.close()
    assert [said for said in asked if not said.startswith((f"{address}/", "data:", "blob:"))] == []


@contextmanager
def address_of(folder: Path) -> Iterator[str]:
    """The folder behind a web server for the length of a block."""
    with served(partial(Quiet, directory=str(folder))) as port:
        yield f"http://127.0.0.1:{port}"


class Quiet(SimpleHTTPRequestHandler):
    """Writes no line for each request."""

    def log_message(self, *_: object) -> None:
        return


@pytest.mark.skipif(CHROMIUM is None, reason="no chromium on this machine")
def test_a_browser_searches_the_folder_and_asks_no_other_host(site: Path) -> None:
    from playwright.sync_api import sync_playwright

    asked: list[str] = []
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        page = browser.new_page()
        page.on("request", lambda request: asked.append(request.url))
        page.on("pageerror", lambda error: asked.append(f"error: {error}"))
        page.goto(f"file://{site}/lineage/kpi_radio_lift.html")
        page.goto(f"file://{site}/data-docs/validations/suite_10/run/1.html")
        page.goto(f"file://{site}/index.html")
        page.keyboard.press("/")
        page.keyboard.type("akuisisi")
        page.locator(".md-search-result__item a[href*='kamus-data.html']").first.wait_for()
        browser.close()
    assert [address for address in asked if not address.startswith((f"file://{site}/", "data:", "about:"))] == []


def test_site_of_dbt_is_whole_and_without_its_tracker(site: Path) -> None:
    text = (site / "dbt.html").read_text(encoding="utf-8")
    assert TRACKER not in text
    assert "MANIFEST.JSON INLINE DATA" not in text
    assert '"send_anonymous_usage_stats": false' in text
    assert str(runner.DBT_PROJECT) not in text, "seeds name the folder of this machine"
    assert '"metric.kkbc.attainment_mtd"' in text
    assert '"exposure.kkbc.dashboard_kampanye_nasional"' in text


def test_dictionary_lists_every_column_with_its_label(site: Path) -> None:
    text = (site / "kamus-data.html").read_text(encoding="utf-8")
    models = PUBLISHED
    assert set(re.findall(r'<h2 id="(\w+)">', text)) == set(models)
    for name, model in models.items():
        section = text.partition(f'<h2 id="{name}">')[2].partition("<h2")[0]
        rows = re.findall(r"<tr><td><code>(\w+)</code></td><td>([^<]*)</td>", section)
        assert rows == [(column["name"], column["config"]["meta"]["label_id"]) for column in model["columns"]], name
        for column in model["columns"]:
            types = {constraint["type"] for constraint in column.get("constraints", [])}
            filled = column["name"] in model["config"]["meta"]["primary_key"] or types & {"not_null", "primary_key"}
            row = section.partition(f"<code>{column['name']}</code></td>")[2].partition("</tr>")[0]
            assert row.endswith("<td>tidak pernah</td>") == bool(filled), (name, column["name"])


def test_dictionary_is_indonesian(site: Path) -> None:
    """No English description is left, and what a mart says of itself and its columns in Indonesian is on the page."""
    text = (site / "kamus-data.html").read_text(encoding="utf-8")
    assert '<span lang="en">' not in text
    for name, model in PUBLISHED.items():
        section = text.partition(f'<h2 id="{name}">')[2].partition("<h2")[0]
        assert f"<p>{escape(model['config']['meta']['description_id'])}</p>" in section, name
        for column in model["columns"]:
            row = section.partition(f"<code>{column['name']}</code></td>")[2].partition("</tr>")[0]
            meaning, _, empty = str(indonesian(column)).removesuffix(".").partition("; kosong ")
            assert f"<td>{escape(meaning)}.</td>" in row, (name, column["name"])
            assert row.endswith(f"<td>{escape(empty) or 'tidak pernah'}</td>"), (name, column["name"])


def test_reconciliation_has_the_shares_of_the_latest_month_end(site: Path) -> None:
    text = (site / "rekonsiliasi.html").read_text(encoding="utf-8")
    rows = dict(re.findall(r"<tr><td>(\d\d)</td>(.*?)</tr>", text))
    public = {row["province_code"]: int(row["active_bpu"]) for row in seed("bpjstk_participants_by_province_2023")}
    assert set(rows) == set(public)
    assert "31-01-2024" in text
    assert "registering_office" in text
    for code, participants in {"31": 5, "11": 2, "91": 3, "12": 0}.items():
        cells = re.findall(r">([^<]*)</td>", rows[code])
        public_share, found = public[code] / sum(public.values()), participants / 10
        assert cells[1] == f"{public[code]:,}".replace(",", ".")
        assert cells[2] == f"{100 * public_share:.2f} %".replace(".", ",")
        assert cells[5:7] == [str(participants), f"{100 * found:.2f} %".replace(".", ",")]
        assert cells[7] == f"{100 * (found - public_share):+.2f}".replace(".", ",")


def test_before_the_first_month_end_the_latest_day_counts(site: Path) -> None:
    with connect("bi") as conn:
        monthly = read_mart(conn)
    with connect() as conn:
        conn.execute("delete from bi.kpi_coverage_province")
        conn.execute("set local role bi")
        daily = read_mart(conn)
        conn.rollback()
    assert (monthly.day, monthly.is_month_end) == (date(2024, 1, 31), True)
    assert (daily.day, daily.is_month_end) == (AS_OF, False)
    assert daily.aktif == {"31": 5, "11": 2, "91": 3}
    assert {code: n for code, n in monthly.aktif.items() if n} == daily.aktif


def test_english_dictionary_has_every_column(site: Path) -> None:
    text = (site / "data-dictionary.html").read_text(encoding="utf-8")
    assert set(re.findall(r'<h2 id="(\w+)">', text)) == set(PUBLISHED)
    for name, model in PUBLISHED.items():
        section = text.partition(f'<h2 id="{name}">')[2].partition("<h2")[0]
        for column in model["columns"]:
            meaning = str(column["description"]).partition("; null ")[0].rstrip(".")
            assert f"<tr><td><code>{column['name']}</code></td>" in section
            assert f"<td>{escape(meaning)}.</td>" in section, (name, column["name"])


def test_displacement() -> None:
    assert displacement({"a": 1, "b": 1}, {"a": 30, "b": 10}) == 0.25
    assert displacement({"a": 7}, {"b": 1}) == 1
    assert displacement({"a": 7}, {"a": 0}) is None


def test_a_folder_that_cannot_be_made_is_one_line(site: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="cannot be written"):
        write_documents(tmp_path / "file" / "docs")
