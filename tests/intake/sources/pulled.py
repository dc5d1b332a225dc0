"""One delivery by whichever way: the same rows must be in the warehouse after it."""

import json
from datetime import date
from typing import Any

import pytest

from kkbc.core import tokens
from kkbc.core.settings import get_settings
from kkbc.exchange.registry import Branch
from kkbc.intake.sources import Source
from kkbc.nights.attempt import PullReport
from kkbc.nights.visit import pull
from kkbc.warehouse import connect

DAY = date(2023, 12, 11)
UNTIL = date(2023, 12, 12)
KC001 = Branch(branch_id="KC001")
KC120 = Branch(branch_id="KC120", timezone="Asia/Jayapura")

# Rows of every outcome: accepted, with warnings, quarantined for several codes, a key twice, a KOREKSI.
ROWS: dict[str, list[dict[str, str]]] = {
    "pendaftaran": [
        {},
        {"no_pendaftaran": "R-2", "nik": "123"},
        {"no_pendaftaran": "R-3", "alamat": 'Jl. "Mawar"\nRT 2; RW 3', "no_hp": "12"},
        {"no_pendaftaran": "R-4", "kode_kantor": "KC077", "jml_bulan": "13"},
        {"no_pendaftaran": "R-5", "penghasilan": "2500000", "email": "orang@contoh.id", "kode_wilayah": "117102"},
        {"no_pendaftaran": "R-1", "status_data": "KOREKSI", "diubah_pada": "2023-12-11 12:00"},
    ],
    "iuran": [{}, {"id_bayar": "P-2", "total": "1"}],
    "kegiatan": [],
}


def pull_by(source: Source, branch: Branch, monkeypatch: pytest.MonkeyPatch) -> PullReport:
    """One visit to `branch` by way of `source`."""
    monkeypatch.setattr("kkbc.nights.visit.open_source", lambda *_: source)
    return visit(branch)


def visit(branch: Branch) -> PullReport:
    """One visit to `branch` by the way that its entry in the registry names."""
    tokens.ensure_key(get_settings().home)
    with connect("loader") as conn:
        conn.execute(
            "insert into ops.run (run_id, as_of, mode) values ('r', %s, 'plain') on conflict do nothing", [DAY]
        )
    with connect("loader", autocommit=True) as conn:
        return pull(conn, branch, run_id="r", until=UNTIL, root=None)


def keep_connection(conn_id: str, kind: str, **fields: Any) -> None:
    """Writes the connection to the home's file."""
    path = get_settings().keys / "connections.json"
    path.parent.mkdir(exist_ok=True, mode=0o700)
    path.touch(mode=0o600)
    path.write_text(json.dumps({conn_id: {"conn_type": kind} | fields}))


def loaded() -> dict[str, list[Any]]:
    """What the warehouse holds of rows and slices, but for what a way cannot help: file names, lines, loads."""
    own = "'_file', '_line', '_load_id'"
    tables = ("raw.registrations", "raw.contributions", "raw.activities", "vault.registrations", "vault.contributions")
    statements = {table: f"select to_jsonb(t) - array[{own}] as row from {table} t order by row" for table in tables}
    statements["ops.quarantine"] = "select feed, errors, warnings, fields from ops.quarantine order by feed, errors"
    statements["ops.slice"] = (
        "select feed, revision, status, reason, manifest_rows, rows_sent, rows_accepted, rows_quarantined, warnings,"
        " rows_nik_valid, rows_contactable, sent_at from ops.slice order by feed, revision"
    )
    with connect() as conn:
        return {name: conn.execute(statement).fetchall() for name, statement in statements.items()}


def empty_warehouse() -> None:
    """As if nothing had been pulled."""
    with connect() as conn:
        conn.execute(
            "truncate raw.registrations, raw.contributions, raw.activities, vault.registrations, vault.contributions,"
            " ops.quarantine, ops.slice, ops.manifest, ops.attempt cascade"
        )


def landed(feed: str) -> list[bytes]:
    """The lines of JSON that were landed of `feed`, in whatever revision."""
    files = get_settings().home.glob(f"landing/*/*/{feed}/*/sent/*.jsonl")
    return [line for path in files for line in path.read_bytes().splitlines()]
