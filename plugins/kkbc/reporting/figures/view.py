"""Whose report it is, and the rows of a snapshot that count for it."""

from dataclasses import dataclass
from datetime import date, timedelta
from typing import Literal

import polars as pl

from kkbc.core.errors import UserError
from kkbc.exchange.slices import HEAD_OFFICE
from kkbc.reporting.reading import Snapshot

Kind = Literal["national", "regional", "branch"]


@dataclass(frozen=True)
class Scope:
    """The nation, a regional office or a branch. kanwil_id, kanwil_name: of a branch and a regional office."""

    kind: Kind
    id: str
    name: str
    kanwil_id: str | None = None
    kanwil_name: str | None = None


NATION = Scope("national", "nasional", "Nasional")


@dataclass(frozen=True)
class View:
    """A snapshot, of which the rows of these branches count; None: all of them, and what has no branch."""

    snapshot: Snapshot
    branch_ids: frozenset[str] | None = None

    def frame(self, table: str) -> pl.DataFrame:
        """The rows of a table that count."""
        frame = self.snapshot.frames[table]
        if self.branch_ids is None or "branch_id" not in frame.columns:
            return frame
        return frame.filter(pl.col("branch_id").is_in(list(self.branch_ids)))

    @property
    def as_of(self) -> date:
        """The latest business date of the publication."""
        return self.snapshot.as_of

    @property
    def month(self) -> date:
        """The first day of the month of as_of."""
        return self.as_of.replace(day=1)

    def days(self) -> pl.DataFrame:
        """One row a day, the counts of all branches together; of the nation as `kpi_national_daily` has them."""
        if self.branch_ids is None:
            return self.frame("national").sort("business_date")
        return self.frame("daily").group_by("business_date").agg(pl.col(pl.Int64).sum()).sort("business_date")


def scope_of_branch(snapshot: Snapshot, branch_id: str) -> Scope:
    """A branch of the published registry. Raises UserError for another one, and for what is no branch."""
    wanted, branches = branch_id.upper(), snapshot.frames["branches"].sort("branch_id")
    if wanted == HEAD_OFFICE:
        raise UserError("head office (HQ) is no branch and has no page of its own", "leave --branch out for the nation")
    if wanted in snapshot.offices:
        raise UserError(f"{wanted} is a regional office", f"ask for it by --regional {wanted}")
    found = branches.filter(pl.col("branch_id") == wanted).to_dicts()
    if not found:
        ids = branches["branch_id"]
        there = (
            f"the {len(ids)} that are, {ids[0]} to {ids[-1]}, stand in config/branches.yml" if len(ids) else "none is"
        )
        raise UserError(f"branch {branch_id!r} is not published", there)
    row = found[0]
    return Scope("branch", wanted, row["branch_name"], row["kanwil_id"], row["kanwil_name"])


def scope_of_office(snapshot: Snapshot, office: str) -> Scope:
    """A regional office that has branches, by its id or name. Raises UserError for another one."""
    offices = snapshot.offices
    named = {name.casefold(): kanwil_id for kanwil_id, name in offices.items()}
    kanwil_id = named.get(office.casefold(), office.upper())
    if kanwil_id in snapshot.frames["branches"]["branch_id"]:
        raise UserError(f"{kanwil_id} is a branch", f"ask for it by --branch {kanwil_id}")
    if kanwil_id not in offices:
        there = ", ".join(f"{kanwil_id} {name}" for kanwil_id, name in offices.items())
        raise UserError(f"there is no regional office {office!r}", f"there are: {there}")
    return Scope("regional", kanwil_id, offices[kanwil_id], kanwil_id, offices[kanwil_id])


def view_of(snapshot: Snapshot, scope: Scope) -> View:
    """The rows that count for a scope."""
    if scope.kind == "national":
        return View(snapshot)
    if scope.kind == "branch":
        return View(snapshot, frozenset([scope.id]))
    return view_of_office(snapshot, scope)


def view_of_office(snapshot: Snapshot, scope: Scope) -> View:
    """The rows of all branches of the regional office of a scope; none for a branch that is in none."""
    if scope.kanwil_id is None:
        return View(snapshot, frozenset())
    own = snapshot.frames["branches"].filter(pl.col("kanwil_id") == scope.kanwil_id)
    return View(snapshot, frozenset(own["branch_id"]))


def months_before(day: date, months: int) -> date:
    """The same day so many months before, clipped to the end of that month."""
    first = (day.year * 12 + day.month - 1) - months
    year, month = divmod(first, 12)
    return date(year, month + 1, min(day.day, last_day(date(year, month + 1, 1)).day))


def last_day(month: date) -> date:
    """The last day of a month."""
    return (month.replace(day=28) + timedelta(days=4)).replace(day=1) - timedelta(days=1)
