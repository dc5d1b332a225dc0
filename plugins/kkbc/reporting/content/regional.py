"""The report of a regional office: its branches beside each other."""

from kkbc.reporting import words
from kkbc.reporting.content import parts
from kkbc.reporting.content.elements import Page, Section, Table
from kkbc.reporting.content.national import night_section, retention_figure
from kkbc.reporting.figures import peers
from kkbc.reporting.figures.headline import headline
from kkbc.reporting.figures.view import Scope, View


def regional(scope: Scope, view: View, nation: View) -> Page:
    """The page of an office. Of other offices nothing but the sums of the nation is on it."""
    head = headline(view)
    columns = {"Kanwil": peers.standing(view), "Nasional": peers.standing(nation)}
    return Page(
        kind="regional",
        title=f"Kanwil {scope.name}",
        subtitle=f"Laporan malam · {scope.id}",
        day=view.as_of,
        headline=parts.sentence(head, view.month),
        tiles=parts.tiles(head, view),
        sections=[
            parts.month_section(view, head),
            Section("Cabang berdampingan", [_branches(view)]),
            Section(
                "Dari mana peserta datang",
                [parts.funnel_figure(view), parts.channels_figure(view), parts.costs_figure(view, nation)],
            ),
            Section(
                "Di samping nasional", [parts.comparison(columns, "Kanwil di samping nasional"), retention_figure(view)]
            ),
            night_section(view),
        ],
        publication=view.snapshot.publication,
    )


def _branches(view: View) -> Table:
    found = sorted(peers.branches(view), key=lambda branch: (-(branch.projected or -1), branch.branch_id))
    rows = [
        (
            f"{branch.branch_id} {branch.name}",
            words.number(branch.aktif),
            words.percent(branch.growth),
            words.number(branch.registrations),
            words.number(branch.acquisitions),
            words.number(branch.target),
            words.percent(branch.attainment),
            words.percent(branch.projected),
            "ya" if branch.reported else "belum",
        )
        for branch in found
    ]
    heads = ("Cabang", "Aktif", "Sebulan", "Daftar", "Akuisisi", "Target", "Capaian", "Proyeksi", "Melapor")
    note = "Urut menurut proyeksi akhir bulan. Daftar, akuisisi, dan capaian: bulan berjalan. Melapor: malam ini."
    return Table("Cabang menurut proyeksi terhadap target", heads, rows, note, numbers=tuple(range(1, 8)), strong=7)
