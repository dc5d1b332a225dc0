"""Reading: the bytes of one delivered file become batches of text cells under the contract's column names.

Nothing is judged here but shape: which header, which cells, which line. What the cells mean is for validation.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import polars as pl

from kkbc.core.errors import SliceRejected
from kkbc.exchange.contracts import Contract
from kkbc.intake.reading.batches import Dialect, Layout, Reading, frames
from kkbc.intake.reading.csv_text import read_csv
from kkbc.intake.reading.json_lines import read_json_lines
from kkbc.intake.reading.text import open_text
from kkbc.intake.reading.workbook import read_workbook

__all__ = ["Dialect", "Layout", "Reading", "read"]

_ZIP = b"PK\x03\x04"
_TEXT_FORMATS = {".csv": "csv", ".jsonl": "jsonl"}


def read(path: Path, name: str, contract: Contract, *, expected_rows: int, batch_rows: int = 50_000) -> Reading:
    """Read the file at `path`, delivered as `name`, whose manifest announces `expected_rows` data rows.

    The ending of `name` tells the format, unless the first bytes are plainly those of gzip or of a workbook. Memory
    stays flat for text of any length: batches of at most `batch_rows` rows are made while the caller iterates.

    Raises SliceRejected, either at once or while the batches are consumed: UNREADABLE for bytes that are no such file,
    HEADER when no header holds the required columns or one of them comes twice (Exchange rules 4, 14, 19, 20). Nothing
    else is raised for anything that a file may hold: what nobody thought of is UNREADABLE too, with the kind of the
    exception and none of its words (Exchange rule 38). An OSError is the disk's. Whether the number of rows is the one
    announced is for the caller to compare.
    """
    with _unforeseen():
        reading = _read(path, name, contract, expected_rows, batch_rows)
    reading.batches = _guarded(reading.batches)
    return reading


def _read(path: Path, name: str, contract: Contract, expected_rows: int, batch_rows: int) -> Reading:
    with path.open("rb") as stream:
        first = stream.read(len(_ZIP))
    plain_name = name.lower().removesuffix(".gz")
    if first == _ZIP:
        return read_workbook(path, contract, batch_rows)
    if plain_name.endswith(".xlsx"):
        if not first:
            return _of_nothing("xlsx", contract, expected_rows)
        raise SliceRejected(
            "UNREADABLE", "not an .xlsx workbook: an old .xls, protected by a password, or something else"
        )
    text_format = next((fmt for ending, fmt in _TEXT_FORMATS.items() if plain_name.endswith(ending)), None)
    if text_format is None:
        raise SliceRejected("UNREADABLE", "the name ends in none of .csv .csv.gz .xlsx .jsonl .jsonl.gz")
    text = open_text(path)
    file_format = f"{text_format}.gz" if text.gzipped else text_format
    if text.size == 0:
        return _of_nothing(file_format, contract, expected_rows)
    if text_format == "csv":
        return read_csv(text, file_format, contract, batch_rows)
    return read_json_lines(text, file_format, contract, batch_rows, expected_rows=expected_rows)


def _of_nothing(file_format: str, contract: Contract, expected_rows: int) -> Reading:
    """A file of 0 bytes: valid when the manifest announces 0 rows (Exchange rule 14)."""
    if expected_rows != 0:
        raise SliceRejected("HEADER", f"the file holds nothing, {expected_rows} rows are announced")
    return Reading(file_format, Dialect(), batches=frames((), contract, 1))


def _guarded(batches: Iterator[pl.DataFrame]) -> Iterator[pl.DataFrame]:
    while True:
        with _unforeseen():
            batch = next(batches, None)
        if batch is None:
            return
        yield batch


@contextmanager
def _unforeseen() -> Iterator[None]:
    # A panic of the library under the frames is no Exception. Others that are none must pass: they end the process.
    try:
        yield
    except SliceRejected:
        raise
    except (Exception, pl.exceptions.PanicException) as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise  # the disk's, not the file's
        raise SliceRejected("UNREADABLE", f"the file cannot be read ({type(error).__name__})") from None
