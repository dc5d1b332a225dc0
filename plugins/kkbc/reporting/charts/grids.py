"""Charts of tiles: the map of provinces, retention by cohort, the calendar of slices."""

from datetime import date, timedelta
from typing import Any

import altair as alt

from kkbc.reporting import words
from kkbc.reporting.charts.style import (
    AMBER,
    INK,
    MUTED,
    NOTHING,
    ORANGE,
    PALE,
    PAPER,
    STEPS,
    Colour,
    rows,
    text,
    to_svg,
)
from kkbc.reporting.figures.provinces import PARENTS, Provinces
from kkbc.reporting.figures.retention import MONTHS, Cohort

# The project's own layout of the 38 provinces: column, row and the letters on the tile, by code.
TILES: dict[str, tuple[int, int, str]] = {
    "11": (0, 0, "Aceh"),
    "12": (1, 0, "Sumut"),
    "13": (0, 1, "Sumbar"),
    "14": (1, 1, "Riau"),
    "21": (2, 0, "Kepri"),
    "15": (1, 2, "Jambi"),
    "19": (2, 1, "Babel"),
    "17": (0, 2, "Bengk."),
    "16": (2, 2, "Sumsel"),
    "18": (2, 3, "Lamp."),
    "36": (1, 4, "Banten"),
    "31": (2, 4, "DKI"),
    "32": (2, 5, "Jabar"),
    "33": (3, 5, "Jateng"),
    "34": (3, 6, "DIY"),
    "35": (4, 5, "Jatim"),
    "51": (5, 5, "Bali"),
    "52": (6, 5, "NTB"),
    "53": (7, 5, "NTT"),
    "61": (3, 1, "Kalbar"),
    "62": (3, 2, "Kalteng"),
    "63": (4, 2, "Kalsel"),
    "64": (4, 1, "Kaltim"),
    "65": (4, 0, "Kaltara"),
    "76": (5, 2, "Sulbar"),
    "72": (5, 1, "Sulteng"),
    "75": (6, 1, "Goron."),
    "71": (6, 0, "Sulut"),
    "73": (5, 3, "Sulsel"),
    "74": (6, 3, "Sultra"),
    "82": (7, 1, "Malut"),
    "81": (7, 3, "Maluku"),
    "96": (8, 1, "PBD"),
    "92": (8, 2, "Pabar"),
    "91": (9, 2, "Papua"),
    "94": (8, 3, "Pateng"),
    "95": (9, 3, "Papeg."),
    "93": (9, 4, "Pasel"),
}
COLUMNS, ROWS = 10, 7
FEEDS = {"pendaftaran": "Daftar", "iuran": "Iuran", "kegiatan": "Kegiatan"}
STATUSES: dict[str, tuple[str, Colour]] = {
    "on_time": ("tepat waktu", PALE),
    "late": ("terlambat", AMBER),
    "empty": ("kosong", NOTHING),
    "missing": ("belum ada", ORANGE),
    "rejected": ("ditolak", INK),
}


