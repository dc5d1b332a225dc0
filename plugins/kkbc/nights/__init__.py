"""One night, step by step. The DAGs and the command line call the same functions, in the same order.

open_run, pull_branch for every branch, close_pull; then open_build, build_layer "seeds", audit_slices, build_layer
"models", audit_marts, publish, write_report. Each is given the name of its run or the number of its build and no more:
what was asked stands in ops.run, what came of it in the other tables, so that any step can be repeated, in any process.

This is the door. What stands behind it is imported when it is first used, for it brings dbt and the like.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from kkbc.nights.branch import pull_branch as pull_branch
    from kkbc.nights.build import audit_marts as audit_marts
    from kkbc.nights.build import audit_slices as audit_slices
    from kkbc.nights.build import build_layer as build_layer
    from kkbc.nights.build import close_build as close_build
    from kkbc.nights.build import fail_build as fail_build
    from kkbc.nights.build import one_build as one_build
    from kkbc.nights.build import open_build as open_build
    from kkbc.nights.build import publish as publish
    from kkbc.nights.plain import run_night as run_night
    from kkbc.nights.report import write_report as write_report
    from kkbc.nights.request import RunRequest as RunRequest
    from kkbc.nights.run import Run as Run
    from kkbc.nights.run import close_pull as close_pull
    from kkbc.nights.run import open_run as open_run

_PLACES = {
    "Run": "run",
    "RunRequest": "request",
    "audit_marts": "build",
    "audit_slices": "build",
    "build_layer": "build",
    "close_build": "build",
    "close_pull": "run",
    "fail_build": "build",
    "one_build": "build",
    "open_build": "build",
    "open_run": "run",
    "publish": "build",
    "pull_branch": "branch",
    "run_night": "plain",
    "write_report": "report",
}


def __getattr__(name: str) -> Any:
    """Imports the module of a name when it is first asked for."""
    if name not in _PLACES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_PLACES[name]}"), name)
