"""One night of all branches, and one branch of a night: what came, what did not, who was visited.

Read by role auditor from the views of `ops`, which say what each state means (docs/architecture.md, "Standing");
nothing personal in it. A night costs three statements, a branch five, however long the history.
"""

from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from functools import cache
from typing import Any, Literal, LiteralString, cast, get_args

import psycopg
from psycopg.rows import dict_row

from kkbc.core import clock
from kkbc.exchange.contracts import feeds
from kkbc.exchange.offices import rows
from kkbc.warehouse import connect

DictConnection = psycopg.Connection[dict[str, Any]]

# Those of a branch, in the order in which its slices make it: see ops.branch_standing. A slice is never incomplete.
State = Literal["held", "rejected", "missing", "incomplete", "late", "on_time", "not_expected"]
STATES: tuple[State, ...] = get_args(State)

HISTORY = timedelta(days=27)
VISITS_SHOWN = 30


@dataclass(frozen=True)
class BranchState:
    """How a branch stands on one night.

    state: what asks most of an operator. is_missing, feeds_missing, is_late: what the state may hide behind a worse
    one. feeds: state by feed. rows, quarantined: rows sent and quarantined of the revisions held or in force. history:
    rows in force of the last 28 business dates, None where nothing is. visits, last_visit, last_outcome, last_reason:
    of the runs for this night, None when there was none. has_log: Airflow made the last visit, and has its log.
    """

    branch_id: str
    branch_name: str
    kanwil_id: str
    kanwil_name: str
    state: State
    feeds: dict[str, State]
    rows: int
    quarantined: int
    history: tuple[int | None, ...]
    is_expected: bool = False
    is_missing: bool = False
    is_late: bool = False
    feeds_missing: tuple[str, ...] = ()
    visits: int = 0
    last_visit: int | None = None
    last_outcome: str | None = None
    last_reason: str | None = None
    is_failed: bool = False
    has_log: bool = False

    @property
    def quarantine_rate(self) -> float | None:
        """Share of the rows sent that was quarantined; None when no rows were sent."""
        return self.quarantined / self.rows if self.rows else None


@dataclass(frozen=True)
class Night:
    """A night on the board. `first` and `latest` bound the nights that were run, None before the first one.

    published_as_of, published_at: what BI sees now, None before the first publication. alert: the message to the
    operator after the latest pulls of this night.
    """

    day: date
    first: date | None = None
    latest: date | None = None
    published_as_of: date | None = None
    published_at: datetime | None = None
    alert: str | None = None
    branches: list[BranchState] = field(default_factory=list)

    @property
    def counts(self) -> dict[State, int]:
        """Branches by state, of every state that there is."""
        return {state: sum(branch.state == state for branch in self.branches) for state in STATES}

    @property
    def offices(self) -> dict[str, list[BranchState]]:
        """The branches by regional office, in the order of the offices' ids."""
        found: dict[str, list[BranchState]] = {}
        for branch in sorted(self.branches, key=lambda branch: (branch.kanwil_id, branch.branch_id)):
            found.setdefault(branch.kanwil_name, []).append(branch)
        return found


@dataclass(frozen=True)
class BranchNight:
    """One branch of a night: its state, every revision of its slices, and the visits that were made for it.

    revisions: feed, revision, status, reason, detail, sent_at, rows_sent, rows_quarantined, and of what the gate held
    hold_reasons and release_why. visits: attempt_id,
    run_id, mode, started_at, seconds, kind, outcome, slices, rows, reason, notes, the latest first.
    """

    night: Night
    branch: BranchState
    revisions: list[dict[str, Any]]
    visits: list[dict[str, Any]]


def branch_states(day: date | None = None) -> Night:
    """All branches of the registry on the night of `day` (None: the latest that was run).

    A warehouse in which nothing was run yet has no branches. Raises UserError when the warehouse cannot be reached.
    """
    with connect("auditor") as plain_conn:
        return _night(_as_dicts(plain_conn), day)


def branch_night(branch_id: str, day: date) -> BranchNight | None:
    """One branch of the night of `day`; None when the registry of the latest run did not know it.

    Raises UserError when the warehouse cannot be reached.
    """
    with connect("auditor") as plain_conn:
        conn = _as_dicts(plain_conn)
        night = _night(conn, day, branch_id)
        if not night.branches:
            return None
        values = {"branch_id": branch_id, "day": day, "visits": VISITS_SHOWN}
        revisions = conn.execute(_REVISIONS, values).fetchall()
        visits = conn.execute(_VISITS, values).fetchall()
    return BranchNight(night, night.branches[0], revisions, visits)


def visit(attempt_id: int) -> tuple[str, str] | None:
    """The run and the branch of a visit that Airflow made; None for any other."""
    with connect("auditor") as conn:
        return conn.execute(
            "select run_id, branch_id from ops.visit where attempt_id = %s and mode = 'airflow'", [attempt_id]
        ).fetchone()


def pull_again(branch_id: str) -> dict[str, Any] | None:
    """The parameters of `pull_branches` that visit one branch as the latest night did; None when it is unknown.

    The night is the latest one, whichever the page shows: a visit takes whatever is outstanding, of any day, while a
    run for an earlier day would take the marts back to it.
    """
    with connect("auditor") as plain_conn:
        found = _as_dicts(plain_conn).execute(_LATEST_REQUEST, [branch_id]).fetchone()
    if found is None:
        return None
    return {
        "as_of": found["as_of"].isoformat(),
        "source_root": found["source_root"],
        "ways": found["ways"],
        "branches": [branch_id],
    }


