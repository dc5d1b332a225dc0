"""The task of one branch: its new deliveries, read and judged with pandas, into PostgreSQL by to_sql.

python pull.py BRANCH      (REFERENCE_URL, REFERENCE_ROOT, REFERENCE_KEY)
"""

import hashlib
import hmac
import json
import os
import sys
from collections.abc import Iterator
from datetime import date, datetime
from pathlib import Path
from typing import Any

import pandas as pd
import sqlalchemy as sa
import yaml
from reading import Rejected, columns, read
from rules import Judged, judge

TABLES = {"pendaftaran": "registrations", "iuran": "contributions", "kegiatan": "activities", "target": "targets"}
REGISTRY = Path(__file__).resolve().parents[2] / "config" / "branches.yml"


def main() -> None:
    """Loads what the branch has delivered since the last night."""
    branch_id = sys.argv[1]
    root, key = Path(os.environ["REFERENCE_ROOT"]), os.environ["REFERENCE_KEY"]
    registry = {branch["branch_id"]: branch for branch in yaml.load(REGISTRY.read_text(), yaml.CSafeLoader)["branches"]}
    zone = registry[branch_id]["timezone"]
    engine = sa.create_engine(os.environ["REFERENCE_URL"])
    with engine.connect() as conn:
        seen = pd.read_sql(
            sa.text("select feed, business_date, revision from ops.slice where branch_id = :branch"),
            conn,
            params={"branch": branch_id},
        )
    known = set(seen.itertuples(index=False, name=None))
    for day, manifest, folder in _manifests(root / branch_id, branch_id):
        for entry in manifest["slices"]:
            if (entry["feed"], day, manifest["revision"]) not in known:
                _load(engine, branch_id, day, manifest, entry, folder, zone, key)


def _manifests(folder: Path, branch_id: str) -> Iterator[tuple[date, dict[str, Any], Path]]:
    """Manifests by day and revision, each with the slices that it lists."""
    feeds = ["target"] if branch_id == "HQ" else ["pendaftaran", "iuran", "kegiatan"]
    for place in sorted(folder.glob("????-??-??")):
        day = date.fromisoformat(place.name)
        for path in sorted(place.glob("manifest*.json"), key=_revision):
            everything = [{"feed": feed, "reason": "UNREADABLE"} for feed in feeds]
            manifest: dict[str, Any] = {"revision": _revision(path), "sent_at": None, "slices": everything}
            try:
                found = json.loads(path.read_text(encoding="utf-8"))
            except ValueError:
                yield day, manifest, place
                continue
            manifest["sent_at"] = datetime.fromisoformat(found["sent_at"])
            listed = [entry for entry in found["files"] if entry["feed"] in feeds]
            names = [entry["name"] for entry in found["files"]]
            if len(set(names)) == len(names):
                reason = _refused(found, branch_id, day)
                manifest["slices"] = [{**entry, "reason": reason} for entry in listed]
            yield day, manifest, place


def _revision(path: Path) -> int:
    return int(path.name.split(".r")[1].split(".")[0]) if ".r" in path.name else 1


def _refused(manifest: dict[str, Any], branch_id: str, day: date) -> str | None:
    if manifest["schema_version"] != 1:
        return "SCHEMA_VERSION"
    if manifest["branch_id"] != branch_id:
        return "MANIFEST_BRANCH"
    return None if manifest["business_date"] == day.isoformat() else "MANIFEST_DATE"


