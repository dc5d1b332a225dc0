"""The SQL of the dashboards over published marts: beside the night's report, and for a reader who sees no branch."""

import calendar
from collections.abc import Iterator
from datetime import date, timedelta
from typing import Any

import psycopg
import pytest
from psycopg.conninfo import make_conninfo

from kkbc.core.settings import get_settings
from kkbc.exchange.code_texts import CODES
from kkbc.reporting import words
from kkbc.reporting.content.parts import TYPES, tiles
from kkbc.reporting.figures.headline import headline
from kkbc.reporting.figures.peers import branches
from kkbc.reporting.figures.view import NATION, scope_of_branch, view_of
from kkbc.reporting.reading import read_published
from kkbc.upkeep import bi_logins
from kkbc.upkeep.dashboards import load_bundle
from kkbc.warehouse import connect, server
from tests import databases
from tests.reporting.invented import Campaign, publish

# The marts begin in the midst of a month, and so the campaign: its first night was that of the 11th.
FIRST, AS_OF = date(2025, 12, 11), date(2025, 12, 18)
MONTH = "2025-12 Desember"
BRANCHES = ["KC001", "KC002", "KC003"]
# What each branch acquired before the first day of the marts, which targets count and days do not.
EARLIER = 40
READER, NOBODY = "kkbc_test_kepala", "kkbc_test_tamu"

BUNDLE = load_bundle()