def _as_dicts(plain_conn: psycopg.Connection) -> DictConnection:
    conn = cast(DictConnection, plain_conn)
    conn.row_factory = dict_row
    return conn


def _night(conn: DictConnection, day: date | None, branch_id: str | None = None) -> Night:
    facts = conn.execute(_FACTS, {"day": day}).fetchone()
    assert facts is not None
    day = day or facts["latest"] or clock.latest_due(clock.now())
    if facts["latest"] is None:
        return Night(day)
    values = {"day": day, "from": day - HISTORY, "branch_id": branch_id}
    visited = {row["branch_id"]: row for row in conn.execute(_LAST_VISITS, values)}
    expected = feeds("branch")
    branches = [_state(row, visited.get(row["branch_id"], {}), expected) for row in conn.execute(_STATES, values)]
    return Night(day, branches=branches, **facts)


def _state(row: dict[str, Any], last: dict[str, Any], expected: tuple[str, ...]) -> BranchState:
    name, kanwil_id = _places().get(row["branch_id"], (row["branch_id"], ""))
    # What the registry says of an office goes before the reference table.
    name, kanwil_id = row["branch_name"] or name, row["kanwil_id"] or kanwil_id
    by_day = dict(zip(row["days"] or [], row["rows_by_day"] or [], strict=True))
    return BranchState(
        branch_id=row["branch_id"],
        branch_name=name,
        kanwil_id=kanwil_id,
        kanwil_name=_regional_offices().get(kanwil_id, "Tanpa kantor wilayah"),
        state=row["state"],
        feeds={feed: row["states"].get(feed, "not_expected") for feed in expected},
        rows=row["rows"],
        quarantined=row["quarantined"],
        history=tuple(by_day.get(number) for number in range(HISTORY.days + 1)),
        is_expected=row["is_expected"],
        is_missing=row["is_missing"],
        is_late=row["is_late"],
        feeds_missing=tuple(row["feeds_missing"]),
        visits=last.get("visits", 0),
        last_visit=last.get("attempt_id"),
        last_outcome=last.get("outcome"),
        last_reason=last.get("reason"),
        is_failed=last.get("is_failed", False),
        has_log=last.get("mode") == "airflow",
    )


@cache
def _places() -> dict[str, tuple[str, str]]:
    """Name and regional office of each branch of the reference table: it is there before anything was built."""
    return {row["branch_id"]: (row["branch_name"], row["kanwil_id"]) for row in rows("branches")}


@cache
def _regional_offices() -> dict[str, str]:
    return {row["kanwil_id"]: row["kanwil_name"] for row in rows("regional_offices")}


_FACTS: LiteralString = """
select
    n.first_business_date as first,
    n.latest_business_date as latest,
    p.as_of as published_as_of,
    p.published_at,
    (select alert from ops.night where business_date = coalesce(%(day)s, n.latest_business_date)) as alert
from ops.night_span n left join ops.publication_live p on true
"""

_STATES: LiteralString = """
with history as (
    select branch_id, array_agg(business_date - %(from)s::date) as days, array_agg(rows) as rows_by_day
    from ops.branch_rows
    where business_date between %(from)s and %(day)s
        and (%(branch_id)s::text is null or branch_id = %(branch_id)s)
    group by branch_id
)
select
    b.branch_id,
    b.branch_name,
    b.kanwil_id,
    coalesce(s.state, 'not_expected') as state,
    coalesce(s.is_expected, false) as is_expected,
    coalesce(s.is_missing, false) as is_missing,
    coalesce(s.is_late, false) as is_late,
    coalesce(s.feeds_missing, '{}') as feeds_missing,
    coalesce(s.states, '{}') as states,
    coalesce(s.rows_shown, 0) as rows,
    coalesce(s.rows_quarantined_shown, 0) as quarantined,
    h.days,
    h.rows_by_day
from ops.branch b
left join ops.branch_standing s on s.branch_id = b.branch_id and s.business_date = %(day)s
left join history h on h.branch_id = b.branch_id
where %(branch_id)s::text is null or b.branch_id = %(branch_id)s
order by b.branch_id
"""

_LAST_VISITS: LiteralString = """
select branch_id, attempt_id, outcome, reason, is_failed, mode, visits from ops.branch_visit
where business_date = %(day)s and (%(branch_id)s::text is null or branch_id = %(branch_id)s)
"""

_REVISIONS: LiteralString = """
select
    feed, revision, status, reason, detail, sent_at, rows_sent, rows_quarantined, hold_reasons, release_why
from ops.revision
where branch_id = %(branch_id)s and business_date = %(day)s order by feed, revision desc
"""

# Those made for the night, and those of later nights that brought something of it.
_VISITS: LiteralString = """
select
    attempt_id, run_id, mode, business_date as as_of, started_at, seconds, kind, outcome, slices, rows, reason, notes
from ops.visit
where branch_id = %(branch_id)s and run_id in (
    select run_id from ops.run_summary where as_of = %(day)s
    union
    select run_id from ops.revision where branch_id = %(branch_id)s and business_date = %(day)s
)
order by attempt_id desc limit %(visits)s
"""

_LATEST_REQUEST: LiteralString = """
select as_of, source_root, ways from ops.run_summary
where is_visiting and exists (select from ops.branch where branch_id = %s)
order by as_of desc, started_at desc limit 1
"""
