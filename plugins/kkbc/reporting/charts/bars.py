"""Charts of bars with their numbers beside them: targets, the funnel, branches by attainment, costs, spots, codes."""

from dataclasses import dataclass
from typing import Any

import altair as alt

from kkbc.reporting import words
from kkbc.reporting.charts.style import (
    BLUE,
    FAINT,
    INK,
    MUTED,
    ORANGE,
    PALE,
    Colour,
    rows,
    text,
    to_svg,
)
from kkbc.reporting.figures.field import Spot

ROW = 40
# Charts of a row each have their names above the bars, for a telephone has no room beside them.
NAME_ABOVE, BAR_BELOW = 12, 24


@dataclass(frozen=True)
class Bar:
    """A bar from 0 to `value`. name, label: texts above it, left and right. mark: a line across. tail: a paler bar."""

    name: str
    value: float
    label: str
    colour: Colour = BLUE
    mark: float | None = None
    tail: float | None = None


def bars(found: list[Bar], alternative: str, *, highest: float | None = None, axis_mark: float | None = None) -> str:
    """Rows of bars with texts above them. axis_mark: a line down all rows."""
    top = highest or max([max(bar.value, bar.tail or 0, bar.mark or 0) for bar in found] + [1e-9])
    across = alt.Scale(domain=[0, top], nice=False, clamp=True)
    down = alt.Scale(domain=[len(found) * ROW, 0], nice=False)
    x, y = alt.X("v:Q", scale=across, axis=None), alt.Y("y:Q", scale=down, axis=None)
    data = [_row(place, bar) for place, bar in enumerate(found)]
    texts = alt.Y("text_y:Q", scale=down, axis=None)
    chart = alt.Chart(rows(data))
    colour = alt.Color("c:N", scale=None)
    layers = [
        chart.mark_rect(color=FAINT.light).encode(
            alt.X("zero:Q", scale=across, axis=None), alt.X2(datum=top), y, alt.Y2("y2:Q")
        )
    ]
    tails = [row for row in data if row["tail"] is not None]
    if tails:
        layers.append(
            alt.Chart(rows(tails))
            .mark_rect(color=PALE.light)
            .encode(alt.X("tail:Q", scale=across, axis=None), alt.X2("zero:Q"), y, alt.Y2("y2:Q"))
        )
    layers.append(chart.mark_rect().encode(x, alt.X2("zero:Q"), y, alt.Y2("y2:Q"), colour))
    marks = [row | {"m": row["mark"]} for row in data if row["mark"] is not None]
    if axis_mark is not None:
        marks += [row | {"m": axis_mark} for row in data]
    if marks:
        layers.append(
            alt.Chart(rows(marks))
            .mark_rule(color=INK.light, strokeWidth=2)
            .encode(alt.X("m:Q", scale=across, axis=None), y, alt.Y2("y2:Q"))
        )
    layers.append(
        chart.mark_text(**text(INK, align="left", baseline="middle")).encode(x=alt.value(0), y=texts, text="name:N")
    )
    layers.append(
        chart.mark_text(**text(INK, align="right", baseline="middle", fontWeight="bold")).encode(
            x=alt.value("width"), y=texts, text="label:N"
        )
    )
    return to_svg(layers, len(found) * ROW + 4, alternative)


def _row(place: int, bar: Bar) -> dict[str, Any]:
    return {
        "v": max(bar.value, 0),
        "y": place * ROW + BAR_BELOW - 5,
        "y2": place * ROW + BAR_BELOW + 6,
        "text_y": place * ROW + NAME_ABOVE - 3,
        "name": bar.name,
        "label": bar.label,
        "c": bar.colour.light,
        "tail": bar.tail,
        "mark": bar.mark,
        "zero": 0,
    }


def ranking(best: list[tuple[str, float]], worst: list[tuple[str, float]], pace: float, alternative: str) -> str:
    """Branches by attainment: the best in blue, the last ones in orange. pace: where all would be by now, a line."""
    top = 1.05 * max(pace, *(share for _, share in (*best, *worst)))
    rows_ = [Bar(name, share, words.percent(share), BLUE) for name, share in best]
    rows_ += [Bar(name, share, words.percent(share), ORANGE) for name, share in worst]
    return bars(rows_, alternative, highest=top, axis_mark=pace)


def spots(found: list[Spot]) -> str:
    """The lift of each spot day against a usual time, which is the line at nothing."""
    shown = found[-12:]
    data = [
        {
            "place": f"{n:02}",
            "day": words.short_day(spot.day),
            "v": spot.lift - 1,
            "t": f"{'+' if spot.lift >= 1 else '−'}{words.number(abs(100 * (spot.lift - 1)))}",
            "c": (BLUE if spot.lift >= 1 else ORANGE).light,
            "dy": -8 if spot.lift >= 1 else 9,
        }
        for n, spot in enumerate(shown)
    ]
    names = {row["place"]: row["day"] for row in data}
    x = alt.X(
        "place:O",
        axis=alt.Axis(
            title=None,
            labelExpr=f"{names}[datum.value]",
            labelAngle=-90 if len(shown) > 7 else 0,
            # Below the number of a bar that goes down.
            labelPadding=18 if any(spot.lift < 1 for spot in shown) else 2,
            ticks=False,
            domain=False,
        ),
        scale=alt.Scale(paddingInner=0.35, paddingOuter=0.2),
    )
    lifts = alt.Scale(nice=True, zero=True)
    y = alt.Y(
        "v:Q",
        scale=lifts,
        axis=alt.Axis(
            title=None, tickCount=4, labelExpr="format(100 * datum.value, '+,.0f') + ' %'", domain=False, ticks=False
        ),
    )
    chart = alt.Chart(rows(data))
    layers = [chart.mark_bar().encode(x, y, alt.Color("c:N", scale=None))]
    for up in (True, False):
        here = [row for row in data if (row["dy"] == -8) == up]
        if here:
            layers.append(
                alt.Chart(rows(here)).mark_text(**text(INK, dy=-8 if up else 9)).encode(x, y, alt.Text("t:N"))
            )
    zero = alt.Chart(rows([{"z": 0}])).mark_rule(color=MUTED.light).encode(alt.Y("z:Q", scale=lifts))
    said = "; ".join(f"{words.short_day(spot.day)} {words.percent(spot.lift - 1, 0)}" for spot in shown)
    alternative = f"Pendaftaran pada hari siaran radio dan dua hari sesudahnya, dibandingkan dengan biasanya: {said}."
    return to_svg([*layers, zero], 190, alternative)
