"""A delivered file as a pandas frame of text: a column a wire name, and `_shape_ok`, as many cells as the header.

Reads what the branches of the simulator send: CSV of any of four delimiters in UTF-8 or Windows-1252 below titles,
workbooks, JSON lines, and gzip of these.
"""

import csv
import gzip
import io
import json
import re
from datetime import datetime, timedelta
from functools import cache
from pathlib import Path
from typing import Any

import pandas as pd
import yaml

CONTRACTS = Path(__file__).resolve().parents[2] / "contracts"
MAX_TITLES = 5


class Rejected(Exception):
    """The slice is rejected for the reason that is the message."""


@cache
def columns(feed: str) -> dict[str, dict[str, Any]]:
    """The columns of a feed's contract by wire name: name, type, required, identifier, personal."""
    contract = yaml.load((CONTRACTS / f"{feed}.odcs.yaml").read_text(encoding="utf-8"), yaml.CSafeLoader)
    return {
        column["physicalName"]: {
            "name": column["name"],
            "type": column["physicalType"],
            "required": column.get("required", False),
            "identifier": column.get("logicalTypeOptions", {}).get("maxLength") == 200,
            "personal": column.get("classification") in ("personal", "identifier"),
        }
        for column in contract["schema"][0]["properties"]
    }


def read(content: bytes, name: str, feed: str) -> pd.DataFrame:
    """The data rows of a file. Raises Rejected UNREADABLE or HEADER."""
    try:
        if name.endswith(".gz"):
            content, name = gzip.decompress(content), name.removesuffix(".gz")
        rows = _READERS[name.rpartition(".")[2]](content, feed)
    except Rejected:
        raise
    except Exception as error:
        raise Rejected("UNREADABLE") from error
    frame = rows.reindex(columns=[*columns(feed), "_shape_ok"])
    frame["_shape_ok"] = frame["_shape_ok"].astype(bool)
    return frame.reset_index(drop=True)


def _csv(content: bytes, feed: str) -> pd.DataFrame:
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError:
        text = content.decode("cp1252")
    lines = text.splitlines(keepends=True)
    titles = 0
    for position, line in enumerate(lines):
        for delimiter in ";,\t|":
            if names := _header(next(csv.reader([line], delimiter=delimiter), []), feed):
                return _body("".join(lines[position + 1 :]), delimiter, names)
        titles += bool(line.strip())
        if titles > MAX_TITLES:
            break
    raise Rejected("HEADER")


def _body(text: str, delimiter: str, names: list[str]) -> pd.DataFrame:
    """Room for more cells than the header has, so that longer rows are seen; pandas fills shorter ones with nothing."""
    width = len(names)
    options: dict[str, Any] = {"sep": delimiter, "header": None, "names": range(width + 8), "dtype": object}
    try:
        frame = pd.read_csv(io.StringIO(text), engine="python", keep_default_na=False, na_values=[], **options)
    except pd.errors.EmptyDataError:
        return pd.DataFrame(columns=[*names, "_shape_ok"])
    frame = frame[frame.fillna("").apply(lambda column: column.str.strip() != "").any(axis=1)]
    shape_ok = frame.notna().sum(axis=1) == width
    frame = frame.iloc[:, :width].set_axis(names, axis=1)
    return frame.loc[:, ~frame.columns.duplicated()].assign(_shape_ok=shape_ok)


def _jsonl(content: bytes, feed: str) -> pd.DataFrame:
    entries = [json.loads(line) for line in content.decode("utf-8-sig").splitlines() if line.strip()]
    objects = [
        {_normal(key): value for key, value in entry.items()} if isinstance(entry, dict) else {} for entry in entries
    ]
    if entries and not _header(list({key: None for entry in objects for key in entry}), feed):
        raise Rejected("HEADER")
    frame = pd.DataFrame(objects, dtype=object, index=range(len(entries)))
    frame = frame.map(lambda value: value if isinstance(value, str) else None if pd.isna(value) else str(value))
    return frame.assign(_shape_ok=[isinstance(entry, dict) for entry in entries])


def _xlsx(content: bytes, feed: str) -> pd.DataFrame:
    sheets = pd.read_excel(
        io.BytesIO(content), sheet_name=None, header=None, dtype=object, keep_default_na=False, na_values=[]
    )
    for sheet in sheets.values():
        filled = sheet[sheet.map(lambda cell: str(cell).strip() != "" and not _is_nothing(cell)).any(axis=1)]
        for position in range(min(MAX_TITLES + 1, len(filled))):
            if names := _header([str(cell) for cell in filled.iloc[position]], feed):
                frame = filled.iloc[position + 1 :].set_axis(names, axis=1)
                frame = frame.loc[:, [name for name in frame.columns if name in columns(feed)]]
                for name in frame.columns:
                    frame[name] = [_cell(value, columns(feed)[name]) for value in frame[name]]
                return frame.assign(_shape_ok=True)
    raise Rejected("HEADER")


def _cell(value: Any, column: dict[str, Any]) -> str | None:
    """A cell of a sheet as text: dates by the calendar, identifiers that lost digits in scientific notation."""
    if isinstance(value, str):
        return value
    if _is_nothing(value):
        return None
    if isinstance(value, datetime):
        return value.isoformat(sep=" ")
    if column["type"] in ("date", "timestamp"):
        return (datetime(1899, 12, 30) + timedelta(seconds=round(float(value) * 86_400))).isoformat(sep=" ")
    if column["name"] == "nik" or (column["identifier"] and abs(value) >= 10**15):
        return f"{value:.11E}"
    return str(int(value)) if float(value).is_integer() else str(value)


def _is_nothing(value: Any) -> bool:
    return value is None or value is pd.NaT or (isinstance(value, float) and value != value)


def _header(cells: list[str], feed: str) -> list[str] | None:
    """The wire names of a row that has all required columns, else None. Raises Rejected for a column that is twice."""
    names = [_normal(cell) for cell in cells]
    if any(column["required"] and wire not in names for wire, column in columns(feed).items()):
        return None
    if any(names.count(wire) > 1 for wire in columns(feed)):
        raise Rejected("HEADER")
    return names


def _normal(name: str) -> str:
    return re.sub(r"[\s._-]+", "_", name).strip("_").lower()


_READERS = {"csv": _csv, "jsonl": _jsonl, "xlsx": _xlsx}
