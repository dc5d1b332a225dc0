"""Manifests, read and judged as far as they condemn all their slices (Exchange rules 4 and 21).

Every way has its own form of manifest; what it says is judged in one place.
"""

import hashlib
import json
import re
from collections import Counter
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any, TypeGuard
from zoneinfo import ZoneInfo

from kkbc.exchange.contracts import feeds_of
from kkbc.exchange.slices import Delivery, Entry, RejectionReason

SCHEMA_VERSION = 1
_NAME = re.compile(r"manifest(?:\.r(.*))?\.json", re.IGNORECASE | re.ASCII | re.DOTALL)
_LISTS = ("files", "slices", "feeds")
MAX_REVISION = 999
NOT_TAKEN = f"its revision is no whole number from 1 to {MAX_REVISION}: it is not taken"
_MOST = 2**63
_FIRST_YEAR, _LAST_YEAR = 1900, 9000


@dataclass(frozen=True)
class Place:
    """Where a manifest was found: whose it must be, what it is called, and the revision it stands for by that.

    `zone` is that of times without an offset.
    """

    branch_id: str
    business_date: date
    name: str
    zone: ZoneInfo
    revision: int = 1


def is_manifest_name(name: str) -> bool:
    """Whether a file is called like a manifest, in any case and of whatever revision."""
    return _NAME.fullmatch(name) is not None


def revision_of_name(name: str) -> int | None:
    """Revision that a file name stands for: manifest.json 1, manifest.r3.json 3, in any case.

    None for any other file, and for a manifest of another revision than 1 to 999 (Exchange rule 33).
    """
    match = _NAME.fullmatch(name)
    if match is None:
        return None
    said = match[1]
    if said is None:
        return 1
    return _revision(int(said)) if re.fullmatch("[0-9]{1,6}", said) else None


def refused_manifest(branch_id: str, business_date: date, name: str, why: str) -> Delivery:
    """What there is to report of a manifest that is not taken: nothing is delivered by it."""
    digest = hashlib.sha256(name.encode(errors="surrogatepass")).hexdigest()
    return Delivery(branch_id, business_date, 1, None, (), name, digest, notes=(why,))


def parse_manifest(content: bytes, branch_id: str, business_date: date, name: str, zone: ZoneInfo) -> Delivery:
    """Reads the manifest file found for `branch_id` and `business_date` under `name`.

    Never raises for what a branch may have written: a manifest that cannot be trusted gives a Delivery whose
    `rejection` says why, over the slices that it lists, or over all feeds of the branch where those cannot be known.
    `sent_at` without an offset is taken as local to `zone`.
    """
    place = Place(branch_id, business_date, name, zone, revision_of_name(name) or 1)
    return _judge(_load(content), content, place)


def parse_answer(content: bytes, place: Place) -> Delivery:
    """Reads the manifest that an API gave for `place` (branch exchange, API). Never raises, see parse_manifest.

    The page names what it holds and not its form, so it is read freely: the slices under files, slices or feeds, as a
    list or as an object by feed; what the address has said already, branch and date, may be left out. Each slice may
    have its own revision and sent_at; only one revision of a feed that comes twice is one too many.
    """
    document = _load(content)
    if isinstance(document, dict):
        found = next((document[name] for name in _LISTS if document.get(name) is not None), None)
        document = _expected(place) | document | {"files": _listed(found)}
    return _judge(document, content, place, each_its_own=True)


def judge_rows(rows: list[dict[str, Any]], place: Place) -> Delivery:
    """The delivery that rows of a database announce (branch exchange, Database), as feed, rows and sent_at of each."""
    content = json.dumps(rows, sort_keys=True).encode()
    revision = {"revision": place.revision}
    files = [row | revision for row in rows]
    return _judge(_expected(place) | revision | {"files": files}, content, place, each_its_own=True)


