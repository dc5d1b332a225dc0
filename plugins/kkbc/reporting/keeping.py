"""Keeping a night: its pages, and the snapshot that they were made from.

`reports`/YYYY-MM-DD of the home holds nasional.html, KW01.html, KC044.html and figures.zip, the tables of the snapshot
as CSV. A later publication of the same business date takes their place. A snapshot holds sums, and no person.
"""

import shutil
import zipfile
from datetime import date
from io import BytesIO
from pathlib import Path

from kkbc.core.errors import UserError
from kkbc.core.files import make_folder, replacing
from kkbc.core.settings import get_settings
from kkbc.reporting.figures.view import Scope
from kkbc.reporting.places import FIGURES, NATIONAL, folder_of, kept_nights
from kkbc.reporting.reading import Snapshot
from kkbc.reporting.tables import TABLES


def keep(snapshot: Snapshot) -> Path:
    """Keeps a snapshot as that of its night, and removes the nights beyond the setting `reports_kept`.

    Pages of an earlier publication of the night go, for they do not say what is published now. Returns the folder.
    """
    folder = folder_of(snapshot.as_of)
    make_folder(folder)
    for page in folder.glob("*.html"):
        page.unlink()
    packed = BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, text in snapshot.texts.items():
            archive.writestr(zipfile.ZipInfo(f"{name}.csv"), text, zipfile.ZIP_DEFLATED)
    write(folder / FIGURES, packed.getvalue())
    for day in kept_nights()[: -get_settings().reports_kept]:
        shutil.rmtree(folder_of(day), ignore_errors=True)
    return folder


def kept(day: date) -> Snapshot:
    """The snapshot of a night. Raises UserError when it is not kept, or was kept by another version."""
    path = folder_of(day) / FIGURES
    try:
        with zipfile.ZipFile(path) as archive:
            texts = {name: archive.read(f"{name}.csv") for name in TABLES}
    except FileNotFoundError as error:
        nights = kept_nights()
        remedy = f"kept are {nights[0]} to {nights[-1]}" if nights else "reports are kept from the next publication on"
        raise UserError(f"no report of the night of {day} is kept", remedy) from error
    except (zipfile.BadZipFile, KeyError) as error:
        raise UserError(f"{path} cannot be read", "it is of another version, or damaged: remove it") from error
    snapshot = Snapshot(texts)
    if any(text.split(b"\n", 1)[0].decode() != ",".join(TABLES[name].columns) for name, text in texts.items()):
        raise UserError(f"{path} is of another version", "only that version can draw it; its pages lie beside it")
    return snapshot


def name_of(scope: Scope) -> str:
    """The name of a scope's page."""
    return NATIONAL if scope.kind == "national" else scope.id


def write(path: Path, content: bytes) -> None:
    """Writes a file whole, for its owner alone. Raises UserError when it cannot be written."""
    try:
        with replacing(path, private=True) as made:
            made.write_bytes(content)
    except OSError as error:
        raise UserError(f"{path} cannot be written: {error.strerror}", "free space or choose --out") from error
