"""The night's report: what is published, as pages for people, in Indonesian, one file each and nothing from elsewhere.

`reading` takes one snapshot of schema `bi`, `figures` computes, `charts` draws, `content` says it, `page` makes the
file, `keeping` keeps the figures of each night beside its pages (`places`). This is the door; what draws is imported
when it is first used.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from kkbc.reporting.places import latest_page as latest_page
    from kkbc.reporting.places import page_of as page_of
    from kkbc.reporting.writing import write_pages as write_pages
    from kkbc.reporting.writing import write_report as write_report

_PLACES = {"latest_page": "places", "page_of": "places", "write_pages": "writing", "write_report": "writing"}


def __getattr__(name: str) -> Any:
    """Imports the module of a name when it is first asked for."""
    if name not in _PLACES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_PLACES[name]}"), name)
