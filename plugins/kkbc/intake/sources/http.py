"""Kind `http`: an API that gives the manifest of a day, and its slices page by page (branch exchange, API)."""

import hashlib
import json
from collections.abc import Iterator
from datetime import timedelta
from functools import partial
from pathlib import Path

from kkbc.core.connections import Connection
from kkbc.core.errors import BranchRefused, BranchUnavailable, SliceRejected
from kkbc.exchange.registry import Branch
from kkbc.exchange.slices import Delivery, Entry
from kkbc.intake.sources.api import Api, Expired, NotThere, Patience, Unintelligible, Unwilling
from kkbc.intake.sources.base import Manifest, OneRefused, OneUnavailable, Wanted
from kkbc.intake.sources.bounds import Bounds
from kkbc.intake.sources.manifest import Place, parse_answer
from kkbc.intake.sources.pages import parse_page
from kkbc.intake.sources.tree import MANIFEST_BYTES

_PAGE_ROWS = 1000
# A page may be empty and name the next one. So many in a row lead nowhere.
_EMPTY_PAGES = 100
_CURSOR_BYTES = 4096


class HttpSource:
    """Deliveries of `branch` behind the API that `connection` names (see Api). Read only."""

    def __init__(
        self,
        branch: Branch,
        connection: Connection,
        patience: Patience | None = None,
        bounds: Bounds | None = None,
    ) -> None:
        self.branch = branch
        self.patience = patience or Patience()
        self.bounds = bounds or Bounds()
        self._api = Api(f"branch {branch.branch_id}", connection, self.patience, self.bounds.deadline)

    def manifests(self, wanted: Wanted) -> Iterator[Manifest]:
        """See Source. One question for each day.

        A single day that the API fails on, or will not speak of, does not keep the others back: its error is raised
        after them. A second one is taken for a failure of the API itself.
        """
        aside: BranchRefused | BranchUnavailable | None = None
        for days in range((wanted.until - wanted.since).days + 1):
            day = wanted.since + timedelta(days=days)
            place = Place(self.branch.branch_id, day, f"deliveries/{day}", self.branch.zone)
            try:
                content = None if day in wanted.skip else self._manifest(place)
            except (OneUnavailable, Unwilling, OneRefused) as status:
                failure = self._failure(status, place)
                if aside is not None:
                    raise failure from None
                aside, content = failure, None
            if content is not None:
                stamp = hashlib.sha256(content).hexdigest()
                yield Manifest(day, place.name, stamp, partial(parse_answer, content, place))
        if aside is not None:
            raise aside

    def fetch(self, delivery: Delivery, entry: Entry, target: Path) -> None:
        """Writes the items of all pages to `target` as JSON lines, each spelt as the branch spelt it.

        What came of a slice that is rejected stays in `target`. Raises SliceRejected: FILE_MISSING for a slice that the
        API does not know, UNREADABLE for answers that are none, ROW_COUNT when twice `total` is not what came.
        """
        if entry.rows < 0:
            raise SliceRejected("UNREADABLE", "the manifest gives no valid rows or revision for it")
        is_second = False
        for _ in range(self.patience.starts):
            try:
                return self._read_pages(delivery, entry, target)
            except Expired:
                continue
            except _WrongTotal as wrong:
                if is_second:
                    raise SliceRejected("ROW_COUNT", str(wrong)) from None
                is_second = True
            except NotThere:
                raise SliceRejected("FILE_MISSING", "the manifest lists it, the API does not know it") from None
            except Unwilling as status:
                raise SliceRejected("UNREADABLE", f"the API answers {status}") from None
        raise OneUnavailable(f"{self._api.place}: the cursor of {entry.feed} expires each time before its last page")

    def close(self) -> None:
        """See Source."""
        self._api.close()

    def _manifest(self, place: Place) -> bytes | None:
        """The manifest as it came, even when it is none; None when there is no such delivery (any more)."""
        try:
            return self._api.ask(place.name, {}, _checked, MANIFEST_BYTES)
        except (NotThere, Expired):
            return None
        except Unintelligible as answer:
            return answer.content

    def _failure(self, status: Exception, place: Place) -> BranchRefused | BranchUnavailable:
        if isinstance(status, BranchRefused | BranchUnavailable):
            return status
        return BranchRefused(f"{self._api.place} answers {status} for {place.name}", "check the address of its API")

    def _read_pages(self, delivery: Delivery, entry: Entry, target: Path) -> None:
        query = {
            "business_date": delivery.business_date.isoformat(),
            "revision": str(delivery.slice_of(entry).revision),
            "limit": str(_PAGE_ROWS),
        }
        # Where the manifest is true this is never reached; an API whose pages have no end is not followed further.
        most = 2 * entry.rows + _PAGE_ROWS
        came, empty, total, cursors = 0, 0, None, set[bytes]()
        with self.bounds.writing(target) as file:
            while True:
                try:
                    page = self._api.ask(entry.feed, query, parse_page)
                except Unintelligible as answer:
                    file.write(answer.content)
                    raise SliceRejected("UNREADABLE", str(answer)) from None
                for item in page.items:
                    file.write(f"{item}\n".encode())
                came += len(page.items)
                empty = 0 if page.items else empty + 1
                total = page.total if total is None else total
                if page.total not in (None, total):
                    raise _WrongTotal(f"total is {total} on one page and {page.total} on another")
                if page.next_cursor is None or came > most or (total is not None and came > total):
                    break
                mark = _mark(page.next_cursor)
                if mark in cursors or empty > _EMPTY_PAGES:
                    raise _WrongTotal(f"the pages have no end: {came} rows came, total is {total}")
                cursors.add(mark)
                query["cursor"] = page.next_cursor
        if total is not None and came != total:
            raise _WrongTotal(f"total is {total}, {came} rows came")


class _WrongTotal(Exception):
    """What came is not what the API says there is."""


def _mark(cursor: str) -> bytes:
    """What tells a cursor from others. Raises SliceRejected for one that cannot be sent back."""
    try:
        content = cursor.encode()
    except UnicodeEncodeError:
        raise SliceRejected("UNREADABLE", "the API gives a cursor that cannot be written") from None
    if len(content) > _CURSOR_BYTES:
        raise SliceRejected("UNREADABLE", f"the API gives a cursor of more than {_CURSOR_BYTES} bytes")
    return hashlib.blake2b(content, digest_size=16).digest()


def _checked(content: bytes) -> bytes:
    """The content of a manifest unless it is no JSON at all, which may be half of one."""
    json.loads(content)
    return content
