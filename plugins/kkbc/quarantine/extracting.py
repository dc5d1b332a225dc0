"""Extracting: quarantined rows with their cells as sent, as one file for whoever must work on them.

The cells come from the landed files. Without `persons` there are neither personal columns nor the text of the row, and
cells that hold what looks like a NIK, a phone number or an e-mail are hidden: in a bad row a value may have slipped
into the column beside its own.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import polars as pl
import psycopg

from kkbc.cell_text import as_text
from kkbc.contracts import Contract, load_contract
from kkbc.errors import SliceRejected, UserError
from kkbc.files import replacing
from kkbc.intake import read_lines
from kkbc.landing import Landing
from kkbc.quarantine.looking import may_see_persons
from kkbc.quarantine.selection import CHOSEN, Selection
from kkbc.settings import get_settings
from kkbc.spool import spool_folder
from kkbc.warehouse import connect

ENDINGS = (".csv", ".parquet")
HIDDEN = "***"

# 16 digits, written together or in groups; a mobile number; an address.
_LOOKS_PERSONAL = (
    r"(^|[^0-9])([0-9][ .']?){15}[0-9]([^0-9]|$)|^[\s'(]*(\+?62|0)[\s.()-]*8([\s.()-]*[0-9]){8,11}\s*$|[^@\s]@[^@\s]"
)

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


def extract(selection: Selection, path: Path, *, persons: bool = False, closed: bool = False) -> int:
    """Writes the chosen rows, open ones or those that were closed, to `path` (.csv or .parquet); returns their number.

    Columns: the address of the row, what is known of it, then its cells by their names in the delivery; lists are
    separated by blanks in CSV, and text is as spreadsheets take it for text (kkbc.cell_text). The file is for its
    owner alone, for branches type persons where none belong, and appears whole or not at all.
    Raises UserError for another ending, rows of several feeds, no rows, a login that may not see persons, and landed
    files that are gone.
    """
    if path.suffix not in ENDINGS:
        raise UserError(f"{path} has no known ending", f"choose one of: {' '.join(ENDINGS)}")
    if persons:
        may_see_persons()
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
            for frame in _rows(conn, slice_, contract, persons):
                parts.append(folder / f"{len(parts):06}.parquet")
                frame.write_parquet(parts[-1])
                rows += frame.height
        _write(pl.scan_parquet(parts), path)
    return rows


def _rows(conn: psycopg.Connection, slice_: Any, contract: Contract, persons: bool) -> Iterator[pl.DataFrame]:
    feed, branch_id, business_date, revision, file_name, uri, sent, lines = slice_
    columns = [column for column in contract.columns if persons or not column.personal]
    cells = [_shown(column.name, persons).alias(column.wire) for column in columns]
    text = [pl.col("_raw").alias("raw_text")] if persons else []
    address = {"feed": feed, "branch_id": branch_id, "business_date": business_date, "revision": revision}
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
                sent_cells = batch.select(pl.col("_line").alias("line"), *cells, *text)
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


def _shown(name: str, persons: bool) -> pl.Expr:
    cell = pl.col(name)
    return cell if persons else pl.when(cell.str.contains(_LOOKS_PERSONAL)).then(pl.lit(HIDDEN)).otherwise(cell)


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
