"""How charts look, and their way to SVG: one width, few colours, texts as large as those of the page.

Every chart is as wide as a telephone, so that a page sets them one below the other or beside each other, and nothing
has to shrink. Every colour has a pair for dark pages: an attribute of the SVG names the light one, and a rule of the
page's style puts the dark one in its place (`dark_rules`), so that a chart is drawn once.
"""

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from functools import cache
from typing import Any

import altair as alt

from kkbc.reporting import words

WIDTH = 340
FONT = "Arial, 'Liberation Sans', Helvetica, sans-serif"
SIZE = 12


@dataclass(frozen=True)
class Colour:
    """The same colour on a light page and on a dark one."""

    light: str
    dark: str


# Blue, orange and greys: told apart by readers of every colour vision, and by lightness in print.
INK = Colour("#1b2530", "#e6ebf1")
MUTED = Colour("#5c6875", "#a3afbc")
FAINT = Colour("#dfe4ea", "#36414d")
GREY = Colour("#a9b3be", "#667280")
BLUE = Colour("#0a69a8", "#5fb2ec")
PALE = Colour("#9cc7e6", "#2d5f86")
ORANGE = Colour("#b84f08", "#ff9d52")
AMBER = Colour("#e9b872", "#8a5a1c")
PAPER = Colour("#fefefe", "#171e26")
# From little to much; on the last two, texts are PAPER.
STEPS = (
    Colour("#eaf2f9", "#1d2a37"),
    Colour("#c6dff0", "#234461"),
    Colour("#92c2e3", "#2f6793"),
    Colour("#3f8dc4", "#5aa5dc"),
    Colour("#0b5c95", "#a5d4f7"),
)
NOTHING = Colour("#f3f4f6", "#222a33")
COLOURS = (INK, MUTED, FAINT, GREY, BLUE, PALE, ORANGE, AMBER, PAPER, *STEPS, NOTHING)

NUMBERS = {"decimal": ",", "thousands": ".", "grouping": [3], "currency": ["Rp", ""]}
# The week of charts begins on Sunday.
_WEEK = [words.DAYS[-1], *words.DAYS[:-1]]
DATES = {
    "dateTime": "%A, %e %B %Y %H.%M",
    "date": "%d/%m/%Y",
    "time": "%H.%M",
    "periods": ["AM", "PM"],
    "days": _WEEK,
    "shortDays": [day[:3] for day in _WEEK],
    "months": list(words.MONTHS),
    "shortMonths": list(words.SHORT_MONTHS),
}
# 1.500 as 1.500, but 1.500.000 as 1,5 juta, which an axis has room for.
SHORT_NUMBERS = (
    "abs(datum.value) >= 1e9 ? format(datum.value / 1e9, ',.2~f') + ' M'"
    " : abs(datum.value) >= 1e6 ? format(datum.value / 1e6, ',.2~f') + ' jt' : format(datum.value, ',.0f')"
)

_DROPPED = re.compile(
    r' (?:xmlns(?::xlink)?|version|class|role|aria-[a-z]+|pointer-events|opacity|stroke-miterlimit)="[^"]*"'
    r'|<path d="" display="none"/>|<path d="M0,0h0v0h0Z"/>'
)
# Of attributes alone: 27.101 in a text is a number of five digits.
_ATTRIBUTE = re.compile(r'="[^"<>]*"')
_LONG = re.compile(r"(\d+\.\d\d)\d+")
_EMPTY = re.compile(r"<g(?: transform=\"translate\(0,0\)\")?></g>")


def rows(values: list[dict[str, Any]]) -> alt.InlineData:
    """Rows of a chart, in the specification itself, dates as ISO: as text, which Altair copies for nothing."""
    return alt.InlineData(values=json.dumps(values), format=alt.JsonDataFormat(type="json"))


def days(first: date, last: date, count: int = 4) -> alt.Axis:
    """An axis of days that names so many of them, the last one among them; months where it is long."""
    span = (last - first).days
    step = max(1, -(-span // max(1, count - 1)))
    named = sorted({last - timedelta(days=n) for n in range(0, span + 1, step)})
    values = [int(datetime.combine(day, time(), UTC).timestamp() * 1000) for day in named]
    form = "%b %y" if span > 120 else "%-d %b"
    return alt.Axis(values=values, format=form, title=None, grid=False, labelFlush=True, labelOverlap=True)


def amounts(*, ticks: int = 4) -> alt.Axis:
    """An axis of counts or rupiah."""
    return alt.Axis(labelExpr=SHORT_NUMBERS, tickCount=ticks, title=None, domain=False, ticks=False)


def text(colour: Colour = INK, **more: Any) -> dict[str, Any]:
    """What a mark of text takes."""
    return {"font": FONT, "fontSize": SIZE, "color": colour.light, **more}


def haloed(chart: alt.Chart, **channels: Any) -> list[alt.Chart]:
    """Layers of a text that stays readable over lines: its outline in the colour of the page, then itself."""
    style: dict[str, Any] = channels.pop("style")
    outline = style | {"color": PAPER.light, "stroke": PAPER.light, "strokeWidth": 4, "strokeJoin": "round"}
    return [chart.mark_text(**mark).encode(**channels) for mark in (outline, style)]


def to_svg(layers: Sequence[alt.Chart], height: int, alternative: str) -> str:
    """The layers as inline SVG, WIDTH by `height`, with its alternative text for those who do not see it."""
    import vl_convert

    fitted: Any = (
        alt.layer(*layers)
        .properties(width=WIDTH, height=height, autosize=alt.AutoSizeParams(type="fit", contains="padding"), padding=2)
        .configure(**_config())
    )
    svg = vl_convert.vegalite_to_svg(
        fitted.to_dict(validate=False), format_locale=NUMBERS, time_format_locale=DATES, allowed_base_urls=[]
    )
    return _inline(svg, alternative)


def _inline(svg: str, alternative: str) -> str:
    """The SVG as part of a page: no names of its own, no role but that of a picture, short numbers."""
    start = svg.index(">") + 1
    head, body = svg[:start], svg[start:]
    size = re.search(r'viewBox="[^"]*"', head)
    assert size is not None
    body = re.sub(r'^<rect [^>]*fill="[^"]*"/>', "", body)
    body = _ATTRIBUTE.sub(lambda found: _LONG.sub(r"\1", found[0]), _DROPPED.sub("", body))
    while (shorter := _EMPTY.sub("", body)) != body:
        body = shorter
    label = alternative.replace("&", "&amp;").replace('"', "&quot;").replace("<", "&lt;")
    return f'<svg {size[0]} role="img" aria-label="{label}">{body}'


@cache
def dark_rules() -> str:
    """The rules of style by which a chart becomes one of a dark page."""
    return "\n".join(
        f'svg [{name}="{colour.light}"] {{ {name}: {colour.dark}; }}'
        for colour in COLOURS
        for name in ("fill", "stroke")
    )


def _config() -> dict[str, Any]:
    return {
        "background": "transparent",
        "font": FONT,
        "view": alt.ViewConfig(stroke=None),
        "axis": alt.AxisConfig(
            labelColor=MUTED.light,
            labelFont=FONT,
            labelFontSize=SIZE,
            titleColor=MUTED.light,
            titleFont=FONT,
            titleFontSize=SIZE,
            titleFontWeight="normal",
            domainColor=GREY.light,
            tickColor=GREY.light,
            gridColor=FAINT.light,
            aria=False,
        ),
        "mark": alt.MarkConfig(aria=False),
        "text": alt.MarkConfig(font=FONT, fontSize=SIZE),
    }
