"""Superset's own files made of the bundle: what `superset import` takes, with identifiers that stay the same.

An object's uuid follows from its kind and name, so that an import finds what an earlier one made.
"""

import hashlib
import io
import json
import uuid
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from kkbc.upkeep.dashboards.bundle import Bundle, Chart, Dashboard, Dataset

NAMESPACE = uuid.UUID("6a0b8d7c-3f53-5d0e-9c42-0c1f4b1f7a11")
# By this an import knows what the project made: people's own charts and dashboards do not have it. It is no address
# that anybody opens.
OWNED = "urn:kkbc:bundle"
# The count of filters beside a chart's title covers the title of a narrow one. Who imported the dashboard, and when, is
# no news for its readers. A cell without a value says N/A, in no language pack.
# Superset draws each chart for a share of the measured width of the grid. On a telephone the grid is measured at twice
# the page, so that half of it, which most charts have, is drawn for the whole page; then they stand below each other,
# and a table, or a chart of the full width, is moved sideways within its own frame.
CSS = """
.filter-counts, [data-test="metadata-bar"] { display: none !important; }
td.dt-is-null { font-size: 0 !important; }
td.dt-is-null::after { content: "–"; font-size: 12px; }
@media (max-width: 900px) {
  [data-test="dashboard-content-wrapper"] { max-width: 100vw; overflow-x: clip; }
  .grid-container {
    flex: none !important; width: calc(200vw - 16px) !important; max-width: none !important; margin: 8px !important;
  }
  .grid-content { width: calc(100vw - 16px) !important; }
  .grid-row { display: block !important; height: auto !important; }
  .grid-row > .dragdroppable-column:not(:last-child) { margin-bottom: 16px; }
  .dragdroppable-column, .grid-row .resizable-container {
    width: 100% !important; max-width: 100% !important; margin-right: 0 !important;
  }
  .chart-slice .dashboard-chart { overflow-x: auto; }
  [data-test-chart-name="Yang Anda lihat"] .chart-container * {
    max-width: calc(100vw - 48px) !important; height: auto !important;
  }
  .resizable-container:has([data-test-chart-name="Yang Anda lihat"]) { height: auto !important; }
}
"""
# Formats without decimals.
WHOLE = (",d", ",.0f")

_SERIES: dict[str, Any] = {
    "time_grain_sqla": "P1D",
    "x_axis_time_format": "%e %b",
    "tooltipTimeFormat": "%e %B %Y",
    "rich_tooltip": True,
    "truncate_metric": True,
    "show_legend": True,
    "legendOrientation": "top",
    "legendType": "plain",
    "row_limit": 10_000,
    "minorSplitLine": False,
    "truncateYAxis": False,
    "order_desc": True,
}
DEFAULTS: Mapping[str, Mapping[str, Any]] = {
    "big_number_total": {"header_font_size": 0.5, "subtitle_font_size": 0.2},
    "echarts_timeseries_bar": _SERIES,
    "echarts_timeseries_line": _SERIES | {"markerEnabled": True, "markerSize": 4},
    "table": {"show_cell_bars": False, "color_pn": False, "include_search": True, "page_length": 0},
    "heatmap_v2": {"show_legend": False, "show_percentage": False, "left_margin": 10, "bottom_margin": 10},
    "country_map": {},
}


def identifier(kind: str, name: str) -> str:
    """The uuid of an object of the bundle."""
    return str(uuid.uuid5(NAMESPACE, f"{kind}/{name}"))


def archive(bundle: Bundle) -> bytes:
    """The bundle as the zip file that Superset imports: the same bytes for the same bundle."""
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w", zipfile.ZIP_DEFLATED) as zipped:
        for name, content in files(bundle).items():
            text = yaml.safe_dump(content, allow_unicode=True, sort_keys=False)
            zipped.writestr(zipfile.ZipInfo(f"kkbc/{name}"), text)
    return made.getvalue()


def digest(bundle: Bundle) -> str:
    """Digest of all that an import would make."""
    return hashlib.sha256(json.dumps(files(bundle), sort_keys=True).encode()).hexdigest()


def write(bundle: Bundle, path: Path) -> None:
    """Writes the zip file."""
    path.write_bytes(archive(bundle))


