"""Diagrams of lineage as SVG, drawn without a browser: what a thing is made of stands to the left of it."""

from collections import defaultdict
from collections.abc import Callable, Collection, Mapping
from html import escape

WIDTH, HEIGHT, GAP_X, GAP_Y = 160, 30, 36, 10
Edges = Mapping[str, Collection[str]]


def diagram(target: str, made_of: Edges, link: Callable[[str], str], title: str) -> str:
    """The SVG of `target` and all that it is made of, `made_of` giving the direct inputs of each.

    A name is `table` or `table.column`; `link` gives the address that a box leads to.
    """
    columns = _layers(target, made_of)
    places: dict[str, tuple[int, int]] = {}
    for number, names in enumerate(columns):
        for row, name in enumerate(names):
            places[name] = (number * (WIDTH + GAP_X), row * (HEIGHT + GAP_Y))
    width = len(columns) * (WIDTH + GAP_X) - GAP_X
    height = max(len(names) for names in columns) * (HEIGHT + GAP_Y) - GAP_Y
    lines = [_line(places[source], places[name]) for name in places for source in sorted(made_of.get(name, ()))]
    boxes = [_box(name, places[name], link(name), name == target) for name in places]
    return (
        f'<div class="lineage" data-search-exclude><svg role="img" aria-label="{escape(title)}" width="{width + 2}"'
        f' height="{height + 2}" viewBox="-1 -1 {width + 2} {height + 2}">{"".join(lines)}{"".join(boxes)}</svg></div>'
    )


def _layers(target: str, made_of: Edges) -> list[list[str]]:
    """The names in columns, the target alone in the last: each is left of all that is made of it."""
    distance: dict[str, int] = {}

    def walk(name: str, steps: int) -> None:
        if distance.get(name, -1) >= steps:
            return
        distance[name] = steps
        for source in made_of.get(name, ()):
            walk(source, steps + 1)

    walk(target, 0)
    found: dict[int, list[str]] = defaultdict(list)
    for name, steps in sorted(distance.items()):
        found[steps].append(name)
    return [found[steps] for steps in sorted(found, reverse=True)]


def _line(source: tuple[int, int], target: tuple[int, int]) -> str:
    x, y = source[0] + WIDTH, source[1] + HEIGHT // 2
    to_x, to_y = target[0], target[1] + HEIGHT // 2
    bend = max(GAP_X, (to_x - x) // 2)
    return f'<path d="M{x} {y}C{x + bend} {y} {to_x - bend} {to_y} {to_x} {to_y}"/>'


def _box(name: str, place: tuple[int, int], address: str, is_target: bool) -> str:
    x, y = place
    table, _, column = name.partition(".")
    size = min(12.0, (WIDTH - 12) / (0.62 * max(len(table), len(column), 1)))
    kind = ' class="target"' if is_target else ""
    middle = x + WIDTH // 2
    text = (
        f'<text x="{middle}" y="{y + 12}" class="of" font-size="{min(size, 10):.1f}">{escape(table)}</text>'
        f'<text x="{middle}" y="{y + 25}" font-size="{size:.1f}">{escape(column)}</text>'
        if column
        else f'<text x="{middle}" y="{y + 19}" font-size="{size:.1f}">{escape(table)}</text>'
    )
    box = f'<rect x="{x}" y="{y}" width="{WIDTH}" height="{HEIGHT}" rx="4"/>'
    return f'<a href="{escape(address)}"{kind}><title>{escape(name)}</title>{box}{text}</a>'
