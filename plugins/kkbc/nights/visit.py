"""Pull: everything outstanding of one branch, from manifest to committed rows, slice by slice.

Outstanding is whatever the warehouse does not hold yet: due, missing before, revised, or rejected and fixed since,
however old. What is there already is left alone, so that pulling again changes nothing.
"""

from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager, suppress
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import cast

import psycopg

from kkbc.core import clock
from kkbc.core.settings import get_settings
from kkbc.core.suppression import Suppression
from kkbc.exchange.masking import error_text, shown_name, shown_names
from kkbc.exchange.registry import Branch
from kkbc.exchange.slices import Delivery
from kkbc.intake.sources import Bounds, Manifest, OneRefused, OneUnavailable, Source, Wanted, open_source
from kkbc.nights.attempt import PullReport, close_attempt, close_stale_attempts, open_attempt, storable
from kkbc.nights.slice_loader import CONCERNS_MORE, SliceLoader
from kkbc.slices import branch_locked, load_suppression
from kkbc.warehouse import locks

# Days younger than this are asked for at every visit, older ones that are settled once in so many hours.
RECENT_DAYS = 7
ASK_AGAIN_HOURS = 20
# How long a visit waits for another one of the same branch to end, before it leaves the branch to that one.
WAIT_SECONDS = 3
# A manifest that says that it was sent so long after it was seen was sent by a clock that is wrong (Exchange rule 30).
CLOCKS_APART = timedelta(days=1)
# How many names of one kind a report holds, of a branch that has no end of them.
MAX_NAMES = 20


def pull(
    conn: psycopg.Connection,
    branch: Branch,
    *,
    run_id: str,
    until: date,
    root: Path | None,
    suppression: Suppression | None = None,
) -> PullReport:
    """Pulls and loads what is outstanding of `branch` with a business date of `until` or before.

    `conn` acts as role loader, in autocommit mode; `root` is the folder of kind `file`. Every slice commits by itself:
    after a failure half way, what was loaded stays and the next pull goes on from there; what goes wrong with one
    manifest or slice leaves the others be (Exchange rule 38). The visit takes no longer than the settings allow, from
    connecting to the last byte (Exchange rule 35). While another pull of the branch is under way, this one does
    nothing. Rows of persons on the suppression list are quarantined as ERASED, and the persons leave landing at once
    (Exchange rule 22). The visit is a row of ops.attempt from its first moment on.
    Raises UserError for a set-up that cannot work; BranchRefused, BranchUnavailable or BranchTimeout for a branch that
    cannot be visited.
    """
    report = PullReport(branch.branch_id, branch.kind, clock.now())
    attempt_id = open_attempt(conn, run_id, report)
    try:
        with _exclusively(branch) as exclusive:
            if exclusive:
                close_stale_attempts(conn, branch, attempt_id)
                bounds = Bounds()
                with closing(open_source(branch, root, bounds)) as source:
                    bounds.deadline.begin()  # looking the connection up may have taken Airflow's seconds
                    # Read under the lock of the branch, for which an erasure waits (kkbc.slices.suppressing).
                    listed = load_suppression(conn) if suppression is None else suppression
                    loader = SliceLoader(conn, source, branch, run_id, report, listed)
                    _Visit(conn, source, branch, run_id, report, bounds, loader).run(until)
            else:
                report.note("another pull of this branch is under way; left to it")
        if report.loaded or report.rejected or report.superseded:
            report.outcome = "loaded"
    except BaseException as error:
        report.outcome, report.reason = "failed", storable(error_text(error))
        # Where the connection itself is what failed, the error on its way up says more.
        with suppress(psycopg.OperationalError):
            close_attempt(conn, attempt_id, report)
        raise
    close_attempt(conn, attempt_id, report)
    return report


