"""The data contracts of the branch exchange, read from the ODCS files in `contracts/`.

A contract says who sends a feed and since when, which columns come under which wire names, their exchange types, which
are personal, what raw holds in their place, and which checks with which code and severity apply. Which feeds there are,
and everything that the engine knows of them, comes from here.
"""

from dataclasses import dataclass, field
from datetime import date
from functools import cache, lru_cache
from pathlib import Path
from typing import Any, Literal, cast, get_args

import yaml
from open_data_contract_standard.model import CustomProperty, DataQuality, OpenDataContractStandard, SchemaProperty
from pydantic import ValidationError

from kkbc.core.errors import UserError
from kkbc.core.policies import UniqueKeyLoader
from kkbc.core.settings import get_settings
from kkbc.exchange.slices import HEAD_OFFICE, RowCode

ENGINE = "kkbc"

UNIQUE_KEY = "unique_key"
"""The one check over all rows of a slice: of the rows of a key, one is taken."""

NOT_LATER = "not_after_business_date"
"""The check that a date is not later than the business date."""

REGISTRY = "registry.branch_id"
"""The reference of a check that is no table: the branch offices of the registry."""

ExchangeType = Literal["text", "code", "date", "timestamp", "int", "idr", "month"]
Severity = Literal["error", "warning"]
Sender = Literal["branch", "head_office"]

ENDING = ".odcs.yaml"
_PERSONAL = {"personal", "identifier"}

IDENTIFIER_LENGTH, TEXT_LENGTH = 200, 4_000
"""Characters that a key, code or identifier, and any other value, may have at most (Exchange rule 24)."""


@dataclass(frozen=True)
class Check:
    """One rule: rows that break it earn `code` with `severity`. `check` names the kind of rule, `params` its values."""

    code: str
    severity: Severity
    check: str
    params: dict[str, Any] = field(hash=False)


@dataclass(frozen=True)
class Derived:
    """What raw holds in place of a personal date: a column `name` with the `part` of it that is no person."""

    name: str
    part: Literal["year"]


@dataclass(frozen=True)
class Column:
    """One column: `name` in the warehouse, `wire` in the delivery.

    `personal` columns live in landing and vault only, but for what is `derived` from them. `is_nik`: it says whom a row
    is about; `is_contact`: by it the person can be reached. `not_missing`: tokens for a missing value that are
    values here.
    `identifier` says that it is a key, a code or another identifier, `max_length` how many characters a value may have
    at most (Exchange rules 24, 26), `mark_digits` the length of the mark that stands for a person typed into it (None:
    that of kkbc.exchange.masking).
    """

    name: str
    wire: str
    type: ExchangeType
    required: bool
    personal: bool
    default: Any
    description: str
    label_id: str
    checks: tuple[Check, ...]
    not_missing: tuple[str, ...] = ()
    identifier: bool = False
    max_length: int = TEXT_LENGTH
    mark_digits: int | None = None
    is_nik: bool = False
    is_contact: bool = False
    derived: Derived | None = None

    @property
    def always_there(self) -> bool:
        """Whether an accepted row has a value in it."""
        return self.required or self.default is not None


