"""The report to a person: all that is held of them, where it came from, where it went, and who looked.

It is one HTML page, which loads nothing from elsewhere, and the same as JSON; both for their owner alone.
"""

import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from datetime import date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import jinja2

from kkbc.core import clock
from kkbc.core.clock import JAKARTA
from kkbc.core.errors import UserError
from kkbc.core.files import write_private
from kkbc.core.settings import get_settings
from kkbc.core.spool import private_folder
from kkbc.exchange.code_texts import in_words
from kkbc.exchange.contracts import load_contract
from kkbc.rights import words
from kkbc.rights.holdings import COUNTED, Holdings, Row, closed, holdings, quarantined_in_force, records
from kkbc.rights.landed import LandedFile, LandedRow, search
from kkbc.rights.persons import Person
from kkbc.slices import AuditNote
from kkbc.warehouse.access_record import note_access
from kkbc.warehouse.vault_readers import check_persons_allowed

FOLDER = "subject-reports"
ACTION = "subject-report"
TEMPLATES = Path(__file__).parent / "templates"
# What of a row is its address or its lineage, and stands in columns of its own.
_ADDRESS = ("feed", "branch_id", "business_date", "revision", "line")


@dataclass(frozen=True)
class Report:
    """A report that was written. rows: how many rows of branches name the person, stored or only landed.

    erased: the person was erased, and is on the suppression list.
    """

    html: Path
    json: Path
    held: bool
    rows: int
    erased: bool


def write_report(person: Person, note: AuditNote, folder: Path | None = None) -> Report:
    """Writes what is held of a person to `folder` (default: `subject-reports` of the home); notes first that it does.

    Also of somebody of whom nothing is held, for that is the answer then. Raises UserError when the login may not act
    as role pii, or the folder cannot be written.
    """
    check_persons_allowed()
    place = private_folder(folder or get_settings().home / FOLDER)
    note_access(ACTION, done_by=note.done_by, why=note.why.strip(), subjects=[person.subject], role="pii")
    content = gather(person, note)
    stem = f"{clock.now():%Y%m%d-%H%M%S}-{person.subject[:12]}"
    paths = place / f"{stem}.html", place / f"{stem}.json"
    try:
        write_private(paths[0], as_html(content))
        write_private(paths[1], json.dumps(content, ensure_ascii=False, indent=2, default=_plain) + "\n")
    except OSError as error:
        raise UserError(f"folder {place} cannot be written: {error.strerror}", "choose another --out") from error
    return Report(*paths, content["held"], len(content["rows"]), content["erasure"] is not None)


def gather(person: Person, note: AuditNote) -> dict[str, Any]:
    """All that is held of a person, as the JSON has it; dates and amounts are still of their types."""
    found = holdings(person, note)
    files = list(search(person.nik, quarantined_in_force()))
    rows = [*_stored(found), *_landed(files)]
    rows.sort(key=lambda row: tuple(row[name] or 0 for name in _ADDRESS if name != "feed"))
    return {
        "made_at": clock.now(),
        "made_by": note.done_by,
        "why": note.why.strip(),
        "nik": person.nik,
        "held": found.anything or bool(files),
        "names": sorted({str(row["values"]["full_name"]) for row in rows if row["values"].get("full_name")}),
        "rows": rows,
        "facts": found.facts,
        "counted_in": list(_counted(found)),
        "kept": found.kept,
        "publications": [{**row, "shown": not _restricted(found, row["published_at"])} for row in found.publications],
        "accesses": [asdict(entry) for entry in found.accesses],
        "erasure": found.erasure,
        "restrictions": found.restrictions,
        "nik_on_record": found.on_record,
        "restricted_now": any(row["released_at"] is None for row in found.restrictions),
    }


