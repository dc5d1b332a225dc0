"""The site: the pages of `docs/` and those that are made of the warehouse, with a search, in one folder.

MkDocs with the theme Material renders it. Nothing on it asks any network: the search works from a file too, no font and
no script comes from elsewhere, and a content security policy lets the browser load nothing that is not in the folder.
"""

import logging
import os
import re
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from kkbc.core.settings import PROJECT_ROOT
from kkbc.upkeep.documents.mermaid import with_diagrams

DOCS = PROJECT_ROOT / "docs"
THEME = Path(__file__).with_name("theme")
# `file:` for who opens the folder without a server. The scripts of the theme stand in the folder.
POLICY = (
    "default-src 'none'; script-src 'self' file: blob: 'unsafe-inline'; style-src 'self' file: 'unsafe-inline';"
    " img-src 'self' file: data:; font-src 'self' file:; connect-src 'self' file:; worker-src 'self' file: blob:;"
    " frame-src 'self' file: blob:"
)
LINK = re.compile(r"(!?)\[([^\]]*)\]\(([^)\s]+)\)")


def build_site(folder: Path, pages: Mapping[str, str], links: Mapping[str, str]) -> None:
    """Writes the site to `site` of the empty folder `folder`.

    pages: text in Markdown by path, besides those of `docs/`; links: more addresses of the folder by title, for
    pages that are put there afterwards.
    """
    from mkdocs.commands.build import build
    from mkdocs.config import load_config

    # The theme's own advertisement of another program.
    os.environ.setdefault("NO_MKDOCS_2_WARNING", "1")
    logging.getLogger("mkdocs").setLevel(logging.ERROR)
    source = folder / "source"
    _stage(source, pages)
    config: dict[str, Any] = {
        "site_name": "KKBC",
        "docs_dir": str(source),
        "site_dir": str(folder / "site"),
        "use_directory_urls": False,
        "theme": {
            "name": "material",
            "custom_dir": str(THEME),
            "font": False,
            "features": ["navigation.tabs", "navigation.indexes", "search.highlight", "content.tooltips"],
            "palette": [
                {"media": "(prefers-color-scheme: light)", "scheme": "default", "primary": "teal"},
                {"media": "(prefers-color-scheme: dark)", "scheme": "slate", "primary": "teal"},
            ],
        },
        # The plugin for use as a file would take its script from another host, were there none of this name.
        "extra": {"policy": POLICY, "generator": False, "homepage": "index.html", "polyfills": ["iframe-worker.js"]},
        "extra_css": ["site.css"],
        "plugins": ["search", "offline"],
        "markdown_extensions": [
            "tables",
            "attr_list",
            "fenced_code",
            "toc",
            "pymdownx.superfences",
            "pymdownx.highlight",
        ],
        "nav": _nav(source, links),
    }
    (folder / "mkdocs.yml").write_text(yaml.safe_dump(config, sort_keys=False), encoding="utf-8")
    build(load_config(str(folder / "mkdocs.yml")))
    # For a server at the root of a host alone: its addresses are absolute.
    (folder / "site" / "404.html").unlink()


def _stage(source: Path, pages: Mapping[str, str]) -> None:
    shutil.copytree(DOCS, source, ignore=shutil.ignore_patterns("*.py", "__pycache__"))
    for path in source.rglob("*.md"):
        original = DOCS / path.relative_to(source)
        text = _inside(path.read_text(encoding="utf-8"), original.parent)
        path.write_text(with_diagrams(text, original.relative_to(PROJECT_ROOT).as_posix()), encoding="utf-8")
    for name in ("site.css", "iframe-worker.js"):
        shutil.copy(THEME / name, source)
    for name, text in pages.items():
        (source / name).parent.mkdir(exist_ok=True)
        (source / name).write_text(text, encoding="utf-8")


def _inside(text: str, folder: Path) -> str:
    """A page whose links to files of the project outside `docs/`, which are not on the site, are names of these."""

    def replaced(found: re.Match[str]) -> str:
        picture, label, address = found.groups()
        path = (folder / address.partition("#")[0]).resolve()
        if "://" in address or address.startswith("#") or path.is_relative_to(DOCS):
            # MkDocs links to pages and files alone; a folder's page is its README.
            if path.is_dir() and path != folder.resolve():
                return f"{picture}[{label}]({address.rstrip('/')}/README.md)"
            return found[0]
        return f"{label} (`{path.relative_to(PROJECT_ROOT)}`)" if path.is_relative_to(PROJECT_ROOT) else label

    return LINK.sub(replaced, text)


def _nav(source: Path, links: Mapping[str, str]) -> list[Any]:
    def pages(folder: str) -> list[str]:
        return [f"{folder}/{path.name}" for path in sorted((source / folder).glob("*.md"), key=_first)]

    top = [path.name for path in sorted(source.glob("*.md")) if path.name != "README.md"]
    made = ["kamus-data.md", "data-dictionary.md", "data-docs.md"]
    return [
        {"Home": ["README.md", *(name for name in top if name not in made)]},
        {"Data": [*(name for name in made if name in top), *({title: address} for address, title in links.items())]},
        {"Lineage": pages("lineage")},
        {"Runbooks": pages("runbooks")},
        {"Decisions": pages("decisions")},
        {"Specification": pages("specification")},
    ]


def _first(path: Path) -> tuple[bool, str]:
    return (path.name not in ("README.md", "index.md"), path.name)
