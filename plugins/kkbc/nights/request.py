"""What is asked of a run: written to ops.run when the run is opened, read from there by every later step."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from typing import Any, Literal

import psycopg
from psycopg.types.json import Jsonb

from kkbc.core.errors import UserError

Gate = Literal["fail", "warn"]
Mode = Literal["airflow", "plain"]


@dataclass(frozen=True)
class RunRequest:
    """What is asked of a run.

    as_of: business date up to which it goes, None for the latest that is due (KPI rule 2). source_root: folder with the
    deliveries of all branches as files, None to visit each by its own way. ways: {branch_id: kind[:connection]} that
    hold for this run only, "*" for all others. first_business_date, gate: None for what is kept or set. full_refresh:
    the build rebuilds all marts, instead of what the new slices touch, even when there are none. branch_ids: the only
    branches to visit, empty for all. reread: first and last business date that are read again from landing, None to
    visit the branches; requested_by: who asked for that.
    """

    as_of: date | None = None
    source_root: Path | None = None
    ways: Mapping[str, str] = field(default_factory=dict)
    first_business_date: date | None = None
    gate: Gate | None = None
    full_refresh: bool = False
    branch_ids: tuple[str, ...] = ()
    reread: tuple[date, date] | None = None
    requested_by: str | None = None

    def as_params(self) -> dict[str, Any]:
        """The request as JSON values: the parameters of the DAG pull_branches."""
        return {
            "as_of": self.as_of and self.as_of.isoformat(),
            "source_root": self.source_root and str(self.source_root),
            "ways": dict(self.ways),
            "first_business_date": self.first_business_date and self.first_business_date.isoformat(),
            "gate": self.gate,
            "full_refresh": self.full_refresh,
            "branches": list(self.branch_ids),
        }

    @classmethod
    def from_params(cls, params: Mapping[str, Any]) -> "RunRequest":
        """The request that as_params wrote; what is absent is not asked for."""
        return cls(
            as_of=_date(params.get("as_of")),
            source_root=Path(params["source_root"]) if params.get("source_root") else None,
            ways=params.get("ways") or {},
            first_business_date=_date(params.get("first_business_date")),
            gate=params.get("gate"),
            full_refresh=bool(params.get("full_refresh")),
            branch_ids=tuple(params.get("branches") or ()),
        )

    @property
    def day(self) -> date:
        """The business date, of a run that was opened."""
        assert self.as_of is not None
        return self.as_of

    @property
    def all_ways(self) -> dict[str, str]:
        """The ways, with kind file for every branch where a folder holds the deliveries of all."""
        return {**({"*": "file"} if self.source_root else {}), **self.ways}


def write_request(
    conn: psycopg.Connection, run_id: str, request: RunRequest, *, mode: Mode, notes: list[str] | None = None
) -> None:
    """Notes a run and what is asked of it, which has a day. A run that is opened again keeps its first request."""
    since, until = request.reread or (None, None)
    conn.execute(
        "insert into ops.run (run_id, as_of, mode, source_root, ways, branch_ids, first_business_date, gate,"
        " full_refresh, reread_since, reread_until, requested_by, notes)"
        " values (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s)"
        " on conflict (run_id) do update set outcome = 'running', finished_at = null",
        [
            run_id,
            request.as_of,
            mode,
            request.source_root and str(request.source_root),
            Jsonb(dict(request.ways)),
            list(request.branch_ids),
            request.first_business_date,
            request.gate,
            request.full_refresh,
            since,
            until,
            request.requested_by,
            notes or [],
        ],
    )


def read_request(conn: psycopg.Connection, run_id: str) -> RunRequest:
    """What was asked of a run, with its day, folder and ways as they were settled when it was opened.

    Raises UserError for a run that was not opened.
    """
    row = conn.execute(
        "select as_of, source_root, ways, first_business_date, gate, full_refresh, branch_ids, reread_since,"
        " reread_until, requested_by from ops.run where run_id = %s",
        [run_id],
    ).fetchone()
    if row is None:
        raise UserError(f"run {run_id!r} is not known to the warehouse", "open it first: the task open_run does")
    as_of, root, ways, first, gate, full_refresh, branch_ids, since, until, requested_by = row
    return RunRequest(
        as_of,
        Path(root) if root else None,
        ways,
        first,
        gate,
        full_refresh,
        tuple(branch_ids),
        None if since is None else (since, until),
        requested_by,
    )


def _date(text: str | None) -> date | None:
    return date.fromisoformat(text) if text else None
