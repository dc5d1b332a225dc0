"""Ways in: how the deliveries of a branch are found and fetched. One module a kind; the registry says which one it is.

A source finds deliveries and fetches the bytes of single slices. It judges nothing beyond the manifest, loads nothing,
and never alters anything at the branch.
"""

from pathlib import Path

from kkbc.errors import BranchRefused
from kkbc.registry import Branch
from kkbc.sources.base import Manifest, Source, Wanted
from kkbc.sources.file import FileSource

__all__ = ["Manifest", "Source", "Wanted", "open_source"]


def open_source(branch: Branch, root: Path | None) -> Source:
    """The source of `branch`. `root` holds the deliveries of branches of kind `file` without a connection.

    Raises BranchRefused when the branch's folder or connection is not configured.
    """
    if branch.kind != "file":
        raise BranchRefused(f"branch {branch.branch_id} is of kind {branch.kind}, which has no source", "")
    if root is None:
        raise BranchRefused(
            f"branch {branch.branch_id} is of kind file and no source root is set",
            "set KKBC_SOURCE_ROOT or give --source-root",
        )
    return FileSource(branch, root)
