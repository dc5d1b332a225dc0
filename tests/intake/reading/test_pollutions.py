"""A clean table, polluted in every way and place: what can be read in one way only is read, the rest is not guessed."""

from collections.abc import Callable, Iterator

import pytest

from kkbc.core.errors import SliceRejected

from .conftest import TARGET_WIRES, Reader
from .pollutions import KINDS, Outcome, Polluted, Table

TABLE: Table = [
    TARGET_WIRES,
    ["KC001", "2023-12", "Jalan Mawar", "20", "30"],
    ["KC002", "2024-01", "Jl. Mawar, RT 5", "", "31"],
    ["KC003", "2024-02", 'pipa 5" besi', "22", "32"],
]


def outcome(read: Reader, polluted: Polluted) -> Outcome:
    """What the reader makes of the file, in the words of `Polluted`."""
    try:
        result = read(polluted.content, expected_rows=len(TABLE) - 1)
    except SliceRejected as rejection:
        return rejection.reason
    rows = zip(result.column("_shape_ok"), result.cells, strict=True)
    return [[(cell or "").strip() for cell in cells] if fits else None for fits, cells in rows]


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_polluted_files_give_what_was_meant(read_bytes: Reader, kind: Callable[[Table], Iterator[Polluted]]) -> None:
    files = list(kind(TABLE))
    assert len(files) >= 13
    for polluted in files:
        assert (polluted.name, outcome(read_bytes, polluted)) == (polluted.name, polluted.outcome)
