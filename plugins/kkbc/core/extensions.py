"""What other packages add to this one, found by their entry points: it never imports them by name.

Groups: `kkbc.commands` (a function that adds commands to the application), `kkbc.doctor` (a look of the doctor),
`kkbc.runners` (a function that runs a night), and `kkbc.superset` (address and admin's password of a Superset).
"""

from importlib.metadata import entry_points
from typing import Any

from kkbc.core.errors import UserError


def extensions(group: str) -> dict[str, Any]:
    """All that installed packages have registered under `group`, by name."""
    return {point.name: point.load() for point in sorted(entry_points(group=group), key=lambda point: point.name)}


def extension(group: str, name: str) -> Any:
    """The one that is registered as `name`. Raises UserError when no package brings it."""
    for point in entry_points(group=group, name=name):
        return point.load()
    raise UserError(f"nothing here provides {name} for {group}", "install the extra `play` of this package")
