"""The chain dashboard - chart - dataset - model - column, followed from end to end in dbt's manifest.

What breaks it is named with the dashboard, chart or dataset that it breaks. Neither Superset nor a database is needed.
"""

import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from kkbc.core.errors import UserError
from kkbc.upkeep.dashboards.bundle import Bundle, Chart, Dataset

Models = Mapping[str, Mapping[str, str]]
"""Columns and their types by model."""

_ONE_COLUMN = ("x_axis", "entity", "subject")
_COLUMNS = ("groupby", "all_columns", "columns", "series_columns")
_METRICS = ("metric", "timeseries_limit_metric")
_PASSWORD_IN_URI = re.compile(r"\w+://[^\s/:@]+:[^\s/@]+@")
_SECRET_KEY = re.compile(r"password|passwd|secret|token|private_key|credential", re.IGNORECASE)


def models_of(manifest: Path, schema: str) -> dict[str, dict[str, str]]:
    """The models that dbt's manifest publishes in `schema`, with types by column. Raises UserError without one."""
    try:
        nodes = json.loads(manifest.read_bytes())["nodes"].values()
    except (OSError, ValueError, KeyError) as error:
        raise UserError(f"{manifest} is no manifest of dbt", "`make lint` makes one by `dbt parse`") from error
    return {
        node["name"]: {name: column.get("data_type") or "text" for name, column in node["columns"].items()}
        for node in nodes
        if node["resource_type"] == "model" and schema in node["config"]["meta"].get("publish", ())
    }


def faults(bundle: Bundle, models: Models) -> list[str]:
    """What is wrong with the bundle, a line each; empty when every chart ends in columns of models that are there."""
    found = [*_secrets(bundle.model_dump(), "")]
    for name, dataset in bundle.datasets.items():
        used_by = [key for key, chart in bundle.charts.items() if chart.dataset == name]
        ends = f"dataset {name} (charts {', '.join(used_by)})" if used_by else f"dataset {name} (no chart)"
        found += [f"{ends}: {fault}" for fault in _of_dataset(dataset, bundle.database.schema_name, models)]
    for name, dashboard in bundle.dashboards.items():
        found += [f"dashboard {name}: {fault}" for fault in _of_dashboard(bundle, name)]
        for key, chart in dashboard.charts.items():
            found += [f"dashboard {name}, chart {key}: {fault}" for fault in _of_chart(bundle, chart)]
    return found


def models_behind(dataset: Dataset) -> set[str]:
    """The names of the tables that the dataset reads."""
    import sqlglot
    from sqlglot import exp

    return {table.name for table in sqlglot.parse_one(dataset.sql, read="postgres").find_all(exp.Table) if table.db}


def _of_dataset(dataset: Dataset, schema: str, models: Models) -> Iterator[str]:
    import sqlglot
    from sqlglot import exp
    from sqlglot.errors import SqlglotError
    from sqlglot.optimizer.qualify import qualify

    try:
        query = sqlglot.parse_one(dataset.sql, read="postgres")
    except SqlglotError as error:
        yield f"its SQL cannot be read: {_line(error)}"
        return
    missing = False
    for table in query.find_all(exp.Table):
        if table.db != schema and table.db:
            missing = True
            yield f"it reads {table.db}.{table.name}, outside schema {schema}"
        elif table.db and table.name not in models:
            missing = True
            yield f"no model {table.name} is published in schema {schema}"
    if missing:
        return
    try:
        known: dict[str, object] = {schema: {name: dict(columns) for name, columns in models.items()}}
        qualified: Any = qualify(query, schema=known, dialect="postgres", quote_identifiers=False)
    except SqlglotError as error:
        yield f"{_line(error)}: no model that it reads has that column"
        return
    gives = [column.alias_or_name for column in qualified.selects]
    for column in dataset.columns:
        if column not in gives:
            yield f"its SQL gives no column {column}"
    yield from (f"column {column} of its SQL has no label" for column in gives if column not in dataset.columns)
    for name, metric in dataset.metrics.items():
        for column in _columns_in(metric.expression):
            if column not in dataset.columns:
                yield f"metric {name}: the dataset has no column {column}"


def _of_dashboard(bundle: Bundle, name: str) -> Iterator[str]:
    dashboard = bundle.dashboards[name]
    for chart in dashboard.shown:
        if chart not in bundle.charts:
            yield f"there is no chart {chart}"
    yield from (
        f"chart {chart} has no place in the layout" for chart in dashboard.charts if chart not in dashboard.shown
    )
    for row in dashboard.layout:
        if sum(row.charts.values()) > 12:
            yield f"the row of {', '.join(row.charts)} is wider than 12"
    for key in dashboard.filters:
        if key not in bundle.filters:
            yield f"there is no filter {key}"
        elif bundle.column_of(key) not in _dataset_columns(bundle, bundle.filters[key].dataset):
            yield f"filter {key}: dataset {bundle.filters[key].dataset} has no column {bundle.column_of(key)}"


def _of_chart(bundle: Bundle, chart: Chart) -> Iterator[str]:
    from kkbc.upkeep.dashboards.files import DEFAULTS

    if chart.viz not in DEFAULTS:
        yield f"{chart.viz} is no kind of chart that the bundle uses: {', '.join(DEFAULTS)}"
    dataset = bundle.datasets.get(chart.dataset)
    if dataset is None:
        yield f"there is no dataset {chart.dataset}"
        return
    columns, metrics = _named(chart.params)
    yield from (
        f"dataset {chart.dataset} has no column {column}" for column in columns if column not in dataset.columns
    )
    yield from (
        f"dataset {chart.dataset} has no metric {metric}" for metric in metrics if metric not in dataset.metrics
    )


def _named(params: Mapping[str, Any]) -> tuple[list[str], list[str]]:
    """Columns and metrics that the parameters of a chart name."""
    columns = [params[key] for key in _ONE_COLUMN if params.get(key)]
    for key in _COLUMNS:
        named = params.get(key, [])
        columns += [named] if isinstance(named, str) else named
    columns += [json.loads(entry)[0] for entry in params.get("order_by_cols", [])]
    columns += [condition["subject"] for condition in params.get("adhoc_filters", [])]
    metrics = [params[key] for key in _METRICS if params.get(key)]
    return columns, [*metrics, *params.get("metrics", [])]


def _columns_in(expression: str) -> list[str]:
    import sqlglot
    from sqlglot import exp

    return [column.name for column in sqlglot.parse_one(expression, read="postgres").find_all(exp.Column)]


def _dataset_columns(bundle: Bundle, name: str) -> Mapping[str, str]:
    return bundle.datasets[name].columns if name in bundle.datasets else {}


def _secrets(content: Any, place: str) -> Iterator[str]:
    """Passwords and their like, by where they stand, never by value."""
    if isinstance(content, Mapping):
        for key, value in content.items():
            if _SECRET_KEY.search(str(key)) and isinstance(value, str) and value:
                yield f"{place}{key}: secrets do not belong into the bundle"
            yield from _secrets(value, f"{place}{key}.")
    elif isinstance(content, list | tuple):
        for number, value in enumerate(content):
            yield from _secrets(value, f"{place}{number}.")
    elif isinstance(content, str) and _PASSWORD_IN_URI.search(content):
        yield f"{place.rstrip('.')}: a URI with a password does not belong into the bundle"


def _line(error: Exception) -> str:
    return re.sub(r"\x1b\[\d+m", "", " ".join(str(error).split()))[:200]
