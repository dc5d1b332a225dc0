"""Extracting: quarantined rows with their cells as sent, as one file for whoever must work on them.

The cells come from the landed files. Without `persons` there are neither personal columns nor the text of the row, and
of the others only cells that are certainly no person, for in a bad row a value may have slipped into the column next to
its own: codes of closed lists, dates near the business date, numbers too short for a phone, keys that look like codes.
"""

from collections.abc import Iterator, Sequence
from datetime import date, timedelta
from itertools import zip_longest
from pathlib import Path
from typing import Any

import polars as pl
import psycopg

from kkbc.core.cell_text import as_text
from kkbc.core.errors import SliceRejected, UserError
from kkbc.core.files import replacing
from kkbc.core.settings import get_settings
from kkbc.core.spool import spool_folder
from kkbc.exchange.contracts import Column, Contract, load_contract
from kkbc.exchange.masking import HIDDEN, closed_list, looks_personal
from kkbc.exchange.registry import load_registry
from kkbc.exchange.slices import Slice
from kkbc.intake.landing import Landing
from kkbc.intake.process import read_lines
from kkbc.intake.validation import parse
from kkbc.intake.validation.tidy import tidy
from kkbc.slices.note import AuditNote
from kkbc.slices.quarantine.listing import note_persons
from kkbc.slices.quarantine.selection import CHOSEN, Selection
from kkbc.warehouse import connect
from kkbc.warehouse.vault_readers import check_persons_allowed

ENDINGS = (".csv", ".parquet")

# Whoever may register was born fifteen years before, or earlier: no day of birth is as near as this.
_NEAR = timedelta(days=5 * 366)
_AMOUNT = 10**8  # 9 digits are a phone number without its zero, 11 those of a KPJ
# A key has digits, which alone may be a birthday, and letters, which alone or together may be a name.
_KEY, _DIGIT, _LETTER, _WORD = r"^[A-Za-z0-9][A-Za-z0-9_./-]{0,39}$", "[0-9]", "[A-Za-z]", "[A-Za-z]{4}"
_DAY = r"^[0-9]{1,2}[-/.]?[A-Za-z]{3}[-/.]?[0-9]{2,4}$"

_SLICES = f"""
select s.feed, s.branch_id, s.business_date, s.revision, s.file_name, s.landed_uri, s.rows_sent, array_agg(q.line)
from ops.quarantine q join ops.slice s using (feed, branch_id, business_date, revision)
where (q.closed_at is not null) = %(closed)s and {CHOSEN}
group by s.feed, s.branch_id, s.business_date, s.revision
order by s.business_date, s.branch_id, s.feed, s.revision
"""  # noqa: S608 (a constant)

_FACTS = """
select line, errors, warnings, fields, first_seen_at, closed_at, closed_as, closed_why
from ops.quarantine
where feed = %s and branch_id = %s and business_date = %s and revision = %s and line = any(%s)
"""

_FACTS_SCHEMA = {
    "line": pl.Int64(),
    "errors": pl.List(pl.String),
    "warnings": pl.List(pl.String),
    "fields": pl.List(pl.String),
    "first_seen_at": pl.Datetime("us", "UTC"),
    "closed_at": pl.Datetime("us", "UTC"),
    "closed_as": pl.String(),
    "closed_why": pl.String(),
}
_LISTS = ("errors", "warnings", "fields")


def extract(selection: Selection, path: Path, *, persons: AuditNote | None = None, closed: bool = False) -> int:
    """Writes the chosen rows, open ones or those that were closed, to `path` (.csv or .parquet); returns their number.

    Columns: the address of the row, what is known of it, then its cells by their names in the delivery; lists are
    separated by blanks in CSV, and text is as spreadsheets take it for text (kkbc.core.cell_text). The file is for its
    owner alone, for branches type persons where none belong, and appears whole or not at all.
    `persons`: who wants to see them and why, which goes to `ops.access` before the file is there.
    Raises UserError for another ending, rows of several feeds, no rows, a login that may not see persons, and landed
    files that are gone.
    """
    if path.suffix not in ENDINGS:
        raise UserError(f"{path} has no known ending", f"choose one of: {' '.join(ENDINGS)}")
    if persons:
        check_persons_allowed()
    with connect("auditor") as conn, spool_folder("export") as folder:
        slices = conn.execute(_SLICES, {**selection.parameters(), "closed": closed}).fetchall()
        feeds = sorted({row[0] for row in slices})
        if not feeds:
            raise UserError("no quarantined row is like that", "`kkbc quarantine list` shows what there is")
        if len(feeds) > 1:
            raise UserError(
                f"rows of several feeds have no columns in common: {', '.join(feeds)}", "choose one by --feed"
            )
        contract = load_contract(feeds[0])
        parts: list[Path] = []
        rows = 0
        for slice_ in slices:
            for frame in _rows(conn, slice_, contract, persons is not None):
                parts.append(folder / f"{len(parts):06}.parquet")
                frame.write_parquet(parts[-1])
                rows += frame.height
        if persons:
            texts = (text for part in parts for text in pl.read_parquet(part, columns=["raw_text"])["raw_text"])
            note_persons(f"quarantine export {contract.feed}", persons, texts, rows)
        _write(pl.scan_parquet(parts), path)
    return rows


