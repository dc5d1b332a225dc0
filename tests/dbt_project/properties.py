"""What the properties of the dbt project say of its models, seeds and tests, with the texts of doc blocks filled in."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from kkbc.core.settings import PROJECT_ROOT
from kkbc.marts.state import EXPECTATIONS

DBT_PROJECT = PROJECT_ROOT / "dbt_project"
MARTS = DBT_PROJECT / "models" / "marts"

DOCS = {
    name: text.strip()
    for path in sorted((DBT_PROJECT / "models").rglob("*.md"))
    for name, text in re.findall(
        r"{% docs (\w+) %}(.*?){% enddocs %}", path.read_text(encoding="utf-8"), flags=re.DOTALL
    )
}
_DOC = re.compile(r"{{ doc\('(\w+)'\) }}")


def described(kind: str) -> Iterator[tuple[Path, dict[str, Any]]]:
    """The entries of that kind ("models", "seeds", "unit_tests") and the file that each stands in."""
    for path in sorted(DBT_PROJECT.rglob("*.yml")):
        if path.name != EXPECTATIONS and path.parent != DBT_PROJECT:
            for entry in yaml.load(path.read_bytes(), yaml.CSafeLoader).get(kind, []):
                yield path, _with_texts(entry)


def _with_texts(entry: dict[str, Any]) -> dict[str, Any]:
    """The entry; a column whose description is a doc block has the block's text, and its name as `block`."""
    for column in entry.get("columns", []):
        if block := _DOC.fullmatch(column.get("description", "")):
            column |= {"block": block[1], "description": DOCS[block[1]]}
    return entry


MODELS = {entry["name"]: entry for _, entry in described("models")}
PUBLISHED = {name: entry for name, entry in MODELS.items() if "publish" in entry["config"]["meta"]}
# Facts and dimensions have these names; all else that is published is a KPI or says how the data stands.
KPIS = [name for name in PUBLISHED if not name.startswith(("dim_", "fct_"))]


def indonesian(column: dict[str, Any]) -> str | None:
    """The Indonesian text of a column, its own or that of its doc block; None when it has none."""
    own: str | None = column["config"]["meta"].get("description_id")
    return own or DOCS.get(f"{column.get('block')}__id")
