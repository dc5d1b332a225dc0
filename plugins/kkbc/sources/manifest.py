"""The manifest of a file delivery: read, and judged as far as it condemns all its slices (Exchange rules 4 and 21)."""

import hashlib
import json
import re
from collections import Counter
from datetime import date, datetime
from typing import Any
from zoneinfo import ZoneInfo

from kkbc.slices import Delivery, Entry, RejectionReason, feeds_of

SCHEMA_VERSION = 1
_NAME = re.compile(r"^manifest(?:\.r(\d{1,6}))?\.json$")


def revision_of_name(name: str) -> int | None:
    """Revision that a file name stands for: manifest.json 1, manifest.r3.json 3; None for any other file."""
    match = _NAME.match(name)
    return None if match is None else int(match[1] or 1)


def parse_manifest(content: bytes, branch_id: str, business_date: date, name: str, zone: ZoneInfo) -> Delivery:
    """Reads the manifest found for `branch_id` and `business_date` under `name`.

    Never raises for what a branch may have written: a manifest that cannot be trusted gives a Delivery whose
    `rejection` says why, over the slices that it lists, or over all feeds of the branch where those cannot be known.
    `sent_at` without an offset is taken as local to `zone`.
    """
    digest = hashlib.sha256(content).hexdigest()
    revision = revision_of_name(name) or 1
    feeds = feeds_of(branch_id)

    def condemned(
        reason: RejectionReason, detail: str, entries: tuple[Entry, ...], sent_at: datetime | None
    ) -> Delivery:
        listed = entries or tuple(Entry(feed, 0) for feed in feeds)
        return Delivery(branch_id, business_date, revision, sent_at, listed, name, digest, (reason, detail))

    try:
        document = json.loads(content)
    except (ValueError, RecursionError):
        return condemned("UNREADABLE", f"{name} is no JSON", (), None)
    if not isinstance(document, dict):
        return condemned("UNREADABLE", f"{name} is no JSON object", (), None)

    said = document.get("revision", revision)
    if isinstance(said, int) and not isinstance(said, bool) and 1 <= said < 2**31:
        revision = said
    sent_at = _instant(document.get("sent_at"), zone)
    files = document.get("files")
    listed = [item for item in files if isinstance(item, dict)] if isinstance(files, list) else []
    entries = tuple(_entry(item) for item in listed if item.get("feed") in feeds)
    unknown = tuple(sorted({str(item.get("feed"))[:40] for item in listed if item.get("feed") not in feeds}))

    if document.get("schema_version") != SCHEMA_VERSION:
        detail = f"schema_version is not {SCHEMA_VERSION}"
        return condemned("SCHEMA_VERSION", detail, _once(entries), sent_at)
    if document.get("branch_id") != branch_id:
        return condemned("MANIFEST_BRANCH", "the manifest is of another branch", _once(entries), sent_at)
    if document.get("business_date") != business_date.isoformat():
        return condemned("MANIFEST_DATE", "the manifest is of another business date", _once(entries), sent_at)
    if not isinstance(files, list) or len(listed) != len(files):
        return condemned("UNREADABLE", "the manifest lists no files, or something that is none", (), sent_at)
    twice = [feed for feed, n in Counter(item.get("feed") for item in listed).items() if n > 1]
    twice += [name for name, n in Counter(str(item.get("name")) for item in listed).items() if n > 1]
    if twice:
        return condemned("UNREADABLE", f"the manifest lists {str(twice[0])[:80]} twice", (), sent_at)
    return Delivery(branch_id, business_date, revision, sent_at, entries, name, digest, None, unknown)


def _once(entries: tuple[Entry, ...]) -> tuple[Entry, ...]:
    return tuple({entry.feed: entry for entry in entries}.values())


def _entry(item: dict[str, Any]) -> Entry:
    """What the manifest says, with None for what it does not say in the lawful form: such a slice is UNREADABLE."""
    rows, size = item.get("rows"), item.get("bytes")
    name, digest = item.get("name"), item.get("sha256")
    return Entry(
        feed=str(item["feed"]),
        rows=rows if isinstance(rows, int) and not isinstance(rows, bool) else -1,
        name=name if isinstance(name, str) else None,
        bytes=size if isinstance(size, int) and not isinstance(size, bool) else None,
        sha256=digest.lower() if isinstance(digest, str) else None,
    )


def _instant(value: object, zone: ZoneInfo) -> datetime | None:
    if not isinstance(value, str):
        return None
    try:
        moment = datetime.fromisoformat(value)
    except ValueError:
        return None
    return moment if moment.tzinfo else moment.replace(tzinfo=zone)
