"""A real Superset beside played nights: every chart against the marts and the row rules, and in a browser."""

import itertools
import json
import re
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml
from playwright.sync_api import Page

from kkbc.core.errors import UserError
from kkbc.core.settings import get_settings
from kkbc.upkeep import bi_logins
from kkbc.upkeep.dashboards import Bundle, load_bundle, users
from kkbc.upkeep.dashboards.api import Api, session
from kkbc_play.stack import superset
from tests.bi.browser import PIXEL, Opened, open_dashboard, signed_in
from tests.bi.conftest import NOBODY, PASSWORD, READERS, Played
from tests.bi.figures import BESIDES, FIGURES, SERIES
from tests.conftest import environment

pytestmark = pytest.mark.bi

BUNDLE = load_bundle()
TITLES = {chart.title: name for name, chart in BUNDLE.charts.items()}
BOARDS = {board.slug: board for board in BUNDLE.dashboards.values()}
Rows = list[dict[str, Any]]


@pytest.fixture(scope="module")
def seen(dashboards: superset.Superset) -> dict[str, tuple[Opened, Rows]]:
    """Each dashboard as head office opens it: what the page asked for, and what stands in the place of each chart."""
    found = {}
    for slug, board in BOARDS.items():
        with signed_in(dashboards.url, "pusat", PASSWORD, height=2600) as (page, opened):
            open_dashboard(page, dashboards.url, slug, len(board.shown))
            found[slug] = (opened, _drawn(page))
    return found


@pytest.fixture(scope="module")
def bodies(seen: dict[str, tuple[Opened, Rows]], dashboards: superset.Superset) -> dict[str, dict[str, Any]]:
    """What the browser asked for each chart, without the filter of one branch."""
    with session(dashboards.url, dashboards.password) as api:
        charts = {str(chart["id"]): chart for chart in api.all("chart/")}
    found = {}
    for opened, _ in seen.values():
        for number, asked in opened.asked.items():
            if number in charts:
                body = asked[-1]
                for query in body["queries"]:
                    query["filters"] = [f for f in query["filters"] if f["col"] != "cabang"]
                found[TITLES[charts[number]["slice_name"]]] = body
    chart = next(it for it in charts.values() if it["slice_name"] == BUNDLE.charts["peta_cakupan"].title)
    source = {"id": chart["datasource_id"], "type": "table"}
    month = next(f for f in found["pendaftaran"]["queries"][0]["filters"] if f["col"] == "bulan")
    # The map is of an older kind, which asks otherwise for the same.
    query = {"columns": ["iso"], "metrics": ["cakupan"], "filters": [month], "row_limit": 100}
    return found | {"peta_cakupan": {"datasource": source, "queries": [query], "force": False}}


def _drawn(page: Page) -> Rows:
    """What is in the place of each chart: its title, its text, and whether anything was drawn."""
    found = []
    for place in page.locator("[data-test=chart-grid-component]").all():
        # What each kind of chart is drawn with; menus and icons are outside of the container.
        drawing = place.locator(".chart-container").locator("canvas, tbody tr, .header-line, path.region")
        title = place.get_attribute("data-test-chart-name")
        found.append({"title": title, "text": place.inner_text(), "drawn": drawing.count() > 0})
    return found


def test_every_chart_is_drawn_and_none_is_empty(seen: dict[str, tuple[Opened, Rows]]) -> None:
    for slug, (opened, drawn) in seen.items():
        assert [it["title"] for it in drawn] == [BUNDLE.charts[name].title for name in BOARDS[slug].shown]
        for it in drawn:
            assert it["drawn"], it
            for bad in ("No results", "No data", "Tidak ada data", "Unexpected error", "Data error", "error", "Galat"):
                assert bad not in it["text"], it
        assert opened.errors == []


