"""What came of one night, as far as an operator has to know it. Read by role auditor; nothing personal in it."""

import re
from dataclasses import dataclass, field
from datetime import date, datetime
from typing import Any, LiteralString, cast

import psycopg
from psycopg.rows import dict_row

from kkbc.core import local_airflow
from kkbc.core.settings import get_settings
from kkbc.watching.board.night import BranchState, branch_states

DictConnection = psycopg.Connection[dict[str, Any]]

TOP_CODES = 5
EXPECTATIONS_NAMED = 3
CAUSE_LENGTH = 600
# Numbers as long as a NIK or a phone's, tokens, addresses: an error of a library may repeat what it was given.
_PERSONAL = re.compile(r"\d{9,}|\b[0-9a-f]{32}\b|\S+@\S+")


@dataclass(frozen=True)
class NightFacts:
    """One night in figures.

    published: whether BI shows this business date, or a later one. live: the business date that BI shows. why: what
    kept the night from being published. missing, late: branches by id with their name; partly: branches of which some
    feeds are missing. rejected, held: slices with the reason. failed: branches that could not be visited, and how that
    ended. quarantined: rows by code, the most frequent first. board, data_docs: where to look.
    """

    business_date: date
    published: bool
    publication_id: int | None = None
    published_at: datetime | None = None
    live: date | None = None
    why: str | None = None
    branches: int = 0
    missing: dict[str, str] = field(default_factory=dict)
    partly: dict[str, str] = field(default_factory=dict)
    late: dict[str, str] = field(default_factory=dict)
    rejected: dict[str, str] = field(default_factory=dict)
    held: dict[str, str] = field(default_factory=dict)
    failed: dict[str, str] = field(default_factory=dict)
    quarantined: dict[str, int] = field(default_factory=dict)
    board: str | None = None
    data_docs: str | None = None

    def as_json(self) -> dict[str, Any]:
        """The facts as JSON values."""
        values = dict(vars(self))
        values |= {
            name: values[name] and values[name].isoformat() for name in ("business_date", "published_at", "live")
        }
        return values


def night_facts(conn: psycopg.Connection, business_date: date) -> NightFacts:
    """Gathers the facts of the night of `business_date`; `conn` acts as role auditor.

    A night that was never run has no branches, and is not published.
    """
    dicts = cast(DictConnection, conn)
    factory, dicts.row_factory = dicts.row_factory, dict_row
    try:
        return _gather(dicts, business_date)
    finally:
        dicts.row_factory = factory


def without_persons(text: str, length: int = 240) -> str:
    """A line of an error or a reason, fit for a message: cut, and without what could be a person's."""
    line = _PERSONAL.sub("…", " ".join(text.split()))
    return line if len(line) <= length else f"{line[: length - 1]}…"


def _gather(conn: DictConnection, day: date) -> NightFacts:
    live = conn.execute(_LIVE).fetchone()
    values: dict[str, Any] = {"day": day}
    published = live is not None and live["as_of"] >= day
    build = conn.execute(_BUILD, values).fetchone()
    states = branch_states(day).branches
    expected = [branch for branch in states if branch.state != "not_expected"]
    return NightFacts(
        business_date=day,
        published=published,
        publication_id=live["publication_id"] if live and published else None,
        published_at=live["published_at"] if live and published else None,
        live=live["as_of"] if live else None,
        why=None if published else _why(conn, values, build),
        branches=len(expected),
        missing=_named(branch for branch in expected if _missing(branch) == len(branch.feeds)),
        partly={
            branch.branch_id: ", ".join(feed for feed, state in branch.feeds.items() if state == "missing")
            for branch in expected
            if 0 < _missing(branch) < len(branch.feeds)
        },
        late=_named(branch for branch in expected if "late" in branch.feeds.values()),
        rejected={row["slice"]: row["reason"] for row in conn.execute(_REJECTED, values)},
        held={row["slice"]: without_persons(row["reason"] or "") for row in conn.execute(_HELD)},
        failed={row["branch_id"]: _kind(row["reason"]) for row in conn.execute(_UNVISITED, values)},
        quarantined={row["code"]: row["rows"] for row in conn.execute(_QUARANTINED, values | {"top": TOP_CODES})},
        board=_board(day),
        data_docs=_data_docs(build["build_id"]) if build else None,
    )


def _missing(branch: BranchState) -> int:
    return sum(state == "missing" for state in branch.feeds.values())


def _named(branches: Any) -> dict[str, str]:
    return {branch.branch_id: branch.branch_name for branch in branches}


