"""The bundle: database, datasets, charts, filters and dashboards of Superset, as written in `bi/superset/bundle`.

What is written there is what differs between charts; `kkbc.upkeep.dashboards.files` makes Superset's own files of it.
"""

from collections.abc import Iterator, Mapping
from functools import cached_property
from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from kkbc.core.errors import UserError
from kkbc.core.settings import PROJECT_ROOT

FOLDER = PROJECT_ROOT / "bi" / "superset" / "bundle"


T = TypeVar("T", bound=BaseModel)


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Database(_Part):
    """Where the datasets are: all in one schema."""

    title: str
    uri: str
    schema_name: str


class Metric(_Part):
    """An aggregate over a dataset, with its Indonesian label and D3 format."""

    label: str
    expression: str
    format: str | None = None


class Dataset(_Part):
    """A query over marts. `columns`: its columns with their Indonesian labels; day: the one that is its time axis."""

    title: str
    description: str
    sql: str
    columns: Mapping[str, str]
    metrics: Mapping[str, Metric]
    day: str | None = None


class Chart(_Part):
    """A chart over a dataset.

    params: as Superset has them; ignores: columns whose filters do not reach it; empty: when it has figures, in
    Indonesian, for a reader for whom it has none.
    """

    title: str
    description: str
    dataset: str
    viz: str
    params: Mapping[str, Any]
    ignores: tuple[str, ...] = ()
    empty: str = Field("", pattern=r'^[^"\\\n]*$')


class Filter(_Part):
    """A filter over the values of a column (default: of its own name); within: the filter that narrows its choices."""

    title: str
    dataset: str
    column: str = ""
    required: bool = False
    multiple: bool = False
    newest_first: bool = False
    within: str | None = None


class Row(_Part):
    """Charts side by side, with their widths in twelfths of the page; height in steps of 8 pixels."""

    height: int
    charts: Mapping[str, int]


class Dashboard(_Part):
    """Rows of charts, those written here or with another dashboard."""

    title: str
    slug: str
    description: str
    filters: tuple[str, ...]
    layout: tuple[Row, ...]
    charts: Mapping[str, Chart]

    @property
    def shown(self) -> tuple[str, ...]:
        """Names of its charts, in reading order."""
        return tuple(name for row in self.layout for name in row.charts)


class Bundle(_Part):
    """All of it, by name. colors: of series by their label."""

    database: Database
    colors: Mapping[str, str]
    filters: Mapping[str, Filter]
    datasets: Mapping[str, Dataset]
    dashboards: Mapping[str, Dashboard]

    @cached_property
    def charts(self) -> dict[str, Chart]:
        """The charts of all dashboards."""
        return {name: chart for board in self.dashboards.values() for name, chart in board.charts.items()}

    def column_of(self, name: str) -> str:
        """The column that a filter is over."""
        return self.filters[name].column or name

    def reached(self, dashboard: Dashboard, name: str) -> Iterator[str]:
        """Charts of a dashboard that a filter reaches: their dataset has its column, and they do not ignore it."""
        column = self.column_of(name)
        for chart in dashboard.shown:
            of = self.charts[chart]
            if column in self.datasets[of.dataset].columns and column not in of.ignores:
                yield chart


def load_bundle(folder: Path = FOLDER) -> Bundle:
    """The bundle of `folder`. Raises UserError naming the file and the key that is not as it should be."""
    return Bundle(
        database=_read(folder / "database.yml", Database),
        colors=_content(folder / "colors.yml"),
        filters=_each(folder / "filters.yml", Filter),
        datasets={path.stem: _read(path, Dataset) for path in sorted((folder / "datasets").glob("*.yml"))},
        dashboards={path.stem: _read(path, Dashboard) for path in sorted((folder / "dashboards").glob("*.yml"))},
    )


def _read(path: Path, kind: type[T]) -> T:
    return _checked(path, kind, _content(path))


def _each(path: Path, kind: type[T]) -> dict[str, T]:
    return {name: _checked(path, kind, entry, name) for name, entry in _content(path).items()}


def _content(path: Path) -> Any:
    try:
        return yaml.load(path.read_bytes(), yaml.CSafeLoader)
    except (OSError, yaml.YAMLError) as error:
        said = " ".join(str(error).split())
        raise UserError(f"{path} cannot be read: {said}", "write it as the files beside it are written") from error


def _checked(path: Path, kind: type[T], content: Any, *above: str) -> T:
    try:
        return kind.model_validate(content)
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(part) for part in (*above, *first["loc"]))
        raise UserError(f"{path}: {place}: {first['msg']}", "write it as the files beside it are written") from error