class _Visit:
    """One visit to a branch: its manifests one after the other, and of each what is outstanding."""

    def __init__(
        self,
        conn: psycopg.Connection,
        source: Source,
        branch: Branch,
        run_id: str,
        report: PullReport,
        bounds: Bounds,
        loader: SliceLoader,
    ) -> None:
        self.conn = conn
        self.source = source
        self.branch = branch
        self.report = report
        self.bounds = bounds
        self.run_id = run_id
        self.loader = loader
        self._aside: OneRefused | OneUnavailable | None = None

    def run(self, until: date) -> None:
        """Takes what is outstanding up to `until`. What could not be had, of one day or slice, is raised at the end.

        What an earlier visit tried and did not settle comes last: a slice that takes all the time of a visit would
        else keep the branch's other days back for ever.
        """
        known = _known_manifests(self.conn, self.branch)
        unchanged, tried = [], []
        for manifest in self.source.manifests(_wanted(self.conn, self.branch, self.run_id, until)):
            stamp, settled = known.get((manifest.business_date, shown_name(manifest.name)), (None, False))
            if stamp != storable(manifest.stamp):
                self._pull(manifest)
            elif settled:
                unchanged.append(manifest.business_date)
            else:
                tried.append(manifest)
        for manifest in tried:
            self._pull(manifest)
        self.conn.execute(
            "update ops.manifest set checked_at = now() where branch_id = %s and business_date = any(%s)",
            [self.branch.branch_id, unchanged],
        )
        if self._aside is not None:
            raise self._aside

    def _pull(self, manifest: Manifest) -> None:
        self.bounds.deadline.check(f"branch {self.branch.branch_id}")
        delivery = self._read(manifest)
        if delivery is not None:
            self._take(manifest, delivery)

    def _read(self, manifest: Manifest) -> Delivery | None:
        """The delivery that a manifest announces; None for one that cannot be read, which is reported."""
        try:
            return manifest.read()
        except (OneRefused, OneUnavailable) as error:
            self._set_aside(error)
        except CONCERNS_MORE:
            raise
        except Exception as error:
            self.report.note(f"{_place(manifest)}: the manifest cannot be read ({type(error).__name__})")
        return None

    def _take(self, manifest: Manifest, delivery: Delivery) -> None:
        place = _place(manifest)
        self._report(place, "unknown feed {} ignored", shown_names(delivery.unknown_feeds))
        self._report(place, "{} is not listed, ignored", shown_names(delivery.unlisted))
        self._report(place, "{}", list(delivery.notes))
        seen_at = _record_manifest(self.conn, self.branch, manifest, delivery)
        sent = [entry.sent_at or delivery.sent_at for entry in delivery.entries]
        if any(sent_at is not None and sent_at > seen_at + CLOCKS_APART for sent_at in sent):
            self.report.note(
                f"{place}: sent_at is more than a day after it was first seen: the branch's clock is wrong"
            )
        settled = True
        for entry in delivery.entries:
            self.bounds.deadline.check(f"branch {self.branch.branch_id}")
            try:
                settled &= self.loader.take(delivery, entry, seen_at) != "rejected"
            except (OneRefused, OneUnavailable) as error:
                self._set_aside(error)
                settled = False
        if settled:
            _mark_settled(self.conn, self.branch, manifest)

    def _set_aside(self, error: OneRefused | OneUnavailable) -> None:
        """Keeps an error for the end. A second failure to answer is taken for one of the branch itself."""
        if isinstance(error, OneUnavailable) and isinstance(self._aside, OneUnavailable):
            raise error
        self._aside = self._aside or error

    def _report(self, place: str, form: str, names: list[str]) -> None:
        for name in names[:MAX_NAMES]:
            self.report.note(f"{place}: {form.format(name)}")
        if len(names) > MAX_NAMES:
            self.report.note(f"{place}: {form.format(f'and {len(names) - MAX_NAMES} more')}")


def _place(manifest: Manifest) -> str:
    return f"{manifest.business_date} {shown_name(manifest.name)}"


def _wanted(conn: psycopg.Connection, branch: Branch, run_id: str, until: date) -> Wanted:
    """From when on a branch is asked, and which days need not be asked for again just now."""
    row = conn.execute(
        "select coalesce((select first_business_date from ops.run where run_id = %s),"
        " (select value::date from ops.setting where name = 'first_business_date'), %s)",
        [run_id, until],
    ).fetchone()
    assert row is not None
    first: date = row[0]
    since = branch.active_from or first - timedelta(days=get_settings().history_days)
    rows = conn.execute(
        "select business_date from ops.manifest where branch_id = %s and business_date <= %s"
        " group by business_date having bool_and(settled and checked_at > now() - %s)",
        [branch.branch_id, until - timedelta(days=RECENT_DAYS), timedelta(hours=ASK_AGAIN_HOURS)],
    ).fetchall()
    return Wanted(since, until, frozenset(day for (day,) in rows))


@contextmanager
def _exclusively(branch: Branch) -> Iterator[bool]:
    """Whether no other session pulls this branch; it is locked until the block ends, or the connection does.

    Waits a moment before it says no: the session of a worker that was killed lasts until the server notices that.
    """
    with ExitStack() as stack:
        try:
            what = f"visit of {branch.branch_id}"
            stack.enter_context(branch_locked(branch.branch_id, what, seconds=WAIT_SECONDS))
        except locks.Busy:
            yield False
        else:
            yield True


def _known_manifests(conn: psycopg.Connection, branch: Branch) -> dict[tuple[date, str], tuple[str, bool]]:
    """Stamp of each manifest that was seen before, by its day and name, and whether all of it is settled."""
    rows = conn.execute(
        "select business_date, name, stamp, settled from ops.manifest where branch_id = %s", [branch.branch_id]
    ).fetchall()
    return {(day, name): (stamp, settled) for day, name, stamp, settled in rows}


def _record_manifest(conn: psycopg.Connection, branch: Branch, manifest: Manifest, delivery: Delivery) -> datetime:
    """Notes a manifest that is about to be taken; returns when it was first seen with that content."""
    row = conn.execute(
        "insert into ops.manifest as known (branch_id, business_date, name, stamp, sha256, settled, first_seen_at)"
        " values (%s, %s, %s, %s, %s, false, %s)"
        " on conflict (branch_id, business_date, name) do update"
        " set stamp = excluded.stamp, sha256 = excluded.sha256, settled = false, seen_at = now(), first_seen_at ="
        " case when known.sha256 = excluded.sha256 then known.first_seen_at else excluded.first_seen_at end"
        " returning first_seen_at",
        [
            branch.branch_id,
            manifest.business_date,
            shown_name(manifest.name),
            storable(manifest.stamp),
            delivery.manifest_sha256,
            clock.now(),
        ],
    ).fetchone()
    assert row is not None
    return cast("datetime", row[0])


def _mark_settled(conn: psycopg.Connection, branch: Branch, manifest: Manifest) -> None:
    """Notes that nothing of a manifest is left to do."""
    conn.execute(
        "update ops.manifest set settled = true where branch_id = %s and business_date = %s and name = %s",
        [branch.branch_id, manifest.business_date, shown_name(manifest.name)],
    )
