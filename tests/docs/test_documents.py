"""`kkbc docs`: pages that ask nothing of any network, a dictionary of every column, and shares as the mart has them."""

import re
import stat
from collections.abc import Iterator
from datetime import date
from html import escape
from html.parser import HTMLParser
from pathlib import Path

import pytest
from typer.testing import CliRunner

from kkbc import publishing
from kkbc.cli.application import app
from kkbc.core.errors import UserError
from kkbc.core.settings import get_settings
from kkbc.marts import runner
from kkbc.upkeep.documents import write_documents
from kkbc.upkeep.documents.pages import TRACKER
from kkbc.upkeep.documents.reconciliation import displacement, read_mart
from kkbc.warehouse import connect, server
from tests.databases import database
from tests.dbt_project.properties import PUBLISHED, indonesian
from tests.dbt_project.raw import World
from tests.dbt_project.recompute import seed

FIRST, AS_OF = date(2024, 1, 1), date(2024, 2, 3)
PAGES = ["kamus-data.html", "rekonsiliasi.html", "dbt.html", "index.html"]
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
        with connect("transformer") as conn:
            row = conn.execute(
                "insert into ops.build (as_of, first_business_date) values (%s, %s) returning build_id", [AS_OF, FIRST]
            ).fetchone()
            assert row is not None
        with connect("publisher") as conn:
            publishing.publish_marts(conn, build_id=row[0], as_of=AS_OF)
        result = CliRunner().invoke(app, ["docs"])
        folder = get_settings().home / "docs"
        assert result.exit_code == 0, result.output
        assert result.stdout.split() == [str(folder / page) for page in PAGES]
        assert {stat.S_IMODE((folder / page).stat().st_mode) for page in PAGES} == {0o600}
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700
        yield folder
    get_settings.cache_clear()


class Asked(HTMLParser):
    """What a browser would fetch for a page: sources of every element, and addresses in style."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.addresses: list[str] = []
        self.policies: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        given = {name: value or "" for name, value in attributes}
        self.addresses += [given[name] for name in ("src", "srcset", "data", "poster", "action") if name in given]
        if tag == "link" and given.get("rel") != "canonical":
            self.addresses.append(given.get("href", ""))
        if given.get("http-equiv") == "Content-Security-Policy":
            self.policies.append(given["content"])


@pytest.mark.parametrize("name", PAGES)
def test_page_loads_nothing(site: Path, name: str) -> None:
    text = (site / name).read_text(encoding="utf-8")
    asked = Asked(text)
    assert [address for address in asked.addresses if not address.startswith("data:")] == []
    assert re.findall(r"(?:@import|url\()\s*[\"']?(?!data:|#)[^\s\"')]*//[^\s\"')]+", text) == []
    # And what a script might still ask for, the browser refuses.
    assert len(asked.policies) == 1
    assert asked.policies[0].startswith("default-src 'none'; ")
    assert "http" not in asked.policies[0]


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
    assert 'lang="en"' not in text.partition("<body>")[2]
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


def test_displacement() -> None:
    assert displacement({"a": 1, "b": 1}, {"a": 30, "b": 10}) == 0.25
    assert displacement({"a": 7}, {"b": 1}) == 1
    assert displacement({"a": 7}, {"a": 0}) is None


def test_a_folder_that_cannot_be_made_is_one_line(site: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="cannot be written"):
        write_documents(tmp_path / "file" / "docs")
