"""One table goes from what readers see to what was built: by row difference, or, when its shape changed, as a whole.

By difference the table stays, and no lock is taken that a reader would feel. A table of another shape is made aside
and put in place at the end of the transaction.
"""

import time
from collections.abc import Iterable
from dataclasses import dataclass

import psycopg
from psycopg import sql

from kkbc.core.errors import UserError
from kkbc.core.settings import get_settings
from kkbc.marts.models import SLICES, PublishedModel
from kkbc.publishing.sessions import ending_blockers
from kkbc.publishing.undo import SCHEMA, Kept, forget, keep, put_in_place, set_aside
from kkbc.publishing.work import Work, columns_of, name, names, names_of, same_key

# An attempt to get a table for itself, and the pause after one that failed.
ATTEMPT = "60ms"
PAUSE = 0.2
# The last attempt, in which readers that are in the way are ended.
LAST_ATTEMPT = "10s"


@dataclass(frozen=True)
class State:
    """What a published table holds: its rows, and the sum of their hashes, which follows what changes."""

    rows: int
    digest: int


@dataclass(frozen=True)
class Change:
    """What became of a table: rows deleted and inserted, and its state after it."""

    deleted: int
    inserted: int
    state: State

    @property
    def counts(self) -> dict[str, int]:
        """Rows deleted and inserted."""
        return {"deleted": self.deleted, "inserted": self.inserted}


def measure(work: Work, schema: str, table: str) -> State:
    """The state of a table, by reading all of it."""
    ((rows, digest),) = work.conn.execute(
        sql.SQL("select count(*), coalesce(sum(hashtextextended(t::text, 0)), 0) from {} t").format(name(schema, table))
    ).fetchall()
    return State(int(rows), int(digest))


def same_shape(work: Work, model: PublishedModel) -> bool:
    """Whether the published table is there, with the columns, types and checks of the one that was built."""
    return _shape(work, model.source, model.primary_key) == _shape(work, (model.schema, model.name), model.primary_key)


def switch(
    work: Work, model: PublishedModel, publication_id: int, before: State | None, keys: sql.Identifier | None = None
) -> Change:
    """Brings a table that keeps its shape to the state of its source, and keeps what takes that back.

    before: its state when that is known, else it is measured. keys: a table of all keys whose rows can differ; without
    it all rows are compared. Raises UserError for a row that lacks a part of its key.
    """
    if work.dry:
        return _foreseen(work, model)
    state = before or measure(work, model.schema, model.name)
    keys = keys or _differing(work, model)
    if not work.conn.execute(sql.SQL("select 1 from {} limit 1").format(keys)).fetchone():
        return Change(0, 0, state)
    kept = keep(work, publication_id, model.schema, model.name, "rows", model.primary_key)
    old, new = (_rows(model, name(*table), keys) for table in ((model.schema, model.name), model.source))
    except_ = sql.SQL("{} except {}")
    gone, come = _exchange(work, kept, except_.format(old, new), except_.format(new, old))
    if not gone.rows and not come.rows:
        forget(work, [kept.difference_id])
    after = State(state.rows - gone.rows + come.rows, state.digest - gone.digest + come.digest)
    return Change(gone.rows, come.rows, after)


def take_back(work: Work, done: Kept, publication_id: int) -> tuple[int, int]:
    """Takes the row difference `done` back, and keeps what takes that back in turn; returns rows deleted and inserted.

    The caller sees to it that the table holds in the end what it should.
    """
    kept = keep(work, publication_id, done.schema, done.table, "rows", done.primary_key)
    model = PublishedModel(done.table, done.schema, done.primary_key)
    put_in = _rows(model, name(done.schema, done.table), done.relation("came"))
    gone, come = _exchange(work, kept, put_in, sql.SQL("table {}").format(done.relation("gone")))
    return gone.rows, come.rows


