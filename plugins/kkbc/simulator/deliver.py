"""Deliveries: rows are spoiled, written as files, listed in a manifest, and booked for the truth."""

import hashlib
import json
from collections import Counter
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime, timedelta, timezone
from pathlib import Path
from random import Random
from typing import Any

from kkbc.simulator.calendar import jakarta_day
from kkbc.simulator.encoding import encode
from kkbc.simulator.faults import Messes, Setting
from kkbc.simulator.reference import Reference
from kkbc.simulator.rows import IURAN, KEGIATAN, KEY, PENDAFTARAN, REQUIRED, TARGET, Row
from kkbc.simulator.scale import Scale
from kkbc.simulator.spelling import Profile, columns_of
from kkbc.simulator.truth.facts import Activity, Facts, Payment, Registration, SliceRecord, Target

WHOLE = {
    "SCHEMA_VERSION": "SCHEMA_VERSION",
    "MANIFEST_BRANCH": "MANIFEST_BRANCH",
    "MANIFEST_DATE": "MANIFEST_DATE",
    "NO_JSON": "UNREADABLE",
    "LISTED_TWICE": "UNREADABLE",
}
"""What condemns a whole delivery, and the reason by which its slices are rejected."""
_JAKARTA = timezone(timedelta(hours=7))


@dataclass
class Posting:
    """One manifest to come: the rows of its feeds, and what is to be wrong with it.

    `whole` condemns every slice (one of WHOLE), `refused` single ones by their rejection reason.
    """

    branch_id: str
    business_date: date
    revision: int
    sent_at: int
    feeds: dict[str, list[Row]]
    whole: str | None = None
    refused: dict[str, str] = field(default_factory=dict)
    stray: bool = False