def files(bundle: Bundle) -> dict[str, Any]:
    """Every file of the archive with its content."""
    found: dict[str, Any] = {
        "metadata.yaml": {"version": "1.0.0", "type": "assets", "timestamp": "2023-12-11T00:00:00+00:00"},
        "databases/kkbc.yaml": _database(bundle),
    }
    found |= {f"datasets/kkbc/{name}.yaml": _dataset(bundle, name, it) for name, it in bundle.datasets.items()}
    found |= {f"charts/{name}.yaml": _chart(bundle, name, chart) for name, chart in bundle.charts.items()}
    found |= {f"dashboards/{name}.yaml": _dashboard(bundle, name, it) for name, it in bundle.dashboards.items()}
    return found


def _owned(kind: str, name: str) -> dict[str, Any]:
    """What every object has: Superset's pages do not let people change what is managed elsewhere."""
    return {
        "uuid": identifier(kind, name),
        "version": "1.0.0",
        "is_managed_externally": True,
        "external_url": f"{OWNED}:{kind}:{name}",
    }


def _database(bundle: Bundle) -> dict[str, Any]:
    return {
        "database_name": bundle.database.title,
        "sqlalchemy_uri": bundle.database.uri,
        "cache_timeout": None,
        # SQL Lab is closed for this database, to everyone.
        "expose_in_sqllab": False,
        "allow_run_async": False,
        "allow_ctas": False,
        "allow_cvas": False,
        "allow_dml": False,
        "allow_csv_upload": False,
        "extra": {"allows_virtual_table_explore": True, "per_user_caching": True},
        "impersonate_user": False,
        **_owned("database", "kkbc"),
    }


def _dataset(bundle: Bundle, name: str, dataset: Dataset) -> dict[str, Any]:
    columns = [
        {
            "column_name": column,
            "verbose_name": label,
            "is_dttm": column == dataset.day,
            "is_active": True,
            "groupby": True,
            "filterable": True,
            "type": "DATE" if column == dataset.day else None,
        }
        for column, label in dataset.columns.items()
    ]
    metrics = [
        {"metric_name": key, "verbose_name": it.label, "expression": it.expression, "d3format": it.format}
        for key, it in dataset.metrics.items()
    ]
    return {
        "table_name": name,
        "main_dttm_col": dataset.day,
        "description": f"{dataset.title}. {dataset.description}",
        "schema": bundle.database.schema_name,
        "sql": dataset.sql,
        "filter_select_enabled": True,
        "columns": columns,
        "metrics": metrics,
        "database_uuid": identifier("database", "kkbc"),
        **_owned("dataset", name),
    }


def _chart(bundle: Bundle, name: str, chart: Chart) -> dict[str, Any]:
    return {
        "slice_name": chart.title,
        "description": chart.description,
        "viz_type": chart.viz,
        "params": {
            **DEFAULTS[chart.viz],
            **_format(bundle, chart),
            **chart.params,
            **_echarts(bundle, chart),
            "viz_type": chart.viz,
        },
        "cache_timeout": None,
        "dataset_uuid": identifier("dataset", chart.dataset),
        **_owned("chart", name),
    }


def _format(bundle: Bundle, chart: Chart) -> dict[str, str]:
    """The format of the chart's first metric, which Superset does not take from it for axes and numbers."""
    first = chart.params.get("metric") or next(iter(chart.params.get("metrics", ())), "")
    metric = bundle.datasets[chart.dataset].metrics.get(first)
    return {"y_axis_format": metric.format} if metric and metric.format else {}


def _echarts(bundle: Bundle, chart: Chart) -> dict[str, str]:
    """Options of the library that draws, as the text that Superset wants.

    An axis of whole numbers has whole steps, or one of few says 0, 0, 1, 1. Where each bar has its number beside it,
    the axis says nothing more; but each bar has its name, which the library leaves out where it thinks it has no room.
    """
    if not chart.viz.startswith("echarts_"):
        return {}
    across = chart.params.get("orientation") == "horizontal"
    axis: dict[str, Any] = {}
    if {**_format(bundle, chart), **chart.params}.get("y_axis_format") in WHOLE:
        axis["minInterval"] = 1
    if across and chart.params.get("show_value"):
        axis |= {"axisLabel": {"show": False}, "splitLine": {"show": False}}
    options = {"xAxis" if across else "yAxis": axis, **chart.params.get("echart_options", {})}
    if across:
        options["yAxis"] = {"axisLabel": {"interval": 0, "hideOverlap": False}}
    if chart.viz == "echarts_timeseries_line":
        # Else the first day has no label.
        options["xAxis"] = {"axisLabel": {"showMinLabel": True, "margin": 14}}
    return {"echart_options": json.dumps(options)}