def _load(
    engine: sa.Engine,
    branch_id: str,
    day: date,
    manifest: dict[str, Any],
    entry: dict[str, Any],
    folder: Path,
    zone: str,
    key: bytes,
) -> None:
    """One slice, in one transaction."""
    feed = entry["feed"]
    address = {"feed": feed, "branch_id": branch_id, "business_date": day, "revision": manifest["revision"]}
    record: dict[str, Any] = {**address, "status": "rejected", "sent_at": manifest["sent_at"]}
    record |= dict.fromkeys(
        ("rows_sent", "rows_accepted", "rows_quarantined", "warnings", "rows_nik_valid", "rows_contactable"), 0
    )
    try:
        rows = _rows(entry, folder, feed)
        judged = judge(rows, feed, branch_id, day, manifest["sent_at"], zone, key)
    except Rejected:
        with engine.begin() as conn:
            pd.DataFrame([record]).to_sql("slice", conn, schema="ops", if_exists="append", index=False)
        return
    record |= {
        "status": "loaded",
        "rows_sent": len(rows),
        "rows_accepted": len(judged.accepted),
        "rows_quarantined": len(judged.errors),
        "warnings": judged.warnings,
        "rows_nik_valid": judged.nik_valid,
        "rows_contactable": judged.contactable,
    }
    with engine.begin() as conn:
        _replace(conn, record)
        pd.DataFrame([record]).to_sql("slice", conn, schema="ops", if_exists="append", index=False)
        if record["status"] == "loaded":
            _write(conn, judged, address, entry["name"], key)


def _rows(entry: dict[str, Any], folder: Path, feed: str) -> pd.DataFrame:
    if entry["reason"]:
        raise Rejected(entry["reason"])
    path = folder / entry["name"]
    if not path.exists():
        raise Rejected("FILE_MISSING")
    content = path.read_bytes()
    if len(content) != entry["bytes"] or hashlib.sha256(content).hexdigest() != entry["sha256"]:
        raise Rejected("CHECKSUM")
    if not content and entry["rows"] == 0:
        return pd.DataFrame(columns=[*columns(feed), "_shape_ok"]).astype({"_shape_ok": bool})
    rows = read(content, entry["name"], feed)
    if len(rows) != entry["rows"]:
        raise Rejected("ROW_COUNT")
    return rows


def _replace(conn: sa.Connection, record: dict[str, Any]) -> None:
    """Takes the earlier revision out; a revision lower than one in force is only noted."""
    one = "feed = :feed and branch_id = :branch_id and business_date = :business_date"
    higher = conn.execute(
        sa.text(f"select 1 from ops.slice where {one} and status = 'loaded' and revision > :revision"), record
    ).first()
    if higher:
        record["status"] = "superseded"
        return
    conn.execute(sa.text(f"update ops.slice set status = 'superseded' where {one} and status = 'loaded'"), record)
    conn.execute(sa.text(f"delete from ops.quarantine where {one}"), record)
    table = f"raw.{TABLES[record['feed']]}"
    conn.execute(
        sa.text(f"delete from {table} where _branch_id = :branch_id and _business_date = :business_date"), record
    )


def _write(conn: sa.Connection, judged: Judged, address: dict[str, Any], name: str, key: bytes) -> None:
    feed = address["feed"]
    rows = judged.accepted
    if "nik" in rows:
        start = hmac.new(key, digestmod=hashlib.sha256)
        rows = rows.assign(participant_token=[_token(start, nik) for nik in rows["nik"]])
    if "birth_date" in rows:
        rows = rows.assign(birth_year=[day.year for day in rows["birth_date"]])
    rows = rows.drop(columns=[column["name"] for column in columns(feed).values() if column["personal"]])
    rows = rows.drop(columns="_warnings").assign(
        _business_date=address["business_date"],
        _branch_id=address["branch_id"],
        _revision=address["revision"],
        _file=name,
        _load_id=1,
    )
    rows.to_sql(TABLES[feed], conn, schema="raw", if_exists="append", index=False)
    if len(judged.errors):
        bad = pd.DataFrame({**address, "line": judged.errors.index, "errors": judged.errors.to_numpy()})
        bad.to_sql(
            "quarantine", conn, schema="ops", if_exists="append", index=False, dtype={"errors": sa.ARRAY(sa.Text)}
        )


def _token(start: hmac.HMAC, nik: str) -> str:
    state = start.copy()
    state.update(nik.encode())
    return "01" + state.hexdigest()[2:32]


if __name__ == "__main__":
    main()