def province_map(found: Provinces) -> str:
    """The provinces as tiles, the darker the more; those split off in 2022 show the figure of the one before."""
    values: dict[str, float] = dict(found.coverage or found.aktif)
    bounds, least = steps(list(values.values())), min(values.values(), default=0.0)
    tiles = []
    for code, (column, row, name) in TILES.items():
        value = values.get(PARENTS.get(code, code))
        # The least is never dark, also where it is the most: before anybody is covered, or with one province alone.
        step = None if value is None else 0 if value == least else sum(value >= bound for bound in bounds)
        label = "–" if value is None else _tile_label(value, bool(found.coverage), in_thousands(found))
        tiles.append(_cell(column, row, step) | {"name": name, "t": label + ("*" if code in PARENTS else "")})
    across, down = _scales([0, COLUMNS], [ROWS, 0])
    x, y = alt.X("x:Q", scale=across, axis=None), alt.Y("y:Q", scale=down, axis=None)
    chart = alt.Chart(rows(tiles))
    centre = {"x": alt.X("cx:Q", scale=across, axis=None)}
    squares = chart.mark_rect().encode(x, alt.X2("x2:Q"), y, alt.Y2("y2:Q"), alt.Color("c:N", scale=None))
    names = chart.mark_text(**_words(9)).encode(
        **centre, y=alt.Y("name_y:Q", scale=down, axis=None), text="name:N", color=alt.Color("ink:N", scale=None)
    )
    numbers = chart.mark_text(**_words(10.5), fontWeight="bold").encode(
        **centre, y=alt.Y("text_y:Q", scale=down, axis=None), text="t:N", color=alt.Color("ink:N", scale=None)
    )
    known = sorted(values.items(), key=lambda item: -item[1])
    what = "Cakupan per provinsi, persen pekerja informal" if found.coverage else "Peserta aktif per provinsi"
    said = ", ".join(f"{_long_name(code)} {_said(value, found)}" for code, value in known)
    return to_svg([squares, names, numbers], 250, f"{what}, {words.day(found.day)}: {said}.")


def in_thousands(found: Provinces) -> bool:
    """Whether the tiles count in thousands: one of the numbers of participants is too long for a tile."""
    return not found.coverage and max(found.aktif.values(), default=0) >= 10_000


