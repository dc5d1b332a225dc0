"""Draws flow.svg, the picture of the README: `python docs/images/flow.py`."""

from html import escape
from pathlib import Path

WIDTH, HEIGHT, TOP, BOX_HEIGHT = 1140, 262, 84, 108
BLUE, GREEN, GREY = "#1f5fa8", "#2b7a4b", "#5b6470"
STATIONS = (
    ("122 branches", ("CSV, XLSX, JSONL", "and a manifest", "each night"), 140, GREY),
    ("landing", ("bytes as sent,", "typed Parquet", "per slice"), 118, BLUE),
    ("raw · vault", ("typed rows by token;", "persons apart;", "quarantine by code"), 156, BLUE),
    ("next", ("marts being built,", "hidden from", "readers"), 128, BLUE),
    ("gate", ("volumes, keys,", "bounds, sums", "reconciled"), 118, GREEN),
    ("bi", ("all of the old", "or all of the new;", "read only"), 128, BLUE),
)
STEPS = ("pull", "load", "dbt", "audit", "publish")


def text(x: float, y: float, content: str, size: int, colour: str, weight: str = "400") -> str:
    """One centred line of text."""
    return (
        f'<text x="{x:g}" y="{y:g}" font-size="{size}" font-weight="{weight}" fill="{colour}" '
        f'text-anchor="middle">{escape(content)}</text>'
    )


def box(x: float, width: int, name: str, lines: tuple[str, ...], colour: str) -> list[str]:
    """A station with its name and what it holds."""
    middle = x + width / 2
    frame = (
        f'<rect x="{x:g}" y="{TOP}" width="{width}" height="{BOX_HEIGHT}" rx="8" '
        f'fill="#ffffff" stroke="{colour}" stroke-width="2"/>'
    )
    held = [text(middle, TOP + 52 + 18 * row, line, 13, "#333a44") for row, line in enumerate(lines)]
    return [frame, text(middle, TOP + 27, name, 16, colour, "700"), *held]


def draw() -> str:
    """The whole picture as SVG."""
    gap = (WIDTH - 40 - sum(width for _, _, width, _ in STATIONS)) / len(STEPS)
    parts, x, middle = [], 20.0, TOP + BOX_HEIGHT / 2
    for number, (name, lines, width, colour) in enumerate(STATIONS):
        parts += box(x, width, name, lines, colour)
        x += width
        if number < len(STEPS):
            parts.append(
                f'<line x1="{x + 4:g}" y1="{middle:g}" x2="{x + gap - 10:g}" y2="{middle:g}" '
                f'stroke="{GREY}" stroke-width="2" marker-end="url(#head)"/>'
            )
            parts.append(text(x + gap / 2, middle - 9, STEPS[number], 13, GREY))
            x += gap
    head = (
        '<marker id="head" viewBox="0 0 10 10" refX="8" refY="5" markerWidth="7" markerHeight="7" orient="auto">'
        f'<path d="M0 0 L10 5 L0 10 z" fill="{GREY}"/></marker>'
    )
    title = "From the branches to the readers: one way, slice by slice"
    foot = (
        "A slice is one feed of one branch and business date. Every step is idempotent per slice;",
        "two Airflow DAGs drive them: pull_branches (pull, load) and build_marts (dbt, audit, publish).",
    )
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" '
            'font-family="Helvetica, Arial, sans-serif">',
            f"<title>{escape(title)}</title>",
            f"<defs>{head}</defs>",
            f'<rect width="{WIDTH}" height="{HEIGHT}" fill="#f6f7f9"/>',
            text(WIDTH / 2, 42, title, 19, "#1c222b", "700"),
            *parts,
            *(text(WIDTH / 2, 222 + 20 * row, line, 13, GREY) for row, line in enumerate(foot)),
            "</svg>\n",
        ]
    )


if __name__ == "__main__":
    Path(__file__).with_suffix(".svg").write_text(draw(), encoding="utf-8")