def _differing(work: Work, model: PublishedModel) -> sql.Identifier:
    """Makes a table of the keys whose rows differ, for the rest of the transaction: reads both tables once.

    Raises UserError for a row that lacks a part of its key.
    """
    source, target = name(*model.source), name(model.schema, model.name)
    relation = f"differing_{model.schema}_{model.name}"
    keys, columns, first = sql.Identifier("pg_temp", relation), columns_of(work, target), model.primary_key[0]
    work.do(
        "create temporary table {made} on commit drop as select {key} from {source} s full join {target} t on {match}"
        " where {of_source} is null or {of_target} is null or ({new}) is distinct from ({old})",
        made=sql.Identifier(relation),
        key=sql.SQL(", ").join(
            sql.SQL("coalesce({}, {}) as {}").format(
                sql.Identifier("s", column), sql.Identifier("t", column), sql.Identifier(column)
            )
            for column in model.primary_key
        ),
        source=source,
        target=target,
        match=same_key(model.primary_key, "s", "t"),
        of_source=sql.Identifier("s", first),
        of_target=sql.Identifier("t", first),
        new=names_of("s", columns),
        old=names_of("t", columns),
    )
    work.do("analyze {keys}", keys=keys)
    lacking = sql.SQL("select 1 from {} where num_nulls({}) > 0 limit 1").format(keys, names(model.primary_key))
    if work.conn.execute(lacking).fetchone():
        raise UserError(
            f"rows of {'.'.join(model.source)} lack a part of their key ({', '.join(model.primary_key)})",
            "fix the model; nothing was published",
        )
    return keys


def _rows(model: PublishedModel, relation: sql.Identifier, keys: sql.Identifier) -> sql.Composed:
    """The rows of a relation that have one of the keys."""
    if relation == name(*SLICES.source):
        # A view that takes the highest of several rows: asked for each key by itself, it reads what that key has alone.
        return sql.SQL("select r.* from {1} k cross join lateral (select * from {0} r where {2} offset 0) r").format(
            relation, keys, same_key(model.primary_key, "r", "k")
        )
    return sql.SQL("select r.* from {} r join {} k on {}").format(relation, keys, same_key(model.primary_key, "r", "k"))


def _exchange(work: Work, kept: Kept, rows_to_go: sql.Composed, rows_to_come: sql.Composed) -> tuple[State, State]:
    """Takes rows out of a table and puts others in, and keeps both as `kept`; returns what went and what came.

    A row whose key stays is updated: it is no new row to the foreign keys from and to it, which are then checked only
    where their own columns change.
    """
    target, gone, came = name(kept.schema, kept.table), kept.relation("gone"), kept.relation("came")
    coming = sql.Identifier("pg_temp", "coming")
    work.do("create table {gone} as {rows}", gone=gone, rows=rows_to_go)
    work.do("create temporary table coming as {rows}", rows=rows_to_come)
    work.do("create table {came} as select {key} from {coming}", came=came, key=names(kept.primary_key), coming=coming)
    # A key that comes twice is found here: an update would take either row.
    work.do("alter table {came} add primary key ({key})", came=came, key=names(kept.primary_key))
    columns = columns_of(work, target)
    parts = {"target": target, "gone": gone, "came": came, "coming": coming}
    work.do(
        "delete from {target} t using {gone} g where {match} and not exists (select from {came} c where {stays})",
        match=same_key(kept.primary_key, "t", "g"),
        stays=same_key(kept.primary_key, "c", "g"),
        **parts,
    )
    work.do(
        "update {target} t set ({columns}) = row({values}) from {coming} c join {gone} g on {stays} where {match}",
        columns=names(columns),
        values=names_of("c", columns),
        stays=same_key(kept.primary_key, "c", "g"),
        match=same_key(kept.primary_key, "t", "c"),
        **parts,
    )
    work.do(
        "insert into {target} select c.* from {coming} c where not exists (select from {gone} g where {stays})",
        stays=same_key(kept.primary_key, "c", "g"),
        **parts,
    )
    states = measure(work, SCHEMA, kept.part("gone")), measure(work, "pg_temp", "coming")
    work.do("drop table {coming}", coming=coming)
    return states