@dataclass(frozen=True)
class Contract:
    """One feed's contract. `checks` span several columns of a row, or all rows of a slice (`unique_key`).

    `expected_from`: the first business date that its senders owe it for; None: every one. `position`: its place among
    the feeds where people read of them, those without one last.
    """

    feed: str
    table: str
    version: str
    columns: tuple[Column, ...]
    key: tuple[str, ...]
    checks: tuple[Check, ...]
    sender: Sender = "branch"
    expected_from: date | None = None
    position: int | None = None
    description: str = ""

    def column(self, name: str) -> Column:
        """The column of that warehouse name; KeyError if there is none."""
        for column in self.columns:
            if column.name == name:
                return column
        raise KeyError(f"contract {self.feed} has no column {name}")

    @property
    def has_persons(self) -> bool:
        """Whether the rows hold anything personal, so that they have a part in the vault."""
        return any(column.personal for column in self.columns)

    @property
    def nik(self) -> str | None:
        """The column with the NIK of the person that a row is about; None: rows are about no person."""
        return next((column.name for column in self.columns if column.is_nik), None)

    @property
    def has_nik(self) -> bool:
        """Whether the rows are about persons, so that they get a participant token."""
        return self.nik is not None

    @property
    def marked_erased(self) -> Column:
        """The column whose cell says of a row that it was erased: that of the NIK, else the last of the key."""
        return self.column(self.nik or self.key[-1])

    @property
    def contacts(self) -> tuple[str, ...]:
        """The columns by which the person can be reached."""
        return tuple(column.name for column in self.columns if column.is_contact)

    @property
    def days(self) -> tuple[str, ...]:
        """The columns with the instant or day of what a row tells: it may not lie after the business date."""
        return self.checked_by(NOT_LATER)

    def checked_by(self, check: str) -> tuple[str, ...]:
        """The columns that a kind of check applies to."""
        return tuple(column.name for column in self.columns if any(rule.check == check for rule in column.checks))


def feeds(sender: Sender | None = None, folder: Path | None = None) -> tuple[str, ...]:
    """The feeds that there are, those of `sender` alone when it is given: those with a contract in `folder`.

    Raises UserError as load_contract does, and when two contracts name one table.
    """
    contracts = [load_contract(feed, folder) for feed in _names(folder or get_settings().contracts)]
    contracts.sort(key=lambda contract: (contract.position is None, contract.position, contract.feed))
    owners: dict[str, str] = {}
    for contract in contracts:
        if (other := owners.setdefault(contract.table, contract.feed)) != contract.feed:
            raise UserError(
                f"the contracts of {other} and {contract.feed} name one table, {contract.table}",
                f"give {contract.feed} a table of its own: the name of its schema object",
            )
    return tuple(contract.feed for contract in contracts if sender in (None, contract.sender))


def feeds_of(branch_id: str) -> tuple[str, ...]:
    """The feeds that `branch_id` sends: those of head office, or those of a branch."""
    return feeds("head_office" if branch_id == HEAD_OFFICE else "branch")


def _names(folder: Path) -> tuple[str, ...]:
    # A manifest asks for them, and a visit reads many: the folder is listed again only when a file came or went.
    return _listed(folder, folder.stat().st_mtime_ns) if folder.is_dir() else ()


@lru_cache(maxsize=8)
def _listed(folder: Path, changed: int) -> tuple[str, ...]:
    return tuple(sorted(path.name.removesuffix(ENDING) for path in folder.glob(f"*{ENDING}")))


@cache
def load_contract(feed: str, folder: Path | None = None) -> Contract:
    """The contract of `feed` in `folder` (default: the setting `contracts`).

    Raises UserError when there is no such contract or it does not keep to ODCS and to the project's vocabulary.
    """
    folder = folder or get_settings().contracts
    path = folder / f"{feed}{ENDING}"
    if not path.is_file():
        known = ", ".join(_names(folder)) or "none"
        raise UserError(f"unknown feed {feed!r}", f"contracts exist for: {known}; add {path} to make it known")
    try:
        return parse_contract(feed, path.read_text(encoding="utf-8"))
    except (yaml.YAMLError, ValidationError, KeyError, ValueError, TypeError) as error:
        cause = " ".join(str(error).split())[:300]
        raise UserError(f"contract {path} is broken: {cause}", "fix the file, then `kkbc doctor` checks it") from error


