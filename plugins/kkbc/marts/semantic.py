"""Metrics: questions to the semantic layer, answered from the published marts.

The library MetricFlow turns names of metrics into SQL; this module runs it. Nothing leaves the machine, and the tables
are those that BI reads, by the role that BI has.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from types import SimpleNamespace
from typing import Any

import psycopg

from kkbc.core.errors import UserError
from kkbc.marts.artifacts import parse
from kkbc.marts.models import published_models
from kkbc.warehouse import connect
from kkbc.warehouse.connection import Role

DETAIL = "bi_detail"


@dataclass(frozen=True)
class Answer:
    """Rows of a question with the names of their columns, groupings before metrics, and the SQL that gave them."""

    columns: list[str]
    rows: list[tuple[Any, ...]]
    sql: str


class Metrics:
    """The semantic layer of the dbt project: parsed once, asked often.

    Raises UserError when the project does not parse.
    """

    def __init__(self) -> None:
        from metricflow.engine.metricflow_engine import MetricFlowEngine
        from metricflow.protocols.sql_client import SqlEngine
        from metricflow.sql.render.postgres import PostgresSQLSqlPlanRenderer
        from metricflow_semantics.model.dbt_manifest_parser import parse_manifest_from_dbt_generated_manifest
        from metricflow_semantics.model.semantic_manifest_lookup import SemanticManifestLookup

        with connect("transformer") as conn:
            folder = parse(conn)
        manifest = json.loads((folder / "semantic_manifest.json").read_text(encoding="utf-8"))
        _read_published(manifest)
        self.labels: dict[str, str] = {metric["name"]: metric["label"] for metric in manifest["metrics"]}
        self.saved: dict[str, str] = {query["name"]: query["label"] for query in manifest["saved_queries"]}
        # All that MetricFlow asks of a client whose SQL someone else runs.
        client = SimpleNamespace(sql_engine_type=SqlEngine.POSTGRES, sql_plan_renderer=PostgresSQLSqlPlanRenderer())
        lookup = SemanticManifestLookup(parse_manifest_from_dbt_generated_manifest(json.dumps(manifest)))
        self._engine = MetricFlowEngine(lookup, client)

    def groupings(self, metrics: Sequence[str]) -> list[str]:
        """What all of `metrics` may be grouped by. Raises UserError for an unknown metric."""
        self._check(metrics)
        found = self._engine.simple_dimensions_for_metrics(list(metrics))
        entities = self._engine.entities_for_metrics(list(metrics))
        return sorted({str(d.granularity_free_dunder_name) for d in found} | {str(e.name) for e in entities})

    def ask(
        self,
        metrics: Sequence[str] = (),
        by: Sequence[str] = (),
        *,
        where: Sequence[str] = (),
        order: Sequence[str] = (),
        limit: int | None = None,
        saved: str | None = None,
    ) -> Answer:
        """Answers a question: `metrics` grouped by `by`, or the saved query `saved`.

        `by` and `order` hold MetricFlow's names, e.g. metric_time__month, branch__kanwil_name, -registrations;
        `where` its templates, e.g. {{ Dimension('branch__kanwil_id') }} = 'KW01'. Times come as dates.
        Raises UserError when a name is not known, the question makes no sense, or nothing is published.
        """
        from metricflow.engine.metricflow_engine import MetricFlowQueryRequest
        from metricflow_semantics.errors.error_classes import MetricFlowException

        self._check(metrics)
        if saved is not None and saved not in self.saved:
            raise UserError(f"unknown saved query {saved!r}", f"there are: {', '.join(self.saved)}")
        request = MetricFlowQueryRequest.create(
            saved_query_name=saved,
            metric_names=list(metrics) or None,
            group_by_names=list(by) or None,
            where_constraints=list(where) or None,
            order_by_names=list(order) or None,
            limit=limit,
        )
        try:
            sql = str(self._engine.explain(request).sql_statement.sql)
        except MetricFlowException as error:
            raise UserError(
                f"this cannot be asked: {_gist(str(error))}", "`kkbc query METRIC --list` names what it goes by"
            ) from error
        return _run(sql)

    def _check(self, metrics: Sequence[str]) -> None:
        for name in metrics:
            if name not in self.labels:
                raise UserError(f"unknown metric {name!r}", "`kkbc query --list` names them")


def _read_published(manifest: dict[str, Any]) -> None:
    """Points a semantic manifest to the published tables: bi, and bi_detail for what stands only there."""
    schemas: dict[str, str] = {}
    for model in published_models():
        if schemas.get(model.name, DETAIL) == DETAIL:
            schemas[model.name] = model.schema
    things = [*manifest["semantic_models"], *manifest["project_configuration"]["time_spines"]]
    for relation in (thing["node_relation"] for thing in things):
        relation["schema_name"] = schemas[relation["alias"]]
        relation["relation_name"] = f'"{relation["schema_name"]}"."{relation["alias"]}"'


def _run(sql: str) -> Answer:
    role: Role = "analyst" if f'"{DETAIL}".' in sql else "bi"
    with connect(role) as conn:
        conn.read_only = True
        try:
            cursor = conn.execute(sql.encode())
        except psycopg.errors.UndefinedTable as error:
            raise UserError("nothing is published yet", "run a night first: `kkbc run` or `make run`") from error
        except (psycopg.ProgrammingError, psycopg.DataError) as error:
            raise UserError(
                f"this cannot be asked: {error.diag.message_primary}", "see to --where; --sql shows the whole query"
            ) from error
        rows = [tuple(v.date() if isinstance(v, datetime) else v for v in row) for row in cursor.fetchall()]
        return Answer([column.name for column in cursor.description or []], rows, sql)


def _gist(message: str) -> str:
    """The one line of a MetricFlow error that says what is wrong, and of which input."""
    lines = [line.strip() for line in message.splitlines() if line.strip()]
    said = lines[lines.index("Message:") + 1 :] if "Message:" in lines else lines
    of = f" ({lines[lines.index('Query Input:') + 1]})" if "Query Input:" in lines[:-1] else ""
    sentence = " ".join(said).partition(". ")[0]
    return f"{sentence.rstrip('.')}{of}"
