"""Maintenance of landing: revisions past their time, rows that can be made again, slices in many parts.

What stays whatever its age: bytes of a slice that is held, or of which a row is open in quarantine, for they are read
again by a release or a retry; a superseded revision until the one that replaced it was published, for a hold puts it
back; a rejected one that is the last word of its branch. Those of slices in force stay for years, for a backfill.
"""

import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import LiteralString

import polars as pl
import psycopg

from kkbc.core import clock
from kkbc.core.errors import UserError
from kkbc.core.settings import get_settings
from kkbc.intake.landing import Landing, writing
from kkbc.slices.expiring import expired_landing
from kkbc.slices.record import forget_landing
from kkbc.upkeep.maintenance.policy import Policy
from kkbc.warehouse import connect, locks
from kkbc.warehouse.locks import Lock

KINDS = ("accepted-", "quarantined-")

# Replaced for so long by a revision that is in force and went into a publication: nothing puts it back any more.
_SUPERSEDED: LiteralString = """
select distinct s.landed_uri
from ops.slice s
join ops.slice n using (feed, branch_id, business_date)
join ops.build b on b.build_id = n.build_id
where s.status = 'superseded' and n.status = 'loaded' and n.revision > s.revision and b.outcome = 'published'
    and n.loaded_at < now() - make_interval(days => %(days)s) and s.landed_uri is not null
order by 1
"""

_REJECTED: LiteralString = """
select distinct s.landed_uri
from ops.slice s
where s.status = 'rejected' and s.first_seen_at < now() - make_interval(days => %(days)s) and s.landed_uri is not null
    and exists (select from ops.slice n where (n.feed, n.branch_id, n.business_date)
        = (s.feed, s.branch_id, s.business_date) and n.status = 'loaded' and n.revision > s.revision)
order by 1
"""

_CLOSED: LiteralString = """
select s.landed_uri
from ops.slice s join ops.quarantine q using (feed, branch_id, business_date, revision)
where s.status in ('loaded', 'superseded') and s.landed_uri is not null
group by s.landed_uri
having bool_and(q.closed_at is not null) and max(q.closed_at) < now() - make_interval(days => %(days)s)
order by 1
"""

_IN_FORCE: LiteralString = """
select landed_uri from ops.slice
where status in ('loaded', 'held') and loaded_at < now() - make_interval(days => %(days)s) and landed_uri is not null
order by 1
"""


@dataclass
class _Sweep:
    """Landing while it is swept: what is known of it, and what went."""

    landing: Landing
    dry_run: bool
    files: int = 0
    bytes: int = 0

    def remove(self, paths: list[str]) -> int:
        """Removes files and folders; returns how many of `paths` were there."""
        there = [path for path in paths if self.landing.fs.exists(path)]
        for path in there:
            self._count(path)
            if not self.dry_run:
                self.landing.fs.rm(path, recursive=True)
        return len(there)

    def folder(self, uri: str) -> str:
        """The path of a landed slice's folder."""
        return str(self.landing.fs._strip_protocol(uri))

    def _count(self, path: str) -> None:
        sizes = self.landing.fs.du(path, total=False)
        self.files += len(sizes)
        self.bytes += sum(sizes.values())


def sweep(policy: Policy, dry_run: bool) -> dict[str, int]:
    """Removes what is past its time; returns slices by what went of them, and files and bytes in all."""
    run = _Sweep(Landing(get_settings().landing), dry_run)
    with connect("loader") as conn:
        whole = {
            "superseded": _uris(conn, _SUPERSEDED, policy.superseded),
            "rejected": _uris(conn, _REJECTED, policy.rejected),
        }
        rows_of = set(_uris(conn, _SUPERSEDED, policy.superseded_rows)) - set(whole["superseded"])
        quarantined_of = _uris(conn, _CLOSED, policy.quarantined_rows)
        on_record = _kept(conn)
    gone = {"in_force": _sweep_in_force(run, policy.in_force)}
    gone |= {
        name: run.remove([run.folder(uri) for uri in uris if uri not in on_record]) for name, uris in whole.items()
    }
    gone["superseded_rows"] = run.remove([f"{run.folder(uri)}/rows" for uri in sorted(rows_of - on_record)])
    texts = [run.landing.fs.glob(f"{run.folder(uri)}/rows/quarantined-*") for uri in quarantined_of]
    gone["quarantined_rows"] = run.remove([path for paths in texts for path in paths])
    gone["unknown"] = run.remove(list(_unknown(run.landing, policy.unknown)))
    return {**gone, "files": run.files, "bytes": run.bytes}


