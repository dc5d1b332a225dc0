"""The locks under which slices change. All that read or write them in this package, and all visits, take them here."""

from collections.abc import Iterator
from contextlib import contextmanager

import psycopg

from kkbc.exchange.slices import Slice
from kkbc.slices.record import revision_in_force
from kkbc.warehouse import locks


def lock_slice(conn: psycopg.Connection, slice_: Slice) -> int | None:
    """Keeps builds and other loads of the branch away until commit; returns the revision in force.

    Raises Busy for a build or a load that does not end.
    """
    locks.take_slices(conn, slice_.branch_id)
    return revision_in_force(conn, slice_)


@contextmanager
def branch_locked(branch_id: str, what: str, *, seconds: float | None = None) -> Iterator[None]:
    """Keeps other visits and re-reads of a branch away for the length of a block, which `what` names.

    `seconds` is how long to wait for it, None: as long as for all locks. Raises Busy.
    """
    with locks.locked_branch(branch_id, what, role="loader", seconds=seconds):
        yield
