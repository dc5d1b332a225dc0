"""Charts along days: protected participants, the month as it fills, channels, branches that reported."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Any

import altair as alt

from kkbc.reporting import words
from kkbc.reporting.charts.style import (
    BLUE,
    GREY,
    INK,
    ORANGE,
    PALE,
    Colour,
    amounts,
    days,
    haloed,
    rows,
    text,
    to_svg,
)
from kkbc.reporting.figures.series import Channel, Progress

ROW_HEIGHT = 34
# Days below which bars by day are too few to show a trend, and up to which a line has a dot for each day.
FEWEST_DAYS = 14
DOTTED = 10


@dataclass(frozen=True)
class Line:
    """A line of the month: days of the month and amounts. dash: as SVG has it, empty for an unbroken line."""

    name: str
    points: Sequence[tuple[int, float]]
    colour: Colour
    width: float
    dash: str = ""

    @property
    def last(self) -> float:
        """The amount at its end."""
        return self.points[-1][1]


def protected(points: list[tuple[date, int]], marks: list[tuple[date, int]]) -> str:
    """Participants covered by day. marks: days whose figure stands beside the line."""
    data = [{"d": day.isoformat(), "v": amount} for day, amount in points]
    first, last = points[0][0], points[-1][0]
    # Room below and above for the figures of the marks.
    x = alt.X("d:T", scale=alt.Scale(type="utc", nice=False), axis=days(first, last))
    y = alt.Y("v:Q", scale=alt.Scale(zero=False, nice=True, padding=24), axis=amounts())
    line = alt.Chart(rows(data)).mark_line(color=BLUE.light, strokeWidth=2.5, point=_dots(len(points)))
    layers: list[alt.Chart] = [line.encode(x, y)]
    for day, amount in marks:
        here = alt.Chart(rows([{"d": day.isoformat(), "v": amount, "t": words.number(amount)}]))
        layers.append(here.mark_point(color=BLUE.light, filled=True, size=55).encode(x, y))
        layers += haloed(here, style=text(INK, fontWeight="bold", **_beside(points, day)), x=x, y=y, text="t:N")
    said = ", ".join(f"{words.number(amount)} pada {words.day(day)}" for day, amount in marks)
    alternative = (
        f"Grafik garis peserta terlindungi dari {words.day(first)} ({words.number(points[0][1])})"
        f" sampai {words.day(last)} ({words.number(points[-1][1])}). {said}."
    )
    return to_svg(layers, 200, alternative)


def _beside(points: list[tuple[date, int]], day: date) -> dict[str, Any]:
    """Where the figure of a day stands: towards the middle of the chart, on the side of the line that is free."""
    place = next(n for n, (other, _) in enumerate(points) if other == day)
    some = max(1, len(points) // 6)
    amount = points[place][1]
    if place < len(points) / 2:
        rises = points[min(place + some, len(points) - 1)][1] >= amount
        return {"align": "left", "dx": 6, "dy": 14 if rises else -12}
    falls = points[max(place - some, 0)][1] > amount
    return {"align": "right", "dx": 4, "dy": 15 if falls else -13}


def lines(found: Progress, month: str, before: str) -> list[Line]:
    """The lines of `progress`: the month so far, its projection, the target and the month before."""
    drawn: list[Line] = []
    if found.now:
        drawn.append(Line(month, found.now, BLUE, 3))
        if found.projection is not None and found.now[-1][0] < found.days_in_month:
            ahead = [(n, float(amount)) for n, amount in (found.now[-1], (found.days_in_month, found.projection))]
            drawn.append(Line("proyeksi", ahead, BLUE, 1.5, "2 3"))
    if found.target is not None:
        of_a_day = found.target / found.days_in_month
        drawn.append(Line("target", [(1, of_a_day), (found.days_in_month, found.target)], ORANGE, 1.5, "5 3"))
    if found.before:
        drawn.append(Line(before, [(n, v) for n, v in found.before if n <= found.days_in_month], GREY, 1.5))
    return drawn


def progress(found: Progress, drawn: Sequence[Line]) -> str:
    """Acquisitions of the month added up, beside the month before, on their way to the target. drawn: its lines."""
    x = alt.X(
        "n:Q",
        scale=alt.Scale(domain=[1, found.days_in_month], nice=False),
        axis=alt.Axis(values=[1, 5, 10, 15, 20, 25, found.days_in_month], title="tanggal", grid=False, format="d"),
    )
    y = alt.Y("v:Q", scale=alt.Scale(zero=True), axis=amounts())
    layers = [_line(line, x, y) for line in reversed(drawn)]
    n, amount = found.now[-1]
    point = alt.Chart(rows([{"n": n, "v": amount, "t": words.number(amount)}]))
    layers.append(point.mark_point(color=BLUE.light, filled=True, size=60).encode(x, y))
    early = n < found.days_in_month / 2
    style = text(
        BLUE, align="left" if early else "right", dx=7 if early else -7, dy=14 if early else -10, fontWeight="bold"
    )
    layers += haloed(point, style=style, x=x, y=y, text="t:N")
    said = "; ".join(f"{line.name} {words.number(line.last)}" for line in drawn)
    return to_svg(layers, 200, f"Grafik garis akuisisi yang dijumlahkan per tanggal: {said}.")


def channels(found: list[Channel]) -> str:
    """Registrations by channel and day, one strip each, each by its own scale; the number is that of 28 days."""
    bars, labels = [], []
    for place, channel in enumerate(found):
        highest = max(amount for _, amount in channel.days) or 1
        base = (place + 1) * ROW_HEIGHT
        for day, amount in channel.days:
            if amount:
                bars.append(
                    {
                        "d": day.isoformat(),
                        "e": (day + timedelta(days=1)).isoformat(),
                        "y": base,
                        "y2": base - max(1, 15 * amount / highest),
                    }
                )
        compared = "" if channel.before is None else f"  {words.change(channel.latest, channel.before)}"
        labels.append({"y": base - 22, "t": channel.name, "n": f"{words.number(channel.latest)}{compared}"})
    first, last = found[0].days[0][0], found[0].days[-1][0]
    span = [first.isoformat(), (last + timedelta(days=1)).isoformat()]
    x = alt.X(
        "d:T",
        scale=alt.Scale(type="utc", domain=span, nice=False),
        axis=days(first, last),
    )
    height = len(found) * ROW_HEIGHT
    y = alt.Y("y:Q", scale=alt.Scale(domain=[height, 0], nice=False), axis=None)
    strips = alt.Chart(rows(bars)).mark_rect(color=PALE.light).encode(x, alt.X2("e:T"), y, alt.Y2("y2:Q"))
    names = (
        alt.Chart(rows(labels))
        .mark_text(**text(INK, align="left", baseline="middle"))
        .encode(x=alt.value(0), y=y, text="t:N")
    )
    sums = (
        alt.Chart(rows(labels))
        .mark_text(**text(INK, align="right", baseline="middle", fontWeight="bold"))
        .encode(x=alt.value("width"), y=y, text="n:N")
    )
    said = "; ".join(f"{channel.name} {words.number(channel.latest)}" for channel in found)
    alternative = (
        f"Pendaftaran per kanal dan hari, {words.day(first)} sampai {words.day(last)}. 28 hari terakhir: {said}."
    )
    return to_svg([strips, names, sums], height + 28, alternative)


def reporting(points: list[tuple[date, int, int]]) -> str:
    """Branches that reported, by day, below the line of those that were expected."""
    data = [
        {
            "s": day.isoformat(),
            "e": (day + timedelta(days=1)).isoformat(),
            "lacking": expected - reported,
            "zero": 0,
        }
        for day, expected, reported in points
    ]
    highest = max(4, *(expected - reported for _, expected, reported in points))
    span = [points[0][0].isoformat(), (points[-1][0] + timedelta(days=1)).isoformat()]
    x = alt.X("s:T", scale=alt.Scale(type="utc", domain=span, nice=False), axis=days(points[0][0], points[-1][0]))
    y = alt.Y(
        "lacking:Q",
        scale=alt.Scale(domain=[0, highest], nice=True),
        axis=alt.Axis(title=None, tickCount=3, format="d", domain=False, ticks=False, tickMinStep=1),
    )
    bars = (
        alt.Chart(rows(data))
        .mark_rect(color=ORANGE.light, xOffset=1, x2Offset=-1)
        .encode(x, alt.X2("e:T"), y, alt.Y2("zero:Q"))
    )
    worst = max(points, key=lambda point: point[1] - point[2])
    alternative = (
        f"Cabang yang tidak melapor per hari, {words.day(points[0][0])} sampai {words.day(points[-1][0])}."
        f" Terbanyak {words.number(worst[1] - worst[2])} pada {words.day(worst[0])};"
        f" hari terakhir {words.number(points[-1][1] - points[-1][2])} dari {words.number(points[-1][1])}."
    )
    return to_svg([bars], 120, alternative)


def _line(line: Line, x: alt.X, y: alt.Y) -> alt.Chart:
    dash: dict[str, Any] = {"strokeDash": [int(length) for length in line.dash.split()]} if line.dash else {}
    data = [{"n": n, "v": amount} for n, amount in line.points]
    drawn: alt.Chart = (
        alt.Chart(rows(data)).mark_line(color=line.colour.light, strokeWidth=line.width, **dash).encode(x, y)
    )
    return drawn


def _dots(count: int) -> dict[str, Any] | bool:
    """A dot for each day of a short line."""
    return {"color": BLUE.light, "filled": True, "size": 30} if count <= DOTTED else False
