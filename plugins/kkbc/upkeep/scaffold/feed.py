"""A new feed: four files of the project and a sample delivery; `kkbc migrate` and the next night do the rest."""

import csv
import hashlib
import io
import json
import re
from dataclasses import dataclass
from datetime import date, datetime, time
from pathlib import Path
from typing import Any

from sqlalchemy.dialects.postgresql.base import RESERVED_WORDS

from kkbc.core import clock
from kkbc.core.errors import UserError
from kkbc.core.files import make_folder, replacing
from kkbc.core.settings import PROJECT_ROOT, get_settings
from kkbc.exchange.contracts import ENDING, Contract, Sender, feeds, load_contract, parse_contract
from kkbc.exchange.reference import codes
from kkbc.exchange.registry import load_registry
from kkbc.exchange.slices import HEAD_OFFICE
from kkbc.upkeep.scaffold.feed_columns import NewColumn, parse_columns
from kkbc.upkeep.scaffold.feed_texts import contract_text, expectations_text, staging_properties, staging_sql

SAMPLE_ROWS = 3

# As addresses of slices and the names of files have it; a partition adds up to 12 characters to that of a table.
_NAME = re.compile(r"[a-z][a-z_]{1,38}[a-z]")


@dataclass(frozen=True)
class NewFeed:
    """The files of the project that were written, and the folder of the sample delivery."""

    feed: str
    files: tuple[Path, ...]
    sample: Path


def add_feed(
    feed: str, columns: str, *, sender: Sender = "branch", expected_from: date | None = None, sample: Path | None = None
) -> NewFeed:
    """Writes contract, staging model, its properties and expectations of a new feed, and a delivery as its sender's.

    `columns` as kkbc.upkeep.scaffold.feed_columns reads them. `expected_from`: the first business date that it is owed
    for; None: the one that is due next. `sample`: the folder of the sample delivery; None: one in the home.
    Raises UserError, with nothing written, for a name that cannot be or is there already, and for wrong columns. The
    contract, which makes it a feed, is written last: after an interruption the same call writes what is left.
    """
    _check_name(feed)
    wanted = parse_columns(columns)
    due = expected_from or clock.latest_due(clock.now())
    text = contract_text(feed, wanted, sender, due)
    contract = parse_contract(feed, text)
    files = {
        PROJECT_ROOT / "dbt_project" / "models" / "staging" / f"stg_{feed}.sql": staging_sql(contract),
        PROJECT_ROOT / "dbt_project" / "models" / "staging" / f"stg_{feed}.yml": staging_properties(contract),
        PROJECT_ROOT / "expectations" / "feeds" / f"{feed}.yml": expectations_text(contract),
        get_settings().contracts / f"{feed}{ENDING}": text,
    }
    folder = sample or get_settings().home / "samples" / feed
    delivery = _sample(folder, contract, wanted, due)
    if (left := _other(files)) is not None:
        raise UserError(f"{left} is there already", "choose another name, or remove what is left of the earlier feed")
    if not folder.is_dir() and folder.exists():
        raise UserError(f"{folder} of the sample delivery is no folder", "name another by --sample")
    if any(path not in delivery for path in folder.rglob("*") if path.is_file()) or _other(delivery) is not None:
        raise UserError(
            f"folder {folder} of the sample delivery is not empty", "name another by --sample, or remove it"
        )
    for path, content in (delivery | files).items():
        _write(path, content)
    return NewFeed(feed, tuple(files), folder)


def _other(files: dict[Path, str]) -> Path | None:
    """The first of the files that is there with another content than it is to have."""
    return next((path for path, text in files.items() if path.exists() and path.read_bytes() != text.encode()), None)


def _check_name(feed: str) -> None:
    if not _NAME.fullmatch(feed):
        raise UserError(f"{feed!r} is no name of a feed", "use a to z and _, 3 to 40 of them, a letter first and last")
    if feed in RESERVED_WORDS:
        raise UserError(f"a feed cannot be called {feed}: it is a word of SQL", "choose another name")
    if feed in feeds():
        raise UserError(
            f"feed {feed} is there already", f"change its contract, {get_settings().contracts / feed}{ENDING}"
        )
    tables = {load_contract(known).table: known for known in feeds()}
    if feed in tables:
        raise UserError(f"a feed cannot be called {feed}: so is the table of {tables[feed]}", "choose another name")


def _write(path: Path, content: str) -> None:
    make_folder(path.parent)
    with replacing(path) as made:
        made.write_text(content, encoding="utf-8")


def _sample(folder: Path, contract: Contract, columns: list[NewColumn], day: date) -> dict[Path, str]:
    """A delivery of three good rows and one without its key, in the folders of a branch that sends files."""
    branch_id = HEAD_OFFICE if contract.sender == "head_office" else load_registry().offices[0].branch_id
    text = io.StringIO()
    writer = csv.DictWriter(text, [column.name for column in columns], lineterminator="\n")
    writer.writeheader()
    rows = [{column.name: _cell(column, branch_id, day, n) for column in columns} for n in range(1, SAMPLE_ROWS + 1)]
    rows.append({**rows[-1], **{column.name: "" for column in columns if column.kind == "key"}})
    writer.writerows(rows)
    content, name = text.getvalue().encode(), f"{contract.feed}.csv"
    listed = {"name": name, "rows": len(rows), "bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}
    sent_at = datetime.combine(day, time(19), clock.JAKARTA)
    manifest: dict[str, Any] = {
        "schema_version": 1,
        "branch_id": branch_id,
        "business_date": day.isoformat(),
        "revision": 1,
        "sent_at": sent_at.isoformat(),
        "files": [{"feed": contract.feed, **listed}],
    }
    place = folder / branch_id / day.isoformat()
    return {place / name: content.decode(), place / "manifest.json": json.dumps(manifest, indent=2) + "\n"}


def _cell(column: NewColumn, branch_id: str, day: date, number: int) -> str:
    """A valid value of the column in row `number` of the sample."""
    if column.kind == "branch" and branch_id == HEAD_OFFICE:
        return load_registry().offices[0].branch_id
    values = {
        "key": f"{column.name.upper()}-{number}",
        "branch": branch_id,
        "updated": f"{day} 18:00",
        "code": (column.codes or ("A",))[0],
        "date": f"{day}",
        "due_date": f"{day}",
        "timestamp": f"{day} 09:00",
        "month": f"{day:%Y-%m}",
        "int": f"{number}",
        "amount": f"{number * 10_000}",
        # Of the first district, born on 12 March 1990.
        "nik": f"{min(codes('districts.code'))}120390{number:04}",
        "name": "Orang Contoh",
        "birth_date": "1990-03-12",
        "phone": "081234567890",
        "email": "contoh@example.org",
        "text": "Contoh",
    }
    return values[column.kind]
