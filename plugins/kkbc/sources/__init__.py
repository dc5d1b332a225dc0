"""Ways in: how the deliveries of a branch are found and fetched. One module a kind; the registry says which one it is.

A source finds deliveries and fetches the bytes of single slices. It judges nothing beyond the manifest, loads nothing,
and never alters anything at the branch.
"""

from pathlib import Path

from kkbc.errors import UserError
from kkbc.registry import Branch
from kkbc.sources.base import Manifest, Source
from kkbc.sources.file import FileSource

__all__ = ["Manifest", "Source", "open_source"]


def open_source(branch: Branch, root: Path | None) -> Source:
    """The source of `branch`. `root` holds the file deliveries of this run, for all branches.

    Raises UserError when the branch's kind has no source or its folder is not configured.
    """
    if branch.kind != "file" and root is None:
        raise UserError(
            f"branch {branch.branch_id} is of kind {branch.kind}, which this version cannot pull",
            "set its kind to file in config/branches.yml, or give all deliveries as files with --source-root",
        )
    if root is None:
        raise UserError(
            f"branch {branch.branch_id} is of kind file and no source root is set",
            "set KKBC_SOURCE_ROOT or give --source-root",
        )
    return FileSource(branch, root)
