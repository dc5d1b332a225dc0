"""The parts of a page that more than one kind of report has."""

from datetime import date

from kkbc.exchange.code_texts import in_words
from kkbc.reporting import words
from kkbc.reporting.charts import bars, trends
from kkbc.reporting.charts.bars import Bar
from kkbc.reporting.content.elements import Figure, Key, Section, Table, Tile
from kkbc.reporting.figures import field as work
from kkbc.reporting.figures import quality, series
from kkbc.reporting.figures.headline import Headline, Target
from kkbc.reporting.figures.peers import Standing
from kkbc.reporting.figures.view import View, months_before

TYPES = {
    "PASAR": "Kunjungan pasar",
    "KOMUNITAS": "Komunitas profesi",
    "KUNJUNGAN": "Kunjungan langsung",
    "RADIO": "Edukasi radio",
    "LAINNYA": "Lainnya",
}
FEEDS = {"pendaftaran": "Pendaftaran", "iuran": "Iuran", "kegiatan": "Kegiatan"}
STATUSES = {
    "on_time": "Tepat waktu",
    "late": "Terlambat",
    "empty": "Kosong",
    "missing": "Belum ada",
    "rejected": "Ditolak",
}


def sentence(head: Headline, month: date) -> str:
    """The answer first: how many are protected, and whether the month's target comes within reach."""
    if head.today is None:
        return "Belum ada angka untuk hari ini."
    told = f"{words.number(head.today['aktif'])} pekerja BPU terlindungi"
    if head.last_month:
        told += f", {words.change(head.today['aktif'], head.last_month['aktif'])} dari sebulan lalu"
    told += "."
    if head.new.projected is not None:
        reach = "melampaui target" if head.new.projected >= 1 else "di bawah target"
        told += f" Akuisisi {words.MONTHS[month.month - 1]} menuju {words.percent(head.new.projected)}: {reach}."
    return told


def tiles(head: Headline, view: View) -> list[Tile]:
    """The figures at the head of every report."""
    month = words.MONTHS[view.month.month - 1]
    before = words.MONTHS[months_before(view.month, 1).month - 1]
    today = head.today or {}
    compared = [
        f"{_arrow(today.get('aktif'), other['aktif'])} dari {name}"
        for other, name in ((head.last_month, "sebulan lalu"), (head.last_year, "setahun lalu"))
        if other
    ]
    lacking = head.expected - head.reported
    is_whole = head.since == view.month
    when = month if is_whole else f"sejak {words.short_day(head.since)}"
    # A part of the month is not what its targets are set against.
    new, idr = (_of_target(target) if is_whole else () for target in (head.new, head.idr))
    return [
        Tile("Pekerja BPU terlindungi", words.number(today.get("aktif")), (*compared, *_unpaid(today))),
        _flow(f"Pendaftaran {when}", head, "registrations", before),
        _flow(f"Akuisisi {when}", head, "acquisitions", before, new),
        _flow(f"Iuran {when}", head, "contributions_idr", before, idr),
        Tile(
            "Cabang melapor",
            f"{words.number(head.reported)} dari {words.number(head.expected)}",
            (f"{words.number(lacking)} belum mengirim apa pun",) if lacking else ("semua sudah mengirim",),
            bad=lacking > 0,
        ),
    ]


def month_section(view: View, head: Headline) -> Section:
    """How many are protected, and how the month goes against its targets."""
    month, before = words.month(view.month), words.MONTHS[months_before(view.month, 1).month - 1]
    return Section(
        f"{month} menuju target",
        [protected_figure(view, head), progress_figure(view, head, before), targets_figure(head)],
    )


