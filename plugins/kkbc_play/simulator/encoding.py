"""Rows to bytes: the file formats of the exchange, each in its branch's fashion."""

import csv
import gzip
import io
import json
from collections.abc import Iterator, Sequence
from datetime import date, datetime
from random import Random

import xlsxwriter

from kkbc_play.simulator.rows import COLUMNS, Kind, Row, Value
from kkbc_play.simulator.spelling import Fashion, Profile, columns_of, extra_cell, header_of, local, spell, vary

_ODD_ROWS = 0.08
_EXCEL_EPOCH = datetime(1899, 12, 30)
_CREATED = datetime(2023, 1, 1)
_NUMBERS = {Kind.INT, Kind.IDR, Kind.PHONE}


def encode(
    rng: Random, profile: Profile, feed: str, rows: Sequence[Row], *, columns: Sequence[str] | None = None
) -> bytes:
    """The file of `rows`. `columns` are those to write when they are not the profile's own (a broken header)."""
    names = list(columns or columns_of(profile, feed))
    if profile.format == "xlsx":
        return _xlsx(rng, profile, feed, names, rows)
    data = (
        _jsonl(rng, profile, feed, names, rows)
        if profile.format.startswith("jsonl")
        else _csv(rng, profile, feed, names, rows)
    )
    return gzip.compress(data, 5, mtime=0) if profile.format.endswith(".gz") else data


def fashions(rng: Random, profile: Profile, rows: Sequence[Row]) -> list[tuple[Fashion, bool]]:
    """The fashion of each row, and whether somebody typed it by hand."""
    return [(vary(rng, profile.fashion), True) if rng.random() < _ODD_ROWS else (profile.fashion, False) for _ in rows]


def _csv(rng: Random, profile: Profile, feed: str, names: list[str], rows: Sequence[Row]) -> bytes:
    text = io.StringIO()
    writer = csv.writer(text, delimiter=profile.delimiter, lineterminator=profile.newline)
    for title in _titles(profile, feed):
        text.write(title + profile.newline)
    writer.writerow([header_of(profile, name) for name in names] + list(profile.extra))
    kinds = [(name, COLUMNS[feed][name]) for name in names]
    for number, (row, (fashion, odd)) in enumerate(zip(rows, fashions(rng, profile, rows), strict=True), 1):
        cells = [
            str(row.spelled[name])
            if name in row.spelled
            else spell(rng, fashion, kind, row.values[name], profile.utc_hours, odd)
            for name, kind in kinds
        ]
        cells += [extra_cell(name, number) for name in profile.extra]
        writer.writerow(cells + ["lebih"] * row.cells if row.cells >= 0 else cells[: row.cells])
        if odd and rng.random() < 0.1:
            text.write((profile.delimiter * (len(cells) - 1) if rng.random() < 0.5 else "") + profile.newline)
    whole = text.getvalue()
    if profile.order % 2:
        whole = whole.removesuffix(profile.newline)
    return whole.encode(profile.encoding)


def json_rows(
    rng: Random, profile: Profile, feed: str, names: Sequence[str], rows: Sequence[Row]
) -> Iterator[tuple[object, bool]]:
    """Each row as a JSON value, an object unless its shape is broken, and whether somebody typed it by hand."""
    kinds = [(name, COLUMNS[feed][name]) for name in names]
    for number, (row, (fashion, odd)) in enumerate(zip(rows, fashions(rng, profile, rows), strict=True), 1):
        entry: dict[str, str | int | float | None] = {}
        for name, kind in kinds:
            value = row.values[name]
            if name in row.spelled:
                entry[name] = row.spelled[name]
            elif value is None:
                if number == 1 or not odd:
                    entry[name] = None if fashion.numeric else fashion.missing
            elif fashion.numeric and kind in {Kind.INT, Kind.IDR} and isinstance(value, int):
                entry[name] = value
            else:
                entry[name] = spell(rng, fashion, kind, value, profile.utc_hours, odd)
        entry.update({name: extra_cell(name, number) for name in profile.extra})
        yield entry if not row.cells else list(entry.values())[: 3 + row.cells], odd


