"""Indexes of the published tables, besides their primary keys: what the queries of readers and foreign keys need."""

from kkbc.marts.models import PublishedModel
from kkbc.publishing.undo import SCHEMA
from kkbc.publishing.work import Work, columns_of, name, names


def make_indexes(work: Work, model: PublishedModel, aside: str | None = None) -> None:
    """Makes the indexes that a published table lacks; readers of it do not wait for that.

    aside: the table's name in `bi_kept`, while it lies there. One on columns that the table has not is left out: a
    rolled back table may be of a time before them.
    """
    table = name(SCHEMA, aside) if aside else name(model.schema, model.name)
    there = {tuple(columns) for (columns,) in work.rows(_INDEXED, [table.as_string()])}
    known = set(columns_of(work, table))
    for columns in model.indexes:
        if columns not in there and (work.dry or set(columns) <= known):
            work.do("create index on {table} ({columns})", table=table, columns=names(columns))


_INDEXED = """
select (select array_agg(a.attname::text order by k.place)
    from unnest(i.indkey::int[]) with ordinality k (attnum, place)
    join pg_attribute a on a.attrelid = i.indrelid and a.attnum = k.attnum)
from pg_index i where i.indrelid = to_regclass(%s)
"""