def protected_figure(view: View, head: Headline) -> Figure:
    """Participants covered by day."""
    points = series.protected(view)
    if len(points) < 2:
        said = f"{words.day(points[0][0])}: {words.number(points[0][1])} peserta. " if points else ""
        return Figure("Peserta terlindungi", None, f"{said}Garisnya dimulai pada hari kedua.")
    marks = [
        (day, status["aktif"])
        for day, status in ((months_before(view.as_of, 12), head.last_year), (view.as_of, head.today))
        if status
    ]
    title = "Peserta terlindungi"
    if head.today and head.last_year:
        title += f": {words.change(head.today['aktif'], head.last_year['aktif'])} dalam setahun"
    elif head.today and head.last_month:
        title += f": {words.change(head.today['aktif'], head.last_month['aktif'])} dalam sebulan"
    return Figure(title, trends.protected(points, marks), "Sumbu tegak tidak mulai dari nol.")


def progress_figure(view: View, head: Headline, before: str) -> Figure:
    """Acquisitions of the month added up."""
    found = series.progress(view)
    if head.new.projected is None:
        title = "Akuisisi bulan ini: belum ada target"
    else:
        gap = head.new.projection - (head.new.target or 0)
        more = "di atas" if gap >= 0 else "di bawah"
        title = f"Akuisisi: proyeksi {words.number(abs(gap))} peserta {more} target"
    if not found.now:
        return Figure(title, None, "Belum ada akuisisi bulan ini.")
    lines = trends.lines(found, words.MONTHS[view.month.month - 1], before)
    note = "Dijumlahkan per tanggal. Proyeksi = realisasi ÷ hari berjalan × hari sebulan."
    if head.since != view.month:
        note += f" Garis mulai {words.short_day(head.since)}; realisasi dan proyeksi menghitung sejak tanggal 1."
    legend = tuple(Key(f"{line.name} {words.number(line.last)}", line.colour.light, line.dash) for line in lines)
    return Figure(title, trends.progress(found, lines), note, legend)


def targets_figure(head: Headline) -> Figure:
    """Realisation and projection as a share of each target."""
    targets = {"Peserta baru": head.new, "Peserta aktif": head.active, "Iuran": head.idr}
    known = {name: target for name, target in targets.items() if target.attainment is not None}
    if not known:
        return Figure("Target bulan ini", None, "Belum ada target untuk bulan ini.")
    found = [
        Bar(
            f"{name}: {_amount(name, target.realisation)} dari {_amount(name, target.target)}",
            target.attainment or 0,
            words.percent(target.attainment),
            tail=None if name == "Peserta aktif" else target.projected,
            mark=1.0,
        )
        for name, target in known.items()
    ]
    said = "; ".join(f"{bar.name}, tercapai {bar.label}" for bar in found)
    top = max([1.15, *(max(bar.value, bar.tail or 0) for bar in found)])
    reached = sum((target.projected or 0) >= 1 for target in known.values())
    title = f"{words.number(reached)} dari {len(known)} target diproyeksikan tercapai"
    note = (
        f"Garis tegak: target. Warna muda: proyeksi akhir bulan. {words.percent(head.elapsed, 0)} bulan sudah berlalu."
        " Cabang tanpa target tidak dihitung."
    )
    return Figure(title, bars.bars(found, f"Pencapaian target: {said}.", highest=top), note)


