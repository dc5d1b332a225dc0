"""Data Docs of the last audit, for the site: without the scripts and styles that their pages ask of other hosts."""

import re
from html import escape
from pathlib import Path

from kkbc.core.settings import get_settings
from kkbc.upkeep.documents.pages import POLICY, STYLE, table

FOLDER = "data-docs"
_SCRIPT = re.compile(r"<script\b[^>]*>.*?</script>", re.DOTALL)
_ELSEWHERE = re.compile(r"<link\b[^>]*>|<base\b[^>]*>|<img\b[^>]*src=\"https?:[^>]*>")
_STYLE = ".collapse { display: block; } .badge, .ge-failed { font-weight: bold; } button { display: none; }"


def audit_page() -> str:
    """The page in Markdown that lists the results of the last audit of this home, or says that there is none."""
    title = "# Data Docs\n\n"
    found = _last()
    if found is None:
        return f"{title}This home has no results of an audit. They lie in the home that ran the gate.\n"
    rows = []
    for path in sorted(found.glob("validations/**/*.html")):
        suite = path.relative_to(found / "validations").parts[0]
        place = path.relative_to(found).as_posix()
        rows.append([f'<a href="{FOLDER}/{escape(place)}">{escape(suite)}</a>'])
    text = f"Results of the last audit in this home, of build {found.parent.name}, a page for each suite."
    return f"{title}{text}\n\n{table(['Suite'], rows)}\n"


def copy_results(site: Path) -> None:
    """Copies the pages of the last audit into a site."""
    found = _last()
    for path in sorted(found.glob("**/*.html")) if found else ():
        copy = site / FOLDER / path.relative_to(found or path)
        copy.parent.mkdir(parents=True, exist_ok=True)
        copy.write_text(_alone(path.read_text(encoding="utf-8")), encoding="utf-8")


def _last() -> Path | None:
    builds = [path for path in (get_settings().home / "gx").glob("*/data_docs") if path.parent.name.isdigit()]
    return max(builds, key=lambda path: int(path.parent.name), default=None)


def _alone(text: str) -> str:
    """A page that loads nothing: what its scripts would fold is open."""
    head = f'<meta http-equiv="Content-Security-Policy" content="{POLICY}"><style>{STYLE}{_STYLE}</style>'
    return re.sub(r"<head>", f"<head>{head}", _ELSEWHERE.sub("", _SCRIPT.sub("", text)), count=1)
