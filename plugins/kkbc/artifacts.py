"""Artifacts: what dbt makes of its project besides tables, for readers of metrics and documents."""

from pathlib import Path

import psycopg

from kkbc.building import DBT_PROJECT, _cause, _environment, _variables
from kkbc.errors import UserError
from kkbc.settings import get_settings


def parse(conn: psycopg.Connection) -> Path:
    """Parses the dbt project; returns the folder with manifest.json and semantic_manifest.json.

    `conn` says which warehouse the project is for. Raises UserError when the project does not parse.
    """
    return _invoke(conn, "parse")


def generate_docs(conn: psycopg.Connection) -> Path:
    """Makes dbt's own documents; returns the folder with manifest.json, catalog.json and static_index.html.

    `conn` is the warehouse that the catalog describes. Raises UserError when dbt cannot.
    """
    # Not compiled: that would need the days of a build, and the models' SQL is there as it was written.
    return _invoke(conn, "docs", "generate", "--static", "--no-compile")


def _invoke(conn: psycopg.Connection, *command: str) -> Path:
    from dbt.cli.main import dbtRunner

    folder = get_settings().home / "dbt" / "documents"
    arguments = [
        *("--quiet", "--log-level", "none", "--log-level-file", "none", "--no-version-check"),
        *command,
        *("--project-dir", str(DBT_PROJECT), "--profiles-dir", str(DBT_PROJECT), "--target-path", str(folder)),
    ]
    with _variables(_environment(conn)):
        outcome = dbtRunner().invoke(arguments)
    if not outcome.success:
        cause = _cause(str(outcome.exception)) if outcome.exception else "see its log"
        raise UserError(f"dbt {command[0]} failed: {cause}", "mend dbt_project, or the connection")
    return folder
