"""A delivered file without some persons, in its own format: the same rows on the same lines, tombstones for theirs."""

import re
import zipfile
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from kkbc.core.errors import SliceRejected
from kkbc.core.needles import blocks, in_file
from kkbc.exchange.contracts import Contract
from kkbc.intake.reading import Reading, read
from kkbc.intake.reading.text import open_text
from kkbc.intake.rewriting.markup import as_utf8, holds
from kkbc.intake.rewriting.persons import Persons
from kkbc.intake.rewriting.text import lines_of, rewrite_csv, rewrite_json_lines
from kkbc.intake.rewriting.workbook import rewrite_workbook
from kkbc.intake.validation.erased import tombstones

_BATCH_ROWS = 20_000
_ZIP = b"PK\x03\x04"
_ESCAPE = re.compile(rb"\\u00([0-7][0-9a-fA-F])")


@dataclass
class _Survey:
    """What a reading came to: rows, the lines that each of those to erase takes, and a digest of all others."""

    rows: int
    erased: dict[int, int]
    digest: int
    reading: Reading


def holds_any(path: Path, name: str, persons: Persons) -> bool:
    """Whether something of the persons stands in a file, or in what it holds where it is packed or escaped."""
    if in_file(path, persons.needles):
        return True
    with path.open("rb") as stream:
        first = stream.read(len(_ZIP))
    if first == _ZIP:
        return _in_parts(path, persons)
    return ".jsonl" in name.lower() and _in_escapes(path, persons)


def rewrite(
    path: Path, name: str, contract: Contract | None, expected_rows: int, persons: Persons, made: Path
) -> tuple[int, ...]:
    """Writes the file at `path`, delivered as `name`, to `made` without the persons; returns the lines of their rows.

    Every row that holds something of them becomes a tombstone (`kkbc.intake.validation.erased`); all other rows read
    the same, on the same lines. Where nothing in the file is theirs, `made` has the same bytes.
    Raises SliceRejected when the file cannot be read as rows, or cannot be rewritten so.
    """
    if contract is None:
        raise SliceRejected("UNREADABLE", "no contract says how it is read")
    before = _survey(path, name, contract, expected_rows, persons)
    _write(path, made, contract, before, persons)
    after = _survey(made, name, contract, expected_rows, persons, before.erased)
    if (after.rows, after.digest, set(after.erased)) != (before.rows, before.digest, set(before.erased)):
        raise SliceRejected("UNREADABLE", "other rows would change when persons are taken out of it")
    return tuple(sorted(before.erased))


def _write(path: Path, made: Path, contract: Contract, survey: _Survey, persons: Persons) -> None:
    reading, layout = survey.reading, survey.reading.layout
    if reading.format == "xlsx" and layout is not None and reading.dialect.header_line is not None:
        header_line = reading.dialect.header_line
        rewrite_workbook(path, made, contract, header_line, layout, frozenset(survey.erased), persons)
    elif layout is not None:
        rewrite_csv(open_text(path), made, contract, reading.dialect, layout, survey.erased, persons)
    elif path.stat().st_size:
        rewrite_json_lines(open_text(path), made, contract, survey.erased, persons)
    else:
        made.touch()


def _survey(
    path: Path,
    name: str,
    contract: Contract,
    expected_rows: int,
    persons: Persons,
    erased: dict[int, int] | None = None,
) -> _Survey:
    """Reads the file; with `erased`, those are the rows to look at, which must be tombstones."""
    reading = read(path, name, contract, expected_rows=expected_rows, batch_rows=_BATCH_ROWS)
    survey = _Survey(0, {}, 0, reading)
    for batch in reading.batches:
        theirs = persons.rows(batch, contract)
        if erased is not None:
            theirs |= tombstones(batch, contract) & batch["_line"].is_in(
                pl.Series(list(erased), dtype=pl.Int64).implode()
            )
        found = batch.filter(theirs)
        survey.erased |= {line: lines_of(raw) for line, raw in found.select("_line", "_raw").iter_rows()}
        survey.rows += batch.height
        survey.digest += int(batch.filter(~theirs).hash_rows().cast(pl.Int128).sum())
    return survey


def _in_parts(path: Path, persons: Persons) -> bool:
    """Whether what the XML in a zip stands for holds something: texts in several runs, or escaped."""
    try:
        with zipfile.ZipFile(path) as archive:
            parts = (as_utf8(archive.read(member)) for member in archive.infolist())
            return any(part is not None and holds(part, persons.needles) for part in parts)
    except (zipfile.BadZipFile, NotImplementedError, RuntimeError, EOFError):
        return False


def _in_escapes(path: Path, persons: Persons) -> bool:
    """Whether something stands in JSON that escapes characters here and there which need no escape."""
    return any(
        b"\\u00" in block and persons.needles.count(_ESCAPE.sub(lambda found: bytes([int(found[1], 16)]), block))
        for block in blocks(path)
    )
