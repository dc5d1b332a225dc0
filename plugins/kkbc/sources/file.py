"""Kind `file`: a folder per branch and business date, the manifest written last."""

import os
import shutil
from collections.abc import Iterator
from dataclasses import replace
from datetime import date
from functools import partial
from pathlib import Path, PurePosixPath

from kkbc.errors import SliceRejected, UserError
from kkbc.registry import Branch
from kkbc.slices import Delivery, Entry
from kkbc.sources.base import Manifest, Wanted
from kkbc.sources.manifest import parse_manifest, revision_of_name


class FileSource:
    """Deliveries of `branch` under `root`/{branch_id}/{YYYY-MM-DD}/. Read only."""

    def __init__(self, branch: Branch, root: Path) -> None:
        self.branch = branch
        self.root = root
        self.folder = root / branch.branch_id

    def manifests(self, wanted: Wanted) -> Iterator[Manifest]:
        """See Source. A branch without a folder has delivered nothing yet; a missing root is the user's mistake."""
        if not self.root.is_dir():
            raise UserError(f"source root {self.root} is no folder", "give the folder that holds KC001, KC002, ...")
        for day in sorted(self._days()):
            if day > wanted.until:
                return
            found = []
            for item in os.scandir(self.folder / day.isoformat()):
                revision = revision_of_name(item.name)
                if revision is not None and item.is_file():
                    status = item.stat()
                    found.append((revision, item.name, f"{status.st_size}:{status.st_mtime_ns}"))
            for _, name, stamp in sorted(found):
                yield Manifest(day, name, stamp, partial(self._read, day, name))

    def fetch(self, delivery: Delivery, entry: Entry, target: Path) -> None:
        """See Source. A name that leads out of the delivery's folder counts as missing."""
        if entry.name is None or entry.bytes is None or entry.sha256 is None or entry.rows < 0:
            raise SliceRejected("UNREADABLE", "the manifest gives no lawful name, rows, bytes or sha256 for it")
        name = entry.name
        if PurePosixPath(name).name != name or name in ("", ".", ".."):
            raise SliceRejected("FILE_MISSING", "the manifest's file name is no plain name")
        try:
            shutil.copyfile(self.folder / delivery.business_date.isoformat() / name, target)
        except (FileNotFoundError, IsADirectoryError) as error:
            raise SliceRejected("FILE_MISSING", f"{name} is listed and not there") from error

    def close(self) -> None:
        """See Source. A folder needs no closing."""

    def _days(self) -> Iterator[date]:
        if not self.folder.is_dir():
            return
        for item in os.scandir(self.folder):
            try:
                day = date.fromisoformat(item.name)
            except ValueError:
                continue
            if day.isoformat() == item.name and item.is_dir():
                yield day

    def _read(self, day: date, name: str) -> Delivery:
        folder = self.folder / day.isoformat()
        delivery = self._parse(day, name)
        names = [item.name for item in os.scandir(folder) if item.is_file()]
        manifests = [name for name in names if revision_of_name(name) is not None]
        listed = {entry.name for manifest in manifests for entry in self._parse(day, manifest).entries}
        return replace(delivery, unlisted=tuple(sorted(set(names) - set(manifests) - listed)))

    def _parse(self, day: date, name: str) -> Delivery:
        content = (self.folder / day.isoformat() / name).read_bytes()
        return parse_manifest(content, self.branch.branch_id, day, name, self.branch.zone)
