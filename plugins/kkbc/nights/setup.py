"""What is checked before a run is opened, so that a mistake in the set-up is reported once and not by every branch."""

import os
import re
from collections.abc import Iterator, Mapping
from contextlib import suppress
from itertools import islice
from pathlib import Path

from kkbc.core import clock
from kkbc.core.errors import UserError
from kkbc.core.settings import get_settings
from kkbc.exchange.contracts import feeds, load_contract
from kkbc.exchange.masking import shown_name
from kkbc.exchange.registry import Branch, load_registry
from kkbc.intake.validation import check_contract
from kkbc.nights.request import RunRequest

MAX_FOLDERS_LISTED = 20
"""Folders of one branch that are no business dates, of which a line is written."""


def check_setup(request: RunRequest) -> list[str]:
    """Checks what can be checked without a warehouse: contracts, registry, branches, ways, source root.

    Returns a line for each folder under the source root that no registry entry claims. Raises UserError.
    """
    check_contracts()
    registry = load_registry()
    for branch_id in (*request.branch_ids, *(name for name in request.ways if name != "*")):
        registry.get(branch_id)
    visited = [by_its_way(branch, request.all_ways) for branch in registry.branches]
    root = source_root(request)
    if root is None and all(branch.kind == "file" and branch.connection is None for branch in visited):
        raise UserError("no source root is set", "give --source-root, or set KKBC_SOURCE_ROOT")
    return unregistered_folders(root)


def check_contracts() -> None:
    """Checks the contract of each feed. Raises UserError for a broken contract or registry."""
    offices = frozenset(branch.branch_id for branch in load_registry().offices)
    for feed in feeds():
        check_contract(load_contract(feed), offices)


def by_its_way(branch: Branch, ways: Mapping[str, str]) -> Branch:
    """The branch, visited by the way that `ways` has for it, if any. Raises UserError for a way that is none."""
    way = ways.get(branch.branch_id) or ways.get("*")
    return branch.by(way) if way else branch


def source_root(request: RunRequest) -> Path | None:
    """The folder with deliveries as files: the one asked for, else the one set."""
    if request.source_root:
        return request.source_root
    root = get_settings().source_root
    return Path(root) if root else None


def unregistered_folders(root: Path | None) -> list[str]:
    """A line for each folder under the source root that is no branch of the registry, or no business date of one.

    Raises UserError when there is no such root.
    """
    if root is None:
        return []
    if not root.is_dir():
        raise UserError(f"source root {root} is no folder", "give the folder that holds KC001, KC002, ...")
    known = {branch.branch_id for branch in load_registry().branches}
    notes = []
    for item in sorted(path for path in root.iterdir() if path.is_dir()):
        if item.name in known:
            notes += [
                f"folder '{item.name}/{name}' is no business date, it is not pulled: name it YYYY-MM-DD"
                for name in sorted(islice(_folders_without_date(item), MAX_FOLDERS_LISTED))
            ]
        elif re.fullmatch(r"KC\d{3}", item.name):
            notes.append(
                f"folder {item.name!r} has no registry entry, its deliveries are not pulled:"
                " add it to config/branches.yml"
            )
        else:
            shown = shown_name(item.name)
            notes.append(f"folder '{shown}' is no branch, it is not pulled: branches are KC001, KC002, ... and HQ")
    return notes


def _folders_without_date(folder: Path) -> Iterator[str]:
    """The names of folders in that of a branch that are no business dates, masked as they may be shown.

    None of them where the branch's folder cannot be read: the visit says what is the matter with it.
    """
    with suppress(OSError), os.scandir(folder) as items:
        for item in items:
            if clock.day_of(item.name) is None and item.is_dir():
                yield shown_name(item.name)