def as_html(content: dict[str, Any]) -> str:
    """The page. What branches typed is text in it, whatever it looks like."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(TEMPLATES), autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True
    )
    environment.filters |= {"shown": _shown, "words": in_words, "label": _label}
    page = environment.get_template("subject_report.html.j2")
    return page.render(**content, states=words.STATES, kinds=words.KINDS, closed=words.CLOSED)


def _stored(found: Holdings) -> Iterable[Row]:
    """The rows in force, of raw and vault together."""
    addresses = [
        (feed, row["_branch_id"], row["_business_date"], row["_revision"])
        for feed, rows in found.in_force.items()
        for row in rows
    ]
    known = {_key(record): record for record in records(addresses, [])}
    for feed, rows in found.in_force.items():
        contract = load_contract(feed)
        for row in rows:
            address = (feed, row["_branch_id"], row["_business_date"], row["_revision"])
            values = {c.name: row[c.name] for c in contract.columns if row.get(c.name) is not None}
            source = _source(address, known.get(address, {}), row["_line"])
            yield {**source, "kind": "in_force", "load_id": row["_load_id"], "values": values, **_verdict()}


def _landed(files: list[LandedFile]) -> Iterable[Row]:
    known = {record["landed_uri"]: record for record in records([], [file.uri for file in files])}
    for file in files:
        address = tuple(file.slice.key().values())
        record = known.get(file.uri, {})
        lines = [row.line for row in file.rows if row.line is not None]
        fates = closed(address, lines)
        for row in file.rows:
            source = _source(address, record, row.line)
            source |= {"file": source["file"] or file.name, "sha256": file.sha256}
            fate = fates.get(row.line or 0, {}).get("closed_as")
            yield {**source, "kind": row.kind, "load_id": record.get("load_id"), "values": row.values} | _verdict(
                row, fate
            )


def _key(record: Row) -> tuple[Any, ...]:
    return tuple(record[name] for name in ("feed", "branch_id", "business_date", "revision"))


def _source(address: tuple[Any, ...], record: Row, line: int | None) -> Row:
    """Where a row came from: slice, file, line, and when it was sent, seen and loaded."""
    return {
        **dict(zip(_ADDRESS, (*address, line), strict=True)),
        "status": record.get("status"),
        "reason": record.get("reason"),
        "file": record.get("file_name"),
        "sha256": record.get("sha256"),
        "sent_at": record.get("sent_at"),
        "seen_at": record.get("first_seen_at"),
        "loaded_at": record.get("loaded_at"),
    }


def _verdict(row: LandedRow | None = None, closed_as: str | None = None) -> Row:
    return {
        "errors": list(row.errors) if row else [],
        "warnings": list(row.warnings) if row else [],
        "closed_as": closed_as,
        "text": row.text if row and row.kind != "accepted" else None,
    }


def _counted(found: Holdings) -> Iterable[Row]:
    for table, (day, what, marts) in COUNTED.items():
        for fact in found.facts.get(table, []):
            yield {
                "branch_id": fact["branch_id"],
                "day": fact[day],
                "as": what,
                "amount_idr": fact.get("total_amount"),
                "marts": list(marts),
            }


def _restricted(found: Holdings, at: datetime) -> bool:
    return any(
        row["restricted_at"] <= at and (row["released_at"] is None or at < row["released_at"])
        for row in found.restrictions
    )


def _label(name: str, feed: str) -> str:
    """What a column is called in Indonesian."""
    for column in load_contract(feed).columns:
        if column.name == name:
            return column.label_id
    return name


def _shown(value: Any) -> str:
    """A value as Indonesians write it."""
    match value:
        case None | "":
            return "–"
        case bool():
            return "ya" if value else "tidak"
        case datetime():
            return f"{value.astimezone(JAKARTA):%d-%m-%Y %H:%M} WIB"
        case date():
            return f"{value:%d-%m-%Y}"
        case int() | Decimal():
            return f"{value:,}".replace(",", ".")
        case list() | tuple():
            return ", ".join(map(_shown, value)) or "–"
    return str(value)


def _plain(value: Any) -> Any:
    if isinstance(value, datetime | date):
        return value.isoformat()
    if isinstance(value, Decimal):
        return int(value) if value == value.to_integral_value() else str(value)
    raise TypeError(type(value).__name__)