# Of Superset's own: what a reader of a dashboard would meet first if the words of Indonesian were not there.
ENGLISH = re.compile(r"\b(Filters|Apply|Clear|Search|records|options|Select|Loading|All|Inv|No results|ago)\b")


@pytest.mark.parametrize("slug", BOARDS)
@pytest.mark.parametrize("reader", READERS)
def test_at_1280_pixels_nothing_is_clipped_and_no_word_is_english(
    slug: str, reader: str, dashboards: superset.Superset
) -> None:
    shown = BOARDS[slug].shown
    with signed_in(dashboards.url, reader, PASSWORD, height=3400, width=1280) as (page, _):
        open_dashboard(page, dashboards.url, slug, len(shown))
        clipped = page.evaluate(
            """() => [...document.querySelectorAll('.header-title *, thead th, tbody td')]
                .filter(it => it.clientWidth && it.scrollWidth > it.clientWidth + 1).map(it => it.innerText)"""
        )
        assert clipped == []
        assert ENGLISH.findall(page.locator("body").inner_text()) == []
        # What says N/A in the code of Superset is a dash on the page.
        sizes = "all => all.map(it => getComputedStyle(it).fontSize)"
        assert set(page.locator("td", has_text=re.compile("^N/A$")).evaluate_all(sizes)) <= {"0px"}
        page.locator("[id^=slice_][id$=-controls]").first.click()
        page.wait_for_timeout(300)
        assert "Unduh" in page.locator("body").inner_text()


@pytest.mark.parametrize("slug", BOARDS)
def test_a_user_without_rows_is_told_whom_to_ask_and_waits_for_nothing(
    slug: str, dashboards: superset.Superset
) -> None:
    with signed_in(dashboards.url, NOBODY, PASSWORD, height=3000) as (page, opened):
        open_dashboard(page, dashboards.url, slug, len(BOARDS[slug].shown))
        drawn = {it["title"]: it["text"] for it in _drawn(page)}
        assert "Anda belum diberi hak melihat data cabang mana pun" in drawn[BUNDLE.charts["keterangan"].title]
        assert page.locator("[data-test=loading-indicator], .loading").count() == 0
        assert opened.errors == []
        for chart in (BUNDLE.charts[name] for name in BOARDS[slug].shown if BUNDLE.charts[name].empty):
            said = page.locator(f'[data-test-chart-name="{chart.title}"] .ant-empty-description')
            assert chart.empty in said.evaluate("it => getComputedStyle(it, '::after').content")


@pytest.mark.parametrize("slug", BOARDS)
def test_on_a_telephone_charts_stand_below_each_other_as_wide_as_the_page(
    slug: str, dashboards: superset.Superset
) -> None:
    shown = BOARDS[slug].shown
    with signed_in(dashboards.url, "pusat", PASSWORD, height=5200, width=390) as (page, _):
        open_dashboard(page, dashboards.url, slug, len(shown))
        assert page.evaluate("document.documentElement.scrollWidth") == 390
        drawn = page.evaluate(
            """() => [...document.querySelectorAll('.chart-slice')].map(it => {
                const {left, right, top, bottom} = it.getBoundingClientRect(), canvas = it.querySelector('canvas');
                return [left, right, top, bottom, canvas && canvas.getBoundingClientRect().width]})"""
        )
        assert len(drawn) == len(shown)
        assert all(0 <= left < right <= 390 for left, right, *_ in drawn)
        assert all(above[3] <= below[2] for above, below in itertools.pairwise(drawn))
        widths = {name: width for row in BOARDS[slug].layout for name, width in row.charts.items()}
        halves = [it[4] for name, it in zip(shown, drawn, strict=True) if it[4] and widths[name] == 6]
        assert halves
        assert all(300 <= width <= 390 for width in halves)