def _jsonl(rng: Random, profile: Profile, feed: str, names: list[str], rows: Sequence[Row]) -> bytes:
    lines = []
    for row, odd in json_rows(rng, profile, feed, names, rows):
        lines.append(json.dumps(row, ensure_ascii=False))
        if odd and rng.random() < 0.1:
            lines.append("")
    text = "\n".join(lines)
    return (text if profile.order % 2 or not text else text + "\n").encode()


def _xlsx(rng: Random, profile: Profile, feed: str, names: list[str], rows: Sequence[Row]) -> bytes:
    buffer = io.BytesIO()
    book = xlsxwriter.Workbook(buffer, {"in_memory": True, "default_date_format": "dd/mm/yyyy hh:mm:ss"})
    book.set_properties({"created": _CREATED})
    if profile.order % 4 == 1:
        book.add_worksheet("Petunjuk").write_string(0, 0, "Isi lembar berikut, lalu simpan.")
    sheet = book.add_worksheet("Data")
    titles = _titles(profile, feed)
    for line, title in enumerate(titles):
        if line == 0:
            sheet.merge_range(line, 0, line, 4, title)
        else:
            sheet.write_string(line, 0, title)
    top = len(titles)
    for place, name in enumerate([*(header_of(profile, name) for name in names), *profile.extra]):
        sheet.write_string(top, place, name)
    kinds = [(name, COLUMNS[feed][name]) for name in names]
    for number, (row, (fashion, odd)) in enumerate(zip(rows, fashions(rng, profile, rows), strict=True), 1):
        for place, (name, kind) in enumerate(kinds):
            cell = _cell(rng, fashion, kind, row.values[name], profile.utc_hours, odd)
            spelled = row.spelled.get(name)
            cell = cell if spelled is None else spelled
            if isinstance(cell, datetime):
                sheet.write_datetime(top + number, place, cell)
            elif isinstance(cell, str):
                sheet.write_string(top + number, place, cell)
            else:
                sheet.write_number(top + number, place, cell)
        for place, name in enumerate(profile.extra, len(kinds)):
            sheet.write_string(top + number, place, extra_cell(name, number))
    if profile.order % 2:
        for blank in range(1, 4):
            sheet.write_string(top + len(rows) + blank, 0, "")
    book.close()
    return buffer.getvalue()


def _cell(rng: Random, fashion: Fashion, kind: Kind, value: Value, utc_hours: int, odd: bool) -> str | float | datetime:
    """A sheet cell: numbers and dates as such where the fashion is numeric, as text where it is not."""
    if value is not None and fashion.numeric:
        if kind in _NUMBERS or (kind is Kind.KEY and str(value).isdigit()):
            return int(value) if not isinstance(value, date) else 0
        if kind is Kind.MOMENT and isinstance(value, int):
            return _date_cell(local(value, utc_hours), odd)
        if kind is Kind.DATE and isinstance(value, date):
            return _date_cell(datetime(value.year, value.month, value.day), odd)
    return spell(rng, fashion, kind, value, utc_hours, odd)


def _date_cell(wall: datetime, bare: bool) -> float | datetime:
    """A date cell, or its bare serial number as a cell without a date format holds it."""
    return (wall - _EXCEL_EPOCH).total_seconds() / 86_400 if bare else wall


def _titles(profile: Profile, feed: str) -> list[str]:
    lines = [
        "LAPORAN HARIAN KERJA KERAS BEBAS CEMAS",
        f"Kantor Cabang; umpan: {feed}, dicetak otomatis",
        "Rahasia | hanya untuk kantor pusat",
        "Versi 1,2",
        "Periode: harian",
    ]
    return lines[: profile.titles]
