"""The report of the nation."""

from kkbc.reporting import words
from kkbc.reporting.charts import bars, grids, style, trends
from kkbc.reporting.content import parts
from kkbc.reporting.content.elements import Figure, Notes, Page, Section, Table
from kkbc.reporting.figures import peers, quality, retention, series
from kkbc.reporting.figures.headline import Headline, headline
from kkbc.reporting.figures.provinces import provinces
from kkbc.reporting.figures.view import NATION, View

NAMED = 16


def national(view: View) -> Page:
    """The page of the nation."""
    head = headline(view)
    return Page(
        kind="national",
        title=NATION.name,
        subtitle="Laporan malam",
        day=view.as_of,
        headline=parts.sentence(head, view.month),
        tiles=parts.tiles(head, view),
        sections=[
            parts.month_section(view, head),
            Section(
                "Dari mana peserta datang",
                [parts.funnel_figure(view), parts.channels_figure(view), parts.costs_figure(view)],
            ),
            Section(
                "Di mana mereka, dan apakah mereka bertahan",
                [_map(view), *_leaders(view, head), retention_figure(view)],
            ),
            night_section(view),
        ],
        publication=view.snapshot.publication,
    )


def retention_figure(view: View) -> Figure:
    """Retention by cohort."""
    found = retention.cohorts(view)
    if not found:
        return Figure("Retensi", None, "Belum ada kohort yang berumur satu bulan.")
    kept = retention.kept(view, 1)
    title = f"{words.percent(kept, 0)} masih terlindungi setelah satu bulan"
    note = "Bagian peserta dari tiap bulan akuisisi yang masih terlindungi setelah 1, 3, 6, dan 12 bulan."
    return Figure(title, grids.retention(found), note)


def night_section(view: View) -> Section:
    """What the night could not take in."""
    found = quality.night(view)
    names = dict(view.frame("branches").select("branch_id", "branch_name").iter_rows())
    lists = []
    if found.absent:
        said = (
            f"{branch_id} {names.get(branch_id, '')} ({', '.join(missing)})"
            for branch_id, missing in found.absent.items()
        )
        lists.append((f"Belum ada atau ditolak ({len(found.absent)} cabang)", words.listing(said, NAMED)))
    if found.held:
        said = (
            f"{branch_id} {names.get(branch_id, '')} ({words.number(count)} kiriman, sejak {words.day(since)})"
            for branch_id, (count, since) in found.held.items()
        )
        lists.append((f"Ditahan gerbang audit ({len(found.held)} cabang)", words.listing(said, NAMED)))
    if not found.sent:
        title = "Tidak ada baris yang diterima malam ini"
    else:
        share = words.percent(found.quarantined / found.sent, 2)
        title = f"{words.number(found.quarantined)} baris dikarantina malam ini, {share} dari yang dikirim"
    figures: list[Figure | Table | Notes] = [
        parts.reasons_figure(title, found.reasons, "Satu baris dapat ditolak oleh beberapa sebab."),
        _reporting(view),
        parts.night_table(found),
    ]
    if lists:
        figures.append(Notes("Yang ditunggu", lists))
    return Section("Yang belum dapat diterima malam ini", figures)


def _reporting(view: View) -> Figure:
    """Branches that did not report: by day as bars, of a few days one line each, and a sentence when there are none."""
    points = series.reporting(view)
    if not points:
        return Figure("Cabang melapor", None, "Belum ada hari yang diterbitkan.")
    lacking = [(day, expected - reported, expected) for day, expected, reported in points]
    title = f"{words.number(lacking[-1][1])} cabang tidak melapor malam ini"
    if not lacking[-1][1]:
        title = "Semua cabang melapor malam ini"
    if not any(amount for _, amount, _ in lacking):
        days = f"dalam {len(points)} hari terakhir" if len(points) > 1 else "pada hari pertama ini"
        return Figure(title, None, f"Tidak ada cabang tanpa kiriman {days}.")
    note = f"Cabang tanpa kiriman yang diterima, per hari, {words.since(points[0][0], view.as_of)}."
    if len(points) < trends.FEWEST_DAYS:
        rows = [
            bars.Bar(
                words.weekday(day), amount, f"{words.number(amount)} dari {words.number(expected)}", colour=style.ORANGE
            )
            for day, amount, expected in lacking
        ]
        said = "; ".join(f"{row.name} {row.label}" for row in rows)
        return Figure(title, bars.bars(rows, f"Cabang yang tidak melapor per hari: {said}."), note)
    return Figure(title, trends.reporting(points), note)


def _map(view: View) -> Figure:
    found = provinces(view)
    split = "* dihitung bersama provinsi sebelum pemekaran 2022."
    if not found.coverage:
        unit = "Angka dalam ribu peserta (1,5 berarti 1.500). " if grids.in_thousands(found) else ""
        note = f"{unit}Cakupan baru dihitung pada akhir bulan pertama. {split}"
        return Figure(f"Peserta terlindungi per provinsi, {words.day(found.day)}", grids.province_map(found), note)
    best = max(found.coverage, key=lambda code: found.coverage[code])
    low = min(found.coverage, key=lambda code: found.coverage[code])
    names = {code: tile[2] for code, tile in grids.TILES.items()}
    title = f"Cakupan pekerja informal: {names[best]} tertinggi, {names[low]} terendah"
    note = (
        f"Persen pekerja informal yang terlindungi, {words.day(found.day)}."
        f" Pekerja informal: {found.source} {found.year}. Provinsi menurut kantor pendaftaran. {split}"
    )
    return Figure(title, grids.province_map(found), note)


def _leaders(view: View, head: Headline) -> list[Figure]:
    found = peers.branches(view)
    best, worst = peers.leaders(found)
    if not best:
        return [Figure("Cabang terdepan dan tertinggal", None, "Belum ada cabang dengan target bulan ini.")]
    first, last = ([(f"{b.branch_id} {b.name}", b.attainment or 0.0) for b in group] for group in (best, worst))
    said = "; ".join(f"{name} {words.percent(share)}" for name, share in (*first, *last))
    title = f"Cabang terdepan: {best[0].name}, {words.percent(best[0].attainment, 0)} target"
    note = (
        "Capaian target peserta baru sampai hari ini: lima tertinggi (biru) dan lima terendah (jingga)."
        f" Garis tegak: {words.percent(head.elapsed, 0)} bulan yang sudah berlalu."
    )
    return [Figure(title, bars.ranking(first, last, head.elapsed, f"Cabang menurut capaian target: {said}."), note)]