def _rows(conn: psycopg.Connection, slice_: Any, contract: Contract, persons: bool) -> Iterator[pl.DataFrame]:
    feed, branch_id, business_date, revision, file_name, uri, sent, lines = slice_
    columns = [column for column in contract.columns if persons or not column.personal]
    shown = [
        pl.col(column.name) if persons else _certain(column, business_date).alias(column.name) for column in columns
    ]
    zone = load_registry().get(branch_id).zone.key
    text = [pl.col("_raw").alias("raw_text")] if persons else []
    address = Slice(feed, branch_id, business_date, revision).key()
    found = 0
    with Landing(get_settings().landing).open(uri, file_name) as landed:
        try:
            for batch in read_lines(landed, contract, sent, lines):
                facts = pl.DataFrame(
                    conn.execute(_FACTS, [*address.values(), batch["_line"].to_list()]).fetchall(),
                    schema=_FACTS_SCHEMA,
                    orient="row",
                )
                found += batch.height
                read_cells = batch if persons else _read(batch, columns, zone)
                sent_cells = read_cells.select(
                    pl.col("_line").alias("line"),
                    *(cell.alias(column.wire) for cell, column in zip(shown, columns, strict=True)),
                    *text,
                )
                yield (
                    facts.join(sent_cells, on="line", how="inner")
                    .sort("line")
                    .select(
                        *(pl.lit(value).alias(name) for name, value in address.items()),
                        pl.lit(file_name, pl.String).alias("file"),
                        pl.all(),
                    )
                )
        except SliceRejected as error:
            raise UserError(f"the landed file of {feed}/{branch_id}/{business_date} cannot be read: {error}") from error
    if found != len(lines):
        raise UserError(
            f"{len(lines) - found} rows of {feed}/{branch_id}/{business_date}/r{revision} are not in its landed file",
            "restore landing from its backup",
        )


def _sent(column: Column) -> str:
    return f"sent:{column.name}"


def _read(batch: pl.DataFrame, columns: Sequence[Column], zone: str) -> pl.DataFrame:
    """The batch with its cells read as the contract says, null where they cannot be, next to the cells as sent."""
    sent = batch.with_columns(pl.col(column.name).alias(_sent(column)) for column in columns)
    rows = tidy(sent, columns).lazy()
    for steps in zip_longest(*(parse.steps(column, zone) for column in columns)):
        rows = rows.with_columns(step for step in steps if step is not None)
    return rows.collect()


def _certain(column: Column, business_date: date) -> pl.Expr:
    """The cell as sent where what is read in it is certainly no person, else HIDDEN; null where nothing was sent."""
    value, sent = pl.col(column.name), pl.col(_sent(column))
    match column.type:
        case "int" | "idr":
            certain = value.abs() < _AMOUNT
        case "date" | "month" | "timestamp":
            day = value.dt.date() if column.type == "timestamp" else value
            certain = day.is_between(business_date - _NEAR, business_date + _NEAR)
        case _:
            listed = closed_list(column)
            if listed is not None:
                certain = value.is_in(list(listed))
            else:
                certain = pl.all_horizontal(
                    *(value.str.contains(pattern) for pattern in (_KEY, _DIGIT, _LETTER)),
                    *(~value.str.contains(pattern) for pattern in (_WORD, _DAY)),
                    ~looks_personal(value),
                )
    return pl.when(certain.fill_null(False) | sent.is_null()).then(sent).otherwise(pl.lit(HIDDEN))


def _write(rows: pl.LazyFrame, path: Path) -> None:
    try:
        with replacing(path, private=True) as made:
            if path.suffix == ".csv":
                joined = rows.with_columns(pl.col(_LISTS).list.join(" "))
                joined.with_columns(as_text(pl.col(pl.String))).sink_csv(made)
            else:
                rows.sink_parquet(made)
    except OSError as error:
        raise UserError(f"file {path} cannot be written: {error.strerror}", "free space, or choose another") from error
