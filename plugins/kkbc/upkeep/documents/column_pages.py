"""The pages of lineage: each model with a diagram of the tables behind it, and each of its columns with its own."""

from html import escape
from typing import Any

from kkbc.marts.columns import Column, Lineage, Origin, column_lineage, inputs
from kkbc.upkeep.documents.diagrams import diagram
from kkbc.upkeep.documents.pages import table

HEADS = ["Column", "Label", "Made of", "Sources behind"]
SOURCES = "sources"
INTRODUCTION = """# Lineage

Which column is made of which, from the SQL of the models. Each page shows the tables behind a model, and below them
every column with the columns behind it; boxes are links. A column that counts rows is made of the tables whose rows
they are. Columns by which rows are only joined or left out are not drawn."""


def lineage_pages(manifest: dict[str, Any]) -> dict[str, str]:
    """Markdown by name: `index`, one page a model, and `sources` for all that no model makes."""
    return _Pages(manifest).all()


class _Pages:
    def __init__(self, manifest: dict[str, Any]) -> None:
        nodes = [*manifest["nodes"].values(), *manifest["sources"].values()]
        self.models = {node["name"]: node for node in nodes if node["resource_type"] == "model"}
        self.others = {
            str(node.get("identifier") or node["name"]): node
            for node in nodes
            if node["resource_type"] in ("seed", "source")
        }
        self.lineage: Lineage = column_lineage(manifest)
        self.tables = {name: inputs(model, manifest) for name, model in self.models.items()}
        self.columns = {
            f"{model}.{name}": [*map(_dotted, origin.columns), *origin.rows_of]
            for model, origins in self.lineage.items()
            for name, origin in origins.items()
        }

    def all(self) -> dict[str, str]:
        pages = {name: self._model(name) for name in self.models}
        return {"index": self._index(), **pages, SOURCES: self._sources()}

    def address(self, name: str) -> str:
        """Where a table or `table.column` is shown, from a page of this folder."""
        of, _, column = name.partition(".")
        anchor = f"{of}-{column}" if column else of
        if of not in self.models:
            return f"{SOURCES}.html#{anchor}"
        return f"{of}.html#{anchor}" if column else f"{of}.html"

    def _model(self, name: str) -> str:
        model = self.models[name]
        description = escape(model["description"].partition("```")[0].strip())
        rows = [self._row(name, column, origin) for column, origin in self.lineage[name].items()]
        parts = [
            f"# {name}",
            f"<p>{description}</p>",
            diagram(name, self.tables, self.address, f"Tables that {name} is made of"),
            "## Columns",
            table(HEADS, rows),
            *(self._column(name, column) for column in self.lineage[name]),
        ]
        return "\n\n".join(parts) + "\n"

    def _row(self, model: str, column: str, origin: Origin) -> list[str]:
        made_of = self._links(map(_dotted, origin.columns))
        if origin.rows_of:
            made_of = f"rows of {self._links(origin.rows_of)}"
        elif origin.values:
            made_of = f"written in the SQL: <code>{escape(', '.join(origin.values))}</code>"
        label = str(self.models[model]["columns"][column]["meta"].get("label_id", ""))
        behind = self._links(sorted(self._behind(f"{model}.{column}")))
        return [f'<a href="#{model}-{column}"><code>{column}</code></a>', escape(label), made_of, behind]

    def _column(self, model: str, column: str) -> str:
        name = f"{model}.{column}"
        drawn = diagram(name, self.columns, self.address, f"Columns that {name} is made of")
        return f"### {column} {{#{model}-{column} data-search-exclude}}\n\n{drawn}"

    def _behind(self, name: str) -> set[str]:
        """Columns of seeds and raw tables that a column comes from in the end."""
        found, seen, waiting = set(), set(), [name]
        while waiting:
            current = waiting.pop()
            if current in seen:
                continue
            seen.add(current)
            if current.partition(".")[0] in self.others:
                found.add(current)
            waiting += self.columns.get(current, [])
            if "." not in current:
                waiting += self.tables.get(current, ())
        return found

    def _links(self, names: Any) -> str:
        return "<br>".join(f'<a href="{escape(self.address(name))}"><code>{escape(name)}</code></a>' for name in names)

    def _index(self) -> str:
        published = [name for name, model in self.models.items() if "publish" in model["meta"]]
        parts = [
            INTRODUCTION,
            "## Published marts, facts and dimensions",
            self._list(published),
            "## Staging and intermediate models",
            self._list([name for name in self.models if name not in published]),
            f"[Raw tables and reference data]({SOURCES}.md)",
        ]
        return "\n\n".join(parts) + "\n"

    def _list(self, names: list[str]) -> str:
        rows = []
        for name in sorted(names):
            label = escape(str(self.models[name]["meta"].get("label_id", "")))
            rows.append([f'<a href="{name}.html"><code>{name}</code></a>', label, str(len(self.lineage[name]))])
        return table(["Model", "Label", "Columns"], rows)

    def _sources(self) -> str:
        parts = ["# Raw tables and reference data"]
        for name, node in sorted(self.others.items()):
            columns = [
                [f'<code id="{name}-{column}">{column}</code>', escape(text["description"])]
                for column, text in node["columns"].items()
            ]
            parts += [f"## {node['schema']}.{name} {{#{name}}}", table(["Column", "Meaning"], columns)]
        return "\n\n".join(parts) + "\n"


def _dotted(column: Column) -> str:
    return f"{column.table}.{column.name}"