def _dashboard(bundle: Bundle, name: str, dashboard: Dashboard) -> dict[str, Any]:
    # Superset puts its own numbers in place of these.
    numbers = {chart: number for number, chart in enumerate(bundle.charts, start=1)}
    # Superset looks a series up by its value, and that of a metric by the metric's name.
    metrics = [metric for dataset in bundle.datasets.values() for metric in dataset.metrics.items()]
    colors = {**bundle.colors, **{key: bundle.colors[it.label] for key, it in metrics if it.label in bundle.colors}}
    return {
        "dashboard_title": dashboard.title,
        "description": dashboard.description,
        "slug": dashboard.slug,
        "css": CSS + "".join(_when_empty(bundle.charts[chart]) for chart in dashboard.shown),
        "published": True,
        "position": _position(bundle, dashboard, numbers),
        "metadata": {
            "native_filter_configuration": [_filter(bundle, dashboard, key, numbers) for key in dashboard.filters],
            "label_colors": colors,
            # The one that is read when a page opens; the other only when somebody edits it.
            "map_label_colors": colors,
            "shared_label_colors": [],
            # Beside the charts it takes a quarter of a small screen, and on a telephone more.
            "filter_bar_orientation": "HORIZONTAL",
            "cross_filters_enabled": True,
            "refresh_frequency": 0,
            "expanded_slices": {},
            "timed_refresh_immune_slices": [],
        },
        **_owned("dashboard", name),
    }


def _when_empty(chart: Chart) -> str:
    """Style that says in the place of an empty chart when it has figures, instead of Superset's words for all."""
    if not chart.empty:
        return ""
    place = f'[data-test-chart-name="{chart.title}"] .ant-empty-description'
    return f'{place} {{ font-size: 0; }}\n{place}::after {{ content: "{chart.empty}"; font-size: 14px; }}\n'


def _position(bundle: Bundle, dashboard: Dashboard, numbers: Mapping[str, int]) -> dict[str, Any]:
    rows = {f"ROW-{number}": row for number, row in enumerate(dashboard.layout, start=1)}
    place: dict[str, Any] = {
        "DASHBOARD_VERSION_KEY": "v2",
        "ROOT_ID": {"type": "ROOT", "id": "ROOT_ID", "children": ["GRID_ID"]},
        "GRID_ID": {"type": "GRID", "id": "GRID_ID", "children": list(rows), "parents": ["ROOT_ID"]},
        "HEADER_ID": {"type": "HEADER", "id": "HEADER_ID", "meta": {"text": dashboard.title}},
    }
    for key, row in rows.items():
        above = ["ROOT_ID", "GRID_ID"]
        children = [f"CHART-{chart}" for chart in row.charts]
        meta = {"background": "BACKGROUND_TRANSPARENT"}
        place[key] = {"type": "ROW", "id": key, "children": children, "parents": above, "meta": meta}
        for chart, width in row.charts.items():
            place[f"CHART-{chart}"] = {
                "type": "CHART",
                "id": f"CHART-{chart}",
                "children": [],
                "parents": [*above, key],
                "meta": {
                    "chartId": numbers[chart],
                    "uuid": identifier("chart", chart),
                    "sliceName": bundle.charts[chart].title,
                    "height": row.height,
                    "width": width,
                },
            }
    return place


def _filter(bundle: Bundle, dashboard: Dashboard, key: str, numbers: Mapping[str, int]) -> dict[str, Any]:
    of = bundle.filters[key]
    reached = set(bundle.reached(dashboard, key))
    target = {"column": {"name": bundle.column_of(key)}, "datasetUuid": identifier("dataset", of.dataset)}
    return {
        "id": f"NATIVE_FILTER-{key}",
        "name": of.title,
        "type": "NATIVE_FILTER",
        "filterType": "filter_select",
        # Without it the first value stands in the filter, and the charts do not know.
        "requiredFirst": of.required,
        "targets": [target],
        "controlValues": {
            "enableEmptyFilter": of.required,
            "defaultToFirstItem": of.required,
            "multiSelect": of.multiple,
            "searchAllOptions": False,
            "inverseSelection": False,
            "sortAscending": not of.newest_first,
        },
        "defaultDataMask": {"extraFormData": {}, "filterState": {}, "ownState": {}},
        "cascadeParentIds": [f"NATIVE_FILTER-{of.within}"] if of.within in dashboard.filters else [],
        "scope": {
            "rootPath": ["ROOT_ID"],
            "excluded": [numbers[chart] for chart in dict.fromkeys(dashboard.shown) if chart not in reached],
        },
        "description": "",
    }
