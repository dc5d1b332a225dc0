"""Publish: the audited marts become what BI reads, all in one transaction.

Tables in `bi` and `bi_detail` stay; only rows that differ are deleted and inserted, so that readers are never locked
out and see all of the old or all of the new.
"""

from dataclasses import dataclass
from datetime import date
from typing import Any

import psycopg
import yaml
from psycopg import sql
from psycopg.types.json import Jsonb

from kkbc.errors import UserError
from kkbc.settings import PROJECT_ROOT

HIDDEN = "next"
MODELS = PROJECT_ROOT / "dbt_project" / "models"


@dataclass(frozen=True)
class PublishedModel:
    """A dbt model that BI gets: from `next`.name to `schema`.name, rows told apart by `primary_key`."""

    name: str
    schema: str
    primary_key: tuple[str, ...]


@dataclass(frozen=True)
class Publication:
    """What a publication changed: rows deleted and inserted by table."""

    publication_id: int
    tables: dict[str, dict[str, int]]


def published_models() -> list[PublishedModel]:
    """The models that are published and where to, as the `meta` of the dbt project's yml files says.

    Raises UserError when one names no primary key.
    """
    found = []
    for path in sorted(MODELS.rglob("*.yml")):
        for model in (yaml.safe_load(path.read_text(encoding="utf-8")) or {}).get("models", []):
            meta: dict[str, Any] = model.get("config", {}).get("meta", {})
            if "publish" not in meta:
                continue
            if not meta.get("primary_key"):
                raise UserError(f"model {model['name']} is published without a primary key", f"add it in {path}")
            key = tuple(meta["primary_key"])
            found += [PublishedModel(model["name"], schema, key) for schema in meta["publish"]]
    return found


def publish_marts(conn: psycopg.Connection, *, build_id: int, as_of: date) -> Publication:
    """Brings every published table to the state of the hidden schema, and stamps `bi.publication`.

    `conn` acts as role publisher; the caller's transaction is the one in which all of it happens.
    """
    conn.execute("select pg_advisory_xact_lock(hashtext('kkbc.publish'))")
    tables = {f"{model.schema}.{model.name}": _switch(conn, model) for model in published_models()}
    row = conn.execute(
        "insert into ops.publication (build_id, as_of, tables) values (%s, %s, %s) returning publication_id",
        [build_id, as_of, Jsonb(tables)],
    ).fetchone()
    assert row is not None
    conn.execute(
        "create table if not exists bi.publication"
        " (publication_id bigint primary key, as_of date not null, published_at timestamptz not null default now())"
    )
    conn.execute("delete from bi.publication")
    conn.execute("insert into bi.publication (publication_id, as_of) values (%s, %s)", [row[0], as_of])
    return Publication(int(row[0]), tables)


def _switch(conn: psycopg.Connection, model: PublishedModel) -> dict[str, int]:
    source, target = sql.Identifier(HIDDEN, model.name), sql.Identifier(model.schema, model.name)
    if _shape(conn, HIDDEN, model.name) != _shape(conn, model.schema, model.name):
        conn.execute(sql.SQL("drop table if exists {}").format(target))
        conn.execute(sql.SQL("create table {} (like {} including all excluding indexes)").format(target, source))
        key = sql.SQL(", ").join(map(sql.Identifier, model.primary_key))
        conn.execute(sql.SQL("alter table {} add primary key ({})").format(target, key))
        _copy_comment(conn, model)
    match = sql.SQL(" and ").join(
        sql.SQL("t.{0} = gone.{0}").format(sql.Identifier(column)) for column in model.primary_key
    )
    deleted = conn.execute(
        sql.SQL("delete from {0} t using (table {0} except table {1}) gone where {2}").format(target, source, match)
    ).rowcount
    inserted = conn.execute(sql.SQL("insert into {0} table {1} except table {0}").format(target, source)).rowcount
    return {"deleted": deleted, "inserted": inserted}


def _shape(conn: psycopg.Connection, schema: str, table: str) -> list[tuple[str, str]]:
    return conn.execute(
        "select a.attname, format_type(a.atttypid, a.atttypmod) from pg_attribute a"
        " where a.attrelid = to_regclass(format('%%I.%%I', %s::text, %s::text)) and a.attnum > 0 and not a.attisdropped"
        " order by a.attnum",
        [schema, table],
    ).fetchall()


def _copy_comment(conn: psycopg.Connection, model: PublishedModel) -> None:
    row = conn.execute(
        "select obj_description(to_regclass(format('%%I.%%I', %s::text, %s::text)))", [HIDDEN, model.name]
    ).fetchone()
    comment = sql.Literal(row[0] if row else None)
    target = sql.Identifier(model.schema, model.name)
    conn.execute(sql.SQL("comment on table {} is {}").format(target, comment))