def _foreseen(work: Work, model: PublishedModel) -> Change:
    """What a dry run says of a table that keeps its shape."""
    source, target = name(*model.source), name(model.schema, model.name)
    counts = sql.SQL("select (select count(*) from (table {0} except table {1}) x), count(*) from {0}")
    ((deleted, rows),) = work.conn.execute(counts.format(target, source)).fetchall()
    ((inserted, _),) = work.conn.execute(counts.format(source, target)).fetchall()
    if deleted:
        work.do(
            "delete from {target} t using (table {target} except table {source}) g where {match}",
            target=target,
            source=source,
            match=same_key(model.primary_key, "t", "g"),
        )
    if inserted:
        work.do("insert into {target} table {source} except table {target}", target=target, source=source)
    return Change(deleted, inserted, State(rows - deleted + inserted, 0))


@dataclass(frozen=True)
class Aside:
    """A table of another shape, made in `bi_kept` under `relation`, to be put in the place of the published one."""

    model: PublishedModel
    relation: str
    state: State


def make_aside(work: Work, model: PublishedModel) -> Aside:
    """Makes the table of a new shape aside, with all of its rows; no reader waits for that."""
    relation = f"made_{model.schema}_{model.name}"
    made, source = name(SCHEMA, relation), name(*model.source)
    work.do("create table {made} (like {source} including all excluding indexes)", made=made, source=source)
    work.do("insert into {made} table {source}", made=made, source=source)
    work.do("alter table {made} add primary key ({key})", made=made, key=names(model.primary_key))
    work.do("analyze {made}", made=made)
    return Aside(model, relation, measure(work, *model.source) if work.dry else measure(work, SCHEMA, relation))


def make_again(work: Work, done: Kept) -> str:
    """Makes a table as it was kept whole, aside; returns its name there. What was kept stays for the next time."""
    relation = f"made_{done.schema}_{done.table}"
    made, whole = name(SCHEMA, relation), done.relation("whole")
    work.do("create table {made} (like {whole} including all)", made=made, whole=whole)
    work.do("insert into {made} table {whole}", made=made, whole=whole)
    work.do("alter table {made} add primary key ({key})", made=made, key=names(done.primary_key))
    work.do("analyze {made}", made=made)
    ((comment,),) = work.rows("select obj_description(to_regclass(%s), 'pg_class')", [whole.as_string()])
    work.do("comment on table {made} is {comment}", made=made, comment=sql.Literal(comment))
    return relation


def replace(work: Work, aside: Aside, publication_id: int, before: State | None) -> Change:
    """Puts a table that was made aside in the place of the published one, if there is one, which is kept whole."""
    schema, table = aside.model.schema, aside.model.name
    old_key = primary_key(work, schema, table)
    kept = keep(work, publication_id, schema, table, "shape" if old_key else "created", old_key)
    rows = 0
    if old_key:
        rows = (before or measure(work, schema, table)).rows
        set_aside(work, schema, table, kept)
    put_in_place(work, aside.relation, schema, table)
    return Change(rows, aside.state.rows, aside.state)


def keep_readers_out(work: Work, tables: Iterable[tuple[str, str]]) -> None:
    """Waits until nobody reads these tables, and lets no reader in until the transaction ends.

    New readers queue behind a waiting lock, so that each attempt is short, and between two of them all are let in. An
    attempt is shorter than the server's wait for deadlocks too, which might end a reader. Readers who have not let go
    after `reader_patience_seconds` lose their sessions, which is logged.
    Raises UserError when the tables are kept by someone else, who may publish as well.
    """
    found = [name(*table) for table in tables]
    there = [table for table in found if work.rows("select 1 where to_regclass(%s) is not null", [table.as_string()])]
    if not there:
        return
    until = time.monotonic() + get_settings().reader_patience_seconds
    while not _lock(work, there, ATTEMPT):
        if time.monotonic() < until:
            time.sleep(PAUSE)
            continue
        with ending_blockers(work.conn):
            if _lock(work, there, LAST_ATTEMPT):
                return
        raise UserError(
            f"readers hold {', '.join(t.as_string() for t in there)}, of which one has a new shape",
            "end their transactions (pg_stat_activity tells whose), then try again",
        )