def test_no_query_of_a_chart_joins_pair_by_pair(dashboards: superset.Superset, bodies: dict[str, Any]) -> None:
    body = json.loads(json.dumps(bodies["keterangan"]))
    settings = {name: f"max(current_setting('{name}'))" for name in ("enable_nestloop", "enable_mergejoin")}
    metrics = [{"expressionType": "SQL", "sqlExpression": sql, "label": name} for name, sql in settings.items()]
    body["queries"][0] |= {"columns": [], "filters": [], "orderby": [], "metrics": metrics}
    with session(dashboards.url, dashboards.password) as api:
        (row,) = api.call("POST", "chart/data", json=body)["result"][0]["data"]
    assert row == dict.fromkeys(settings, "off")


def test_nothing_is_fetched_from_outside(seen: dict[str, tuple[Opened, Rows]]) -> None:
    for opened, _ in seen.values():
        assert opened.outside == []
        # The content security policy stops the one request that Superset's own pages make.
        assert {httpx.URL(url).host for url in opened.wanted} <= {PIXEL}


@pytest.mark.parametrize("reader", [*READERS, NOBODY])
def test_charts_show_the_figures_of_the_marts_that_the_reader_may_see(
    reader: str, played: Played, dashboards: superset.Superset, bodies: dict[str, dict[str, Any]]
) -> None:
    assert set(bodies) == set(FIGURES) == set(BUNDLE.charts)
    ((month,),) = [row.values() for row in played.rows("select month from bi.dim_date where is_as_of", {})]
    parameters = {"branches": played.branches[reader], "month": month}
    with session(dashboards.url, PASSWORD, reader) as api:
        for name, body in bodies.items():
            if name == "keterangan" and not played.branches[reader]:
                body = _of_month(body, "Belum ada hak")  # all that this reader's filter of months offers
            answered = api.call("POST", "chart/data", json=body)["result"][0]["data"]
            wanted = played.rows(FIGURES[name], parameters)
            if name == "keterangan" and not played.branches[reader]:
                assert answered[0]["keterangan"].startswith("Anda belum diberi hak melihat data cabang mana pun")
                wanted = answered
            assert _comparable(name, answered) == _comparable(name, wanted), name
            again = api.call("POST", "chart/data", json=body)["result"][0]
            assert again["is_cached"], name
            assert _comparable(name, again["data"]) == _comparable(name, wanted), name


def _of_month(body: dict[str, Any], month: str) -> dict[str, Any]:
    """The request of a chart with another value of the filter of months."""
    made = json.loads(json.dumps(body))
    (wanted,) = [one for one in made["queries"][0]["filters"] if one["col"] == "bulan"]
    wanted["val"] = [month]
    return made  # type: ignore[no-any-return]


def _comparable(name: str, rows: Rows) -> Any:
    if name == "peta_cakupan":  # by ISO code, or by that of the ministry
        return sorted(_value(row["cakupan"]) for row in rows)
    if name in SERIES and rows and SERIES[name][0] not in rows[0]:
        key, metric = SERIES[name]
        rows = [
            {"hari": row["hari"], key: series, metric: value}
            for row in rows
            for series, value in row.items()
            if series != "hari" and value is not None
        ]
    left_out = BESIDES.get(name, ())
    plain = [{key: _value(value) for key, value in row.items() if key not in left_out} for row in rows]
    # A chart over no rows has one row of nothing, or none.
    plain = [row for row in plain if any(value not in (None, 0) for value in row.values())]
    return sorted(plain, key=lambda row: json.dumps(row, sort_keys=True))


def _value(value: Any) -> Any:
    if isinstance(value, date):
        return float(datetime(value.year, value.month, value.day, tzinfo=UTC).timestamp() * 1000)
    if isinstance(value, int | float | Decimal) and not isinstance(value, bool):
        return float(f"{float(value):.9g}")
    return value


