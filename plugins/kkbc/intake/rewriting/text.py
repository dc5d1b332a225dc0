"""Delimited text and JSON lines with tombstones in the place of some rows, all other bytes as they were.

A tombstone takes the lines of its row: the first holds it, blank lines follow for the others, so that no later row
moves. Its mark stands in quotes: a quote that an earlier line left open could else run on to the next quote of the
file and take other rows with it.
"""

import codecs
import csv
import gzip
import io
import json
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import IO, Any

import polars as pl

from kkbc.exchange.contracts import Contract
from kkbc.exchange.slices import ERASED
from kkbc.intake.reading.batches import Dialect, Layout
from kkbc.intake.reading.header import normalise
from kkbc.intake.reading.text import Text, open_binary
from kkbc.intake.rewriting.persons import Persons

_CHUNK = 2**20
_LINE_END = re.compile(r"\r\n|\r|\n")

Change = Callable[[int, bytes], bytes]
"""Given a line's number and its bytes without line end, what stands in its place."""


def lines_of(raw: str) -> int:
    """How many lines a row takes whose text is `raw`."""
    return 1 + len(_LINE_END.findall(raw))


def rewrite_csv(
    text: Text,
    made: Path,
    contract: Contract,
    dialect: Dialect,
    layout: Layout,
    erased: Mapping[int, int],
    persons: Persons,
) -> None:
    """Writes the file anew to `made`; `erased` says of the rows to take out, by line, how many lines they take."""
    delimiter, header_line = dialect.delimiter, dialect.header_line
    assert delimiter is not None
    assert header_line is not None
    marked = layout.positions[contract.columns.index(contract.marked_erased)] or 0
    cells = [""] * len(layout.names)
    cells[marked] = f"{layout.quote}{ERASED}{layout.quote}"
    tombstone = delimiter.join(cells).encode("ascii")
    padding = {line + more for line, count in erased.items() for more in range(1, count)}
    header, header_lines = _header(layout, delimiter, persons)
    top = _top(text, header_line, persons)

    def change(number: int, line: bytes) -> bytes:
        if number in erased:
            return tombstone
        if number in padding:
            return b""
        if number in top:
            return ERASED.encode() if line.strip() else line
        if header is not None and 0 <= number - header_line < header_lines:
            return header.encode(text.encoding, "replace") if number == header_line else b""
        return line

    _copy(text, made, change)


def rewrite_json_lines(text: Text, made: Path, contract: Contract, erased: Mapping[int, int], persons: Persons) -> None:
    """Writes the file anew to `made`, the lines `erased` with their keys alone."""
    mark = contract.marked_erased.wire

    def change(number: int, line: bytes) -> bytes:
        return _nameless(line.decode(text.encoding, "replace"), mark, persons) if number in erased else line

    _copy(text, made, change)


def _nameless(line: str, mark: str, persons: Persons) -> bytes:
    """A line of JSON with the same keys and no value but the mark."""
    pairs = json.loads(line.strip(), object_pairs_hook=_Pairs, parse_int=str, parse_float=str)
    keys = [key for key, _ in pairs] if isinstance(pairs, _Pairs) else []
    if keys and persons.needles.found_in(pl.Series(["\x01".join(keys).encode("utf-8", "replace").decode()])).any():
        keys = []
    if not any(normalise(key) == normalise(mark) for key in keys):
        keys.append(mark)
    said = (f"{json.dumps(key)}: {json.dumps(ERASED if normalise(key) == normalise(mark) else None)}" for key in keys)
    return f"{{{', '.join(said)}}}".encode("ascii")


class _Pairs(list[tuple[str, Any]]):
    """The pairs of an object in their order: a key that comes twice stays so."""


def _header(layout: Layout, delimiter: str, persons: Persons) -> tuple[str | None, int]:
    """The header anew and how many lines it took, where a name in it is a person's; else None."""
    of_person = persons.needles.found_in(pl.Series(layout.names, dtype=pl.String))
    if not of_person.any():
        return None, 0
    names = [ERASED if theirs else name for name, theirs in zip(layout.names, of_person, strict=True)]
    line = io.StringIO()
    csv.writer(line, delimiter=delimiter, quotechar=layout.quote, lineterminator="").writerow(names)
    return line.getvalue(), sum(map(len, map(_LINE_END.findall, layout.names))) + 1


def _top(text: Text, header_line: int, persons: Persons) -> set[int]:
    """The lines above the header that hold something of the persons; all of them where it takes several to do so."""
    if header_line == 1:
        return set()
    titles = []
    for number, line in enumerate(text.lines(), start=1):
        if number >= header_line:
            break
        titles.append(line)
    found = persons.needles.found_in(pl.Series(titles, dtype=pl.String))
    if found.any():
        return {number for number, theirs in enumerate(found, start=1) if theirs}
    together = persons.needles.found_in(pl.Series(["".join(titles)]))
    return set(range(1, header_line)) if together.any() else set()


def _copy(text: Text, made: Path, change: Change) -> None:
    """Writes all lines, as `change` gives them, with their own line ends. Gzip stays gzip, marks at the ends stay."""
    with ExitStack() as stack:
        target: IO[bytes] = stack.enter_context(made.open("wb"))
        if text.gzipped:
            target = stack.enter_context(gzip.GzipFile("", "wb", 6, target, mtime=0))  # type: ignore[arg-type]
        source = stack.enter_context(open_binary(text))
        mark = codecs.BOM_UTF8 if text.bom else b""
        target.write(source.read(len(mark)))
        for number, line in enumerate(physical_lines(source), start=1):
            content = line.rstrip(b"\r\n")
            end = line[len(content) :]
            if text.end_mark and not end and content.endswith(b"\x1a"):
                content, end = content[:-1], b"\x1a"
            target.write(change(number, content) + end)


def physical_lines(stream: IO[bytes]) -> Iterator[bytes]:
    """Lines as they are counted: ending in LF, CRLF or a lone CR."""
    rest = b""
    while chunk := stream.read(_CHUNK):
        pieces = (rest + chunk).splitlines(keepends=True)
        # The last may go on, and what ends in CR may yet end in CRLF.
        rest = pieces.pop()
        yield from pieces
    if rest:
        yield from rest.splitlines(keepends=True)