def parse_contract(feed: str, text: str) -> Contract:
    """The contract of `feed` with this text. Raises ValueError, or what YAML and ODCS raise, when it is broken."""
    document = OpenDataContractStandard(**UniqueKeyLoader(text).get_single_data())
    if not document.schema_ or len(document.schema_) != 1:
        raise ValueError("one schema object is expected")
    table = document.schema_[0]
    if table.physicalName != feed or not table.name:
        raise ValueError(f"the schema object's physicalName must be {feed}")
    columns = tuple(_column(p) for p in table.properties or [])
    keyed = sorted(
        (p.primaryKeyPosition or 0, p.name) for p in table.properties or [] if p.primaryKey and p.name is not None
    )
    key = tuple(name for _, name in keyed)
    if not columns or not key:
        raise ValueError("properties and a primary key are expected")
    if sum(column.is_nik for column in columns) > 1:
        raise ValueError("one property may be of classification identifier: the NIK of whom a row is about")
    custom = _custom(document.customProperties)
    if custom.get("sender") not in get_args(Sender):
        raise ValueError(f"a custom property sender is expected, one of: {', '.join(get_args(Sender))}")
    since = custom.get("expected_from")
    return Contract(
        feed=feed,
        table=table.name,
        version=document.version or "",
        columns=columns,
        key=key,
        checks=tuple(_check(q) for q in table.quality or [] if q.engine == ENGINE),
        sender=custom["sender"],
        expected_from=None if since is None else date.fromisoformat(str(since)),
        position=custom.get("position"),
        description=table.description or "",
    )


def _custom(properties: list[CustomProperty] | None) -> dict[str, Any]:
    return {p.property: p.value for p in properties or [] if p.property is not None}


def _column(prop: SchemaProperty) -> Column:
    if not prop.name or not prop.physicalName or prop.physicalType not in get_args(ExchangeType):
        raise ValueError(f"property {prop.name}: name, physicalName and a known physicalType are expected")
    custom = _custom(prop.customProperties)
    if "lawful" in custom:
        raise ValueError(f"property {prop.name}: the custom property lawful is called not_missing now")
    identifier = _is_identifier(prop)
    return Column(
        name=prop.name,
        wire=prop.physicalName,
        type=cast(ExchangeType, prop.physicalType),
        required=bool(prop.required),
        personal=prop.classification in _PERSONAL,
        default=custom.get("default"),
        description=prop.description or "",
        label_id=prop.businessName or prop.name,
        checks=tuple(_check(q) for q in prop.quality or [] if q.engine == ENGINE),
        not_missing=tuple(custom.get("not_missing") or ()),
        identifier=identifier,
        max_length=_max_length(prop, IDENTIFIER_LENGTH if identifier else TEXT_LENGTH),
        mark_digits=custom.get("mark_digits"),
        is_nik=prop.classification == "identifier",
        is_contact=bool(custom.get("contact")),
        derived=_derived(prop, custom.get("derived")),
    )


def _derived(prop: SchemaProperty, said: Any) -> Derived | None:
    if said is None:
        return None
    if prop.classification not in _PERSONAL or prop.physicalType != "date" or said.get("part") != "year":
        raise ValueError(f"property {prop.name}: derived is the year of a personal date: {{name: ..., part: year}}")
    return Derived(**said)


def _is_identifier(prop: SchemaProperty) -> bool:
    """Keys, codes, months and NIK are, and `kode_...` on the wire; other columns say so by the tag `identifier`."""
    return (
        bool(prop.primaryKey)
        or prop.physicalType in {"code", "month"}
        or prop.classification == "identifier"
        or (prop.physicalName or "").startswith("kode_")
        or "identifier" in (prop.tags or [])
    )


def _max_length(prop: SchemaProperty, longest: int) -> int:
    """The length that the contract states, else `longest`: a contract may ask for less and for no more."""
    stated = (prop.logicalTypeOptions or {}).get("maxLength", longest)
    if not isinstance(stated, int) or not 1 <= stated <= longest:
        raise ValueError(f"property {prop.name}: maxLength must be between 1 and {longest}")
    return stated


def _check(quality: DataQuality) -> Check:
    if not quality.name or quality.severity not in get_args(Severity) or not isinstance(quality.implementation, dict):
        raise ValueError(f"rule {quality.name}: name, severity error|warning and an implementation are expected")
    if quality.name not in get_args(RowCode):
        raise ValueError(f"rule {quality.name}: no code of the exchange, see docs/specification/exchange.md")
    params = dict(quality.implementation)
    return Check(quality.name, cast(Severity, quality.severity), params.pop("check"), params)
