"""Where the reports of a night lie. Light to import, for Airflow's web server shows them."""

from collections.abc import Iterator
from datetime import date
from pathlib import Path

from kkbc.core import clock
from kkbc.core.settings import get_settings

FIGURES = "figures.zip"
NATIONAL = "nasional"


def folder_of(day: date) -> Path:
    """The folder of a night's reports."""
    return _root() / day.isoformat()


def page_of(day: date, name: str = NATIONAL) -> Path | None:
    """The page that was written for a night: nasional, or the id of an office or a branch. None when there is none."""
    path = folder_of(day) / f"{name}.html"
    return path if path.is_file() else None


def latest_page() -> Path | None:
    """The national page of the latest publication, whose figures were kept last. None when there is none."""
    latest = max(_kept(), key=lambda path: path.stat().st_mtime, default=None)
    page = latest and latest.with_name(f"{NATIONAL}.html")
    return page if page and page.is_file() else None


def kept_nights() -> list[date]:
    """The nights whose figures are kept, in their order."""
    days = (clock.day_of(path.parent.name) for path in _kept())
    return sorted(day for day in days if day is not None)


def _kept() -> Iterator[Path]:
    """The figures of each night that are kept."""
    return _root().glob(f"*/{FIGURES}")


def _root() -> Path:
    return get_settings().home / "reports"