def funnel_figure(view: View) -> Figure:
    """People met at activities, registrations and first payments that came of them."""
    found = work.funnel(view)
    unheard = f" Perkiraan pendengar radio ({words.number(found.listeners)}) tidak dihitung." if found.listeners else ""
    if not found.contacts:
        said = f"Belum ada kegiatan tatap muka dalam 90 hari terakhir.{unheard}"
        return Figure("Dari kegiatan sampai bayar", None, said)
    per_contact = found.registrations / found.contacts
    per_registration = found.acquisitions / found.registrations if found.registrations else None
    rows = [
        Bar("Ditemui di kegiatan", found.contacts, words.number(found.contacts)),
        Bar(
            "Mendaftar dari kegiatan itu",
            found.registrations,
            f"{words.number(found.registrations)}  ({_share(per_contact)} dari yang ditemui)",
        ),
        Bar(
            "Membayar pertama kali",
            found.acquisitions,
            f"{words.number(found.acquisitions)}  ({words.percent(per_registration, 0)} dari pendaftar)",
        ),
    ]
    # Few contacts are told as they are; many as so many of a hundred, or of a thousand.
    of = found.contacts if found.contacts < 100 else 100 if per_contact >= 0.01 else 1000
    registered, paid = (of * amount / found.contacts for amount in (found.registrations, found.acquisitions))
    title = (
        f"Dari {words.number(of)} orang yang ditemui, {words.number(registered)} mendaftar"
        f" dan {words.number(paid)} membayar"
    )
    note = (
        "Kegiatan 90 hari terakhir selain radio: pendaftaran yang menyebut kegiatannya, dan bayar pertama"
        f" paling lambat 30 hari sesudahnya.{unheard}"
    )
    said = "; ".join(f"{row.name} {row.label}" for row in rows)
    return Figure(title, bars.bars(rows, f"Corong kegiatan 90 hari terakhir: {said}."), note)


def channels_figure(view: View) -> Figure:
    """Registrations by channel: day by day, or their sums alone as long as there are too few days for a trend."""
    found = series.channels(view)
    if not found:
        return Figure("Pendaftaran per kanal", None, "Belum ada pendaftaran dalam delapan minggu terakhir.")
    whole = sum(channel.latest for channel in found)
    title = (
        f"{found[0].name} terbesar: {words.percent(found[0].latest / whole, 0)} pendaftaran"
        if whole
        else "Pendaftaran per kanal"
    )
    days = found[0].days
    if len(days) < trends.FEWEST_DAYS:
        rows = [
            Bar(
                channel.name,
                channel.latest,
                f"{words.number(channel.latest)}  ({words.percent(channel.latest / whole if whole else None, 0)})",
            )
            for channel in found
        ]
        said = "; ".join(f"{row.name} {row.label}" for row in rows)
        note = f"{words.since(days[0][0], view.as_of)}. Batang per hari menyusul setelah dua minggu."
        return Figure(title, bars.bars(rows, f"Pendaftaran per kanal: {said}."), note)
    when = "28 hari terakhir" if len(days) >= 28 else words.since(days[0][0], view.as_of)
    compared = ", dibanding 28 hari sebelumnya" if found[0].before is not None else ""
    note = f"{when}{compared}. Batang per hari, tinggi menurut kanalnya sendiri."
    return Figure(title, trends.channels(found), note)


def costs_figure(view: View, nation: View | None = None) -> Figure:
    """Cost per acquisition by type of activity, beside that of the nation."""
    own = [row for row in work.by_type(view) if row.cost_per_acquisition is not None]
    title = "Biaya per akuisisi menurut jenis kegiatan"
    if not own:
        return Figure(title, None, "Belum ada kegiatan berbiaya dengan akuisisi dalam 90 hari terakhir.")
    others = {row.type: row.cost_per_acquisition for row in work.by_type(nation)} if nation else {}
    own.sort(key=lambda row: row.cost_per_acquisition or 0)
    found = [
        Bar(
            f"{TYPES.get(row.type, row.type)} ({words.number(row.activities)} kegiatan)",
            row.cost_per_acquisition or 0,
            words.rupiah(round(row.cost_per_acquisition or 0)),
            mark=others.get(row.type),
        )
        for row in own
    ]
    title = f"{TYPES.get(own[0].type, own[0].type)} paling hemat: {found[0].label} per akuisisi"
    said = "; ".join(f"{bar.name} {bar.label}" for bar in found)
    note = "90 hari terakhir; kegiatan yang biayanya diketahui." + (" Garis tegak: nasional." if nation else "")
    return Figure(title, bars.bars(found, f"Biaya per akuisisi menurut jenis kegiatan: {said}."), note)


