"""The data contracts of the branch exchange, read from the ODCS files in `contracts/`.

A contract says of each feed which columns come under which wire names, their exchange types, which are personal, and
which checks with which code and severity apply. Reader, validator and loader take everything from here.
"""

from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any, Literal, cast, get_args

import yaml
from open_data_contract_standard.model import DataQuality, OpenDataContractStandard, SchemaProperty
from pydantic import ValidationError

from kkbc.core.errors import UserError
from kkbc.core.policies import UniqueKeyLoader
from kkbc.core.settings import get_settings
from kkbc.exchange.slices import RowCode

ENGINE = "kkbc"

REGISTRY = "registry.branch_id"
"""The reference of a check that is no table: the branch offices of the registry."""

ExchangeType = Literal["text", "code", "date", "timestamp", "int", "idr", "month"]
Severity = Literal["error", "warning"]

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
class Column:
    """One column: `name` in the warehouse, `wire` in the delivery.

    `personal` columns live in landing and vault only. `lawful` are tokens for a missing value that are values here.
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
    lawful: tuple[str, ...] = ()
    identifier: bool = False
    max_length: int = TEXT_LENGTH
    mark_digits: int | None = None


@dataclass(frozen=True)
class Contract:
    """One feed's contract. `checks` span several columns of a row, or all rows of a slice (`unique_key`)."""

    feed: str
    table: str
    version: str
    columns: tuple[Column, ...]
    key: tuple[str, ...]
    checks: tuple[Check, ...]

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
    def has_nik(self) -> bool:
        """Whether the rows are about persons, so that they get a participant token."""
        return any(column.name == "nik" for column in self.columns)


@cache
def load_contract(feed: str, folder: Path | None = None) -> Contract:
    """The contract of `feed` in `folder` (default: the setting `contracts`).

    Raises UserError when there is no such contract or it does not keep to ODCS and to the project's vocabulary.
    """
    folder = folder or get_settings().contracts
    path = folder / f"{feed}.odcs.yaml"
    if not path.is_file():
        known = ", ".join(sorted(p.name.removesuffix(".odcs.yaml") for p in folder.glob("*.odcs.yaml"))) or "none"
        raise UserError(f"unknown feed {feed!r}", f"contracts exist for: {known}; add {path} to make it known")
    try:
        with path.open(encoding="utf-8") as file:
            return _parse(feed, OpenDataContractStandard(**UniqueKeyLoader(file).get_single_data()))
    except (yaml.YAMLError, ValidationError, KeyError, ValueError, TypeError) as error:
        cause = " ".join(str(error).split())[:300]
        raise UserError(f"contract {path} is broken: {cause}", "mend the file, then `kkbc doctor` checks it") from error


def _parse(feed: str, document: OpenDataContractStandard) -> Contract:
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
    return Contract(
        feed=feed,
        table=table.name,
        version=document.version or "",
        columns=columns,
        key=key,
        checks=tuple(_check(q) for q in table.quality or [] if q.engine == ENGINE),
    )


def _column(prop: SchemaProperty) -> Column:
    if not prop.name or not prop.physicalName or prop.physicalType not in get_args(ExchangeType):
        raise ValueError(f"property {prop.name}: name, physicalName and a known physicalType are expected")
    custom = {c.property: c.value for c in prop.customProperties or []}
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
        lawful=tuple(custom.get("lawful") or ()),
        identifier=identifier,
        max_length=_max_length(prop, IDENTIFIER_LENGTH if identifier else TEXT_LENGTH),
        mark_digits=custom.get("mark_digits"),
    )


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
