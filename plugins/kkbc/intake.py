"""Intake: the landed bytes of one slice become rows, each accepted or quarantined, and are kept beside the bytes."""

from dataclasses import asdict, dataclass
from typing import Any

import polars as pl

from kkbc import privacy
from kkbc.contracts import Contract
from kkbc.errors import SliceRejected
from kkbc.landing import Landed, Landing
from kkbc.reading import read
from kkbc.slices import Entry
from kkbc.validation import Context, duplicate_lines, judge
from kkbc.warehouse.load import SliceRows

KEY_DUPLICATE = "KEY_DUPLICATE"


@dataclass(frozen=True)
class Intake:
    """The rows of a slice, and what the reader found out about its file."""

    rows: SliceRows
    format: str
    found: dict[str, Any]


def take_in(landed: Landed, entry: Entry, contract: Contract, context: Context, landing: Landing, key: bytes) -> Intake:
    """Reads and judges a landed slice; writes accepted.parquet (typed rows) and quarantined.parquet beside it.

    Every row sent is either accepted or quarantined, which is asserted. Rows carry the token made with `key`.
    Raises SliceRejected CHECKSUM, UNREADABLE, HEADER or ROW_COUNT (Exchange rule 4).
    """
    if entry.sha256 is not None and (entry.sha256, entry.bytes) != (landed.sha256, landed.bytes):
        raise SliceRejected("CHECKSUM", "sha256 or bytes are not those of the manifest")
    reading = read(landed.readable, landed.name, contract, expected_rows=entry.rows)
    judged = [judge(batch, contract, context) for batch in reading.batches]
    accepted = pl.concat([part.accepted for part in judged])
    quarantined = pl.concat([part.quarantined for part in judged])
    sent = len(accepted) + len(quarantined)
    if sent != entry.rows:
        raise SliceRejected("ROW_COUNT", f"the manifest says {entry.rows} rows, the file holds {sent}")
    accepted, quarantined = _set_duplicates_aside(accepted, quarantined, contract)
    if contract.has_nik:
        accepted = accepted.with_columns(privacy.tokens(accepted["nik"], key))
    landing.keep(landed, "accepted", accepted)
    landing.keep(landed, "quarantined", quarantined)
    nik_valid = sum(part.nik_valid or 0 for part in judged) if contract.has_nik else None
    rows = SliceRows(accepted.drop("_raw"), quarantined.drop("_raw"), nik_valid)
    assert rows.sent == sent, "rows sent = accepted + quarantined"
    drift = {"extra_columns": list(reading.extra_columns), "missing_columns": list(reading.missing_columns)}
    return Intake(
        rows, reading.format, {**asdict(reading.dialect), **{name: found for name, found in drift.items() if found}}
    )


def _set_duplicates_aside(
    accepted: pl.DataFrame, quarantined: pl.DataFrame, contract: Contract
) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Moves the losers of repeated keys to the quarantine (Exchange rule 3)."""
    losers = pl.col("_line").is_in(duplicate_lines(accepted, contract).implode())
    moved = accepted.filter(losers).select(
        "_line",
        "_raw",
        pl.lit([KEY_DUPLICATE], dtype=pl.List(pl.String)).alias("_errors"),
        "_warnings",
        pl.lit([f"{column}:{KEY_DUPLICATE}" for column in contract.key], dtype=pl.List(pl.String)).alias("_fields"),
    )
    return accepted.filter(~losers), pl.concat([quarantined, moved.select(quarantined.columns)]).sort("_line")