def test_the_words_of_the_language_pack_are_those_of_the_installed_superset(dashboards: superset.Superset) -> None:
    assets = superset.ENVIRONMENT / "lib" / "python3.11" / "site-packages" / "superset" / "static" / "assets"
    scripts = "".join(path.read_text(encoding="utf-8", errors="replace") for path in sorted(assets.glob("*.js")))
    words = yaml.safe_load((superset.FOLDER / "indonesian.yml").read_text(encoding="utf-8"))
    assert [english for english in words if json.dumps(english, ensure_ascii=False) not in scripts] == []
    pack = httpx.get(f"{dashboards.url}/superset/language_pack/id/").json()["locale_data"]["superset"]
    assert pack["Apply filters"] == ["Terapkan"]
    assert set(pack) == {"", *words}


def test_a_name_in_the_table_leads_to_the_page_of_its_branch(dashboards: superset.Superset) -> None:
    with signed_in(dashboards.url, "pusat", PASSWORD, height=2600) as (page, _):
        open_dashboard(page, dashboards.url, "kampanye-nasional", len(BOARDS["kampanye-nasional"].shown))
        link = page.locator("td a[href*=rapor-cabang]", has_text="KC044")
        address = link.first.get_attribute("href")
        opened = Opened()
        opened.listen(page)
        page.goto(f"{dashboards.url}{address}")
        page.locator("[data-test=chart-grid-component]").last.wait_for()
        page.wait_for_load_state("networkidle")
    asked = [
        f["val"]
        for it in opened.asked.values()
        for b in it
        for q in b["queries"]
        for f in q["filters"]
        if f["col"] == "cabang"
    ]
    assert asked
    assert all(value[0].startswith("KC044 ") for value in asked[-5:])


@pytest.mark.parametrize(
    "sql",
    [
        "set_config('app.bi_user', 'pusat', false)",
        "pg_catalog.\"set_config\"('app.bi_user', 'pusat', false)",
        "max((query_to_xml('select 1', true, true, ''))::text)",
        "sum(registrations)",
    ],
)
@pytest.mark.parametrize("place", ["metric", "column", "where"])
def test_a_reader_sends_no_sql(sql: str, place: str, dashboards: superset.Superset, bodies: dict[str, Any]) -> None:
    body = json.loads(json.dumps(bodies["pendaftaran"]))
    query = body["queries"][0]
    if place == "metric":
        query["metrics"] = [{"expressionType": "SQL", "sqlExpression": sql, "label": "x"}]
    elif place == "column":
        query["columns"] = [{"expressionType": "SQL", "sqlExpression": sql, "label": "x"}]
    else:
        query["extras"] = {"where": f"({sql}) is not null"}
    with (
        session(dashboards.url, PASSWORD, "cabang_044") as api,
        pytest.raises(UserError, match="Pembaca tidak dapat memakai SQL sendiri"),
    ):
        api.call("POST", "chart/data", json=body)


@pytest.mark.parametrize(
    "function", ["set_config('app.bi_user', 'pusat', false)", "query_to_xml('select 1', true, true, '')"]
)
def test_functions_that_could_name_another_reader_are_closed_to_all(
    function: str, dashboards: superset.Superset, bodies: dict[str, Any]
) -> None:
    body = json.loads(json.dumps(bodies["pendaftaran"]))
    body["queries"][0]["metrics"] = [{"expressionType": "SQL", "sqlExpression": f"max({function}::text)", "label": "x"}]
    refused = pytest.raises(UserError, match="Kueri memakai fungsi yang ditutup")
    with session(dashboards.url, dashboards.password) as api, refused:
        api.call("POST", "chart/data", json=body)


def test_readers_may_read_and_nothing_else(dashboards: superset.Superset) -> None:
    with session(dashboards.url, PASSWORD, "cabang_044") as api:
        assert {board["slug"] for board in api.all("dashboard/")} == set(BOARDS)
        for method, path, content in (
            ("GET", "database/", None),
            ("GET", "security/users/", None),
            ("POST", "sqllab/execute/", {"database_id": 1, "sql": "select 1"}),
            ("POST", "chart/", {"slice_name": "x", "datasource_id": 1, "datasource_type": "table"}),
            ("DELETE", "dashboard/1", None),
            ("PUT", "dashboard/1", {"dashboard_title": "x"}),
        ):
            with pytest.raises(UserError, match="Superset refuses"):
                api.call(method, path, json=content)