class Post:
    """Writes postings below `root` ({root}/{branch}/{date}/) and books what a faultless reader would find in them."""

    def __init__(self, root: Path, reference: Reference, scale: Scale, seed: str) -> None:
        self.root = root
        self.reference = reference
        self.scale = scale
        self.seed = seed
        self.messes = Messes(seed)
        self.facts = Facts()
        self.rows = 0

    def send(self, posting: Posting, profile: Profile) -> None:
        """Write the posting's files, its manifest last."""
        rng = Random(f"{self.seed}/{posting.branch_id}/{posting.business_date}/{posting.revision}")
        folder = self.root / posting.branch_id / posting.business_date.isoformat()
        folder.mkdir(parents=True, exist_ok=True)
        entries: list[dict[str, Any]] = []
        for feed, clean in posting.feeds.items():
            rows = self._spoiled(rng, posting, profile, feed, clean)
            reason = posting.refused.get(feed)
            entries.append(self._file(rng, folder, posting, profile, feed, rows, reason))
            rejection = WHOLE[posting.whole] if posting.whole else reason
            self._book(posting, feed, rows, rejection)
            self.rows += len(rows)
        if posting.stray:
            (folder / "catatan.txt").write_text("Laporan manual, abaikan.\n", encoding="utf-8")
            entries.append({"feed": "absensi", "name": "absensi.csv", "rows": 1, "bytes": 5, "sha256": "0" * 64})
        name = "manifest.json" if posting.revision == 1 else f"manifest.r{posting.revision}.json"
        (folder / name).write_bytes(self._manifest(rng, posting, entries))

    def _spoiled(self, rng: Random, posting: Posting, profile: Profile, feed: str, clean: list[Row]) -> list[Row]:
        if feed == TARGET:
            return clean
        jsonl = profile.format.startswith("jsonl")
        setting = Setting(
            self.reference,
            feed,
            posting.branch_id,
            posting.business_date,
            posting.sent_at,
            profile.format,
            profile.dropped,
        )
        errors = self.scale.activity_errors if feed == KEGIATAN else self.scale.errors
        warnings = self.scale.activity_warnings if feed == KEGIATAN else self.scale.warnings
        rows = []
        for row in clean:
            rows.append(row.copy(**{column: None for column in profile.dropped if column in row.values}))
            if rng.random() < self.scale.duplicates:
                again = rng.choice(
                    (
                        {},
                        {"status_data": "KOREKSI", "diubah_pada": row.number("diubah_pada") + 60},
                        {"status_data": "BATAL"},
                    )
                )
                rows.insert(rng.randrange(len(rows) + 1), rows[-1].copy(**again))
        for position, row in enumerate(rows):
            # The first line of a jsonl file shows its columns, so it stays an object that has them all.
            if position or not jsonl:
                self.messes.spoil(rng, row, setting, errors, warnings)
        winners: dict[str, tuple[int, int]] = {}
        for position, row in enumerate(rows):
            if not row.errors:
                key = row.text(KEY[feed])
                winners[key] = max(winners.get(key, (-1, -1)), (row.number("diubah_pada"), position))
        for position, row in enumerate(rows):
            if not row.errors and winners[row.text(KEY[feed])][1] != position:
                row.errors.add("KEY_DUPLICATE")
        return rows

    def _file(
        self,
        rng: Random,
        folder: Path,
        posting: Posting,
        profile: Profile,
        feed: str,
        rows: list[Row],
        reason: str | None,
    ) -> dict[str, Any]:
        """Write one feed's file and return its entry in the manifest, wrong in the way that `reason` says."""
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
        entry: dict[str, Any] = {
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

    def _manifest(self, rng: Random, posting: Posting, entries: list[dict[str, Any]]) -> bytes:
        zone = UTC if rng.random() < 0.05 else _JAKARTA
        manifest = {
            "schema_version": 1,
            "branch_id": posting.branch_id,
            "business_date": posting.business_date.isoformat(),
            "revision": posting.revision,
            "sent_at": datetime.fromtimestamp(posting.sent_at, zone).isoformat(),
            "files": [*entries, rng.choice(entries)] if posting.whole == "LISTED_TWICE" else entries,
        }
        if posting.whole == "SCHEMA_VERSION":
            manifest["schema_version"] = 2
        if posting.whole == "MANIFEST_BRANCH":
            manifest["branch_id"] = rng.choice([b for b in self.reference.ids if b != posting.branch_id])
        if posting.whole == "MANIFEST_DATE":
            manifest["business_date"] = (posting.business_date - timedelta(days=1)).isoformat()
        text = json.dumps(manifest, indent=1 if rng.random() < 0.5 else None)
        return (text[:-1] if posting.whole == "NO_JSON" else text).encode()

    def _book(self, posting: Posting, feed: str, rows: list[Row], rejection: str | None) -> None:
        """Enter the slice and, unless it is rejected, the facts of its accepted rows."""
        slice_of = (posting.branch_id, posting.business_date, posting.revision)
        if rejection:
            self.facts.slices.append(SliceRecord(feed, *slice_of, posting.sent_at, rejection, 0, 0, 0, 0, 0, 0, {}))
            return
        accepted = [(line, row) for line, row in enumerate(rows) if not row.errors]
        codes = Counter(code for row in rows for code in row.errors)
        self.facts.slices.append(
            SliceRecord(
                feed,
                *slice_of,
                posting.sent_at,
                None,
                len(rows),
                len(accepted),
                len(rows) - len(accepted),
                sum(len(row.warnings) for _, row in accepted),
                sum(row.nik_valid for row in rows),
                sum(bool(row.values["no_hp"] or row.values["email"]) for _, row in accepted)
                if feed == PENDAFTARAN
                else 0,
                dict(sorted(codes.items())),
            )
        )
        for line, row in accepted:
            if feed == PENDAFTARAN:
                self.facts.registrations.append(_registration(slice_of, line, row))
            elif feed == IURAN:
                self.facts.payments.append(_payment(slice_of, line, row))
            elif feed == KEGIATAN:
                self.facts.activities.append(_activity(slice_of, line, row))
            else:
                self.facts.targets.append(_target(slice_of, line, row))


def _registration(slice_of: tuple[str, date, int], line: int, row: Row) -> Registration:
    activity, values = row.values["kode_kegiatan"], row.values
    moment = row.number("tgl_pendaftaran")
    return Registration(
        *slice_of,
        line,
        row.text("no_pendaftaran"),
        row.number("diubah_pada"),
        row.text("status_data"),
        row.text("nik"),
        moment,
        jakarta_day(moment),
        row.text("kanal"),
        str(activity) if activity is not None else None,
        str(values["kode_pekerjaan"]),
    )


def _payment(slice_of: tuple[str, date, int], line: int, row: Row) -> Payment:
    moment = row.number("tgl_bayar")
    return Payment(
        *slice_of,
        line,
        row.text("id_bayar"),
        row.number("diubah_pada"),
        row.text("status_data"),
        row.text("nik"),
        moment,
        jakarta_day(moment),
        row.day("periode_mulai"),
        row.number("jml_bulan"),
        row.number("total"),
    )


def _activity(slice_of: tuple[str, date, int], line: int, row: Row) -> Activity:
    cost = row.values["biaya"]
    return Activity(
        *slice_of,
        line,
        row.text("kode_kegiatan"),
        row.number("diubah_pada"),
        row.text("status_data"),
        row.text("jenis"),
        jakarta_day(row.number("mulai")),
        jakarta_day(row.number("selesai")),
        row.number("jumlah_kontak"),
        cost if isinstance(cost, int) else None,
    )


def _target(slice_of: tuple[str, date, int], line: int, row: Row) -> Target:
    return Target(
        *slice_of,
        line,
        row.text("kode_kantor"),
        row.text("bulan"),
        row.number("target_peserta_baru"),
        row.number("target_peserta_aktif"),
        row.number("target_iuran"),
    )
