"""Foreign keys of the published tables: made, dropped and checked at the end of a publication.

On the way a table may be ahead of the one that it points to.
"""

import psycopg
from psycopg import sql

from kkbc.errors import UserError
from kkbc.publishing.models import ForeignKey, PublishedModel
from kkbc.publishing.work import Work, name, names


def check_foreign_keys(work: Work, models: list[PublishedModel], remedy: str) -> None:
    """Makes the foreign keys that are not there yet, drops those that are no longer declared, and checks them all.

    A new key is checked by one join, one that stays only for the rows that changed. A key that the tables have not the
    columns for is left out: a rolled back table may be of a time before it.
    Raises UserError, with this remedy, when rows name rows that are not there.
    """
    try:
        for model in models:
            table = name(model.schema, model.name)
            present = work.rows(
                "select conname from pg_constraint where contype = 'f' and conrelid = to_regclass(%s)",
                [table.as_string()],
            )
            there, wanted = {found for (found,) in present}, {key.name: key for key in model.foreign_keys}
            for key_name in sorted(there - wanted.keys()):
                work.do("alter table {table} drop constraint {key}", table=table, key=sql.Identifier(key_name))
            for key_name in sorted(wanted.keys() - there):
                key = wanted[key_name]
                if work.dry or _possible(work, model, key):
                    _make(work, model, key)
        if not work.dry:
            work.do("set constraints all immediate")
    except psycopg.errors.ForeignKeyViolation as error:
        # Its detail would name the row.
        found = error.diag
        raise UserError(
            f"{found.schema_name}.{found.table_name} names rows that are not there: {found.constraint_name}", remedy
        ) from None


def _make(work: Work, model: PublishedModel, key: ForeignKey) -> None:
    table = name(model.schema, model.name)
    if key.index:
        work.do("create index on {table} ({columns})", table=table, columns=names(key.columns))
    work.do(
        "alter table {table} add constraint {key} foreign key ({columns}) references {to} ({to_columns})"
        " deferrable initially deferred",
        table=table,
        key=sql.Identifier(key.name),
        columns=names(key.columns),
        to=name(model.schema, key.to),
        to_columns=names(key.to_columns),
    )


def _possible(work: Work, model: PublishedModel, key: ForeignKey) -> bool:
    for table, columns in ((model.name, key.columns), (key.to, key.to_columns)):
        rows = work.rows(
            "select a.attname::text from pg_attribute a"
            " where a.attrelid = to_regclass(%s) and a.attnum > 0 and not a.attisdropped",
            [name(model.schema, table).as_string()],
        )
        if not set(columns) <= {column for (column,) in rows}:
            return False
    return True
