"""The queries behind the suites: SQL files of `expectations/sql`, with Jinja for what differs from suite to suite."""

from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

import jinja2

from kkbc.core.errors import UserError


def render(project: Path, suite: Path, query: str, variables: Mapping[str, Any]) -> str:
    """The SQL of `expectations/sql`/`query`, as a relation that can be selected from.

    `suite` is the file that asks for it, and `variables` what the query is given. Raises UserError naming both when
    there is no such query, or it asks for something that it is not given.
    """
    folder = project / "expectations" / "sql"
    try:
        sql = _templates(folder).get_template(query).render(variables)
    except jinja2.TemplateNotFound as error:
        problem = f"{suite} asks for {error.name}, which is not in {folder}"
        raise UserError(problem, "name a file that is there") from error
    except jinja2.UndefinedError as error:
        raise UserError(f"query {query} of {suite} lacks something: {error.message}", "give it under `with`") from error
    except jinja2.TemplateSyntaxError as error:
        raise UserError(f"{error.filename}, line {error.lineno}: {error.message}", "fix the query") from error
    return f"select *\nfrom (\n{sql.strip()}\n) as found\n"


@cache
def _templates(folder: Path) -> jinja2.Environment:
    return jinja2.Environment(
        loader=jinja2.FileSystemLoader(folder),
        undefined=jinja2.StrictUndefined,
        autoescape=False,  # noqa: S701 (SQL of the project's own files; nothing from outside goes in)
        keep_trailing_newline=True,
        trim_blocks=True,
        lstrip_blocks=True,
    )
