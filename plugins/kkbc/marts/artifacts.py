"""Artifacts: what dbt makes of its project besides tables, for readers of metrics and documents."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import psycopg

from kkbc.core.errors import UserError
from kkbc.core.settings import get_settings
from kkbc.marts.parsing import cause
from kkbc.marts.runner import DBT_PROJECT, environment, exported

# All of it: dbt takes a description that moved from file to file for two, as kkbc.marts.parsing says.
PARSE = ["parse", "--no-partial-parse"]


def parse(conn: psycopg.Connection) -> Path:
    """Parses the dbt project; returns the folder with manifest.json and semantic_manifest.json.

    `conn` says which warehouse the project is for. Raises UserError when the project does not parse.
    """
    _invoke(conn, PARSE)
    return _folder()


def generate_docs(conn: psycopg.Connection, variables: Mapping[str, Any]) -> Path:
    """Makes dbt's own documents; returns the folder with manifest.json, catalog.json and static_index.html.

    `conn` is the warehouse that the catalog describes; `variables` are the days of a build, which the SQL is compiled
    with as if all of it were built anew, for that is the SQL whose columns come from other tables. Raises UserError
    when dbt cannot.
    """
    manifest = _invoke(conn, PARSE)
    _invoke(conn, ["compile", "--full-refresh", "--vars", json.dumps(dict(variables))], manifest=manifest)
    _invoke(conn, ["docs", "generate", "--static", "--no-compile"], manifest=manifest)
    return _folder()


def _invoke(conn: psycopg.Connection, command: list[str], manifest: Any = None) -> Any:
    from dbt.cli.main import dbtRunner

    arguments = [
        *("--quiet", "--log-level", "none", "--log-level-file", "none", "--no-version-check"),
        *command,
        *("--project-dir", str(DBT_PROJECT), "--profiles-dir", str(DBT_PROJECT), "--target-path", str(_folder())),
        # Made even where nothing is logged to a file; beside the project, which may be read-only, unless it is named.
        *("--log-path", str(_folder() / "logs")),
    ]
    with exported(environment(conn)):
        outcome = dbtRunner(manifest=manifest).invoke(arguments)
    if not outcome.success:
        reason = cause(str(outcome.exception)) if outcome.exception else "the warehouse could not be described"
        raise UserError(f"dbt {command[0]} failed: {reason}", "fix dbt_project, or the connection")
    return outcome.result


def _folder() -> Path:
    return get_settings().home / "dbt" / "documents"
