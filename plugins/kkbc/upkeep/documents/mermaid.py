"""Mermaid diagrams of the docs as SVG, drawn when the site is written: no page needs a script or a network for them."""

import re
from itertools import count

from kkbc.core.errors import UserError

BLOCK = re.compile(r"^```mermaid\n(.*?)^```$", re.DOTALL | re.MULTILINE)
# The colours are those of the page, light or dark: theme/site.css.
_STYLE = re.compile(r"<style>.*?</style>", re.DOTALL)
# What the library calls its elements. A page may hold several diagrams.
_NAME = "merman"
# Pixels below which a wide diagram does not shrink; its box is scrolled instead.
SMALLEST = 640


def with_diagrams(text: str, page: str) -> str:
    """A page in Markdown with each block of Mermaid replaced by its drawing.

    Raises UserError, with the name of the page, for a block that is no Mermaid.
    """
    numbers = count(1)
    return BLOCK.sub(lambda found: _drawn(found[1], f"diagram-{next(numbers)}", page), text)


def _drawn(source: str, name: str, page: str) -> str:
    import mmdr

    try:
        svg = str(mmdr.render(source, backend="merman").svg())
    except (RuntimeError, ValueError) as error:
        reason = " ".join(str(error).split())
        raise UserError(f"{page}, {name}: not drawn, {reason}", "correct the block of Mermaid") from error
    svg = _STYLE.sub("", svg).replace(_NAME, name)
    width = re.search(r'viewBox="\S+ \S+ (\d+)', svg)
    least = min(int(width[1]), SMALLEST) if width else SMALLEST
    svg = svg.replace('style="', f'style="min-width:{least}px;', 1).replace("\n", " ")
    return f'<div class="diagram" data-search-exclude>{svg}</div>'