def _judge(document: Any, content: bytes, place: Place, *, each_its_own: bool = False) -> Delivery:
    """`each_its_own`: slices have revisions and times of their own."""
    branch_id, business_date, name, revision = place.branch_id, place.business_date, place.name, place.revision
    digest = hashlib.sha256(content).hexdigest()
    feeds = feeds_of(branch_id)

    def condemned(
        reason: RejectionReason, detail: str, entries: tuple[Entry, ...] = (), sent_at: datetime | None = None
    ) -> Delivery:
        listed = entries or tuple(Entry(feed, 0) for feed in feeds)
        return Delivery(branch_id, business_date, revision, sent_at, listed, name, digest, (reason, detail))

    if not isinstance(document, dict):
        return condemned("UNREADABLE", f"{name} is no JSON object")

    said = document.get("revision")
    if said is not None and _revision(said) is None:
        return Delivery(branch_id, business_date, revision, None, (), name, digest, notes=(NOT_TAKEN,))
    revision = _revision(said) or revision
    sent_at = _instant(document.get("sent_at"), place.zone)
    files = document.get("files")
    listed = [item for item in files if isinstance(item, dict)] if isinstance(files, list) else []
    known = [item for item in listed if item.get("feed") in feeds]
    not_taken = {item["feed"] for item in known if each_its_own and not _may_be_taken(item.get("revision"))}
    entries = tuple(
        _entry(item, place.zone, each_its_own)
        for item in known
        if not each_its_own or _may_be_taken(item.get("revision"))
    )
    unknown = tuple(sorted({str(_scalar(item.get("feed")))[:40] for item in listed if item.get("feed") not in feeds}))
    notes = tuple(f"{feed}: {NOT_TAKEN}" for feed in sorted(not_taken))

    version = document.get("schema_version")
    if isinstance(version, bool) or version != SCHEMA_VERSION:  # true is equal to 1 in Python, not in JSON
        detail = f"schema_version is not {SCHEMA_VERSION}"
        return condemned("SCHEMA_VERSION", detail, _once(entries), sent_at)
    if document.get("branch_id") != branch_id:
        return condemned("MANIFEST_BRANCH", "the manifest is of another branch", _once(entries), sent_at)
    if document.get("business_date") != business_date.isoformat():
        return condemned("MANIFEST_DATE", "the manifest is of another business date", _once(entries), sent_at)
    if not isinstance(files, list) or len(listed) != len(files):
        return condemned("UNREADABLE", "the manifest lists no files, or something that is none", sent_at=sent_at)
    if twice := _twice(listed, revision, each_its_own):
        return condemned("UNREADABLE", f"the manifest lists a {twice} twice", sent_at=sent_at)
    return Delivery(branch_id, business_date, revision, sent_at, entries, name, digest, None, unknown, notes=notes)


def _twice(listed: list[dict[str, Any]], revision: int, each_its_own: bool) -> str | None:
    """What is listed a second time: a feed or a file, or a revision of a feed where slices have revisions."""
    if each_its_own:
        said = Counter(
            ("slice", _written(item.get("feed")), _written(revision if (own := item.get("revision")) is None else own))
            for item in listed
        )
    else:
        said = Counter(("feed", _written(item.get("feed")), "") for item in listed)
        said.update(("file", _written(item["name"]), "") for item in listed if item.get("name") is not None)
    return next((what for (what, _, _), n in said.items() if n > 1), None)


def _written(value: object) -> str:
    """A value as it is distinguished from others: 1, true and "1" are three."""
    return repr(_scalar(value))


def _scalar(value: object) -> str | int | float | None:
    """A value of JSON that can be compared and written down; of lists and objects, however deep, the kind."""
    return value if isinstance(value, str | int | float | None) else type(value).__name__


def _load(content: bytes) -> Any:
    try:
        return json.loads(content)
    except (ValueError, RecursionError):
        return None


def _expected(place: Place) -> dict[str, Any]:
    business_date = place.business_date.isoformat()
    return {"schema_version": SCHEMA_VERSION, "branch_id": place.branch_id, "business_date": business_date}


def _listed(found: object) -> object:
    """A list of slices in one form, from a list or an object by feed; anything else as it is."""
    if isinstance(found, dict):
        found = [{"feed": feed} | value if isinstance(value, dict) else value for feed, value in found.items()]
    if isinstance(found, list):
        found = [{"feed": item.get("name")} | item if isinstance(item, dict) else item for item in found]
    return found


def _once(entries: tuple[Entry, ...]) -> tuple[Entry, ...]:
    return tuple({(entry.feed, entry.revision): entry for entry in entries}.values())


def _entry(item: dict[str, Any], zone: ZoneInfo, each_its_own: bool) -> Entry:
    """What the manifest says, with None for what it does not say in the valid form: such a slice is UNREADABLE."""
    feed, said_rows = str(item["feed"]), item.get("rows")
    rows = said_rows if _is_whole(said_rows) else -1
    if each_its_own:
        sent_at = _instant(item.get("sent_at"), zone)
        return Entry(feed, rows, revision=_revision(item.get("revision")), sent_at=sent_at)
    name, size, digest = item.get("name"), item.get("bytes"), item.get("sha256")
    return Entry(
        feed,
        rows,
        name=name if isinstance(name, str) and _is_text(name) else None,
        bytes=size if _is_whole(size) else None,
        sha256=digest.lower() if isinstance(digest, str) else None,
    )


def _is_whole(value: object) -> TypeGuard[int]:
    """Whether it is a whole number that anything could have so many of; JSON knows no bounds."""
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value < _MOST


def _is_text(value: str) -> bool:
    """Whether it can be written down: JSON can spell half characters, and the one that ends a text elsewhere."""
    return not any(character == "\0" or "\ud800" <= character <= "\udfff" for character in value)


def _revision(value: object) -> int | None:
    return value if _is_whole(value) and 1 <= value <= MAX_REVISION else None


def _may_be_taken(revision: object) -> bool:
    """Whether a revision is valid, or left out (Exchange rule 33)."""
    return revision is None or _revision(revision) is not None


def _instant(value: object, zone: ZoneInfo) -> datetime | None:
    if not isinstance(value, str):
        return None
    try:
        moment = datetime.fromisoformat(value)
    except ValueError:
        return None
    if not _FIRST_YEAR <= moment.year <= _LAST_YEAR:  # on the brink of time no other zone can tell it
        return None
    return moment if moment.tzinfo else moment.replace(tzinfo=zone)
