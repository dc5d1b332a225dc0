"""A hostile branch that delivers into a folder."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from .attack import Attack, sparse_deliveries


@contextmanager
def sparse_folder(root: Path) -> Iterator[Attack]:
    """A file of 40 GiB behind a manifest of a few hundred bytes."""
    sparse_deliveries(root)
    yield Attack("file", {"extra": {"root": str(root)}})
