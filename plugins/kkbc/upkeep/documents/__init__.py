"""Documents: what a reader of the figures needs, as one folder of static pages that ask nothing of any network.

The pages of `docs/`, the data dictionary in Indonesian and English, the lineage of every column, dbt's own site, the
results of the last audit, and the mart next to public counts of participants by province.
"""

import json
import tempfile
from pathlib import Path

import psycopg

from kkbc.core.errors import UserError
from kkbc.core.files import make_folder, replacing
from kkbc.core.settings import get_settings
from kkbc.marts.artifacts import generate_docs
from kkbc.marts.runner import DBT_PROJECT, days
from kkbc.upkeep.documents.audit_results import audit_page, copy_results
from kkbc.upkeep.documents.column_pages import lineage_pages
from kkbc.upkeep.documents.dictionary import dictionary_page, english_page
from kkbc.upkeep.documents.pages import without_network
from kkbc.upkeep.documents.reconciliation import reconciliation_page
from kkbc.upkeep.documents.site import build_site
from kkbc.warehouse import connect

MAIN = ("index.html", "kamus-data.html", "data-dictionary.html", "lineage/index.html", "rekonsiliasi.html", "dbt.html")
LINKS = {
    "rekonsiliasi.html": "Rekonsiliasi dengan angka publik 2023",
    "dbt.html": "dbt: models, tests, metrics",
}
# Which files the site had when it was written last, so that those that it has no more are removed.
CONTENTS = ".contents.json"


def write_documents(folder: Path | None = None) -> list[Path]:
    """Writes the site to `folder`, by default docs of the home; returns its main pages.

    Raises UserError when nothing is published, dbt cannot describe the warehouse, or the folder cannot be written;
    files that were there stay as they were then. Files of others in the folder are left alone.
    """
    folder = (folder or get_settings().home / "docs").absolute()
    with connect("bi") as conn:
        reconciliation = reconciliation_page(conn)
    with connect("transformer") as conn:
        made = generate_docs(conn, _days(conn))
    manifest = json.loads((made / "manifest.json").read_text(encoding="utf-8"))
    dbt = (made / "static_index.html").read_text(encoding="utf-8").replace(str(DBT_PROJECT), DBT_PROJECT.name)
    pages = {
        "kamus-data.md": dictionary_page(manifest),
        "data-dictionary.md": english_page(manifest),
        "data-docs.md": audit_page(),
        **{f"lineage/{name}.md": text for name, text in lineage_pages(manifest).items()},
    }
    with tempfile.TemporaryDirectory() as made_in:
        build_site(Path(made_in), pages, LINKS)
        site = Path(made_in) / "site"
        (site / "rekonsiliasi.html").write_text(reconciliation, encoding="utf-8")
        (site / "dbt.html").write_text(without_network(dbt), encoding="utf-8")
        copy_results(site)
        try:
            _put(site, folder)
        except OSError as error:
            raise UserError(f"folder {folder} cannot be written: {error.strerror}", "choose another --out") from error
    return [folder / name for name in MAIN]


def _days(conn: psycopg.Connection) -> dict[str, str]:
    row = conn.execute("select as_of, first_business_date from ops.build order by build_id desc limit 1").fetchone()
    assert row is not None, "what is published was built"
    return days(*row)


def _put(site: Path, folder: Path) -> None:
    """Puts the files of a site in place, each at once, and removes what the one before had and this one has not."""
    make_folder(folder)
    names = sorted(path.relative_to(site).as_posix() for path in site.rglob("*") if path.is_file())
    before = json.loads((folder / CONTENTS).read_text()) if (folder / CONTENTS).exists() else []
    for name in names:
        make_folder((folder / name).parent)
        with replacing(folder / name) as made:
            made.write_bytes((site / name).read_bytes())
    for name in set(before) - set(names):
        (folder / name).unlink(missing_ok=True)
    with replacing(folder / CONTENTS) as made:
        made.write_text(json.dumps(names))
