"""The way `postgres`: what a branch's database holds, kept as files for the server to copy in.

Below `root`/{branch_id}/{date}/: `{feed}.rN.jsonl`, one typed row a line, and, written last, `pengiriman.rN.json`.
"""

import json
from collections.abc import Sequence
from datetime import date, datetime, timedelta, timezone
from pathlib import Path
from random import Random

from kkbc_play.simulator.encoding import fashions
from kkbc_play.simulator.posting import STRAY, Json, Posting, Rows, folder_of, put_last
from kkbc_play.simulator.rows import COLUMNS, TYPED, Kind, Row, Value
from kkbc_play.simulator.spelling import MISSING, Fashion, Profile, extra_cell, local, spell

_TYPES = {Kind.DATE: "date", Kind.INT: "integer"}


def columns_of_table(profile: Profile, feed: str) -> dict[str, str]:
    """The columns of ekspor.{feed} with their types: all of the wire, and what else the branch's program keeps.

    Programs differ in whether instants carry their offset, and in how they keep money.
    """
    kinds = COLUMNS[feed]
    own = _TYPES | {Kind.MOMENT: moment_type(profile), Kind.IDR: "numeric(15,2)" if profile.order % 3 else "bigint"}
    extra = {_extra_column(name): "text" for name in profile.extra}
    return {"tgl_data": "date", "revisi": "integer", **{c: own.get(kinds[c], "text") for c in kinds}, **extra}


def moment_type(profile: Profile) -> str:
    """The type of the branch's instants."""
    return "timestamptz" if profile.order % 2 else "timestamp"


def write_ekspor(
    rng: Random, root: Path, posting: Posting, profile: Profile, rows: Rows, branch_ids: Sequence[str]
) -> None:
    """Writes the rows of the posting's slices, then what ekspor.pengiriman says of them."""
    folder = folder_of(root, posting)
    announced = {}
    for feed in rows:
        lines = [json.dumps(row, ensure_ascii=False) + "\n" for row in _table(rng, posting, profile, feed, rows[feed])]
        (folder / f"{feed}.r{posting.revision}.jsonl").write_text("".join(lines), encoding="utf-8")
        announced[feed] = len(rows[feed]) + (rng.choice((1, 7)) if posting.refused.get(feed) == "ROW_COUNT" else 0)
    if posting.stray:
        announced[STRAY] = 1
    said = [
        {
            "tgl_data": posting.business_date.isoformat(),
            "umpan": feed,
            "revisi": posting.revision,
            "jumlah_baris": count,
            "dikirim_pada": _moment(profile, posting.sent_at),
        }
        for feed, count in announced.items()
    ]
    put_last(folder / f"pengiriman.r{posting.revision}.json", json.dumps(said).encode())


def _table(rng: Random, posting: Posting, profile: Profile, feed: str, rows: Sequence[Row]) -> list[Json]:
    table = []
    for number, (row, (fashion, odd)) in enumerate(zip(rows, fashions(rng, profile, rows), strict=True), 1):
        entry: Json = {"tgl_data": posting.business_date.isoformat(), "revisi": posting.revision}
        for name, kind in COLUMNS[feed].items():
            if name in row.spelled:
                entry[name] = row.spelled[name]
            else:
                entry[name] = _cell(rng, profile, fashion, kind, row.values[name], odd)
        entry.update({_extra_column(name): extra_cell(name, number) for name in profile.extra})
        table.append(entry)
    return table


def _cell(rng: Random, profile: Profile, fashion: Fashion, kind: Kind, value: Value, odd: bool) -> str | int | None:
    if value is None:
        return rng.choice((None, *MISSING)) if odd and kind not in TYPED else None
    if kind is Kind.MOMENT and isinstance(value, int):
        return _moment(profile, value)
    if isinstance(value, date):
        return value.isoformat()
    if isinstance(value, int):
        return value
    return spell(rng, fashion, kind, value, profile.utc_hours, odd)


def _moment(profile: Profile, instant: int) -> str:
    """The instant as its column holds it: with its offset, or as the wall clock at the branch showed it."""
    wall = local(instant, profile.utc_hours)
    if moment_type(profile) == "timestamp":
        return wall.isoformat(" ")
    return datetime.isoformat(wall.replace(tzinfo=timezone(timedelta(hours=profile.utc_hours))), " ")


def _extra_column(name: str) -> str:
    return name.lower().replace(" ", "_")
