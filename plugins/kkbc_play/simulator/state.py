"""The world on disk: JSON for small things, Parquet for people and facts. The same state gives the same bytes."""

import dataclasses
import json
from collections.abc import Iterable, Sequence
from datetime import date
from operator import attrgetter
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import polars as pl

from kkbc_play.simulator.fate import Planned
from kkbc_play.simulator.people import Person
from kkbc_play.simulator.play import Play
from kkbc_play.simulator.posting import Posting
from kkbc_play.simulator.rows import COLUMNS, Kind, Row
from kkbc_play.simulator.truth.facts import Activity, Facts, Payment, Registration, SliceRecord, Target

_Fact = TypeVar("_Fact", bound=tuple[Any, ...])
_PERSON_FIELDS = [field.name for field in dataclasses.fields(Person)]
_TYPES: dict[str, Any] = {
    "str": pl.String,
    "int": pl.Int64,
    "bool": pl.Boolean,
    "date": pl.Date,
    "str | None": pl.String,
    "int | None": pl.Int64,
    "date | None": pl.Date,
}
_FACTS: dict[str, type[NamedTuple]] = {
    "registrations": Registration,
    "payments": Payment,
    "activities": Activity,
    "targets": Target,
}


def save_play(folder: Path, play: Play) -> None:
    """Write people and what the branches remember."""
    values = attrgetter(*_PERSON_FIELDS)
    people = [values(person) for office in play.offices.values() for person in office.people]
    _write(folder / "people.parquet", people, _schema(Person))
    offices = {
        branch_id: {
            "people": len(office.people),
            "registrations": office.registrations,
            "payments": office.payments,
            "activities": office.activities,
            "latest": [_row_out(row) for row in office.latest],
            "last_spot": office.last_spot.isoformat() if office.last_spot else None,
        }
        for branch_id, office in play.offices.items()
    }
    _dump(folder / "offices.json", offices)


def load_play(folder: Path, play: Play) -> None:
    """Give `play` back what `save_play` wrote."""
    people = iter([Person(*values) for values in pl.read_parquet(folder / "people.parquet").iter_rows()])
    offices = _load(folder / "offices.json")
    for branch_id, office in play.offices.items():
        kept = offices.get(branch_id)
        if kept is None:  # An office that opened since.
            continue
        office.people = [next(people) for _ in range(kept["people"])]
        office.registrations, office.payments, office.activities = (
            kept["registrations"],
            kept["payments"],
            kept["activities"],
        )
        office.latest = [_row_in("kegiatan", row) for row in kept["latest"]]
        office.last_spot = date.fromisoformat(kept["last_spot"]) if kept["last_spot"] else None


def save_agenda(folder: Path, agenda: Iterable[Planned]) -> None:
    """Write the postings that are still to come."""
    _dump(
        folder / "agenda.json",
        [
            {
                "night": planned.night.isoformat(),
                "branch_id": planned.posting.branch_id,
                "business_date": planned.posting.business_date.isoformat(),
                "revision": planned.posting.revision,
                "sent_at": planned.posting.sent_at,
                "feeds": {feed: [_row_out(row) for row in rows] for feed, rows in planned.posting.feeds.items()},
                "refused": planned.posting.refused,
            }
            for planned in agenda
        ],
    )


def load_agenda(folder: Path) -> list[Planned]:
    """Read what `save_agenda` wrote."""
    return [
        Planned(
            date.fromisoformat(entry["night"]),
            Posting(
                entry["branch_id"],
                date.fromisoformat(entry["business_date"]),
                entry["revision"],
                entry["sent_at"],
                {feed: [_row_in(feed, row) for row in rows] for feed, rows in entry["feeds"].items()},
                refused=entry["refused"],
            ),
        )
        for entry in _load(folder / "agenda.json")
    ]


def save_facts(folder: Path, facts: Facts) -> None:
    """Write one night's slices and facts."""
    folder.mkdir(parents=True, exist_ok=True)
    _dump(
        folder / "slices.json",
        [[*record[:2], record.business_date.isoformat(), *record[3:]] for record in facts.slices],
    )
    for name, kind in _FACTS.items():
        _write(folder / f"{name}.parquet", getattr(facts, name), _schema(kind))


def load_facts(folder: Path) -> Facts:
    """Read what `save_facts` wrote."""
    facts = Facts([SliceRecord(r[0], r[1], date.fromisoformat(r[2]), *r[3:]) for r in _load(folder / "slices.json")])
    for name, kind in _FACTS.items():
        rows = pl.read_parquet(folder / f"{name}.parquet").iter_rows()
        getattr(facts, name).extend(kind(*values) for values in rows)
    return facts


def _schema(kind: type[Any]) -> dict[str, Any]:
    def name(annotation: Any) -> str:
        return annotation.__name__ if isinstance(annotation, type) else str(annotation).replace("datetime.", "")

    return {column: _TYPES[name(annotation)] for column, annotation in kind.__annotations__.items()}


def _write(path: Path, rows: Sequence[tuple[Any, ...]], schema: dict[str, Any]) -> None:
    columns = list(zip(*rows, strict=True)) or [()] * len(schema)
    pl.DataFrame(
        {name: pl.Series(name, values, kind) for (name, kind), values in zip(schema.items(), columns, strict=True)}
    ).write_parquet(path)


def _dump(path: Path, value: Any) -> None:
    path.write_text(json.dumps(value, separators=(",", ":")), encoding="utf-8")


def _load(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8"))


def _row_out(row: Row) -> dict[str, Any]:
    values = {name: value.isoformat() if isinstance(value, date) else value for name, value in row.values.items()}
    return {"values": values, "warnings": sorted(row.warnings)}


def _row_in(feed: str, entry: dict[str, Any]) -> Row:
    dates = [name for name, kind in COLUMNS[feed].items() if kind is Kind.DATE]
    values = {
        **entry["values"],
        **{name: date.fromisoformat(entry["values"][name]) for name in dates if entry["values"][name]},
    }
    return Row(values, set(entry["warnings"]))
