"""Publish: the audited marts become what BI reads, all in one transaction.

Tables in `bi` and `bi_detail` stay; only rows that differ are deleted, updated and inserted, so that readers are never
locked out and see all of the old or all of the new. They carry what the contracts of the dbt project say: types, keys,
checks, comments; and the grants and row policies of their schema.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from typing import Any

import psycopg
from psycopg import sql

from kkbc.core.errors import UserError
from kkbc.core.settings import get_settings
from kkbc.marts import models
from kkbc.marts.models import HIDDEN, SLICES, PublishedModel
from kkbc.publishing import totals
from kkbc.publishing.changes import pairs, take_noted
from kkbc.publishing.foreign_keys import check, drop_keys, make_missing
from kkbc.publishing.grants import protect
from kkbc.publishing.indexes import make_indexes
from kkbc.publishing.record import Publication, Table, alone, live, record, states
from kkbc.publishing.swap import (
    Change,
    State,
    copy_comments,
    keep_readers_out,
    make_aside,
    primary_key,
    replace,
    same_shape,
    switch,
)
from kkbc.publishing.undo import keep, prune, set_aside
from kkbc.publishing.work import Work

REMEDY = "fix the model; nothing was published"


@dataclass(frozen=True)
class Foreseen:
    """What a publication of what is built would do. build: build_id, as_of and outcome of the newest build.

    tables: rows deleted and inserted by table; shapes: tables that would be rebuilt; totals: those that differ.
    """

    build: dict[str, Any]
    statements: list[str]
    tables: dict[str, dict[str, int]]
    shapes: list[str]
    totals: list[dict[str, Any]]


def publish_marts(conn: psycopg.Connection, *, build_id: int, as_of: date) -> Publication:
    """Brings every published table to the state of the hidden schema, and stamps `bi.publication`.

    `conn` acts as role publisher; the caller's transaction is the one in which all of it happens.
    Raises UserError when rows would name rows that are not there, and when readers keep a table of a new shape.
    """
    alone(conn)
    work = Work(conn)
    before = live(work)
    known = states(work, before)
    made = [*models.published_models(), SLICES]
    new = [model for model in made if not same_shape(work, model)]
    drop_keys([*((model.schema, model.name) for model in new), *_ended(made, known)], made)
    ((publication_id,),) = work.rows(
        "insert into ops.publication (build_id, as_of, tables, kept) values (%s, %s, '{}', true)"
        " returning publication_id",
        [build_id, as_of],
    )
    prune(work, get_settings().publications_kept)
    noted = take_noted(work, made, before)
    # A mart that is to change its columns cannot be asked by what the other has.
    keys = None if any(model.name == totals.MART for model in new) else noted.get(("bi", totals.MART))
    totals.store(work, publication_id, totals.foreseen(work, HIDDEN, keys))
    changes, _ = _switch_all(work, made, publication_id, known, noted)
    return Publication(publication_id, record(work, publication_id, changes, before, pairs(work, made)))


def foresee(conn: psycopg.Connection) -> Foreseen:
    """What publishing the newest build would do. Nothing is changed or locked; foreign keys are not checked.

    `conn` acts as role publisher. Raises UserError when nothing was built, or a build is under way or broke off.
    """
    conn.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
    conn.read_only = True
    work = Work(conn, dry=True)
    rows = work.rows(
        "select b.build_id, b.as_of, b.outcome, coalesce(s.complete, false) from ops.build b"
        " left join ops.built s on s.build_id = b.build_id order by b.build_id desc limit 1"
    )
    if not rows:
        raise UserError("nothing was built yet", "run a night first: `kkbc run` or `make run`")
    build_id, as_of, outcome, complete = rows[0]
    if not complete:
        raise UserError(f"build {build_id} is under way, or broke off", "wait for it, or run the night again")
    differing = totals.foreseen(work, HIDDEN)
    made = [*models.published_models(), SLICES]
    # What was noted is not gone by: a preview compares all, and takes nothing from the publication.
    changes, shapes = _switch_all(work, made, 0, states(work, live(work)), {})
    return Foreseen(
        {"build_id": build_id, "as_of": as_of, "outcome": outcome},
        work.statements,
        {f"{schema}.{table}": change.counts for (schema, table), change in changes.items()},
        shapes,
        differing,
    )


def _switch_all(
    work: Work,
    made: list[PublishedModel],
    publication_id: int,
    known: dict[Table, State],
    noted: Mapping[Table, sql.Identifier],
) -> tuple[dict[Table, Change], list[str]]:
    """Every table, in the order in which readers feel least; returns what became of each, and which were replaced.

    noted: by table, where the keys are whose rows can differ; all rows of another table can.
    """
    changes: dict[Table, Change] = {}
    new = []
    for model in made:
        table = (model.schema, model.name)
        if same_shape(work, model):
            # First, for a table whose rows wait to be checked cannot be altered.
            protect(work, model.schema, model.name)
            make_indexes(work, model)
            copy_comments(work, model)
            changes[table] = switch(work, model, publication_id, known.get(table), noted.get(table))
        else:
            aside = make_aside(work, model)
            make_indexes(work, model, aside.relation)
            if not work.dry:
                copy_comments(work, model, aside.relation)
            protect(work, model.schema, model.name, aside.relation)
            new.append(aside)
    ended = _ended(made, known)
    if not work.dry:
        check(work, REMEDY)
    make_missing(work, made, REMEDY, {(a.model.schema, a.model.name): a.relation for a in new})
    # From here on readers of what was replaced or ended wait.
    if not work.dry:
        keep_readers_out(work, [*((a.model.schema, a.model.name) for a in new), *ended])
    for aside in new:
        table = (aside.model.schema, aside.model.name)
        changes[table] = replace(work, aside, publication_id, known.get(table))
    for schema, name in ended:
        kept = keep(work, publication_id, schema, name, "retired", primary_key(work, schema, name))
        set_aside(work, schema, name, kept)
    return changes, [*(aside.model.table for aside in new), *(f"{schema}.{name}" for schema, name in ended)]


def _ended(made: list[PublishedModel], known: dict[Table, State]) -> list[Table]:
    """Tables that the last publication held, and that no model makes any more."""
    return [table for table in known if table not in {(model.schema, model.name) for model in made}]
