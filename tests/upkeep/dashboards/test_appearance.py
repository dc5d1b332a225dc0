"""What the bundle says of colours, places and words, so that a page can be read at the width of a small screen."""

import csv
import json
import re
from typing import Any

import pytest
import yaml

from kkbc.core.settings import PROJECT_ROOT
from kkbc.upkeep.dashboards import files, load_bundle
from kkbc.upkeep.dashboards.bundle import Chart

BUNDLE = load_bundle()
MADE = files.files(BUNDLE)
# A window 1280 pixels wide, with the filters open: what is left for twelve columns, and what a title has around it.
PAGE, AROUND, LETTER = 960, 90, 9.2
# The values of columns by which charts are split into series, where they are not in the bundle's own SQL.
CHANNELS = PROJECT_ROOT / "dbt_project" / "seeds" / "channels.csv"


def _series(chart: Chart) -> list[str]:
    """The names of a chart's series."""
    dataset = BUNDLE.datasets[chart.dataset]
    if not chart.params.get("groupby"):
        return [dataset.metrics[name].label for name in chart.params["metrics"]]
    if chart.params["groupby"] == ["kanal"]:
        with CHANNELS.open(encoding="utf-8") as file:
            return [row["name_id"] for row in csv.DictReader(file)]
    assert chart.params["groupby"] == ["keadaan"]
    return re.findall(r"then '([^']+)'", dataset.sql)


SERIES = {name: _series(it) for name, it in BUNDLE.charts.items() if it.viz.startswith("echarts_timeseries")}


@pytest.mark.parametrize("name", SERIES)
def test_each_series_of_a_chart_has_a_colour_of_its_own(name: str) -> None:
    colours = [BUNDLE.colors.get(series) for series in SERIES[name]]
    assert None not in colours, SERIES[name]
    assert len(set(colours)) == len(colours)


def test_colours_are_those_of_series_and_every_dashboard_has_them() -> None:
    assert set(BUNDLE.colors) <= {*(label for labels in SERIES.values() for label in labels), "Tidak diketahui"}
    for name in BUNDLE.dashboards:
        metadata = MADE[f"dashboards/{name}.yaml"]["metadata"]
        assert metadata["map_label_colors"] == metadata["label_colors"]
        assert metadata["label_colors"].items() >= BUNDLE.colors.items()
        # Superset asks for the colour of a metric by its name.
        assert metadata["label_colors"]["akuisisi"] == BUNDLE.colors["Akuisisi"]


def test_no_title_is_wider_than_its_chart_on_a_small_screen() -> None:
    for board in BUNDLE.dashboards.values():
        for row in board.layout:
            for name, width in row.charts.items():
                title = BUNDLE.charts[name].title
                assert len(title) * LETTER <= PAGE * width / 12 - AROUND, title


def test_tables_have_the_whole_width() -> None:
    for board in BUNDLE.dashboards.values():
        for row in board.layout:
            assert all(width == 12 for name, width in row.charts.items() if BUNDLE.charts[name].viz == "table")


def _options(name: str) -> Any:
    return json.loads(MADE[f"charts/{name}.yaml"]["params"]["echart_options"])


def test_axes_of_counts_have_whole_steps_and_those_of_shares_have_not() -> None:
    assert _options("tren_harian")["yAxis"] == {"minInterval": 1}
    assert _options("tren_harian")["xAxis"] == {"axisLabel": {"showMinLabel": True, "margin": 14}}
    assert _options("radio")["yAxis"] == {"minInterval": 1}
    assert _options("akuisisi_kanal")["xAxis"]["minInterval"] == 1
    assert "minInterval" not in _options("capaian_kantor_wilayah")["xAxis"]


def test_an_axis_beside_labelled_bars_has_no_numbers() -> None:
    for name, chart in BUNDLE.charts.items():
        if chart.params.get("orientation") == "horizontal" and chart.params.get("show_value"):
            assert _options(name)["xAxis"]["axisLabel"] == {"show": False}, name


def test_what_a_chart_says_of_its_legend_is_kept() -> None:
    assert _options("tren_kanal") == {
        "yAxis": {"minInterval": 1},
        "legend": BUNDLE.charts["tren_kanal"].params["echart_options"]["legend"],
        "grid": {"top": 104},
    }


def test_the_words_of_superset_keep_what_is_put_into_them() -> None:
    words = yaml.safe_load((PROJECT_ROOT / "bi" / "superset" / "indonesian.yml").read_text(encoding="utf-8"))
    holes = re.compile(r"%(?:\(\w+\))?[sd]")
    for english, own in words.items():
        assert isinstance(english, str), f"{english!r} is no text: put it in quotes"
        for text in own if isinstance(own, list) else [own]:
            assert isinstance(text, str), english
            assert text, english
            assert holes.findall(text) == holes.findall(english), english


@pytest.mark.parametrize("name", [name for name, it in SERIES.items() if BUNDLE.charts[name].params.get("orientation")])
def test_no_bar_is_without_its_name(name: str) -> None:
    # The library leaves names out where they might touch, which a reader takes for a bar of nothing.
    label = json.loads(MADE[f"charts/{name}.yaml"]["params"]["echart_options"])["yAxis"]["axisLabel"]
    assert (label["interval"], label["hideOverlap"]) == (0, False)


def test_an_empty_chart_says_when_it_has_figures() -> None:
    for name, board in BUNDLE.dashboards.items():
        for chart in (BUNDLE.charts[shown] for shown in board.shown):
            place = f'[data-test-chart-name="{chart.title}"] .ant-empty-description::after'
            style = MADE[f"dashboards/{name}.yaml"]["css"]
            assert (f'{place} {{ content: "{chart.empty}"' in style) == bool(chart.empty), chart.title
    # What has no figures on the first nights of an installation.
    assert all(BUNDLE.charts[name].empty for name in ("peta_cakupan", "radio", "retensi"))
