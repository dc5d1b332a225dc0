"""Ways in: how the deliveries of a branch are found and fetched. One module a kind; the registry says which one it is.

A source finds deliveries and fetches the bytes of single slices. It judges nothing beyond the manifest, loads nothing,
and never alters anything at the branch.
"""

from pathlib import Path

from kkbc.core.connections import Connection, get_connection
from kkbc.core.errors import BranchRefused
from kkbc.exchange.registry import Branch
from kkbc.intake.sources.base import Manifest, OneRefused, OneUnavailable, Source, Wanted
from kkbc.intake.sources.bounds import Bounds
from kkbc.intake.sources.folder import FolderTree
from kkbc.intake.sources.tree import TreeSource

__all__ = ["Bounds", "Manifest", "OneRefused", "OneUnavailable", "Source", "Wanted", "open_source"]


def open_source(branch: Branch, root: Path | None, bounds: Bounds | None = None) -> Source:
    """The source of `branch`. `root` holds the deliveries of branches of kind `file` whose connection names no folder.

    `bounds` are those of the visit; None: those of the settings. It connects when it is first asked for something.
    Raises BranchRefused when the branch's folder or connection is not configured.
    """
    bounds = bounds or Bounds()
    if branch.kind == "file":
        return TreeSource(branch, FolderTree(branch, _folder(branch, root), bounds.deadline), bounds)
    if branch.connection is None:
        raise BranchRefused(f"branch {branch.branch_id} of kind {branch.kind} has no connection", "name one")
    connection = get_connection(branch.connection)
    # The libraries take their time to import, and most visits need one of them at most.
    match branch.kind:
        case "s3":
            from kkbc.intake.sources.s3 import S3Tree

            return TreeSource(branch, S3Tree(branch, connection, deadline=bounds.deadline), bounds)
        case "sftp":
            from kkbc.intake.sources.sftp import SftpTree

            return TreeSource(branch, SftpTree(branch, connection, deadline=bounds.deadline), bounds)
        case "http":
            from kkbc.intake.sources.http import HttpSource

            return HttpSource(branch, connection, bounds=bounds)
        case "postgres":
            from kkbc.intake.sources.postgres import PostgresSource

            return PostgresSource(branch, connection, bounds=bounds)


def _folder(branch: Branch, root: Path | None) -> Path:
    """Where a branch of kind `file` lays its deliveries: the folder of its connection, else that of the run."""
    connection = get_connection(branch.connection) if branch.connection is not None else Connection("")
    if named := connection.extra.get("root"):
        return Path(str(named))
    if root is None:
        raise BranchRefused(
            f"branch {branch.branch_id} is of kind file and no source root is set",
            "set KKBC_SOURCE_ROOT or give --source-root",
        )
    return root
