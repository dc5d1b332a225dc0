"""Two small marts in the hidden schema, and what a test does with them: change, publish, read."""

from datetime import date
from typing import Any

import pytest

from kkbc.marts import models
from kkbc.publishing import Publication, PublishedModel, publish_marts, roll_back
from kkbc.warehouse import connect

MODELS = [
    PublishedModel("kpi_x", "bi", ("branch_id", "business_date")),
    PublishedModel("fct_y", "bi_detail", ("token",)),
]
DAY = date(2023, 12, 11)


def publishes(monkeypatch: pytest.MonkeyPatch, *published: PublishedModel) -> None:
    """Makes these the models that are published."""
    monkeypatch.setattr(models, "published_models", lambda: list(published))


@pytest.fixture
def marts(warehouse: str, monkeypatch: pytest.MonkeyPatch) -> None:
    publishes(monkeypatch, *MODELS)
    with connect("transformer") as conn:
        conn.execute(
            "create table next.kpi_x (branch_id text not null, business_date date not null, aktif bigint not null,"
            " rate double precision)"
        )
        conn.execute("comment on table next.kpi_x is 'one row a branch and day'")
        conn.execute("create table next.fct_y (token text not null, amount numeric not null)")
        conn.execute(
            "insert into next.kpi_x values ('KC002', '2023-12-11', 5, null), ('KC001', '2023-12-11', 7, 0.1),"
            " ('KC001', '2023-12-10', 6, 0.25)"
        )
        conn.execute("insert into next.fct_y values ('a', 100), ('b', 9000000000000000000000)")


def open_build() -> int:
    """A build that could be published."""
    with connect("transformer") as conn:
        row = conn.execute(
            "insert into ops.build (as_of, first_business_date) values (%s, %s) returning build_id", [DAY, DAY]
        ).fetchone()
    assert row is not None
    return int(row[0])


def publish() -> Publication:
    """Publishes what is in the hidden schema."""
    with connect("publisher") as conn:
        return publish_marts(conn, build_id=open_build(), as_of=DAY)


def undo(to: int | None = None, why: str = "wrong figures", **more: Any) -> Publication:
    """Rolls back."""
    with connect("publisher") as conn:
        return roll_back(conn, to=to, why=why, who="tester", **more)


def read(role: Any, statement: str) -> list[Any]:
    """Rows, as a role sees them."""
    with connect(role) as conn:
        return conn.execute(statement).fetchall()  # type: ignore[arg-type]


def change(*statements: str) -> None:
    """Changes what is built."""
    with connect("transformer") as conn:
        for statement in statements:
            conn.execute(statement)  # type: ignore[arg-type]


def contents() -> dict[str, Any]:
    """Of each published table its columns and a hash of its rows; the rows themselves are what it is made of."""
    found = {}
    with connect() as conn:
        tables = conn.execute(
            "select format('%I.%I', schemaname, tablename) from pg_tables"
            " where schemaname in ('bi', 'bi_detail') order by 1"
        ).fetchall()
        for (table,) in tables:
            found[table] = conn.execute(
                "select (select string_agg(attname || ' ' || format_type(atttypid, atttypmod), ', ' order by attnum)"
                "  from pg_attribute where attrelid = to_regclass(%s) and attnum > 0 and not attisdropped),"
                f" count(*), md5(string_agg(t::text, e'\\n' order by t::text collate \"C\")) from {table} t",
                [table],
            ).fetchone()
    return found
