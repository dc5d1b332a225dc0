"""Which column of a model is made of which: read from the SQL that dbt compiled, through every CTE, union and join."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from sqlglot import exp, parse_one
from sqlglot.lineage import Node, lineage
from sqlglot.optimizer.qualify import qualify
from sqlglot.optimizer.scope import build_scope

DIALECT = "postgres"


@dataclass(frozen=True)
class Column:
    """A column of a table of the warehouse, by the names of both."""

    table: str
    name: str


@dataclass(frozen=True)
class Origin:
    """What a column is made of: columns of the model's inputs, else counted rows of tables, else values of the SQL."""

    columns: tuple[Column, ...] = ()
    rows_of: tuple[str, ...] = ()
    values: tuple[str, ...] = ()


Lineage = dict[str, dict[str, Origin]]


def column_lineage(manifest: dict[str, Any]) -> Lineage:
    """The origin of every column of every model of a compiled manifest of dbt."""
    schema: dict[str, dict[str, dict[str, str]]] = {}
    for node in (*manifest["nodes"].values(), *manifest["sources"].values()):
        if node["resource_type"] in ("model", "seed", "source"):
            types = {name: column["data_type"] or "text" for name, column in node["columns"].items()}
            schema.setdefault(node["schema"], {})[_name(node)] = types
    models = (node for node in manifest["nodes"].values() if node["resource_type"] == "model")
    return {model["name"]: _of_model(model, manifest, schema) for model in models}


def inputs(model: dict[str, Any], manifest: dict[str, Any]) -> tuple[str, ...]:
    """The tables that a model reads: models, seeds and sources by their names in the warehouse."""
    known = {**manifest["nodes"], **manifest["sources"]}
    return tuple(sorted({_name(known[unique_id]) for unique_id in model["depends_on"]["nodes"]}))


def _name(node: dict[str, Any]) -> str:
    return str(node.get("identifier") or node.get("alias") or node["name"])


def _of_model(model: dict[str, Any], manifest: dict[str, Any], schema: dict[str, Any]) -> dict[str, Origin]:
    query = qualify(
        parse_one(model["compiled_code"], dialect=DIALECT),
        schema=schema,
        dialect=DIALECT,
        validate_qualify_columns=False,
        identify=False,
    )
    scope = build_scope(query)
    found = {}
    for name in model["columns"]:
        root = lineage(name, query, schema=schema, scope=scope, dialect=DIALECT, trim_selects=False)
        ends = [node for node in root.walk() if not node.downstream]
        columns = {Column(*end) for node in ends for end in _column(node)}
        counted = any(node.expression.find(exp.AggFunc) for node in root.walk())
        found[name] = Origin(
            columns=tuple(sorted(columns, key=lambda column: (column.table, column.name))),
            rows_of=inputs(model, manifest) if counted and not columns else (),
            values=() if columns or counted else tuple(sorted({_value(node) for node in ends})),
        )
    return found


def _column(node: Node) -> Iterator[tuple[str, str]]:
    # A function in place of a table, such as generate_series, has no name: it makes its values in the SQL.
    if isinstance(node.expression, exp.Table) and node.expression.name:
        yield node.expression.name, node.name.rpartition(".")[2].strip('"')


def _value(node: Node) -> str:
    return str(node.expression.unalias().sql(dialect=DIALECT))
