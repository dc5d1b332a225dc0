"""Writing reports: of the night that is published, or of one whose figures are kept."""

from datetime import date
from pathlib import Path

from altair.utils.schemapi import debug_mode

from kkbc.core.errors import UserError
from kkbc.core.files import make_folder
from kkbc.reporting import keeping
from kkbc.reporting.content.branch import branch
from kkbc.reporting.content.elements import Page
from kkbc.reporting.content.national import national
from kkbc.reporting.content.regional import regional
from kkbc.reporting.figures.view import NATION, Scope, View, scope_of_branch, scope_of_office, view_of, view_of_office
from kkbc.reporting.page import as_html
from kkbc.reporting.places import folder_of
from kkbc.reporting.reading import Snapshot, read_published


def write_report(
    night: date | None = None, *, branch_id: str | None = None, kanwil_id: str | None = None, out: Path | None = None
) -> Path:
    """Writes the report of the nation, of a branch or of a regional office; returns the file.

    night: None or the published business date: what is live; an earlier one: what is kept of it. out: a file, else the
    page among the reports of the night. Raises UserError when nothing is published, the night is not kept, the branch
    or office is not known, or the file cannot be written.
    """
    snapshot = _snapshot(night)
    scope = _scope(snapshot, branch_id, kanwil_id)
    html = as_html(compose(snapshot, scope)).encode()
    if out is not None and out.is_dir():
        raise UserError(f"{out} is a folder", f"name a file, such as {out / f'{keeping.name_of(scope)}.html'}")
    path = out or folder_of(snapshot.as_of) / f"{keeping.name_of(scope)}.html"
    try:
        make_folder(path.absolute().parent)
    except OSError as error:
        raise UserError(f"folder {path.parent} cannot be made: {error.strerror}", "choose another --out") from error
    keeping.write(path, html)
    return path


def write_pages(scopes: str) -> list[Path]:
    """Keeps the figures of what is live, and writes the pages that the setting `report_pages` names: `national`,
    `regional` (that and the offices') or `branches` (all).
    """
    snapshot = read_published()
    folder = keeping.keep(snapshot)
    wanted = [NATION]
    if scopes != "national":
        wanted += [scope_of_office(snapshot, kanwil_id) for kanwil_id in snapshot.offices]
    if scopes == "branches":
        wanted += [scope_of_branch(snapshot, branch_id) for branch_id in snapshot.frames["branches"]["branch_id"]]
    written = []
    for scope in wanted:
        path = folder / f"{keeping.name_of(scope)}.html"
        keeping.write(path, as_html(compose(snapshot, scope)).encode())
        written.append(path)
    return written


def compose(snapshot: Snapshot, scope: Scope) -> Page:
    """The page of a scope. Of rows of other branches it is given nothing but what is summed up."""
    view, nation = view_of(snapshot, scope), View(snapshot)
    # Specifications are checked by the tests; here the checks would be a third of the cost of a page.
    with debug_mode(False):
        if scope.kind == "national":
            return national(nation)
        if scope.kind == "regional":
            return regional(scope, view, nation)
        return branch(scope, view, view_of_office(snapshot, scope), nation)


def _snapshot(night: date | None) -> Snapshot:
    live = read_published()
    if night is None or night == live.as_of:
        return live
    if night > live.as_of:
        raise UserError(f"the night of {night} is not published", f"published is {live.as_of}")
    return keeping.kept(night)


def _scope(snapshot: Snapshot, branch_id: str | None, kanwil_id: str | None) -> Scope:
    if branch_id is not None and kanwil_id is not None:
        raise UserError("a report is of a branch or of a regional office", "leave --branch or --regional out")
    if branch_id is not None:
        return scope_of_branch(snapshot, branch_id)
    return scope_of_office(snapshot, kanwil_id) if kanwil_id is not None else NATION
