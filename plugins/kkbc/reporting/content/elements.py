"""What a page is made of: figures, tables and notes, in sections."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from typing import Literal


@dataclass(frozen=True)
class Tile:
    """A figure at the head of the page, with what it is compared with."""

    label: str
    value: str
    details: tuple[str, ...] = ()
    bad: bool = False


@dataclass(frozen=True)
class Key:
    """An entry of a legend. dash: that of a line, as SVG has it, empty for an unbroken one; None for an area."""

    name: str
    colour: str
    dash: str | None = None


@dataclass(frozen=True)
class Figure:
    """A chart below the sentence that it shows. Without a chart, `note` says why there is none."""

    title: str
    svg: str | None
    note: str = ""
    legend: tuple[Key, ...] = ()


@dataclass(frozen=True)
class Table:
    """A table. numbers: places of the columns that hold numbers; strong: place of a bold one; width: in columns of the
    page.
    """

    title: str
    heads: tuple[str, ...]
    rows: Sequence[tuple[str, ...]]
    note: str = ""
    numbers: tuple[int, ...] = ()
    strong: int | None = None
    width: Literal["one", "two", "all"] = "all"


@dataclass(frozen=True)
class Notes:
    """Sentences, each with a word in bold before it."""

    title: str
    items: list[tuple[str, str]]


@dataclass(frozen=True)
class Section:
    """A heading and what stands below it, in its order."""

    title: str
    parts: list[Figure | Table | Notes]


@dataclass(frozen=True)
class Page:
    """A whole report. missing: said in place of the figures when there are none."""

    kind: Literal["national", "regional", "branch"]
    title: str
    subtitle: str
    day: date
    headline: str
    tiles: list[Tile]
    sections: list[Section]
    publication: dict[str, object]
    missing: str = ""
