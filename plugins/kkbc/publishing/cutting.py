"""Cutting: participant tokens are replaced in all that was built, published and kept, and nothing else changes.

Hidden and published tables stay equal, so that the next publication finds no difference; and what is on record of
publications is brought to the new tokens, so that each that is kept can still be restored and checked.
"""

from collections.abc import Sequence
from typing import Any

from psycopg import sql

from kkbc.publishing.record import Table
from kkbc.publishing.rollback import History, history_of
from kkbc.publishing.undo import Kept, kept_of
from kkbc.publishing.work import Work, columns_of, name, names, same_key

TOKEN = "participant_token"  # noqa: S105 (the name of a column)
# Every column besides those of slices that holds tokens: of what dbt makes, what is published, what is kept of that.
_COLUMNS = """
select n.nspname::text, c.relname::text, t.name
from ops.token_columns() t join pg_class c on c.oid = t.relation join pg_namespace n on n.oid = c.relnamespace
where n.nspname not in ('raw', 'vault')
order by 1, 2, 3
"""
_HELD = name("pg_temp", "held")


def columns_of_tokens(work: Work) -> list[tuple[str, str, str]]:
    """Schema, table and name of every column that holds participant tokens, but for tables of slices."""
    return [(schema, table, column) for schema, table, column in work.rows(_COLUMNS)]


def rows_of(work: Work, tokens: Sequence[str]) -> dict[str, int]:
    """How many rows of these tables have one of the tokens, of those that have any."""
    found = {}
    for schema, table, column in columns_of_tokens(work):
        query = sql.SQL("select count(*) from {} where {} = any(%s)").format(
            name(schema, table), sql.Identifier(column)
        )
        ((count,),) = work.conn.execute(query, [list(tokens)]).fetchall()
        if count:
            found[f"{schema}.{table}"] = int(count)
    return found


def cut_tokens(work: Work, mapping: sql.Identifier) -> dict[str, int]:
    """Replaces the tokens of `mapping`, a table of `token` and `cut`; returns the rows by table.

    Part of the caller's transaction, which is alone (kkbc.publishing.record.alone) and keeps builds away; as the owner.
    """
    changes = _changes_on_record(work, mapping)
    done = {}
    for schema, table, column in columns_of_tokens(work):
        statement = sql.SQL("update {table} t set {token} = m.cut from {mapping} m where t.{token} = m.token").format(
            table=name(schema, table), token=sql.Identifier(column), mapping=mapping
        )
        rows = work.conn.execute(statement).rowcount
        if rows:
            done[f"{schema}.{table}"] = rows
    # After the tables, whose triggers note the keys of before.
    keys = sql.SQL(
        "update bi_kept.changed_key k set key = jsonb_set(k.key, {path}, to_jsonb(m.cut)) from {mapping} m"
        " where k.key ->> {token} = m.token"
    ).format(path=sql.Literal(f"{{{TOKEN}}}"), mapping=mapping, token=sql.Literal(TOKEN))
    work.conn.execute(keys)
    with work.conn.cursor() as cursor:
        cursor.executemany(
            "update ops.publication_table set digest = digest + %s"
            " where publication_id = %s and table_schema = %s and table_name = %s and digest is not null",
            [(change, publication, *table) for (publication, table), change in changes.items() if change],
        )
    return done


def _changes_on_record(work: Work, mapping: sql.Identifier) -> dict[tuple[int, Table], int]:
    """What the digest of each table changes by, of each publication that can be restored.

    The rows of the tokens are followed from what readers see back through the differences that are kept.
    """
    publications = work.rows("select publication_id, kept, restores from ops.publication order by publication_id desc")
    if not publications:
        return {}
    history = history_of([(number, kept, restores) for number, kept, restores in publications])
    kept: dict[int, list[Kept]] = {number: kept_of(work, number) for number in history.ids if history.kept[number]}
    tables = {("bi_detail", table) for schema, table, _ in columns_of_tokens(work) if schema == "bi_detail"}
    tables |= {(done.schema, done.table) for steps in kept.values() for done in steps if done.schema == "bi_detail"}
    changes: dict[tuple[int, Table], int] = {}
    for table in sorted(tables):
        _follow(work, mapping, history, kept, table, changes)
    # What a rollback restored has the tables of what it restored, which may lie beyond what is kept.
    for number, holds in history.holds.items():
        for other in (n for n in history.ids if history.holds[n] == holds and n != number):
            for table in tables:
                if (number, table) in changes:
                    changes.setdefault((other, table), changes[number, table])
    return changes


def _follow(
    work: Work,
    mapping: sql.Identifier,
    history: History,
    kept: dict[int, list[Kept]],
    table: Table,
    changes: dict[tuple[int, Table], int],
) -> None:
    """Notes in `changes` what the digest of one table changes by, publication by publication, the newest first."""
    there = _hold(work, mapping, name(*table))
    for number, before in zip(history.ids, [*history.ids[1:], None], strict=True):
        changes[number, table] = _change_of_digest(work, mapping) if there else 0
        if not history.kept[number] or before is None:
            break
        for done in kept[number]:
            if (done.schema, done.table) != table:
                continue
            if done.kind == "rows":
                _take_back(work, mapping, done)
            else:
                there = done.kind != "created" and _hold(work, mapping, done.relation("whole"))
    work.conn.execute("drop table if exists pg_temp.held")


def _hold(work: Work, mapping: sql.Identifier, relation: sql.Identifier) -> bool:
    """Makes the temporary table of the rows of a relation that are of the tokens; whether it can have any."""
    work.conn.execute("drop table if exists pg_temp.held")
    if TOKEN not in columns_of(work, relation):
        return False
    statement = sql.SQL("create temporary table held as select t.* from {} t join {} m on t.{} = m.token")
    work.conn.execute(statement.format(relation, mapping, sql.Identifier(TOKEN)))
    return True


def _take_back(work: Work, mapping: sql.Identifier, done: Kept) -> None:
    """Brings the rows that are followed to what they were before the difference."""
    if TOKEN not in columns_of(work, done.relation("gone")):
        return
    work.conn.execute(
        sql.SQL("delete from {} h using {} c where {}").format(
            _HELD, done.relation("came"), same_key(done.primary_key, "h", "c")
        )
    )
    columns = names(columns_of(work, done.relation("gone")))
    work.conn.execute(
        sql.SQL(
            "insert into {held} ({columns}) select {columns} from {gone} g where {token} in (select token from {m})"
        ).format(held=_HELD, columns=columns, gone=done.relation("gone"), token=sql.Identifier(TOKEN), m=mapping)
    )


def _change_of_digest(work: Work, mapping: sql.Identifier) -> int:
    """The sum of the hashes of the followed rows with their new tokens, less that with those that they have."""
    columns: list[Any] = [
        sql.SQL("m.cut") if column == TOKEN else sql.Identifier("h", column) for column in columns_of(work, _HELD)
    ]
    work.conn.execute("drop table if exists pg_temp.held_cut")
    work.conn.execute(sql.SQL("create temporary table held_cut (like {})").format(_HELD))
    work.conn.execute(
        sql.SQL("insert into pg_temp.held_cut select {} from {} h join {} m on h.{} = m.token").format(
            sql.SQL(", ").join(columns), _HELD, mapping, sql.Identifier(TOKEN)
        )
    )
    ((change,),) = work.rows(
        "select (select coalesce(sum(hashtextextended(t::text, 0)), 0) from pg_temp.held_cut t)"
        " - (select coalesce(sum(hashtextextended(t::text, 0)), 0) from pg_temp.held t)"
    )
    work.conn.execute("drop table pg_temp.held_cut")
    return int(change)