def reasons_figure(title: str, found: list[tuple[str, int]], note: str) -> Figure:
    """Quarantined rows by code."""
    if not found:
        return Figure(title, None, "Tidak ada baris yang dikarantina.")
    rows = [Bar(words.sentence(in_words(code)), amount, words.number(amount)) for code, amount in found[:6]]
    said = "; ".join(f"{row.name} {row.label}" for row in rows)
    return Figure(title, bars.bars(rows, f"Baris dikarantina menurut sebab: {said}."), note)


def night_table(found: quality.Night) -> Table:
    """Slices of the night by feed and status."""
    rows = [
        (label, *(words.number(counts[status]) for counts in found.slices.values()))
        for status, label in STATUSES.items()
    ]
    feeds = (FEEDS.get(feed, feed) for feed in found.slices)
    return Table("Kiriman malam ini", ("", *feeds), rows, numbers=(1, 2, 3), width="one")


def comparison(columns: dict[str, Standing], title: str) -> Table:
    """Standings beside each other, the first one's in bold."""
    rows = [
        (label, *(shown(getattr(standing, name)) for standing in columns.values()))
        for label, name, shown in (
            ("Capaian target peserta baru", "attainment", words.percent),
            ("Proyeksi akhir bulan", "projected", words.percent),
            ("Pertumbuhan peserta aktif dalam sebulan", "growth", words.percent),
            ("Aktif dalam 30 hari sejak mendaftar", "activation", words.percent),
            ("Pendaftaran per orang yang ditemui di kegiatan, 90 hari", "conversion", words.percent),
            ("Biaya kegiatan per akuisisi, 90 hari", "cost_per_acquisition", _rupiah),
            ("Pendaftaran sekitar siaran radio dibanding biasanya", "lift", _times),
            ("Masih terlindungi setelah 1 bulan", "kept_1", words.percent),
            ("NIK sah, 28 hari", "valid_nik", words.percent),
            ("Dapat dihubungi, 28 hari", "contactable", words.percent),
            ("Baris dikarantina, 28 hari", "quarantined", _percent2),
            ("Kiriman tepat waktu atau kosong, 28 hari", "on_time", words.percent),
        )
    ]
    places = tuple(range(1, len(columns) + 1))
    return Table(title, ("Ukuran", *columns), rows, numbers=places, strong=1, width="two")


def _flow(label: str, head: Headline, name: str, before: str, more: tuple[str, ...] = ()) -> Tile:
    amount = head.month[name]
    value = words.rupiah(amount) if name == "contributions_idr" else words.number(amount)
    compared = (
        (f"{_arrow(amount, head.month_before[name])} dari tanggal yang sama {before}",) if head.month_before else ()
    )
    return Tile(label, value, (*more, *compared))


def _share(share: float | None) -> str:
    """A share in whole percents, one that is below in tenths."""
    return words.percent(share, 0 if share is None or share >= 0.01 else 1)


def _of_target(target: Target) -> tuple[str, ...]:
    if target.attainment is None:
        return ("belum ada target",)
    return (f"{words.percent(target.attainment)} dari target, proyeksi {words.percent(target.projected)}",)


def _unpaid(today: dict[str, int]) -> tuple[str, ...]:
    if not today:
        return ()
    return (f"{words.number(today['menunggak'])} menunggak, {words.number(today['non_aktif'])} nonaktif",)


def _arrow(now: float | None, before: float | None) -> str:
    ratio = words.growth(now, before)
    if ratio is None:
        return words.DASH
    return f"{'▲' if ratio >= 0 else '▼'}{words.HARD}{words.percent(abs(ratio))}"


def _amount(name: str, amount: float | None) -> str:
    return words.rupiah(amount) if name == "Iuran" else words.number(amount)


def _rupiah(value: float | None) -> str:
    return words.rupiah(None if value is None else round(value))


def _times(value: float | None) -> str:
    return words.DASH if value is None else f"{words.number(value, 2)} kali"


def _percent2(value: float | None) -> str:
    return words.percent(value, 2)
