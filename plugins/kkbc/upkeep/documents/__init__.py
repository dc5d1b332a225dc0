"""Documents: what a reader of the figures needs, as static pages that ask nothing of any network.

dbt's own site, a data dictionary in Indonesian, and the mart next to public counts of participants by province.
"""

import json
from pathlib import Path

from kkbc.core.errors import UserError
from kkbc.core.files import make_folder, replacing
from kkbc.core.settings import get_settings
from kkbc.marts.artifacts import generate_docs
from kkbc.marts.runner import DBT_PROJECT
from kkbc.upkeep.documents.dictionary import dictionary_page
from kkbc.upkeep.documents.pages import link_list, page, without_network
from kkbc.upkeep.documents.reconciliation import reconciliation_page
from kkbc.warehouse import connect


def write_documents(folder: Path | None = None) -> list[Path]:
    """Writes index.html, kamus-data.html, rekonsiliasi.html and dbt.html to `folder`, by default docs of the home.

    Returns the files. Raises UserError when nothing is published, dbt cannot describe the warehouse, or the folder
    cannot be written; files that were there stay as they were then.
    """
    folder = (folder or get_settings().home / "docs").absolute()
    with connect("bi") as conn:
        reconciliation = reconciliation_page(conn)
    with connect("transformer") as conn:
        made = generate_docs(conn)
    manifest = json.loads((made / "manifest.json").read_text(encoding="utf-8"))
    site = (made / "static_index.html").read_text(encoding="utf-8")
    pages = {
        "kamus-data.html": dictionary_page(manifest),
        "rekonsiliasi.html": reconciliation,
        "dbt.html": without_network(site.replace(str(DBT_PROJECT), DBT_PROJECT.name)),
        "index.html": _index(),
    }
    try:
        make_folder(folder)
        for name, text in pages.items():
            with replacing(folder / name) as made:
                made.write_text(text, encoding="utf-8")
    except OSError as error:
        raise UserError(f"folder {folder} cannot be written: {error.strerror}", "choose another --out") from error
    return [folder / name for name in pages]


def _index() -> str:
    links = {
        "kamus-data.html": "Kamus data: arti setiap tabel dan kolom yang diterbitkan",
        "rekonsiliasi.html": "Rekonsiliasi: porsi provinsi di samping angka publik 2023",
        "dbt.html": "Situs dbt: model, uji, metrik, dan asal setiap tabel (bahasa Inggris)",
    }
    return page("Dokumen KKBC", link_list(links))
