"""The report of a branch: its own rows, beside the sums of its regional office and of the nation."""

from kkbc.reporting import words
from kkbc.reporting.charts import bars, grids
from kkbc.reporting.content import parts
from kkbc.reporting.content.elements import Figure, Key, Notes, Page, Section, Table, Tile
from kkbc.reporting.content.national import retention_figure
from kkbc.reporting.figures import field, peers, quality
from kkbc.reporting.figures.headline import Headline, headline
from kkbc.reporting.figures.view import Scope, View


def branch(scope: Scope, view: View, office: View, nation: View) -> Page:
    """The page of a branch. Of other branches nothing but sums is on it."""
    head = headline(view)
    columns = {"Cabang": peers.standing(view)}
    if scope.kanwil_id:
        columns["Kanwil"] = peers.standing(office)
    columns["Nasional"] = peers.standing(nation)
    beside = parts.comparison(columns, "Cabang di samping kanwil dan nasional")
    missing = "" if head.today else "Cabang ini belum memiliki data dalam publikasi ini."
    sections = [
        parts.month_section(view, head),
        Section("Di samping kanwil dan nasional", [beside, retention_figure(view)]),
        Section(
            "Dari mana peserta datang",
            [parts.funnel_figure(view), parts.channels_figure(view), parts.costs_figure(view, nation)],
        ),
        Section("Kegiatan dan radio", [_spots(view), _activities(view)]),
        _quality(view),
    ]
    office_name = f" · Kanwil {scope.kanwil_name}" if scope.kanwil_name else ""
    return Page(
        kind="branch",
        title=scope.name,
        subtitle=f"Laporan malam · {scope.id}{office_name}",
        day=view.as_of,
        headline=parts.sentence(head, view.month) + _rank(view),
        tiles=[*parts.tiles(head, view)[:-1], _reported(head, view)],
        sections=[] if missing else sections,
        publication=view.snapshot.publication,
        missing=missing,
    )


def _rank(view: View) -> str:
    ranks = view.frame("targets")["rank"].drop_nulls().to_list()
    return f" Peringkat {ranks[0]} di kanwilnya menurut capaian." if ranks else ""


def _reported(head: Headline, view: View) -> Tile:
    whole = quality.last_whole_day(view)
    details = (f"lengkap sampai {words.day(whole)}",) if whole else ("belum ada hari yang lengkap",)
    if not head.expected:
        return Tile("Kiriman malam ini", "tidak dinanti", details)
    return Tile("Kiriman malam ini", "diterima" if head.reported else "belum ada", details, bad=not head.reported)


def _spots(view: View) -> Figure:
    found, together = field.spots(view), field.lift(view)
    if not found or together is None:
        return Figure("Siaran radio", None, "Belum ada siaran radio yang dapat dibandingkan dalam 180 hari terakhir.")
    more = together - 1
    title = f"Radio: pendaftaran {words.percent(abs(more), 0)} {'di atas' if more >= 0 else 'di bawah'} biasanya"
    note = "Hari siaran dan dua hari sesudahnya, dibanding hari yang sama empat minggu sebelumnya."
    return Figure(title, bars.spots(found), note)


def _activities(view: View) -> Table | Figure:
    found = field.latest_activities(view)
    title = "Sepuluh kegiatan terbaru"
    if not found:
        return Figure(title, None, "Belum ada kegiatan dalam 90 hari terakhir.")
    rows = [
        (
            words.short_day(row["started_on"]),
            parts.TYPES.get(row["type"], row["type"]),
            row["activity_code"],
            words.number(row["contacts"]),
            words.number(row["registrations"]),
            words.number(row["acquisitions"]),
            words.rupiah(row["cost"]),
            words.rupiah(None if row["cost_per_acquisition"] is None else round(row["cost_per_acquisition"])),
        )
        for row in found
    ]
    heads = ("Mulai", "Jenis", "Kode", "Kontak", "Daftar", "Akuisisi", "Biaya", "Per akuisisi")
    note = "Akuisisi: yang dikreditkan kepada kegiatan, sampai 30 hari sesudahnya."
    if any(row["type"] == field.RADIO for row in found):
        note += " Kontak radio: perkiraan pendengar."
    return Table(title, heads, rows, note, numbers=(3, 4, 5, 6, 7), strong=7, width="two")


def _quality(view: View) -> Section:
    found, rates = quality.calendar(view), quality.rates(view)
    figures: list[Figure | Table | Notes] = []
    if found:
        title = f"{words.percent(rates.on_time, 0)} kiriman tepat waktu atau kosong dalam 28 hari"
        legend = tuple(Key(name, colour.light) for name, colour in grids.STATUSES.values())
        figures.append(
            Figure(
                title, grids.calendar(found, quality.first_day(view), view.as_of), "Per hari dan jenis data.", legend
            )
        )
    known = ((rates.valid_nik, "NIK sah"), (rates.contactable, "dapat dihubungi"))
    said = ", ".join(f"{words.percent(rate)} {what}" for rate, what in known if rate is not None)
    title = said or "Mutu baris: belum ada baris dalam 28 hari"
    figures.append(
        parts.reasons_figure(title, quality.reasons(view), "Baris dikarantina menurut sebab, 28 hari terakhir.")
    )
    figures.append(_rows(view))
    held = quality.night(view).held
    if held:
        [(count, since)] = held.values()
        held_since = f"{words.number(count)} kiriman ditahan gerbang audit sejak {words.day(since)} dan belum dihitung."
        figures.append(Notes("Yang ditunggu", [("Ditahan", held_since)]))
    return Section("Mutu data", figures)


def _rows(view: View) -> Table:
    counted = {feed: amounts for feed, *amounts in quality.rows(view)}
    names = ("Dikirim", "Diterima", "Dikarantina", "Peringatan")
    rows = [(name, *(words.number(amounts[n]) for amounts in counted.values())) for n, name in enumerate(names)]
    heads = ("", *(parts.FEEDS[feed] for feed in counted))
    return Table("Baris dalam 28 hari", heads, rows, numbers=tuple(range(1, len(heads))), width="one")
