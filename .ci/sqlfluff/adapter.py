"""dbt's choice of a macro by the engine, so that the linter sees SQL of PostgreSQL."""

from collections.abc import Callable

from jinja2 import pass_context
from jinja2.runtime import Context


@pass_context
def dispatch(context: Context, name: str) -> Callable[..., str]:
    """The macro of PostgreSQL, else that of any engine."""
    found: Callable[..., str] = context.resolve(f"postgres__{name}") or context.resolve(f"default__{name}")
    return found