def _sweep_in_force(run: _Sweep, days: int) -> int:
    """Removes what slices of long ago were loaded from; the record that they lie there goes last, for the next try."""
    with connect("loader") as conn:
        uris = expired_landing(conn, days)
        gone = run.remove([run.folder(uri) for uri in uris])
        if not run.dry_run:
            forget_landing(conn, uris)
    return gone


def compact(policy: Policy, dry_run: bool) -> dict[str, int]:
    """Makes one file of the rows of a slice that came in parts, and packs them tighter; the rows stay the same.

    Of local landing only. Loads, releases and builds wait for the moment in which one folder takes the other's name; a
    crash in it leaves the earlier folder, which the next run puts back.
    """
    landing = Landing(get_settings().landing)
    if not landing.is_local:
        return {"slices": 0, "bytes": 0}
    slices = saved = 0
    with connect("loader", autocommit=True) as conn:
        for uri in _uris(conn, _IN_FORCE, policy.compact):
            folder = Path(landing.fs._strip_protocol(uri)) / "rows"
            earlier = folder.with_name("rows.earlier")
            if not folder.exists() and earlier.is_dir() and not dry_run:
                earlier.rename(folder)
            names = sorted(path.name for path in folder.glob("*.parquet"))
            kinds = [kind for kind in KINDS if sum(name.startswith(kind) for name in names) > 1]
            slices += bool(kinds)
            if kinds and not dry_run:
                saved += _pack(conn, folder, kinds)
    return {"slices": slices, "bytes": saved}


def _pack(conn: psycopg.Connection, folder: Path, kinds: list[str]) -> int:
    """Packs the parts of a slice; returns the bytes that this saved."""
    aside, earlier = folder.with_name("rows.compact"), folder.with_name("rows.earlier")
    before = _size(folder)
    shutil.rmtree(aside, ignore_errors=True)
    with writing(folder):
        aside.mkdir(mode=0o700)
        for path in sorted(folder.iterdir()):
            if not path.name.startswith(tuple(kinds)):
                shutil.copy2(path, aside / path.name)
        for kind in kinds:
            parts = sorted(folder.glob(f"{kind}*.parquet"))
            made = aside / parts[0].name
            pl.scan_parquet(parts).sink_parquet(made, compression="zstd", compression_level=9)
            if _rows([made]) != _rows(parts):
                raise UserError(f"the packed rows of {folder} are not those that were there", "check the disk")
        with conn.transaction():
            locks.take(conn, Lock.BUILD)
            shutil.rmtree(earlier, ignore_errors=True)
            folder.rename(earlier)
            aside.rename(folder)
    shutil.rmtree(earlier, ignore_errors=True)
    return before - _size(folder)


def _rows(paths: list[Path]) -> int:
    return int(pl.scan_parquet(paths).select(pl.len()).collect().item())


def _size(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.iterdir())


def _uris(conn: psycopg.Connection, query: LiteralString, days: int) -> list[str]:
    return [uri for (uri,) in conn.execute(query, {"days": days}).fetchall()]


def _kept(conn: psycopg.Connection) -> set[str]:
    """Folders of slices in force or held: the same bytes may be on record under a rejected attempt as well."""
    rows = conn.execute("select landed_uri from ops.slice where status in ('loaded', 'held')").fetchall()
    return {uri for (uri,) in rows}


def _unknown(landing: Landing, days: int) -> Iterator[str]:
    """Folders of slices that no record names, and that nothing was written to for so long; of local landing only."""
    if not landing.is_local:
        return
    with connect("loader") as conn:
        rows = conn.execute("select landed_uri from ops.slice where landed_uri is not null").fetchall()
    known = {str(landing.fs._strip_protocol(uri)) for (uri,) in rows}
    youngest = (clock.now() - timedelta(days=days)).timestamp()
    for folder in sorted(Path(landing.path).glob("*/*/*/r*-*")):
        if str(folder) not in known and max(path.stat().st_mtime for path in (folder, *folder.rglob("*"))) < youngest:
            yield str(folder)