def steps(values: list[float]) -> list[float]:
    """Four bounds that put the values into five groups of about the same size, each bound a round number."""
    if not values:
        return [1.0, 2.0, 3.0, 4.0]
    ordered = sorted(values)
    return [_round(ordered[min(len(ordered) - 1, len(ordered) * n // 5)]) for n in (1, 2, 3, 4)]


def retention(found: list[Cohort]) -> str:
    """Cohorts by months since: the share still covered in each tile."""
    columns = {month_n: place for place, month_n in enumerate(MONTHS)}
    tiles, heads, sizes = [], [], []
    for row, cohort in enumerate(found):
        for month_n, covered in cohort.covered.items():
            share = covered / cohort.size if cohort.size else None
            step = None if share is None else min(4, int(share * 5))
            tiles.append(_cell(columns[month_n], row, step) | {"t": words.percent(share, 0)})
        heads.append({"cy": row + 0.5, "t": words.short_month(cohort.month)})
        sizes.append({"cy": row + 0.5, "t": words.number(cohort.size)})
    top = [{"cx": place + 0.5, "t": f"{month_n} bulan"} for month_n, place in columns.items()]
    across, down = _scales([-1.9, 4], [len(found), -0.8])
    x, y = alt.X("x:Q", scale=across, axis=None), alt.Y("y:Q", scale=down, axis=None)
    chart = alt.Chart(rows(tiles))
    cx, cy = alt.X("cx:Q", scale=across, axis=None), alt.Y("cy:Q", scale=down, axis=None)
    squares = chart.mark_rect().encode(x, alt.X2("x2:Q"), y, alt.Y2("y2:Q"), alt.Color("c:N", scale=None))
    numbers = chart.mark_text(**_words(12)).encode(cx, cy, alt.Text("t:N"), alt.Color("ink:N", scale=None))
    layers = [squares, numbers]
    for data, place, colour, align in ((heads, -1.85, INK, "left"), (sizes, -0.15, MUTED, "right")):
        layers.append(
            alt.Chart(rows([row | {"cx": place} for row in data]))
            .mark_text(**text(colour, align=align, baseline="middle"))
            .encode(cx, cy, alt.Text("t:N"))
        )
    titles = [*({**row, "cy": -0.4} for row in top), {"cx": -0.55, "cy": -0.4, "t": "peserta"}]
    layers.append(
        alt.Chart(rows(titles)).mark_text(**text(MUTED, baseline="middle", fontSize=11)).encode(cx, cy, alt.Text("t:N"))
    )
    said = "; ".join(
        f"{words.month(cohort.month)} ({words.number(cohort.size)} peserta): "
        + ", ".join(
            f"{n} bulan {words.percent(c / cohort.size if cohort.size else None, 0)}" for n, c in cohort.covered.items()
        )
        for cohort in found
    )
    height = int(28 * (len(found) + 0.8))
    return to_svg(layers, height, f"Peserta yang masih terlindungi per kohort dan bulan sejak aktif. {said}.")


def calendar(found: list[tuple[date, str, str]], first: date, last: date) -> str:
    """Slices of a branch by day and feed, coloured by status."""
    tiles = []
    for day, feed, status in found:
        tiles.append(
            {
                "x": (day - first).days + 0.06,
                "x2": (day - first).days + 0.94,
                "y": list(FEEDS).index(feed) + 0.08,
                "y2": list(FEEDS).index(feed) + 0.92,
                "c": STATUSES[status][1].light,
            }
        )
    count = (last - first).days + 1
    across, down = _scales([-6.5, count], [len(FEEDS) + 0.9, 0])
    x, y = alt.X("x:Q", scale=across, axis=None), alt.Y("y:Q", scale=down, axis=None)
    cx, cy = alt.X("cx:Q", scale=across, axis=None), alt.Y("cy:Q", scale=down, axis=None)
    squares = (
        alt.Chart(rows(tiles)).mark_rect().encode(x, alt.X2("x2:Q"), y, alt.Y2("y2:Q"), alt.Color("c:N", scale=None))
    )
    names = [{"cx": -6.4, "cy": place + 0.5, "t": name} for place, name in enumerate(FEEDS.values())]
    ticks = [
        {"cx": place + 0.5, "cy": len(FEEDS) + 0.5, "t": words.short_day(first + timedelta(days=place))}
        for place in range(count - 1, -1, -7)
    ]
    layers = [
        squares,
        alt.Chart(rows(names)).mark_text(**text(INK, align="left", baseline="middle")).encode(cx, cy, alt.Text("t:N")),
        alt.Chart(rows(ticks))
        .mark_text(**text(MUTED, align="right", baseline="middle", dx=6))
        .encode(cx, cy, alt.Text("t:N")),
    ]
    counts = {status: sum(s == status for _, _, s in found) for status in STATUSES}
    said = ", ".join(f"{STATUSES[status][0]} {number}" for status, number in counts.items() if number)
    return to_svg(
        layers,
        100,
        f"Kiriman per hari dan jenis data, {words.day(first)} sampai {words.day(last)}: {said}.",
    )


def _cell(column: int, row: int, step: int | None) -> dict[str, Any]:
    colour = NOTHING if step is None else STEPS[step]
    return {
        "x": column + 0.03,
        "x2": column + 0.97,
        "y": row + 0.03,
        "y2": row + 0.97,
        "cx": column + 0.5,
        "cy": row + 0.5,
        "name_y": row + 0.32,
        "text_y": row + 0.68,
        "c": colour.light,
        "ink": (PAPER if step is not None and step >= 3 else MUTED if step is None else INK).light,
    }


def _scales(across: list[float], down: list[float]) -> tuple[alt.Scale, alt.Scale]:
    return alt.Scale(domain=across, nice=False), alt.Scale(domain=down, nice=False)


def _words(size: float) -> dict[str, Any]:
    return {"font": "Arial, 'Liberation Sans', Helvetica, sans-serif", "fontSize": size, "baseline": "middle"}


def _tile_label(value: float, percent: bool, thousands: bool) -> str:
    if thousands:
        value /= 1000
    elif not percent:
        return words.number(value)
    return words.number(value, 1 if value < 10 else 0)


def _long_name(code: str) -> str:
    return TILES[code][2] if code in TILES else code


def _said(value: float, found: Provinces) -> str:
    return f"{words.number(value, 2)} %" if found.coverage else words.number(value)


def _round(value: float) -> float:
    """To two significant digits."""
    return float(f"{value:.2g}")
