"""A new branch: one line in the registry, checked as a whole before it is written."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from pathlib import Path

import yaml
from pydantic import ValidationError

from kkbc.core.errors import UserError
from kkbc.core.files import replacing
from kkbc.core.settings import get_settings
from kkbc.exchange.offices import ZONES, check_offices, regency, rows, serving
from kkbc.exchange.registry import Branch, Registry, load_registry
from kkbc.exchange.slices import HEAD_OFFICE


@dataclass(frozen=True)
class NewBranch:
    """The entry that was written, its line, and from whom it takes each regency over."""

    branch: Branch
    line: str
    taken_from: dict[str, str]


def add_branch(
    branch_id: str,
    name: str,
    regencies: list[str],
    *,
    kind: str = "file",
    connection: str | None = None,
    tier: int = 2,
    seat: str | None = None,
    place: tuple[float, float] | None = None,
    active_from: date | None = None,
) -> NewBranch:
    """Appends the line of a new office to the registry of the settings; comments and order of the file stay.

    The seat is the first regency unless given; the clock is that of the seat's province. Raises UserError, with nothing
    written, when the branch is there already, or the line would make the registry invalid.
    """
    path, registry = get_settings().registry, load_registry()
    if branch_id == HEAD_OFFICE or branch_id in {branch.branch_id for branch in registry.branches}:
        raise UserError(f"branch {branch_id!r} is in the registry already", f"change its line in {path}")
    if not regencies:
        raise UserError(f"branch {branch_id!r} serves no regency", "name them: --regencies 3203,3204")
    _check_codes(branch_id, [*regencies, *filter(None, [seat])])
    _check_name(name.strip(), registry)
    fields = {
        "branch_id": branch_id,
        "kind": kind,
        "connection": connection,
        "timezone": _timezone(seat or regencies[0]),
        "tier": tier,
        "name": name.strip(),
        "seat": seat or regencies[0],
        "lat": place[0] if place else None,
        "lng": place[1] if place else None,
        "regencies": regencies,
        "active_from": active_from,
    }
    given = {key: value for key, value in fields.items() if value is not None}
    before = serving(registry)
    branch = _checked(given, registry)
    line = f"  - {_flow(given)}\n"
    _append(path, line, len(registry.branches) + 1)
    load_registry.cache_clear()
    return NewBranch(branch, line.strip(), {code: before[code] for code in regencies if code in before})


def _check_codes(branch_id: str, regencies: list[str]) -> None:
    """Raises UserError for a branch or a regency that is not written as its code."""
    if not re.fullmatch(r"KC\d{3}", branch_id):
        raise UserError(f"{branch_id!r} cannot be the code of a branch", "write KC and three digits, like KC123")
    for code in regencies:
        if not re.fullmatch(r"\d{4}", code):
            raise UserError(
                f"branch {branch_id!r}: {code!r} cannot be the code of a regency",
                "take its four digits from dbt_project/seeds/regencies.csv",
            )


def _check_name(name: str, registry: Registry) -> None:
    """Raises UserError for the name of another office: dashboards and the board would show two that look the same."""
    named = {row["branch_id"]: row["branch_name"] for row in rows("branches")}
    named |= {branch.branch_id: branch.name for branch in registry.offices if branch.name}
    for branch_id, known in named.items():
        if known.casefold() == name.casefold():
            raise UserError(f"branch {branch_id} is called {known} already", "give the new one another --name")


def _timezone(code: str) -> str:
    """The zone of a regency's province; that of Jakarta for a regency that there is not, which is refused later."""
    row = regency(code)
    zones = {province["code"]: ZONES[province["timezone"]] for province in rows("provinces")}
    return zones.get(row["province_code"], ZONES["WIB"]) if row else ZONES["WIB"]


def _checked(given: Mapping[str, object], registry: Registry) -> Branch:
    """The entry, valid by itself and next to the others; raises UserError that names what is not."""
    try:
        branch = Branch.model_validate(given)
        whole = Registry(branches=(*registry.branches, branch))
    except ValidationError as error:
        first = error.errors()[0]
        message = first["msg"].removeprefix("Value error, ")
        place = ".".join(str(part) for part in first["loc"] if part != "branches")
        raise UserError(
            f"branch {given['branch_id']!r}: {f'{place}: ' if place else ''}{message}",
            "see docs/runbooks/onboard-a-branch.md for what a line holds",
        ) from error
    check_offices(whole)
    return branch


def _flow(given: Mapping[str, object]) -> str:
    """The entry on one line, as the others are written."""
    text: str = yaml.safe_dump(dict(given), default_flow_style=True, sort_keys=False, allow_unicode=True, width=10_000)
    return text.strip()


def _append(path: Path, line: str, entries: int) -> None:
    """Puts the line at the end of the file, whole or not at all, and only when it reads as one entry more."""
    text = path.read_text(encoding="utf-8")
    text = f"{text.rstrip()}\n{line}"
    try:
        read = len(yaml.safe_load(text)["branches"])
    except yaml.YAMLError:
        read = 0
    if read != entries:
        raise UserError(
            f"branch registry {path} does not end with its list of branches", f"add the line by hand: {line.strip()}"
        )
    with replacing(path) as made:
        made.write_text(text, encoding="utf-8")
