"""A new mart: a folder of three files, from which all else about it follows.

It begins as the number of events of a fact at the grain asked for; its SQL and texts are then made what they should be.
"""

import re
import tempfile
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

import yaml

from kkbc.core.errors import UserError
from kkbc.core.settings import PROJECT_ROOT
from kkbc.upkeep.scaffold.rendering import render

MARTS = PROJECT_ROOT / "dbt_project" / "models" / "marts"
NAME = re.compile(r"kpi_[a-z][a-z0-9_]{0,45}")
# What tells of a person, which no mart for dashboards may show (KPI rule 21).
PERSONS = frozenset({"participant_token", "registration_no", "payment_id", "officer_code", "birth_year"})
UNKNOWN = "TIDAK_DIKETAHUI"
# The day of the unit test's events, and two that do not count.
DAY, MONTH, BEFORE, AFTER = date(2024, 1, 10), date(2024, 1, 1), date(2023, 12, 31), date(2024, 2, 1)
_DOC = re.compile(r"{{ doc\('(\w+)'\) }}")
_BLOCK = r"{%% docs %s %%}(.*?){%% enddocs %%}"


@dataclass(frozen=True)
class Fact:
    """A fact as its properties have it: columns by name, the dimension of each, and the day that its events are of."""

    name: str
    label_id: str
    columns: dict[str, dict[str, Any]]
    dimensions: dict[str, tuple[str, str]]
    day: str


@dataclass(frozen=True)
class Part:
    """A column of the grain: how the SQL makes it, its properties, its dimension, and a value for the unit test."""

    name: str
    sql: str
    description: str
    label_id: str
    data_type: str
    description_id: str | None
    source: str
    example: Any
    to: str | None = None
    to_column: str | None = None


def add_mart(
    name: str,
    grain: list[str],
    *,
    fact: str = "fct_registration",
    label_id: str | None = None,
    owner: str = "data-engineering",
) -> list[Path]:
    """Writes the folder of a mart and returns its three files.

    `grain`: columns of the fact, and business_date or month for the day of its events (KPI rule 1). Raises UserError,
    with nothing written, when the name is taken or not valid, or the grain has a column that it cannot have.
    """
    folder = _new_folder(name)
    source = _fact(fact)
    days = [part for part in grain if part in ("business_date", "month")]
    parts = [_part(part, source, name) for part in grain]
    _check_grain(name, grain, days)
    values = _values(name, source, parts, days[0] if days else None)
    label_id = label_id or name.replace("_", " ").capitalize().replace("Kpi", "KPI")
    texts = {
        f"{name}.sql": render("mart.sql", **values),
        f"{name}.yml": render("mart.yml", **values, label_id=label_id, owner=owner),
        "expectations.yml": render("expectations.yml", **values),
    }
    _write(folder, texts)
    return [folder / file for file in texts]


def _write(folder: Path, texts: dict[str, str]) -> None:
    """Makes the folder with its files whole or not at all: half a mart would stop every build."""
    with tempfile.TemporaryDirectory(prefix=".new-", dir=folder.parent) as place:
        made = Path(place) / folder.name
        made.mkdir()
        for file, text in texts.items():
            (made / file).write_text(text, encoding="utf-8")
        made.rename(folder)


def _new_folder(name: str) -> Path:
    if not NAME.fullmatch(name):
        raise UserError(
            f"{name!r} is no name for a mart",
            "begin with kpi_, then small letters, digits and _, like kpi_segment_daily",
        )
    if any(path.stem == name for path in (PROJECT_ROOT / "dbt_project").rglob("*.sql")) or (MARTS / name).exists():
        raise UserError(f"there is a model {name} already", "choose another name, or change the files of that one")
    return MARTS / name


def _fact(name: str) -> Fact:
    """The fact's properties; raises UserError listing the facts there are."""
    path = MARTS / name / f"{name}.yml"
    if not name.startswith("fct_") or not path.is_file():
        facts = sorted(path.name for path in MARTS.glob("fct_*"))
        raise UserError(f"there is no fact {name!r}", f"choose one of: {', '.join(facts)}")
    (model,) = yaml.safe_load(path.read_text(encoding="utf-8"))["models"]
    columns = {column["name"]: column for column in model["columns"]}
    meta = model["config"]["meta"]
    return Fact(
        name=name,
        label_id=meta["label_id"],
        columns=columns,
        dimensions={
            key["columns"][0]: (key["to"], key["to_columns"][0])
            for key in meta.get("foreign_keys", [])
            if len(key["columns"]) == 1
        },
        # A fact's first date is that of its event; business_date is that of its delivery.
        day=next(n for n, c in columns.items() if c["data_type"] == "date" and n != "business_date"),
    )


