"""The message of a night, in Indonesian: what its readers have to know, in as few lines as that takes."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from kkbc.core.clock import JAKARTA
from kkbc.watching.notifying.facts import NightFacts

Kind = Literal["night", "recovered", "deadline"]

NAMED = 12


@dataclass(frozen=True)
class Message:
    """What is sent. `key` is the same for one night and kind, so that a receiver knows a message that came twice.

    attachment: a file that goes along by mail.
    """

    key: str
    subject: str
    body: str
    facts: dict[str, Any] = field(default_factory=dict)
    attachment: Path | None = None


def compose(facts: NightFacts, kind: Kind) -> Message:
    """The message of `kind` over the facts of a night."""
    day = f"{facts.business_date:%d-%m-%Y}"
    titles = {
        "night": "terbit" if facts.published else "BELUM TERBIT",
        "recovered": "akhirnya terbit",
        "deadline": "BELUM TERBIT pada pukul 05.00 WIB",
    }
    troubles = [f"{len(found)} {what}" for what, found in _troubles(facts) if found]
    subject = f"KKBC {day}: {titles[kind]}" + (f" ({', '.join(troubles)})" if troubles else "")
    lines = [_headline(facts, day), *_details(facts)]
    if facts.report_missing:
        lines.append("Laporan malam ini belum dapat ditulis: lihat `kkbc doctor`, lalu `kkbc report`.")
    places = [("Laporan", facts.report), ("Papan cabang", facts.board), ("Hasil audit", facts.data_docs)]
    lines += [f"{name}: {place}" for name, place in places if place]
    if facts.accesses:
        lines.append(f"Catatan akses data pribadi: {_number(facts.accesses)} entri, terakhir {facts.access_head}")
    return Message(f"kkbc-{kind}-{facts.business_date}", subject, "\n".join(lines), facts.as_json())


def _troubles(facts: NightFacts) -> list[tuple[str, Any]]:
    return [("kantor belum kirim", facts.missing), ("slice ditahan", facts.held), ("slice ditolak", facts.rejected)]


def _headline(facts: NightFacts, day: str) -> str:
    if facts.published:
        at = f", {facts.published_at.astimezone(JAKARTA):%d-%m-%Y %H.%M} WIB" if facts.published_at else ""
        return f"Data per {day} TERBIT (publikasi {facts.publication_id}{at})."
    shown = f"BI tetap menampilkan data per {facts.live:%d-%m-%Y}." if facts.live else "BI belum berisi data."
    return f"Data per {day} BELUM TERBIT: {facts.why}. {shown}"


def _details(facts: NightFacts) -> list[str]:
    of_all = f" dari {facts.branches}"
    found = [
        _line("Belum kirim", facts.missing, " ", of_all),
        _line("Belum lengkap", facts.incomplete, ": ", ""),
        _line("Terlambat", facts.late, " ", of_all),
        _line("Ditahan gerbang", facts.held, ": ", ""),
        _line("Ditolak", facts.rejected, ": ", ""),
        _line("Revisi ditolak", facts.revisions_rejected, ": ", ""),
        _line("Gagal dikunjungi", facts.failed, ": ", ""),
    ]
    if facts.quarantined:
        codes = ", ".join(f"{code} {_number(rows)}" for code, rows in facts.quarantined.items())
        found.append(f"Karantina terbanyak (baris): {codes}")
    return [line for line in found if line]


def _line(title: str, things: dict[str, str], between: str, of_all: str) -> str:
    if not things:
        return ""
    named = [f"{thing}{between}{said}" if said else thing for thing, said in list(things.items())[:NAMED]]
    more = f", dan {len(things) - NAMED} lagi" if len(things) > NAMED else ""
    return f"{title} ({len(things)}{of_all}): {'; '.join(named)}{more}"


def _number(value: int) -> str:
    return f"{value:,}".replace(",", ".")
