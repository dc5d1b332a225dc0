"""Publish: the audited marts become what BI reads, all in one transaction.

Tables in `bi` and `bi_detail` stay; only rows that differ are deleted and inserted, so that readers are never locked
out and see all of the old or all of the new. They carry what the contracts of the dbt project say: types, keys, checks,
comments. Foreign keys are checked at the end, for on the way a table may be ahead of the one that it points to.
"""

import re
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
class ForeignKey:
    """`columns` of a model name rows of the model `to` in the same schema, by its key `to_columns`.

    `index`: rows of `to` come and go, so that who names them has to be found fast.
    """

    columns: tuple[str, ...]
    to: str
    to_columns: tuple[str, ...]
    index: bool = False

    @property
    def name(self) -> str:
        """The constraint's name in the database."""
        return f"{'_'.join(self.columns)}_of_{self.to}"


@dataclass(frozen=True)
class PublishedModel:
    """A dbt model that BI gets: from `next`.name to `schema`.name, rows told apart by `primary_key`."""

    name: str
    schema: str
    primary_key: tuple[str, ...]
    foreign_keys: tuple[ForeignKey, ...] = ()


@dataclass(frozen=True)
class Publication:
    """What a publication changed: rows deleted and inserted by table."""

    publication_id: int
    tables: dict[str, dict[str, int]]


