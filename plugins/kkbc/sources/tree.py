"""Deliveries as files: `{branch_id}/{YYYY-MM-DD}/{file}`, the manifest written last, in a tree of any kind.

What is common to folders, SFTP servers and object stores is here; what a tree must offer is `Tree`.
"""

import unicodedata
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from datetime import date
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Protocol

from kkbc.errors import BranchRefused, BranchUnavailable, SliceRejected
from kkbc.registry import Branch
from kkbc.slices import Delivery, Entry
from kkbc.sources.base import Manifest, Wanted
from kkbc.sources.manifest import parse_manifest, revision_of_name

# Both as the network layers below see them: time to get in, and time without a word from the branch.
CONNECT_SECONDS = 10.0
READ_SECONDS = 60.0
BLOCK = 1 << 20
# A manifest lists three files. One that goes on for ever must not fill the memory; cut off it is no JSON.
MANIFEST_BYTES = 1 << 20


class FileGone(Exception):
    """A tree has no such file."""


class FileForbidden(Exception):
    """A tree has the file and does not give it to us."""


@dataclass(frozen=True)
class Item:
    """A file of a delivery. `stamp` changes when its content does, and costs no more than listing the folder."""

    name: str
    stamp: str


class Tree(Protocol):
    """What one branch has put down. Every call may raise BranchRefused, BranchUnavailable or BranchTimeout."""

    def days(self, until: date) -> Iterable[tuple[date, list[Item] | None]]:
        """The days up to `until` that have a folder, in order, with its files; None for one that may not be read."""
        ...

    def read(self, day: date, name: str) -> Iterator[bytes]:
        """The bytes of a file in blocks, to the last one or with an error: never a part as if it were the whole.

        Raises FileGone or FileForbidden at the first block.
        """
        ...

    def close(self) -> None:
        """Gives connections back."""
        ...


class TreeSource:
    """The deliveries of `branch` in `tree`. Reads only. See Source."""

    def __init__(self, branch: Branch, tree: Tree) -> None:
        self.branch = branch
        self.tree = tree
        self._parsed: dict[tuple[date, Item], Delivery] = {}

    def manifests(self, wanted: Wanted) -> Iterator[Manifest]:
        """See Source. Days that may not be read are told at the end, so that the others are not held up."""
        forbidden = []
        for day, items in self.tree.days(wanted.until):
            if items is None:
                forbidden.append(day)
                continue
            for item in _manifests(items):
                yield Manifest(day, item.name, item.stamp, partial(self._read, day, item, items))
        if forbidden:
            raise BranchRefused(
                f"branch {self.branch.branch_id} does not let its folder of {forbidden[0]} be read",
                "have the branch permit it to the login that the connection names",
            )

    def fetch(self, delivery: Delivery, entry: Entry, target: Path) -> None:
        """See Source. A name that leads out of the delivery's folder counts as missing."""
        if entry.name is None or entry.bytes is None or entry.sha256 is None or entry.rows < 0:
            raise SliceRejected("UNREADABLE", "the manifest gives no lawful name, rows, bytes or sha256 for it")
        if not _is_plain(entry.name):
            raise SliceRejected("FILE_MISSING", "the manifest's file name is no plain name")
        blocks = self.tree.read(delivery.business_date, entry.name)
        with target.open("wb") as file:
            try:
                for block in blocks:
                    file.write(block)
            except FileGone as error:
                raise SliceRejected("FILE_MISSING", f"{entry.name} is listed and not there") from error
            except FileForbidden as error:
                raise SliceRejected("UNREADABLE", f"{entry.name} is there and may not be read") from error

    def close(self) -> None:
        """See Source."""
        self.tree.close()

    def _read(self, day: date, item: Item, items: list[Item]) -> Delivery:
        manifests = _manifests(items)
        listed = {entry.name for manifest in manifests for entry in self._parse(day, manifest).entries}
        names = {other.name for other in items} - {manifest.name for manifest in manifests}
        return replace(self._parse(day, item), unlisted=tuple(sorted(names - listed)))

    def _parse(self, day: date, item: Item) -> Delivery:
        """Each manifest is read once a visit: all of a day's are needed to tell which files none of them lists."""
        if (day, item) not in self._parsed:
            content = b""
            try:
                for block in self.tree.read(day, item.name):
                    content += block
                    if len(content) > MANIFEST_BYTES:
                        break
            except FileGone as error:
                raise BranchUnavailable(
                    f"branch {self.branch.branch_id} took {day}/{item.name} away while it was visited"
                ) from error
            except FileForbidden as error:
                raise BranchRefused(
                    f"branch {self.branch.branch_id} does not let {day}/{item.name} be read",
                    "have the branch permit it to the login that the connection names",
                ) from error
            content = content[:MANIFEST_BYTES]
            delivery = parse_manifest(content, self.branch.branch_id, day, item.name, self.branch.zone)
            self._parsed[day, item] = delivery
        return self._parsed[day, item]


def _manifests(items: list[Item]) -> list[Item]:
    """The manifests among the files of a day, by revision."""
    found = [(revision, item.name, item) for item in items if (revision := revision_of_name(item.name)) is not None]
    return [item for _, _, item in sorted(found)]


def day_of(name: str) -> date | None:
    """The business date that a folder's name stands for, in the one lawful spelling; None for any other name."""
    try:
        day = date.fromisoformat(name)
    except ValueError:
        return None
    return day if day.isoformat() == name else None


def _is_plain(name: str) -> bool:
    """Whether it is the name of a file in this folder, and can be one in the landing folder too."""
    return (
        PurePosixPath(name).name == name
        and name not in ("", ".", "..")
        and not any(unicodedata.category(character) in ("Cc", "Cs") for character in name)
        and len(name.encode()) <= 200
    )
