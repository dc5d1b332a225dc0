"""Deliveries as files: `{branch_id}/{YYYY-MM-DD}/{file}`, the manifest written last, in a tree of any kind.

What is common to folders, SFTP servers and object stores is here; what a tree must offer is `Tree`.
"""

import re
import unicodedata
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from datetime import date
from enum import Enum
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Protocol
from urllib.parse import unquote

from kkbc.core.errors import BranchRefused, SliceRejected
from kkbc.exchange.masking import shown_name
from kkbc.exchange.registry import Branch
from kkbc.exchange.slices import Delivery, Entry
from kkbc.intake.sources.base import Manifest, OneRefused, OneUnavailable, Wanted
from kkbc.intake.sources.bounds import MOST_FILES, Bounds
from kkbc.intake.sources.manifest import is_manifest_name, parse_manifest, refused_manifest, revision_of_name

# Both as the network layers below see them: time to get in, and time without a word from the branch.
CONNECT_SECONDS = 10.0
READ_SECONDS = 60.0
BLOCK = 1 << 20
# A manifest lists three files. One that goes on for ever must not fill the memory; cut off it is no JSON.
MANIFEST_BYTES = 1 << 20
_DRIVE = re.compile(r"[A-Za-z]:")


class FileGone(Exception):
    """A tree has no such file."""


class FileForbidden(Exception):
    """A tree has the file and does not give it to us."""


@dataclass(frozen=True)
class Item:
    """A file of a delivery. `stamp` changes when its content does, and costs no more than listing the folder."""

    name: str
    stamp: str


class Hidden(Enum):
    """Why the files of a day are not known."""

    FORBIDDEN = "does not let its folder of {day} be read"
    GARBLED = "answers nonsense for its folder of {day}"
    CROWDED = f"has more than {MOST_FILES} files in its folder of {{day}}"


class Tree(Protocol):
    """What one branch has put down. Every call may raise BranchRefused, BranchUnavailable or BranchTimeout."""

    def days(self, until: date) -> Iterable[tuple[date, list[Item] | Hidden]]:
        """The days up to `until` that have a folder, in order, with its files: the latest MOST_DAYS of them.

        Of names that are longer than any valid one the beginning will do.
        """
        ...

    def read(self, day: date, name: str, most: int) -> Iterator[bytes]:
        """The first `most` bytes of a file in blocks, and no more, or all of them, or an error: never less.

        Raises FileGone or FileForbidden at the first block.
        """
        ...

    def close(self) -> None:
        """Gives connections back."""
        ...