def test_nobody_is_served_without_signing_in(dashboards: superset.Superset, bodies: dict[str, Any]) -> None:
    with httpx.Client(base_url=dashboards.url, timeout=60) as client:
        assert client.get("/api/v1/dashboard/").json().get("result", []) == []
        assert client.post("/api/v1/chart/data", json=bodies["pendaftaran"]).status_code in (401, 403)
        assert client.get("/superset/dashboard/kampanye-nasional/").status_code in (302, 401, 403)
    with session(dashboards.url, dashboards.password) as api:
        (public,) = [role for role in api.all("security/roles/") if role["name"] == "Public"]
        assert api.call("GET", f"security/roles/{public['id']}/permissions/")["result"] == []


def _with(**parts: Any) -> Bundle:
    """The bundle with other parts."""
    return Bundle(**{name: getattr(BUNDLE, name) for name in Bundle.model_fields} | parts)


def _owned(api: Api) -> set[str]:
    """What Superset has of the project, by the address that an import gives it."""
    found = set()
    for kind in ("dashboard", "chart", "dataset"):
        for it in api.all(f"{kind}/"):
            of = api.call("GET", f"{kind}/{it['id']}")["result"]
            if of.get("is_managed_externally"):
                found.add(f"{kind} {it.get('dashboard_title') or it.get('slice_name') or it.get('table_name')}")
    return found


OWN = {"slice_name": "Milik sendiri", "viz_type": "table", "datasource_type": "table", "params": "{}"}
WANTED = (
    {f"dashboard {board.title}" for board in BUNDLE.dashboards.values()}
    | {f"chart {chart.title}" for chart in BUNDLE.charts.values()}
    | {f"dataset {name}" for name in BUNDLE.datasets}
)


def test_an_import_over_itself_changes_nothing_and_keeps_what_people_made(dashboards: superset.Superset) -> None:
    with session(dashboards.url, dashboards.password) as api:
        assert _owned(api) == WANTED
        source = next(it for it in api.all("dataset/") if it["table_name"] == "retensi")
        own = OWN | {"datasource_id": source["id"]}
        made = api.call("POST", "chart/", json=own)["id"]
        board = next(it for it in api.all("dashboard/") if it["slug"] == "mutu-data")
        api.call("PUT", f"dashboard/{board['id']}", json={"dashboard_title": "Diubah orang"})
        ids = {it["slug"]: it["id"] for it in api.all("dashboard/")}
        said: list[str] = []
        done = superset.import_bundle(said.append)
        assert done == {"overwritten": ["dashboard Diubah orang"], "removed": [], "kept": []}
        assert "superset: overwritten, was changed: dashboard Diubah orang" in said
        assert _owned(api) == WANTED
        assert {it["slug"]: it["id"] for it in api.all("dashboard/")} == ids
        assert superset.import_bundle()["overwritten"] == []
        assert api.call("GET", f"chart/{made}")["result"]["slice_name"] == "Milik sendiri"
        api.call("DELETE", f"chart/{made}")


