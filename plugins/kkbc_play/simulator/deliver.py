"""Deliveries: rows are spoiled, written the way the branch delivers, and booked for the truth."""

from collections import Counter
from dataclasses import replace
from datetime import date
from pathlib import Path
from random import Random

from kkbc_play.simulator.answers import write_answers
from kkbc_play.simulator.calendar import jakarta_day
from kkbc_play.simulator.ekspor import write_ekspor
from kkbc_play.simulator.faults import Messes
from kkbc_play.simulator.files import write_files
from kkbc_play.simulator.posting import WHOLE, Posting
from kkbc_play.simulator.reference import Reference
from kkbc_play.simulator.rows import IURAN, KEGIATAN, KEY, PENDAFTARAN, TARGET, Row
from kkbc_play.simulator.scale import Scale
from kkbc_play.simulator.spelling import Profile
from kkbc_play.simulator.strikes import TABLE, Setting
from kkbc_play.simulator.truth.facts import Activity, Facts, Payment, Registration, SliceRecord, Target
from kkbc_play.simulator.ways import CARRIES, TREES

FOLDERS = {**dict.fromkeys(TREES, "branches"), "http": "api", "postgres": "ekspor"}
"""Where a world keeps what the branches of each kind have to deliver."""
_WRITERS = {**dict.fromkeys(TREES, write_files), "http": write_answers, "postgres": write_ekspor}
_FORMATS = {"http": "jsonl", "postgres": TABLE}


class Post:
    """Writes postings into the world's FOLDERS and books what a faultless reader would find in them."""

    def __init__(self, world: Path, reference: Reference, scale: Scale, seed: str) -> None:
        self.world = world
        self.reference = reference
        self.scale = scale
        self.seed = seed
        self.messes = Messes(seed)
        self.facts = Facts()
        self.rows = 0

    def send(self, posting: Posting, profile: Profile, kind: str) -> None:
        """Deliver the posting by the way `kind`, without those of its mistakes that this way cannot carry."""
        rng = Random(f"{self.seed}/{posting.branch_id}/{posting.business_date}/{posting.revision}")
        profile = replace(profile, format=_FORMATS.get(kind, profile.format))
        able = CARRIES[kind]
        refused = {feed: reason for feed, reason in posting.refused.items() if reason in able.refused}
        posting = replace(posting, refused=refused, whole=posting.whole if posting.whole in able.whole else None)
        rows = {feed: self._spoiled(rng, posting, profile, feed, clean) for feed, clean in posting.feeds.items()}
        _WRITERS[kind](rng, self.world / FOLDERS[kind], posting, profile, rows, self.reference.ids)
        for feed in rows:
            self._book(posting, feed, rows[feed], WHOLE[posting.whole] if posting.whole else refused.get(feed))
            self.rows += len(rows[feed])

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
        if profile.format == TABLE:
            _untie(rows, KEY[feed])
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


def _untie(rows: list[Row], key: str) -> None:
    """A table has no last line, so no two of its rows with the same key may have been changed at the same time."""
    taken: set[tuple[str, int]] = set()
    for row in rows:
        while (row.text(key), row.number("diubah_pada")) in taken:
            row.values["diubah_pada"] = row.number("diubah_pada") + 60
        taken.add((row.text(key), row.number("diubah_pada")))


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
