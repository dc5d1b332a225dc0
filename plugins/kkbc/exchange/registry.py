"""The branch registry: which branches exist, how each delivers, and since when.

One entry a branch in `config/branches.yml`.
"""

from datetime import date
from functools import cache
from pathlib import Path
from typing import Annotated, Literal
from zoneinfo import ZoneInfo

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from kkbc.core.errors import UserError
from kkbc.core.settings import get_settings
from kkbc.exchange.slices import HEAD_OFFICE

Kind = Literal["file", "sftp", "s3", "http", "postgres"]
# A regency or city, by its Kemendagri code.
Regency = Annotated[str, Field(pattern=r"^\d{4}$")]


class Branch(BaseModel):
    """One branch office, or head office (HQ, which sends targets only).

    `connection` names an Airflow connection; kind `file` may do without and then lies under the source root.
    `profile` is what the branch says of its files, kept for people: the reader goes by the bytes.
    `name`, `seat` (a regency), `lat` and `lng` describe an office that the reference tables do not have, and hold where
    both speak; `regencies` are those that it serves, taken over from whom the reference tables name.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    branch_id: Annotated[str, Field(pattern=r"^(KC\d{3}|HQ)$")]
    kind: Kind = "file"
    connection: Annotated[str, Field(pattern=r"^[a-z0-9_]+$")] | None = None
    timezone: Literal["Asia/Jakarta", "Asia/Makassar", "Asia/Jayapura"] = "Asia/Jakarta"
    tier: Literal[1, 2, 3] = 2
    profile: str = ""
    active_from: date | None = None
    active_to: date | None = None
    name: Annotated[str, Field(min_length=1, max_length=100)] | None = None
    seat: Regency | None = None
    lat: Annotated[float, Field(ge=-90, le=90)] | None = None
    lng: Annotated[float, Field(ge=-180, le=180)] | None = None
    regencies: tuple[Regency, ...] = ()

    @model_validator(mode="after")
    def _needs_connection(self) -> "Branch":
        if self.kind != "file" and self.connection is None:
            raise ValueError(f"kind {self.kind} needs a connection")
        return self

    @model_validator(mode="after")
    def _is_somewhere(self) -> "Branch":
        if (self.name is None) != (self.seat is None):
            raise ValueError("name and seat come together")
        if (self.lat is None) != (self.lng is None):
            raise ValueError("lat and lng come together")
        return self

    def by(self, way: str) -> "Branch":
        """This branch as one that delivers by `way`: a kind, or kind:connection. Raises UserError for another text."""
        kind, _, connection = way.partition(":")
        try:
            return Branch.model_validate(self.model_dump() | {"kind": kind, "connection": connection or None})
        except ValidationError as error:
            message = error.errors()[0]["msg"].removeprefix("Value error, ")
            raise UserError(
                f"way {way!r} of {self.branch_id}: {message}",
                "write it as kind or kind:connection, like sftp:branch_044",
            ) from error

    @property
    def zone(self) -> ZoneInfo:
        """The time zone that the branch's own timestamps are in."""
        return ZoneInfo(self.timezone)


class Registry(BaseModel):
    """All branches, each once, and head office."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    branches: tuple[Branch, ...]

    @field_validator("branches")
    @classmethod
    def _distinct(cls, branches: tuple[Branch, ...]) -> tuple[Branch, ...]:
        seen: set[str] = set()
        for branch in branches:
            if branch.branch_id in seen:
                raise ValueError(f"branch {branch.branch_id} is listed twice")
            seen.add(branch.branch_id)
        return branches

    @field_validator("branches")
    @classmethod
    def _regencies_once(cls, branches: tuple[Branch, ...]) -> tuple[Branch, ...]:
        given: dict[str, str] = {}
        for branch in branches:
            for regency in branch.regencies:
                if given.get(regency) == branch.branch_id:
                    raise ValueError(f"regency {regency} is listed twice at {branch.branch_id}")
                if regency in given:
                    raise ValueError(f"regency {regency} is given to both {given[regency]} and {branch.branch_id}")
                given[regency] = branch.branch_id
        return branches

    def get(self, branch_id: str) -> Branch:
        """The entry of `branch_id`. Raises UserError when the registry does not know it."""
        for branch in self.branches:
            if branch.branch_id == branch_id:
                return branch
        raise UserError(f"branch {branch_id!r} is not in the registry", "add an entry for it to config/branches.yml")

    @property
    def offices(self) -> tuple[Branch, ...]:
        """The branch offices, without head office."""
        return tuple(b for b in self.branches if b.branch_id != HEAD_OFFICE)


@cache
def load_registry(path: Path | None = None) -> Registry:
    """The registry in `path` (default: the setting `registry`). Raises UserError naming the entry that is wrong."""
    path = path or get_settings().registry
    try:
        document = yaml.safe_load(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise UserError(f"branch registry {path} does not exist", "restore it, or set KKBC_REGISTRY") from error
    except (OSError, yaml.YAMLError) as error:
        cause = " ".join(str(error).split())
        raise UserError(f"branch registry {path} cannot be read: {cause}", "fix the file") from error
    try:
        return Registry.model_validate(document)
    except ValidationError as error:
        first = error.errors()[0]
        place = _place(first["loc"], document)
        message = first["msg"].removeprefix("Value error, ")
        raise UserError(f"branch registry {path}: {place}: {message}", "fix that entry") from error


def _place(loc: tuple[int | str, ...], document: object) -> str:
    """Names the entry by its branch_id where there is one, for the index alone helps nobody."""
    match (loc, document):
        case (("branches", int(i), *rest), {"branches": list(entries)}) if isinstance(entries[i], dict):
            return f"{entries[i].get('branch_id', f'entry {i + 1}')} {'.'.join(map(str, rest))}".strip()
    return ".".join(map(str, loc)) or "the file"