@pytest.fixture(scope="module")
def published(pg: server.Server, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Published marts of a first month, a reader of one branch and one of none; yields the address."""
    made = Campaign(FIRST, AS_OF, BRANCHES).invent()
    made.tables["dim_date"] = [_day(FIRST.replace(day=1) + timedelta(days=n)) for n in range(62)]
    for row in made.tables["kpi_target_monthly"]:
        row["realisation_new"] += EARLIER
        row["attainment_new"] = row["realisation_new"] / row["target_new"]
        row["projection_new"] = row["realisation_new"] * 31 / AS_OF.day
    with pytest.MonkeyPatch.context() as patch, databases.database(pg) as name:
        patch.setenv("KKBC_HOME", str(tmp_path_factory.mktemp("home")))
        patch.setenv("KKBC_DATABASE_URL", pg.conninfo(name))
        get_settings.cache_clear()
        publish(made)
        with connect() as conn:
            for login in (READER, NOBODY):
                conn.execute(f"create role {login} login in role branch_bi")  # type: ignore[arg-type]
        bi_logins.grant(READER, ["KC002"], who="tester")
        yield pg.conninfo(name)
        with connect() as conn:
            for login in (READER, NOBODY):
                conn.execute(f"drop owned by {login}; drop role {login}")  # type: ignore[arg-type]
    get_settings.cache_clear()


def _day(day: date) -> dict[str, Any]:
    return {
        "date": day,
        "month": day.replace(day=1),
        "month_name_id": words.MONTHS[day.month - 1],
        "day_of_month": day.day,
        "is_month_end": day.day == calendar.monthrange(day.year, day.month)[1],
        "is_reported": FIRST <= day <= AS_OF,
        "is_as_of": day == AS_OF,
    }


def answered(address: str, dataset: str, *selected: str, login: str = READER, where: str = "true") -> list[Any]:
    """Rows of a dataset's columns and metrics, grouped as Superset groups them, as a login sees them."""
    of = BUNDLE.datasets[dataset]
    columns = [name for name in selected if name in of.columns]
    shown = [name if name in of.columns else f"{of.metrics[name].expression} as {name}" for name in selected]
    text = f"select {', '.join(shown)} from ({of.sql}) q where {where}"
    if columns:
        text += f" group by {', '.join(columns)}"
    with psycopg.connect(make_conninfo(address, user=login)) as conn:
        return conn.execute(text).fetchall()  # type: ignore[arg-type]


@pytest.mark.parametrize("place", ["nation", "branch"])
def test_the_figures_of_a_first_month_are_those_of_the_report(published: str, place: str) -> None:
    if place == "nation":
        bi_logins.grant(READER, [bi_logins.ALL], who="tester")
    try:
        snapshot = read_published()
        view = view_of(snapshot, NATION if place == "nation" else scope_of_branch(snapshot, "KC002"))
        head = headline(view)
        assert head.since == FIRST
        shown = ("pendaftaran", "akuisisi", "iuran", "target", "realisasi", "proyeksi", "capaian", "capaian_proyeksi")
        ((*found,),) = answered(published, "cabang_bulanan", *shown, where=f"bulan = '{MONTH}'")
        (told,) = answered(published, "keterangan", "keterangan", where=f"bulan = '{MONTH}'")
    finally:
        bi_logins.revoke(READER, [], who="tester")
        bi_logins.grant(READER, ["KC002"], who="tester")
    month, new = head.month, head.new
    assert found[:5] == [
        *(month["registrations"], month["acquisitions"], month["contributions_idr"], new.target, new.realisation)
    ]
    assert found[5:] == pytest.approx([new.projection, new.attainment, new.projected])
    assert new.realisation > month["acquisitions"]
    # Both pages say since when; neither leaves a reader to divide one by the other.
    assert any(tile.label == "Akuisisi sejak 11 Des" for tile in tiles(head, view))
    assert "dihitung sejak 11 Desember." in told[0]
    assert "menghitung akuisisi sejak tanggal 1" in told[0]


def test_the_table_of_branches_shows_what_the_report_shows(published: str) -> None:
    (found,) = answered(published, "cabang_bulanan", "cabang", "akuisisi", "target", "capaian", "capaian_proyeksi")
    snapshot = read_published()
    (branch,) = branches(view_of(snapshot, scope_of_branch(snapshot, "KC002")))
    assert found[0] == f"{branch.branch_id} {branch.name}"
    assert found[1:3] == (branch.acquisitions, branch.target)
    assert found[3:] == pytest.approx((branch.attainment, branch.projected))


def test_a_table_with_a_target_shows_what_is_divided_by_it() -> None:
    for name, chart in BUNDLE.charts.items():
        metrics = chart.params.get("metrics", [])
        if "target" in metrics:
            assert "realisasi" in metrics, name


def test_a_reader_without_branches_is_told_and_every_required_filter_has_a_value(published: str) -> None:
    (told,) = answered(published, "keterangan", "keterangan", login=NOBODY)
    assert told[0].startswith("Anda belum diberi hak melihat data cabang mana pun")
    assert "Mintalah kepada pengelola data di kantor pusat" in told[0]
    required = {name for board in BUNDLE.dashboards.values() for name in board.filters if BUNDLE.filters[name].required}
    assert required
    for name in required:
        # Superset draws no chart until each of these has its first value.
        assert len(answered(published, BUNDLE.filters[name].dataset, BUNDLE.column_of(name), login=NOBODY)) == 1, name
    for name, dataset in BUNDLE.datasets.items():
        if name not in ("keterangan", "cabang"):
            assert answered(published, name, next(iter(dataset.columns)), login=NOBODY) == [], name


def test_each_dashboard_says_whose_rows_it_shows() -> None:
    for name, board in BUNDLE.dashboards.items():
        assert board.shown[0] == "keterangan", name


def test_a_reader_sees_the_own_branches_in_the_filters(published: str) -> None:
    ((branch,),) = answered(published, "cabang", "cabang")
    assert branch.startswith("KC002 ")
    (told,) = answered(published, "keterangan", "keterangan")
    assert told[0].startswith(f"Anda berhak melihat data {branch}. Desember 2025: data tanggal 11 sampai 18.")


def test_codes_are_told_in_the_words_of_the_report(published: str) -> None:
    text = BUNDLE.datasets["alasan_karantina"].sql
    listed = text[text.index("(values") : text.index(") as a (code")] + ")"
    with psycopg.connect(published) as conn:
        rows = dict(conn.execute(f"select * from {listed} as a (code, alasan)").fetchall())  # type: ignore[arg-type]
    assert rows == {code: words.sentence(told) for code, told in CODES.items()}
    shown = {row[0] for row in answered(published, "alasan_karantina", "alasan")}
    assert shown
    assert shown <= set(rows.values())
    activities = " ".join(BUNDLE.datasets["kegiatan"].sql.split())
    assert all(f"when '{code}' then '{told}'" in activities for code, told in TYPES.items())