class TreeSource:
    """The deliveries of `branch` in `tree`. Reads only. See Source."""

    def __init__(self, branch: Branch, tree: Tree, bounds: Bounds | None = None) -> None:
        self.branch = branch
        self.tree = tree
        self.bounds = bounds or Bounds()
        self._day: date | None = None
        self._items: list[Item] = []
        self._parsed: dict[Item, Delivery] = {}

    def manifests(self, wanted: Wanted) -> Iterator[Manifest]:
        """See Source. Days that may not be read are reported at the end, so that the others are not held up."""
        hidden: list[tuple[date, Hidden]] = []
        for day, items in self.tree.days(wanted.until):
            if isinstance(items, Hidden):
                hidden.append((day, items))
                continue
            taken, refused = _manifests(items)
            for item in taken:
                yield Manifest(day, item.name, item.stamp, partial(self._read, day, item, items))
            for item, why in refused.items():
                place = (self.branch.branch_id, day, item.name, why)
                yield Manifest(day, item.name, item.stamp, partial(refused_manifest, *place))
        if hidden:
            day, why_hidden = hidden[0]
            raise BranchRefused(
                f"branch {self.branch.branch_id} {why_hidden.value.format(day=day)}",
                "have the branch permit it to the login that the connection names, and clear away what is no delivery",
            )

    def fetch(self, delivery: Delivery, entry: Entry, target: Path) -> None:
        """See Source. A name that leads out of the delivery's folder counts as missing (Exchange rule 34).

        Of a file that is longer than announced one byte more is fetched, and no further (Exchange rule 35).
        """
        if entry.name is None or entry.bytes is None or entry.sha256 is None or entry.rows < 0:
            raise SliceRejected("UNREADABLE", "the manifest gives no valid name, rows, bytes or sha256 for it")
        if not _is_plain(entry.name):
            raise SliceRejected("FILE_MISSING", "the manifest's file name is no plain name")
        self.bounds.check_announced(entry.bytes)
        try:
            try:
                self._copy(delivery.business_date, entry.name, entry.bytes + 1, target)
            except FileGone:
                name = self._in_other_case(delivery.business_date, entry.name)
                if name is None:
                    raise
                self._copy(delivery.business_date, name, entry.bytes + 1, target)
        except FileGone as error:
            raise SliceRejected("FILE_MISSING", "the file is listed and not there") from error
        except FileForbidden as error:
            raise SliceRejected("UNREADABLE", "the file is there and may not be read") from error

    def close(self) -> None:
        """See Source."""
        self.tree.close()

    def _copy(self, day: date, name: str, most: int, target: Path) -> None:
        with self.bounds.writing(target, most) as file:
            for block in self.tree.read(day, name, most):
                file.write(block)

    def _in_other_case(self, day: date, name: str) -> str | None:
        """The only file of the day, as it was listed last, that is called so but for capitals."""
        return _fitting(name, [item.name for item in self._items]) if day == self._day else None

    def _read(self, day: date, item: Item, items: list[Item]) -> Delivery:
        if day != self._day or items is not self._items:
            self._day, self._items, self._parsed = day, items, {}
        manifests, refused = _manifests(items)
        names = [other.name for other in items if other not in manifests and other not in refused]
        listed = {
            _fitting(entry.name, names)
            for manifest in manifests
            for entry in self._parse(day, manifest).entries
            if entry.name is not None
        }
        return replace(self._parse(day, item), unlisted=tuple(sorted(set(names) - listed)))

    def _parse(self, day: date, item: Item) -> Delivery:
        """Each manifest is read once a visit: all of a day's are needed to tell which files none of them lists."""
        if item not in self._parsed:
            content = bytearray()
            try:
                for block in self.tree.read(day, item.name, MANIFEST_BYTES):
                    content += block
            except FileGone as error:
                raise OneUnavailable(
                    f"branch {self.branch.branch_id} took {day}/{shown_name(item.name)} away while it was visited"
                ) from error
            except FileForbidden as error:
                raise OneRefused(
                    f"branch {self.branch.branch_id} does not let {day}/{shown_name(item.name)} be read",
                    "have the branch permit it to the login that the connection names",
                ) from error
            place = (self.branch.branch_id, day, item.name, self.branch.zone)
            self._parsed[item] = parse_manifest(bytes(content), *place)
        return self._parsed[item]


def _manifests(items: list[Item]) -> tuple[list[Item], dict[Item, str]]:
    """The manifests among the files of a day, by revision, and those that are not taken, with the reason.

    In whatever case: the exact name first, another one only where it is the only one that fits (Exchange rule 34).
    """
    named = [item for item in items if is_manifest_name(item.name)]
    fitting: dict[str, list[Item]] = {}
    for item in named:
        fitting.setdefault(item.name.lower(), []).append(item)
    taken: list[tuple[int, str, Item]] = []
    refused: dict[Item, str] = {}
    for name, candidates in sorted(fitting.items()):
        revision = revision_of_name(name)
        exact = [item for item in candidates if item.name == name]
        if revision is None:
            refused |= dict.fromkeys(candidates, "its name has no revision from 1 to 999: it is not taken")
        elif exact or len(candidates) == 1:
            taken.append((revision, name, (exact or candidates)[0]))
        else:
            refused |= dict.fromkeys(candidates, "there are several manifests of that name: none of them is taken")
    return [item for *_, item in sorted(taken, key=lambda found: found[:2])], refused


def _fitting(name: str, names: list[str]) -> str | None:
    """`name` where it is one of `names`, else the only one that differs in nothing but capitals."""
    if name in names:
        return name
    others = [other for other in names if other.casefold() == name.casefold()]
    return others[0] if len(others) == 1 else None


def _is_plain(name: str) -> bool:
    """Whether it is the name of a file in this folder whoever reads it, and can be one in the landing folder too."""
    return (
        PurePosixPath(name).name == name
        and name not in ("", ".", "..")
        and "\\" not in name
        and _DRIVE.match(name) is None
        and unquote(name) == name
        and not any(unicodedata.category(character) in ("Cc", "Cs") for character in name)
        and len(name.encode()) <= 200
    )
