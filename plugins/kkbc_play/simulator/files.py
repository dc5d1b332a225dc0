"""The ways `file`, `sftp` and `s3`: a folder a branch and day, its manifest written last."""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from random import Random

from kkbc_play.simulator.encoding import encode
from kkbc_play.simulator.posting import STRAY, Json, Posting, Rows, folder_of, head_of, put_last
from kkbc_play.simulator.rows import REQUIRED, Row
from kkbc_play.simulator.spelling import Profile, columns_of


def write_files(
    rng: Random, root: Path, posting: Posting, profile: Profile, rows: Rows, branch_ids: Sequence[str]
) -> None:
    """Writes the posting's files in the branch's fashion, then its manifest, wrong in the ways that it asks for."""
    folder = folder_of(root, posting)
    entries = [_file(rng, folder, posting, profile, feed, rows[feed]) for feed in rows]
    if posting.stray:
        (folder / "catatan.txt").write_text("Laporan manual, abaikan.\n", encoding="utf-8")
        entries.append({"feed": STRAY, "name": f"{STRAY}.csv", "rows": 1, "bytes": 5, "sha256": "0" * 64})
    listed = [*entries, rng.choice(entries)] if posting.whole == "LISTED_TWICE" else entries
    manifest = {**head_of(rng, posting, branch_ids), "revision": posting.revision, "files": listed}
    text = json.dumps(manifest, indent=1 if rng.random() < 0.5 else None)
    name = "manifest.json" if posting.revision == 1 else f"manifest.r{posting.revision}.json"
    put_last(folder / name, (text[:-1] if posting.whole == "NO_JSON" else text).encode())


def _file(rng: Random, folder: Path, posting: Posting, profile: Profile, feed: str, rows: Sequence[Row]) -> Json:
    """Writes one feed's file and returns its entry in the manifest."""
    reason = posting.refused.get(feed)
    if reason == "UNREADABLE" and profile.format == "csv":
        profile = replace(profile, format="csv.gz")
    columns = columns_of(profile, feed)
    if reason == "HEADER":
        if rng.random() < 0.5 and not profile.format.startswith("jsonl"):
            columns.append(columns[0])
        else:
            columns.remove(rng.choice(REQUIRED[feed]))
    data = encode(rng, profile, feed, rows, columns=columns)
    if not rows and rng.random() < 0.4:
        data = b""
    if reason == "UNREADABLE":
        data = data + b'\n{"kode_kantor": "KC0' if profile.format == "jsonl" else data[: len(data) // 2]
    revision = "" if posting.revision == 1 else f".r{posting.revision}"
    name = f"{feed}{revision}.{profile.format}"
    if reason != "FILE_MISSING":
        (folder / name).write_bytes(data)
    entry: Json = {
        "feed": feed,
        "name": name,
        "rows": len(rows),
        "bytes": len(data),
        "sha256": hashlib.sha256(data).hexdigest(),
    }
    if reason == "CHECKSUM":
        entry |= rng.choice(
            ({"sha256": hashlib.sha256(data + b" ").hexdigest()}, {"bytes": len(data) + 1, "rows": len(rows) + 1})
        )
    if reason == "ROW_COUNT":
        entry["rows"] += rng.choice((1, 7))
    return entry
