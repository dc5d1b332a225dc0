"""What takes a publication back: its reverse differences, in schema `bi_kept`, which no reader sees.

A publication keeps of each table what it took out of it (`d<number>_gone`, whole rows) and the keys of what it put in
(`d<number>_came`); of a table that it replaced or ended, the whole table (`d<number>_whole`), which is moved and not
copied. They are taken back in reverse order, and taking back keeps a difference of its own.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from psycopg import sql

from kkbc.publishing.work import Work, name

SCHEMA = "bi_kept"
Kind = Literal["rows", "shape", "created", "retired"]


@dataclass(frozen=True)
class Kept:
    """A reverse difference: of which table, and of what kind.

    rows: some rows changed. shape: another table took its place. created: there was none before. retired: it was ended.
    """

    difference_id: int
    schema: str
    table: str
    kind: Kind
    primary_key: tuple[str, ...]

    def part(self, what: Literal["gone", "came", "whole"]) -> str:
        """The name in `bi_kept` of a part of it."""
        return f"d{self.difference_id}_{what}"

    def relation(self, what: Literal["gone", "came", "whole"]) -> sql.Identifier:
        """The same in a statement."""
        return name(SCHEMA, self.part(what))


def keep(work: Work, publication_id: int, schema: str, table: str, kind: Kind, primary_key: Iterable[str]) -> Kept:
    """Notes that there is a reverse difference of this kind; the parts are for the caller to make."""
    key = tuple(primary_key)
    if work.dry:
        return Kept(0, schema, table, kind, key)
    ((difference_id,),) = work.rows(
        "insert into bi_kept.difference (publication_id, table_schema, table_name, kind, primary_key)"
        " values (%s, %s, %s, %s, %s) returning difference_id",
        [publication_id, schema, table, kind, list(key)],
    )
    return Kept(difference_id, schema, table, kind, key)


def forget(work: Work, difference_ids: Iterable[int]) -> None:
    """Drops reverse differences with their parts."""
    for difference_id in difference_ids:
        for what in ("gone", "came", "whole"):
            work.do("drop table if exists {part}", part=name(SCHEMA, f"d{difference_id}_{what}"))
        work.rows("delete from bi_kept.difference where difference_id = %s returning 1", [difference_id])


def kept_of(work: Work, publication_id: int) -> list[Kept]:
    """The reverse differences of a publication, the last one first: the order in which they are taken back."""
    rows = work.rows(
        "select difference_id, table_schema, table_name, kind, primary_key from bi_kept.difference"
        " where publication_id = %s order by difference_id desc",
        [publication_id],
    )
    return [Kept(number, schema, table, kind, tuple(key)) for number, schema, table, kind, key in rows]


def prune(work: Work, keep_last: int) -> list[int]:
    """Forgets the reverse differences of all but the last so many publications; returns whose were forgotten."""
    old = work.rows(
        "update ops.publication set kept = false where kept and publication_id not in"
        " (select publication_id from ops.publication order by publication_id desc limit %s) returning publication_id",
        [keep_last],
    )
    publications = sorted(publication_id for (publication_id,) in old)
    found = work.rows(
        "select difference_id from bi_kept.difference where publication_id = any(%s) order by 1", [publications]
    )
    forget(work, [difference_id for (difference_id,) in found])
    return publications


def set_aside(work: Work, schema: str, table: str, kept: Kept) -> None:
    """Moves a published table into `bi_kept` as the whole of `kept`, without its primary key and indexes.

    Foreign keys from and to it were let go before.
    From here to the end of the transaction readers of this table wait.
    """
    here = name(schema, table)
    keys = work.rows(
        "select conname from pg_constraint where contype = 'p' and conrelid = to_regclass(%s)", [here.as_string()]
    )
    for (key,) in keys:
        work.do("alter table {here} drop constraint {key}", here=here, key=sql.Identifier(key))
    indexes = work.rows(
        "select indexrelid::regclass::text, c.relname from pg_index i join pg_class c on c.oid = i.indexrelid"
        " where i.indrelid = to_regclass(%s) and not i.indisprimary",
        [here.as_string()],
    )
    for _, index in indexes:
        work.do("drop index {index}", index=name(schema, index))
    work.do("alter table {here} set schema {kept}", here=here, kept=sql.Identifier(SCHEMA))
    work.do(
        "alter table {moved} rename to {whole}", moved=name(SCHEMA, table), whole=sql.Identifier(kept.part("whole"))
    )


def put_in_place(work: Work, relation: str, schema: str, table: str) -> None:
    """Makes a table of `bi_kept` the published one. Foreign keys are for the caller to make."""
    keys = work.rows(
        "select conname from pg_constraint where contype = 'p' and conrelid = to_regclass(%s)",
        [name(SCHEMA, relation).as_string()],
    )
    work.do("alter table {it} rename to {table}", it=name(SCHEMA, relation), table=sql.Identifier(table))
    work.do("alter table {it} set schema {schema}", it=name(SCHEMA, table), schema=sql.Identifier(schema))
    for (key,) in keys:
        work.do(
            "alter table {it} rename constraint {key} to {wanted}",
            it=name(schema, table),
            key=sql.Identifier(key),
            wanted=sql.Identifier(f"{table}_pkey"),
        )