def _why(conn: DictConnection, values: dict[str, Any], build: dict[str, Any] | None) -> str:
    """The cause in a line: of a failed expectation name and place, of an error its first words; no values of rows."""
    if build is None:
        ran = conn.execute(_RAN, values).fetchone()
        return (
            "penarikan berjalan, tetapi tidak ada pembangunan mart" if ran is not None else "malam ini tidak dijalankan"
        )
    if build["outcome"] == "gate_failed":
        failed = conn.execute(_EXPECTATIONS, {"build_id": build["build_id"]}).fetchall()
        named = "; ".join(row["told"] for row in failed[:EXPECTATIONS_NAMED])
        more = f" dan {len(failed) - EXPECTATIONS_NAMED} lagi" if len(failed) > EXPECTATIONS_NAMED else ""
        cause = f"gerbang audit menghentikan publikasi: {named or 'lihat log'}{more}"
        return without_persons(cause, CAUSE_LENGTH)
    if build["outcome"] == "failed":
        said = conn.execute(_SAID, {"run_id": build["run_id"]}).fetchone()
        # What comes after the second colon may be a row that a test found.
        cause = ":".join(str(said["reason"]).split(":")[:2]) if said and said["reason"] else "lihat log"
        return without_persons(f"pembangunan {build['build_id']} gagal: {cause}")
    if build["outcome"] == "published":
        back = conn.execute(_ROLLED_BACK).fetchone()
        if back is not None:
            return without_persons(f"dikembalikan ke publikasi {back['restores']}: {back['why']}")
    return f"pembangunan {build['build_id']} belum selesai"


def _kind(reason: str | None) -> str:
    """How a visit ended: the kind of the error. Its text may name hosts and logins."""
    return (reason or "killed").partition(":")[0]


def _board(day: date) -> str | None:
    site = get_settings().site_url
    if not site:
        # The stack of this home; other installations set the address.
        airflow = local_airflow.find(get_settings())
        site = airflow.url if airflow else ""
    return f"{site.rstrip('/')}/kkbc/?day={day}" if site else None


def _data_docs(build_id: int) -> str:
    return str(get_settings().home / "gx" / str(build_id) / "data_docs" / "index.html")


_ROLLED_BACK: LiteralString = (
    "select restores, why from ops.publication where restores is not null order by publication_id desc limit 1"
)

_LIVE: LiteralString = (
    "select publication_id, as_of, published_at from ops.publication order by publication_id desc limit 1"
)

_BUILD: LiteralString = """
select build_id, run_id, outcome from ops.build where as_of = %(day)s order by build_id desc limit 1
"""

_RAN: LiteralString = "select from ops.run where as_of = %(day)s limit 1"

_EXPECTATIONS: LiteralString = """
select coalesce(told, concat_ws(' ', suite, column_name, slice, observed)) as told from ops.audit_result
where build_id = %(build_id)s and not success and severity = 'fail' order by suite, expectation, slice
"""

_SAID: LiteralString = """
select detail ->> 'reason' as reason from ops.step
where run_id = %(run_id)s and step = 'close_build' order by step_id desc limit 1
"""

_REJECTED: LiteralString = """
select format('%%s %%s', branch_id, feed) as slice, reason from ops.slice s
where business_date = %(day)s and status = 'rejected' and not exists (
    select from ops.slice t where (t.feed, t.branch_id, t.business_date) = (s.feed, s.branch_id, s.business_date)
        and t.revision >= s.revision and t.status <> 'rejected'
)
order by 1
"""

# Of any day: a held slice stays with the operators until somebody releases it.
_HELD: LiteralString = """
select format('%s %s %s', s.branch_id, s.feed, s.business_date) as slice, h.reasons[1] as reason
from ops.slice s left join ops.hold h using (feed, branch_id, business_date, revision)
where s.status = 'held' order by 1
"""

_UNVISITED: LiteralString = """
select branch_id, reason from (
    select distinct on (a.branch_id) a.branch_id, a.outcome, a.reason
    from ops.attempt a join ops.run r using (run_id)
    where r.as_of = %(day)s order by a.branch_id, a.attempt_id desc
) as latest
where outcome in ('failed', 'killed') order by branch_id
"""

_QUARANTINED: LiteralString = """
select code, count(*) as rows
from ops.quarantine q join ops.slice s using (feed, branch_id, business_date, revision), unnest(q.errors) as code
where s.business_date = %(day)s and s.status in ('loaded', 'held') and coalesce(q.closed_as, 'resolved') = 'resolved'
group by code order by 2 desc, 1 limit %(top)s
"""
