"""Pollutions of delimited text, one kind a function: what goes wrong with real files, done to a clean table.

Each yields files and what must come out of them, which is known from how the file was made: the cells of a row, None
for a row that cannot be read (ROW_SHAPE), or a rejection of the whole file.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

Table = list[list[str]]
Outcome = list[list[str] | None] | str


@dataclass(frozen=True)
class Polluted:
    """A file and its outcome: rows in their order, or the reason for which it is rejected."""

    name: str
    content: bytes
    outcome: Outcome


@dataclass(frozen=True)
class Style:
    """How a table is written. A cell is quoted when it must be, or when its column is one of `always`."""

    delimiter: str = ","
    quote: str = '"'
    escape: str = '"'
    line_end: str = "\r\n"
    always: frozenset[int] = field(default_factory=lambda: frozenset({2}))

    def cell(self, text: str, column: int) -> str:
        if column not in self.always and not set(text) & {self.delimiter.strip() or " ", self.quote, "\r", "\n"}:
            return text
        return self.quote + text.replace(self.quote, self.escape + self.quote) + self.quote

    def row(self, cells: list[str]) -> list[str]:
        return [self.cell(text, column) for column, text in enumerate(cells)]

    def text(self, table: Table) -> str:
        return "".join(self.delimiter.join(self.row(cells)) + self.line_end for cells in table)


def styles(table: Table) -> Iterator[Polluted]:
    """The same table in every dialect that shows itself in its header."""
    everywhere = frozenset(range(len(table[0])))
    for style in (
        *(Style(delimiter=delimiter) for delimiter in (";", ",", "\t", "|", " ", ", ", "; ", " | ")),
        *(Style(line_end=end) for end in ("\n", "\r")),
        *(Style(delimiter=delimiter, always=everywhere) for delimiter in (",", ", ", "\t", " ")),
        Style(quote="'", always=everywhere),
        Style(quote="'"),
        Style(escape="\\"),
        Style(escape="\\", always=everywhere),
    ):
        yield Polluted(f"{style}", style.text(table).encode(), list(table[1:]))


def whole_files(table: Table) -> Iterator[Polluted]:
    """What stands above, below and around the table."""
    style, rows = Style(), list(table[1:])
    text = style.text(table)
    blank = "," * (len(table[0]) - 1) + "\r\n"
    yield Polluted("nothing", b"", "HEADER")
    yield Polluted("no header", style.text(rows).encode(), "HEADER")
    yield Polluted("header only", style.text(table[:1]).encode(), [])
    yield Polluted("one row", style.text(table[:2]).encode(), rows[:1])
    yield Polluted("no line end", text.removesuffix("\r\n").encode(), rows)
    yield Polluted("two line ends", (text + "\r\n").encode(), rows)
    yield Polluted("end mark", (text + "\x1a").encode(), rows)
    yield Polluted("byte order mark", text.encode("utf-8-sig"), rows)
    yield Polluted("title", ("Laporan" + blank + blank + text).encode(), rows)
    yield Polluted("footer", (text + "Jumlah: 3\r\n").encode(), [*rows, None])
    yield Polluted("header twice", (style.text(table[:1]) + text).encode(), [table[0], *rows])
    yield Polluted("narrower table below", (text + "a,b\r\n1,2\r\n").encode(), [*rows, None, None])
    wide = "a,b,c,d,e,f\r\n1,2,3,4,5,6\r\n"
    yield Polluted("wider table below", (text + wide).encode(), [*rows, None, None])


def delimiters(table: Table) -> Iterator[Polluted]:
    """One delimiter lost, one too many, in every place; all those of a row exchanged for another."""
    style = Style()
    for row in range(1, len(table)):
        cells = style.row(table[row])
        for place in range(1, len(cells)):
            lost = [*cells[: place - 1], cells[place - 1] + cells[place], *cells[place + 1 :]]
            yield _with_row(f"lost {row}.{place}", table, row, ",".join(lost), None)
        for place in range(len(cells) + 1):
            more = [*cells[:place], "", *cells[place:]]
            yield _with_row(f"more {row}.{place}", table, row, ",".join(more), None)
        yield _with_row(f"other {row}", table, row, ";".join(cells), None)


def quotes(table: Table) -> Iterator[Polluted]:
    """A quote too many before, in and behind every cell, in the header too.

    Before a cell it opens one that never ends. Within quotes it can end none where no delimiter is next to it; in the
    middle of a cell without quotes it is text.
    """
    style = Style()
    for row in range(len(table)):
        cells = style.row(table[row])
        for place, cell in enumerate(cells):
            quoted = cell.startswith('"')
            for kind, spoilt, meant in (
                ("before", '"' + cell, '"' + table[row][place] if quoted else None),
                ("within", _in_the_middle(cell), _in_the_middle(table[row][place])),
                ("behind", cell + '"', cell + '"' if cell and not quoted else None),
            ):
                if kind == "within" and (len(table[row][place]) < 4 or '""' in cell or "\n" in cell):
                    continue
                if kind == "before" and ('""' in cell or "\n" in cell):
                    continue
                line = ",".join([*cells[:place], spoilt, *cells[place + 1 :]])
                outcome = None if meant is None else [*table[row][:place], meant, *table[row][place + 1 :]]
                if row == 0:
                    text = line + "\r\n" + style.text(table[1:])
                    yield Polluted(f"{kind} 0.{place}", text.encode(), list(table[1:]))
                elif "\n" not in line:
                    yield _with_row(f"{kind} {row}.{place}", table, row, line, outcome)


def _in_the_middle(text: str) -> str:
    return text[: len(text) // 2] + '"' + text[len(text) // 2 :]


def _with_row(name: str, table: Table, row: int, line: str, outcome: list[str] | None) -> Polluted:
    style = Style()
    text = style.text(table[:row]) + line + style.line_end + style.text(table[row + 1 :])
    return Polluted(name, text.encode(), [*table[1:row], outcome, *table[row + 1 :]])


KINDS: list[Callable[[Table], Iterator[Polluted]]] = [styles, whole_files, delimiters, quotes]