def _check_grain(name: str, grain: list[str], days: list[str]) -> None:
    if not grain:
        raise UserError(f"mart {name} has no grain", "name the columns of its key: --grain branch_id,business_date")
    if len(set(grain)) < len(grain):
        raise UserError(f"the grain of {name} names a column twice", "name each once")
    if len(days) > 1:
        raise UserError(f"the grain of {name} has both business_date and month", "choose one")
    if name.endswith("_daily") and days != ["business_date"]:
        raise UserError(f"{name} is daily without business_date in its grain", "add business_date, or rename it")
    if name.endswith("_monthly") and days != ["month"]:
        raise UserError(f"{name} is monthly without month in its grain", "add month, or rename it")


def _part(column: str, fact: Fact, mart: str) -> Part:
    """A column of the grain. Raises UserError for one that the fact does not have, or that no dashboard may show."""
    if column == "business_date":
        return Part(
            column, f"{fact.day} as business_date", "{{ doc('calendar_day') }}", "Tanggal", "date", None, fact.day, DAY,
            "dim_date", "date",
        )  # fmt: skip
    if column == "month":
        sql = f"{{{{ month_start('{fact.day}') }}}} as month"
        return Part(column, sql, "{{ doc('month') }}", "Bulan", "date", None, fact.day, MONTH)
    found = fact.columns.get(column)
    allowed = [n for n, c in fact.columns.items() if n not in PERSONS and c["data_type"] in ("text", "boolean")]
    if found is None or column not in allowed:
        why = (
            f"{fact.name} has no column {column!r}" if found is None else f"{column!r} can be no key of a mart for all"
        )
        raise UserError(why, f"choose from: business_date, month, {', '.join(allowed)}")
    filled = "not_null" in {c["type"] for c in found.get("constraints", [])} or column == "branch_id"
    text, text_id = _texts(found, mart, filled)
    to, to_column = fact.dimensions.get(column, (None, None)) if filled else (None, None)
    return Part(
        name=column,
        sql=column if filled else f"coalesce({column}, '{UNKNOWN}') as {column}",
        description=text,
        label_id=found["config"]["meta"]["label_id"],
        data_type=found["data_type"],
        description_id=text_id,
        source=column,
        example=True if found["data_type"] == "boolean" else "KC001" if column.endswith("branch_id") else "A",
        to=to,
        to_column=to_column,
    )


def _texts(column: dict[str, Any], mart: str, filled: bool) -> tuple[str, str | None]:
    """The texts of a column in English and Indonesian: the doc block of the fact's, else those of the fact, shortened.

    No text may stand in two places, so that one which is no doc block is made the mart's own.
    """
    description = column["description"]
    block = _DOC.fullmatch(description)
    if block and filled:
        return description, None
    text, text_id = description, column["config"]["meta"].get("description_id", "")
    if block:
        text, text_id = _block(block[1]), text_id or _block(f"{block[1]}__id")
    text, text_id = (re.split(r"; (?:null|kosong) ", each)[0].rstrip(".") for each in (text, text_id))
    unknown = ("", "") if filled else (f", or {UNKNOWN}", f", atau {UNKNOWN}")
    return f"{text}{unknown[0]}, a key of {mart}.", f"{text_id}{unknown[1]}, kunci {mart}."


def _block(name: str) -> str:
    """The text of a doc block."""
    for path in (PROJECT_ROOT / "dbt_project" / "models").rglob("*.md"):
        if found := re.search(_BLOCK % name, path.read_text(encoding="utf-8"), re.DOTALL):
            return found[1].strip()
    return ""


def _values(name: str, fact: Fact, parts: list[Part], day_name: str | None) -> dict[str, Any]:
    """What the templates are given."""
    names = [part.name for part in parts]
    head = ", ".join(names[:-1])
    counted_id = fact.label_id.removeprefix("Fakta ").capitalize()
    measure = re.sub(r"ys$", "ies", f"{fact.name.removeprefix('fct_')}s")
    event = {part.source: part.example for part in parts} | {fact.day: DAY}
    days = [DAY, DAY, AFTER, *([BEFORE] if day_name else [])]
    counted = {part.name: part.example for part in parts} | {measure: 2}
    since = "from the first business date to as_of" if day_name else "up to as_of"
    return {
        "name": name,
        "fact": fact.name,
        "day": fact.day,
        "day_name": day_name,
        "grain": parts,
        "key": ", ".join(names),
        "listed": " and ".join(filter(None, [head, names[-1]])),
        "measure": measure,
        "description": f"The number of {measure} by {', '.join(names)}.",
        "description_id": f"{counted_id} dihitung menurut {', '.join(names)}.",
        "measure_description": f"Rows of {fact.name} in one row of {name}.",
        "measure_label_id": counted_id,
        "measure_description_id": f"Banyaknya baris {fact.name} dalam satu baris {name}.",
        "test_description": f"Events of one key are one figure; those count that happened {since}.",
        "given": [_flow(event | {fact.day: day}) for day in days],
        "expected": [_flow(counted)],
    }


def _flow(row: dict[str, Any]) -> str:
    """A row as YAML on one line."""
    text: str = yaml.safe_dump(row, default_flow_style=True, sort_keys=False, allow_unicode=True, width=10_000)
    return text.strip()
