"""A page as HTML: one file, style inside, no script, forbidden to load anything from elsewhere."""

from datetime import datetime
from functools import cache
from pathlib import Path
from typing import Any

import jinja2
from markupsafe import Markup, escape

from kkbc.reporting import words
from kkbc.reporting.charts import style
from kkbc.reporting.content.elements import Page

TEMPLATES = Path(__file__).parent / "templates"
POLICY = "default-src 'none'; style-src 'unsafe-inline'; img-src data:"


def as_html(page: Page) -> str:
    """The file of a page. All texts are text in it, whatever they look like."""
    published = datetime.strptime(str(page.publication["published_at"]), "%Y-%m-%d %H:%M")
    return _template().render(
        page=page,
        policy=POLICY,
        dark=Markup(style.dark_rules()),  # noqa: S704 (made of the colours of the project)
        published=f"{words.day(published)}, {published:%H.%M} WIB",
    )


@cache
def _template() -> jinja2.Template:
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(TEMPLATES),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )
    filters: dict[str, Any] = {
        "weekday": words.weekday,
        "svg": Markup,
        "amount": _amount,
        "kind": lambda part: type(part).__name__,
    }
    environment.filters |= filters
    return environment.get_template("page.html.j2")


def _amount(text: str) -> Markup:
    """A figure, its unit (miliar) smaller beside it."""
    amount, _, unit = text.partition(words.HARD)
    return Markup("{} <small>{}</small>").format(amount, unit) if unit else escape(text)
