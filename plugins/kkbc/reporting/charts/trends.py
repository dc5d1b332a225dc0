"""Charts along days: protected participants, the month as it fills, channels, branches that reported."""

from collections.abc import Sequence
from datetime import date, timedelta
from typing import Any

import altair as alt

from kkbc.reporting import words
from kkbc.reporting.charts.style import (
    BLUE,
    GREY,
    INK,
    MUTED,
    ORANGE,
    PALE,
    amounts,
    days,
    haloed,
    rows,
    text,
    to_svg,
)
from kkbc.reporting.figures.series import Channel, Progress

ROW_HEIGHT = 34


def protected(points: list[tuple[date, int]], marks: list[tuple[date, int, str]]) -> str:
    """Participants covered by day. marks: days to compare with, and what stands beside them."""
    data = [{"d": day.isoformat(), "v": amount} for day, amount in points]
    first, last = points[0][0], points[-1][0]
    x = alt.X(
        "d:T",
        scale=alt.Scale(type="utc", nice=False),
        axis=days(first, last),
    )
    y = alt.Y("v:Q", scale=alt.Scale(zero=False, nice=True), axis=amounts())
    line = alt.Chart(rows(data)).mark_line(color=BLUE.light, strokeWidth=2.5).encode(x, y)
    found = [
        {
            "d": day.isoformat(),
            "v": amount,
            "t": label,
            "side": "left" if (day - first).days < (last - first).days / 2 else "right",
        }
        for day, amount, label in marks
    ]
    layers: list[alt.Chart] = [
        line,
        alt.Chart(rows(found)).mark_point(color=BLUE.light, filled=True, size=55).encode(x, y),
    ]
    for side, align, dx in (("left", "left", -4), ("right", "right", 4)):
        here = [mark for mark in found if mark["side"] == side]
        if here:
            drawn = text(INK, align=align, dx=dx, dy=-13, fontWeight="bold")
            layers += haloed(alt.Chart(rows(here)), style=drawn, x=x, y=y, text="t:N")
    said = ", ".join(f"{label} pada {words.day(day)}" for day, _, label in marks)
    alternative = (
        f"Grafik garis peserta terlindungi dari {words.day(first)} ({words.number(points[0][1])})"
        f" sampai {words.day(last)} ({words.number(points[-1][1])}). {said}."
    )
    return to_svg(layers, 200, alternative)


def progress(found: Progress, month: str, before: str) -> str:
    """Acquisitions of the month added up, beside the month before, on their way to the target."""
    x = alt.X(
        "n:Q",
        scale=alt.Scale(domain=[1, found.days_in_month], nice=False),
        axis=alt.Axis(values=[1, 5, 10, 15, 20, 25, found.days_in_month], title="tanggal", grid=False, format="d"),
    )
    y = alt.Y("v:Q", scale=alt.Scale(zero=True), axis=amounts())
    layers: list[alt.Chart] = []
    ends: list[tuple[int, float, str, str]] = []
    if found.before:
        points = [(n, v) for n, v in found.before if n <= found.days_in_month]
        layers.append(_line(points, x, y, GREY.light, 1.5))
        ends.append((*points[-1], before, MUTED.light))
    if found.target is not None:
        layers.append(_line([(0, 0), (found.days_in_month, found.target)], x, y, ORANGE.light, 1.5, dash=[5, 3], cut=1))
        ends.append((found.days_in_month, found.target, "target", ORANGE.light))
    if found.now:
        last = found.now[-1]
        if found.projection is not None and last[0] < found.days_in_month:
            layers.append(_line([last, (found.days_in_month, found.projection)], x, y, BLUE.light, 1.5, dash=[2, 3]))
            ends.append((found.days_in_month, found.projection, "proyeksi", BLUE.light))
        layers.append(_line(found.now, x, y, BLUE.light, 3))
        point = [{"n": last[0], "v": last[1], "t": words.number(last[1])}]
        layers.append(alt.Chart(rows(point)).mark_point(color=BLUE.light, filled=True, size=60).encode(x, y))
        side = "left" if last[0] < found.days_in_month / 2 else "right"
        dx, dy = (7, 11) if side == "left" else (-7, -9)
        drawn = text(BLUE, align=side, dx=dx, dy=dy, fontWeight="bold")
        layers += haloed(alt.Chart(rows(point)), style=drawn, x=x, y=y, text="t:N")
    layers += _end_labels(ends, x, y)
    now, target = found.now[-1][1] if found.now else 0, found.target
    alternative = (
        f"Grafik garis akuisisi yang dijumlahkan per tanggal: {month} sampai kini {words.number(now)}"
        + (f", target {words.number(target)}" if target is not None else "")
        + (f", proyeksi akhir bulan {words.number(found.projection)}" if found.projection is not None else "")
        + (f"; {before} berakhir pada {words.number(found.before[-1][1])}" if found.before else "")
        + "."
    )
    return to_svg(layers, 220, alternative)


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


def _line(
    points: Sequence[tuple[int, float]],
    x: alt.X,
    y: alt.Y,
    colour: str,
    width: float,
    dash: list[int] | None = None,
    cut: int = 0,
) -> alt.Chart:
    """A line through points; `cut`: where the first point lies before the axis, it is moved along to this day."""
    if cut and len(points) == 2:
        (_, low), (n, high) = points
        points = [(cut, low + (high - low) * cut / n), (n, high)]
    data = [{"n": n, "v": amount} for n, amount in points]
    drawn: dict[str, Any] = {"strokeDash": dash} if dash else {}
    chart: alt.Chart = alt.Chart(rows(data)).mark_line(color=colour, strokeWidth=width, **drawn).encode(x, y)
    return chart


def _end_labels(ends: list[tuple[int, float, str, str]], x: alt.X, y: alt.Y) -> list[alt.Chart]:
    """Names at the ends of lines, set apart where two would lie over each other."""
    if not ends:
        return []
    highest = max(amount for _, amount, _, _ in ends) or 1
    layers: list[alt.Chart] = []
    taken: list[float] = []
    for n, amount, name, colour in sorted(ends, key=lambda end: -end[1]):
        place = amount
        while any(abs(place - other) < highest * 0.085 for other in taken):
            place -= highest * 0.01
        taken.append(place)
        label = [{"n": n, "v": place, "t": f"{name} {words.number(amount)}"}]
        drawn = text(align="right", dx=-2, dy=-8) | {"color": colour}
        layers += haloed(alt.Chart(rows(label)), style=drawn, x=x, y=y, text="t:N")
    return layers