def published_models() -> list[PublishedModel]:
    """The models that are published and where to, as the `meta` of the dbt project's yml files says.

    Foreign keys are those of the contract, which dbt makes too, and those of `meta.foreign_keys`, which publication
    alone makes. Raises UserError when a model names no primary key.
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
            keys = _foreign_keys(model)
            found += [PublishedModel(model["name"], schema, key, keys) for schema in meta["publish"]]
    return found


def _foreign_keys(model: dict[str, Any]) -> tuple[ForeignKey, ...]:
    declared = [c for c in model.get("constraints", []) if c["type"] == "foreign_key"]
    declared += model["config"]["meta"].get("foreign_keys", [])
    return tuple(
        ForeignKey(
            tuple(key["columns"]),
            re.sub(r"^ref\('(\w+)'\)$", r"\1", key["to"]),
            tuple(key["to_columns"]),
            key.get("index", False),
        )
        for key in declared
    )


def publish_marts(conn: psycopg.Connection, *, build_id: int, as_of: date) -> Publication:
    """Brings every published table to the state of the hidden schema, and stamps `bi.publication`.

    `conn` acts as role publisher; the caller's transaction is the one in which all of it happens.
    Raises UserError when rows would name rows that are not there.
    """
    conn.execute("select pg_advisory_xact_lock(hashtext('kkbc.publish'))")
    models = published_models()
    tables = {f"{model.schema}.{model.name}": _switch(conn, model) for model in models}
    _check_foreign_keys(conn, models)
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
    if _shape(conn, HIDDEN, model) != _shape(conn, model.schema, model):
        _drop(conn, model)
        conn.execute(sql.SQL("create table {} (like {} including all excluding indexes)").format(target, source))
        conn.execute(sql.SQL("alter table {} add primary key ({})").format(target, _list(model.primary_key)))
    _copy_comments(conn, model)
    match = sql.SQL(" and ").join(
        sql.SQL("t.{0} = gone.{0}").format(sql.Identifier(column)) for column in model.primary_key
    )
    deleted = conn.execute(
        sql.SQL("delete from {0} t using (table {0} except table {1}) gone where {2}").format(target, source, match)
    ).rowcount
    inserted = conn.execute(sql.SQL("insert into {0} table {1} except table {0}").format(target, source)).rowcount
    return {"deleted": deleted, "inserted": inserted}


def _shape(conn: psycopg.Connection, schema: str, model: PublishedModel) -> list[tuple[str, str, bool]]:
    """Columns with type and whether they are never null, then checks."""
    return conn.execute(
        "select column_name, definition, required from (select a.attnum::int as place, a.attname::text as column_name,"
        " format_type(a.atttypid, a.atttypmod) as definition, a.attnotnull or a.attname = any(%(key)s) as required"
        " from pg_attribute a where a.attrelid = to_regclass(%(table)s) and a.attnum > 0 and not a.attisdropped"
        " union all select 10000, '', pg_get_constraintdef(c.oid), true from pg_constraint c"
        " where c.conrelid = to_regclass(%(table)s) and c.contype = 'c') as shape order by place, definition",
        {"table": f"{schema}.{model.name}", "key": list(model.primary_key)},
    ).fetchall()


def _drop(conn: psycopg.Connection, model: PublishedModel) -> None:
    """Drops the table, and first the foreign keys to it: those are made again when all tables are there."""
    pointing = conn.execute(
        "select n.nspname, t.relname, c.conname from pg_constraint c join pg_class t on t.oid = c.conrelid"
        " join pg_namespace n on n.oid = t.relnamespace where c.contype = 'f' and c.confrelid = to_regclass(%s)",
        [f"{model.schema}.{model.name}"],
    ).fetchall()
    for schema, table, name in pointing:
        statement = sql.SQL("alter table {} drop constraint {}")
        conn.execute(statement.format(sql.Identifier(schema, table), sql.Identifier(name)))
    conn.execute(sql.SQL("drop table if exists {}").format(sql.Identifier(model.schema, model.name)))


def _copy_comments(conn: psycopg.Connection, model: PublishedModel) -> None:
    """Brings the comments of table and columns to those of the hidden table, where they differ."""
    target = sql.Identifier(model.schema, model.name)
    differing = conn.execute(
        "select a.attname, s.description from pg_attribute a"
        " left join pg_description s on s.objoid = a.attrelid and s.objsubid = a.attnum"
        " and s.classoid = 'pg_class'::regclass"
        " left join pg_attribute b on b.attrelid = to_regclass(%(target)s) and b.attname = a.attname"
        " left join pg_description t on t.objoid = b.attrelid and t.objsubid = b.attnum"
        " and t.classoid = 'pg_class'::regclass"
        " where a.attrelid = to_regclass(%(source)s) and a.attnum > 0 and not a.attisdropped"
        " and s.description is distinct from t.description"
        " union all select null, obj_description(to_regclass(%(source)s))"
        " where obj_description(to_regclass(%(source)s)) is distinct from obj_description(to_regclass(%(target)s))",
        {"source": f"{HIDDEN}.{model.name}", "target": f"{model.schema}.{model.name}"},
    ).fetchall()
    for column, comment in differing:
        thing = sql.SQL("table {}").format(target)
        if column is not None:
            thing = sql.SQL("column {}.{}").format(target, sql.Identifier(column))
        conn.execute(sql.SQL("comment on {} is {}").format(thing, sql.Literal(comment)))


def _check_foreign_keys(conn: psycopg.Connection, models: list[PublishedModel]) -> None:
    """Makes the foreign keys that are not there yet, drops those that are no longer declared, and checks them all.

    A new key is checked by one join, one that stays only for the rows that changed.
    """
    try:
        for model in models:
            table = sql.Identifier(model.schema, model.name)
            present = conn.execute(
                "select conname from pg_constraint where contype = 'f' and conrelid = to_regclass(%s)",
                [f"{model.schema}.{model.name}"],
            ).fetchall()
            there, wanted = {name for (name,) in present}, {key.name: key for key in model.foreign_keys}
            for name in there - wanted.keys():
                conn.execute(sql.SQL("alter table {} drop constraint {}").format(table, sql.Identifier(name)))
            for name in sorted(wanted.keys() - there):
                key = wanted[name]
                if key.index:
                    conn.execute(sql.SQL("create index on {} ({})").format(table, _list(key.columns)))
                conn.execute(
                    sql.SQL(
                        "alter table {} add constraint {} foreign key ({}) references {} ({})"
                        " deferrable initially deferred"
                    ).format(
                        table,
                        sql.Identifier(name),
                        _list(key.columns),
                        sql.Identifier(model.schema, key.to),
                        _list(key.to_columns),
                    )
                )
        conn.execute("set constraints all immediate")
    except psycopg.errors.ForeignKeyViolation as error:
        # Its detail would name the row.
        found = error.diag
        raise UserError(
            f"{found.schema_name}.{found.table_name} names rows that are not there: {found.constraint_name}",
            "mend the model; nothing was published",
        ) from None


def _list(columns: tuple[str, ...]) -> sql.Composed:
    return sql.SQL(", ").join(map(sql.Identifier, columns))
