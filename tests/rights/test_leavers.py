"""What the runbooks of a leaver and of a breach say to do, done as they say it."""

import re
from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import psycopg
import pytest
from psycopg import sql

from kkbc.warehouse import server

RUNBOOKS = Path(__file__).parents[2] / "docs" / "runbooks"
STATEMENTS = re.compile(r"`(alter role|select pg_terminate_backend)([^`]*)`")


@pytest.fixture
def leaver(pg: server.Server, warehouse: str) -> Iterator[str]:
    """A login that may read the vault."""
    name = f"leaver_{uuid4().hex[:8]}"
    with psycopg.connect(warehouse, autocommit=True) as conn:
        conn.execute(sql.SQL("create role {} login password 'opensesame' in role pii").format(sql.Identifier(name)))
        yield name
        conn.execute(sql.SQL("drop role {}").format(sql.Identifier(name)))


@pytest.mark.parametrize(("page", "called"), [("a-leaver-with-access.md", "sari"), ("a-breach.md", "NAME")])
def test_a_login_is_shut_out_and_its_session_ended(warehouse: str, leaver: str, page: str, called: str) -> None:
    statements = ["".join(found) for found in STATEMENTS.findall((RUNBOOKS / page).read_text())]
    assert len(statements) == 2
    as_leaver = psycopg.conninfo.make_conninfo(warehouse, user=leaver, password="opensesame")
    with psycopg.connect(as_leaver, autocommit=True) as session:
        session.execute("select 1")
        with psycopg.connect(warehouse, autocommit=True) as owner:
            for statement in statements:
                owner.execute(statement.replace(called, leaver))  # type: ignore[arg-type]
        with pytest.raises(psycopg.OperationalError, match="terminating connection"):
            session.execute("select 1")
    with pytest.raises(psycopg.OperationalError, match="is not permitted to log in"):
        psycopg.connect(as_leaver)