def _lock(work: Work, tables: Iterable[sql.Identifier], timeout: str) -> bool:
    """Whether the tables could be had within the time."""
    try:
        with work.conn.transaction():
            work.conn.execute(sql.SQL("set local lock_timeout = {}").format(sql.Literal(timeout)))
            work.do("lock table {tables} in access exclusive mode", tables=sql.SQL(", ").join(tables))
            work.conn.execute("set local lock_timeout = 0")
    except psycopg.errors.LockNotAvailable:
        return False
    return True


def primary_key(work: Work, schema: str, table: str) -> tuple[str, ...]:
    """The columns of the primary key of a table."""
    rows = work.rows(
        "select a.attname::text from pg_index i cross join unnest(i.indkey::int[]) with ordinality k (attnum, place)"
        " join pg_attribute a on a.attrelid = i.indrelid and a.attnum = k.attnum"
        " where i.indrelid = to_regclass(%s) and i.indisprimary order by k.place",
        [name(schema, table).as_string()],
    )
    return tuple(column for (column,) in rows)


def _shape(work: Work, relation: tuple[str, str], key: tuple[str, ...]) -> list[tuple[str, str, bool]]:
    """Columns with type and whether they are never null, then checks."""
    return work.rows(
        "select column_name, definition, required from (select a.attnum::int as place, a.attname::text as column_name,"
        " format_type(a.atttypid, a.atttypmod) as definition, a.attnotnull or a.attname = any(%(key)s) as required"
        " from pg_attribute a where a.attrelid = to_regclass(%(table)s) and a.attnum > 0 and not a.attisdropped"
        " union all select 10000, '', pg_get_constraintdef(c.oid), true from pg_constraint c"
        " where c.conrelid = to_regclass(%(table)s) and c.contype = 'c') as shape order by place, definition",
        {"table": name(*relation).as_string(), "key": list(key)},
    )


def copy_comments(work: Work, model: PublishedModel, aside: str | None = None) -> None:
    """Brings the comments of table and columns to those of the source, where they differ.

    aside: the table's name in `bi_kept`, while it lies there. A dry run cannot look at a table that is not made.
    """
    target = name(SCHEMA, aside) if aside else name(model.schema, model.name)
    differing = work.rows(
        "select a.attname, s.description from pg_attribute a"
        " left join pg_description s on s.objoid = a.attrelid and s.objsubid = a.attnum"
        " and s.classoid = 'pg_class'::regclass"
        " left join pg_attribute b on b.attrelid = to_regclass(%(target)s) and b.attname = a.attname"
        " left join pg_description t on t.objoid = b.attrelid and t.objsubid = b.attnum"
        " and t.classoid = 'pg_class'::regclass"
        " where a.attrelid = to_regclass(%(source)s) and a.attnum > 0 and not a.attisdropped"
        " and s.description is distinct from t.description"
        " union all select null, obj_description(to_regclass(%(source)s), 'pg_class')"
        " where obj_description(to_regclass(%(source)s), 'pg_class')"
        " is distinct from obj_description(to_regclass(%(target)s), 'pg_class')",
        {"source": name(*model.source).as_string(), "target": target.as_string()},
    )
    for column, comment in differing:
        thing = sql.SQL("table {}").format(target)
        if column is not None:
            thing = sql.SQL("column {}.{}").format(target, sql.Identifier(column))
        work.do("comment on {thing} is {comment}", thing=thing, comment=sql.Literal(comment))
