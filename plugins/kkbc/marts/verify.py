"""Verify: the marts as they stand against the same marts rebuilt, aside, from all rows.

What a build leaves alone must be what a full build would make again. Nothing that is in use is changed; loads wait.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date

import psycopg
from psycopg import sql

from kkbc.core.errors import UserError
from kkbc.marts import state
from kkbc.marts.models import PublishedModel, published_models
from kkbc.marts.runner import HIDDEN, LAYERS, alone, check, days, invoke
from kkbc.warehouse import connect

ASIDE = "rebuilt"
SCHEMAS = (ASIDE, f"{ASIDE}_staging")


@dataclass(frozen=True)
class Compared:
    """One mart and month (None: rows of no month): rows and hash as they stand and as rebuilt.

    differing: rows that only one of the two has; a changed row counts on both sides.
    """

    mart: str
    month: date | None
    rows: int
    rows_rebuilt: int
    hash: str | None
    hash_rebuilt: str | None
    differing: int

    @property
    def equal(self) -> bool:
        """Whether the hashes agree."""
        return self.hash == self.hash_rebuilt


def verify_against_rebuild() -> list[Compared]:
    """Rebuilds all marts aside, for the same days, and compares them mart by mart and month by month.

    Raises UserError when nothing was built, when slices wait for a build (the marts then need not be the same), when
    the login may not create schemas, or when the rebuild fails. The schemas aside are dropped in any case.
    """
    with alone("rebuild aside"), connect("transformer", autocommit=True) as conn:
        standing = _standing(conn)
        with aside():
            for layer in LAYERS:
                variables = days(standing.as_of, standing.first_business_date)
                check(invoke(conn, layer, variables, schema=ASIDE, tests=False))
            models = {model.name: model for model in published_models()}
            return [row for name in sorted(models) for row in compare(conn, models[name])]


def _standing(conn: psycopg.Connection) -> state.Built:
    standing = state.standing(conn)
    if standing is None:
        raise UserError("there is no complete build to verify", "run `kkbc run` first")
    waiting = conn.execute(
        "select count(*) from ops.slice where build_id is null and business_date <= %s", [standing.as_of]
    ).fetchone()
    if waiting is not None and waiting[0]:
        raise UserError(f"{waiting[0]} slices wait for a build, the marts do not know them yet", "run `kkbc run` first")
    if state.outdated(conn):
        raise UserError(
            "code, seeds, registry, first day or restrictions changed since the marts were built",
            "run `kkbc run` first",
        )
    return standing


@contextmanager
def aside() -> Iterator[None]:
    """Schemas of the transformer that are empty at first and gone afterwards, whatever a killed verification left.

    The login makes them: the transformer may fill its own schemas, not make new ones.
    """
    try:
        with connect() as owner:
            _drop(owner)
            for schema in SCHEMAS:
                owner.execute(sql.SQL("create schema {} authorization transformer").format(sql.Identifier(schema)))
    except psycopg.errors.InsufficientPrivilege as error:
        raise UserError(
            "this login may not create the schemas to rebuild in", "let the owner of the database verify"
        ) from error
    try:
        yield
    finally:
        with connect() as owner:
            _drop(owner)


def _drop(owner: psycopg.Connection) -> None:
    for schema in SCHEMAS:
        owner.execute(sql.SQL("drop schema if exists {} cascade").format(sql.Identifier(schema)))


def compare(conn: psycopg.Connection, model: PublishedModel) -> list[Compared]:
    """By month of the mart's day, whole where it has none.

    Rows are hashed as text, which is exact for every type of the marts, and in no order.
    """
    month: sql.Composable = sql.SQL("null::date")
    if model.day is not None:
        month = sql.SQL("date_trunc('month', {})::date").format(sql.Identifier(model.day))
    names = {"old": sql.Identifier(HIDDEN, model.name), "new": sql.Identifier(ASIDE, model.name), "month": month}
    hashed = sql.SQL(
        "with old as (select {month} as month, md5(t::text) as h from {old} t),"
        " new as (select {month} as month, md5(t::text) as h from {new} t),"
        " odd as (select month, count(*) as n from ((table old except all table new)"
        " union all (table new except all table old)) odd group by 1),"
        " o as (select month, count(*) as n, md5(string_agg(h, '' order by h)) as h from old group by 1),"
        " n as (select month, count(*) as n, md5(string_agg(h, '' order by h)) as h from new group by 1)"
        " select months.month, coalesce(o.n, 0), coalesce(n.n, 0), o.h, n.h, coalesce(odd.n, 0)"
        " from (select month from o union select month from n) months"
        " left join o on o.month is not distinct from months.month"
        " left join n on n.month is not distinct from months.month"
        " left join odd on odd.month is not distinct from months.month"
        " order by months.month"
    ).format(**names)
    rows = [Compared(model.name, *row) for row in conn.execute(hashed).fetchall()]
    return rows or [Compared(model.name, None, 0, 0, None, None, 0)]