def test_what_the_project_dropped_is_removed_but_for_what_people_stand_on(dashboards: superset.Superset) -> None:
    chart = BUNDLE.charts["retensi"].model_copy(update={"title": "Retensi lama", "dataset": "lama"})
    board = BUNDLE.dashboards["rapor_cabang"]
    row = board.layout[0].model_copy(update={"charts": {"retensi_lama": 6}})
    changes = {"slug": "lama", "title": "Lama", "layout": (row,), "charts": {"retensi_lama": chart}, "filters": ()}
    old = _with(
        datasets={**BUNDLE.datasets, "lama": BUNDLE.datasets["retensi"]},
        dashboards={**BUNDLE.dashboards, "lama": board.model_copy(update=changes)},
    )
    with session(dashboards.url, dashboards.password) as api:
        superset.import_bundle(bundle=old)
        assert _owned(api) == WANTED | {"dashboard Lama", "chart Retensi lama", "dataset lama"}
        source = next(it for it in api.all("dataset/") if it["table_name"] == "lama")
        own = OWN | {"datasource_id": source["id"]}
        made = api.call("POST", "chart/", json=own)["id"]
        done = superset.import_bundle()
        assert done["removed"] == ["dashboard Lama", "chart Retensi lama"]
        assert done["kept"] == ["dataset lama, which is used by Milik sendiri"]
        api.call("DELETE", f"chart/{made}")
        assert superset.import_bundle()["removed"] == ["dataset lama"]
        assert _owned(api) == WANTED


def test_a_bundle_that_superset_does_not_take_changes_nothing(dashboards: superset.Superset) -> None:
    # Charts are checked here, the sizes of Superset's columns are not.
    broken = BUNDLE.datasets["retensi"].model_copy(update={"day": "d" * 300})
    with pytest.raises(UserError, match="the bundle cannot be imported"):
        superset.import_bundle(bundle=_with(datasets={**BUNDLE.datasets, "retensi": broken}))
    with session(dashboards.url, dashboards.password) as api:
        assert _owned(api) == WANTED


def test_users_follow_the_readers(dashboards: superset.Superset) -> None:
    kept: dict[str, str] = {}
    bi_logins.grant("tamu", ["KC001"], who="test")
    with session(dashboards.url, dashboards.password) as api:
        readers = [*READERS, "tamu", "admin", "n" * 65]
        done = users.synchronise(api, readers, kept.__setitem__)
        assert (done.created, done.foreign, done.refused) == (["tamu"], ["admin"], ["n" * 65])
        with session(dashboards.url, kept["tamu"], "tamu") as own:
            assert own.all("dashboard/")
        assert users.synchronise(api, readers, kept.__setitem__).created == []
        bi_logins.revoke("tamu", [], who="test")
        assert users.synchronise(api, READERS, kept.__setitem__).disabled == ["tamu"]
        with pytest.raises(UserError, match="does not let 'tamu' in"), session(dashboards.url, kept["tamu"], "tamu"):
            pass
        assert users.synchronise(api, [*READERS, "tamu"], kept.__setitem__).enabled == ["tamu"]
        users.synchronise(api, READERS, kept.__setitem__)


def test_a_second_start_imports_nothing_and_a_stop_stops_it(played: Played, dashboards: superset.Superset) -> None:
    said: list[str] = []
    assert superset.up(said.append) == dashboards
    assert superset.down(get_settings())
    assert superset.find(get_settings()) is None
    with pytest.raises(UserError, match=r"no Superset runs in .* `make bi` starts it"):
        superset.place()
    with pytest.raises(UserError, match="no Superset answers at"), session(dashboards.url, "x"):
        pass
    assert superset.up(said.append).port == dashboards.port
    assert said == []
    secrets = played.home / "keys" / "superset.json"
    assert secrets.stat().st_mode & 0o077 == 0


def test_dashboards_of_nothing_are_not_shown(tmp_path: Path) -> None:
    with environment(KKBC_HOME=str(tmp_path / "empty"), KKBC_DATABASE_URL=""):
        from kkbc.warehouse import server

        try:
            with pytest.raises(UserError, match="no marts were published in this home yet"):
                superset.up()
        finally:
            server.stop(tmp_path / "empty")
    with (
        environment(KKBC_HOME=str(tmp_path / "other"), KKBC_DATABASE_URL="postgresql://elsewhere/kkbc"),
        pytest.raises(UserError, match="KKBC_DATABASE_URL names another one"),
    ):
        superset.up()
