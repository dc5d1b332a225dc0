"""The way `http`: what a branch's API answers, kept as files for the server to hand out.

Below `root`/{branch_id}/{date}/: `manifest.json` exactly as served, with the newest revision of every slice;
`{feed}.rN.jsonl`, one row a line; and `{feed}.rN.total` where the API gives a total that is not the number of rows.
"""

import json
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from random import Random

from kkbc_play.simulator.encoding import json_rows
from kkbc_play.simulator.posting import STRAY, Json, Posting, Rows, folder_of, head_of, put_last
from kkbc_play.simulator.rows import REQUIRED, Row
from kkbc_play.simulator.spelling import Profile, columns_of


def rows_path(folder: Path, feed: str, revision: int) -> Path:
    """Where the rows of one slice lie; nowhere when the API does not know it."""
    return folder / f"{feed}.r{revision}.jsonl"


def write_answers(
    rng: Random, root: Path, posting: Posting, profile: Profile, rows: Rows, branch_ids: Sequence[str]
) -> None:
    """Writes the rows of the posting's slices, then the manifest, in which they stand next to the day's others."""
    folder = folder_of(root, posting)
    files = {} if posting.revision == 1 else _announced(folder)
    for feed in rows:
        files[feed] = _slice(rng, folder, posting, profile, feed, rows[feed])
    if posting.stray:
        files[STRAY] = {"feed": STRAY, "revision": 1, "rows": 1}
    entries = list(files.values())
    listed = [*entries, rng.choice(entries)] if posting.whole == "LISTED_TWICE" else entries
    text = json.dumps({**head_of(rng, posting, branch_ids), "files": listed})
    put_last(folder / "manifest.json", (text[:-1] if posting.whole == "NO_JSON" else text).encode())


def _announced(folder: Path) -> dict[str, Json]:
    with suppress(OSError, ValueError):
        return {entry["feed"]: entry for entry in json.loads((folder / "manifest.json").read_bytes())["files"]}
    return {}


def _slice(rng: Random, folder: Path, posting: Posting, profile: Profile, feed: str, rows: Sequence[Row]) -> Json:
    reason = posting.refused.get(feed)
    columns = columns_of(profile, feed)
    if reason == "HEADER":
        columns.remove(rng.choice(REQUIRED[feed]))
    path = rows_path(folder, feed, posting.revision)
    if reason != "FILE_MISSING":
        lines = [json.dumps(row, ensure_ascii=False) + "\n" for row, _ in json_rows(rng, profile, feed, columns, rows)]
        path.write_text("".join(lines), encoding="utf-8")
    announced = len(rows)
    if reason == "ROW_COUNT":
        if rng.random() < 0.5:
            announced += rng.choice((1, 7))
        else:
            path.with_suffix(".total").write_text(str(len(rows) + 1))
    return {"feed": feed, "revision": posting.revision, "rows": announced}
