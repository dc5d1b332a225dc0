"""KEY_DUPLICATE over a slice of any length, in small memory (Exchange rules 3, 13).

Of each row only a 64-bit hash of its key is held. Keys whose hashes come twice are candidates; those alone are read
again and judged exactly, so that two keys with one hash do no harm.
"""

from collections.abc import Callable, Iterator

import polars as pl

from kkbc.exchange.contracts import Contract
from kkbc.intake.validation.judge import duplicate_lines, key_hashes

HELD_ROWS = 300_000
"""Rows with their keys, and hashes besides, that are compared at a time."""

_PART = "_part"


class RepeatedKeys:
    """Finds the rows that lose their key to a row of another part of the slice.

    The parts are added in the order of the file; within a part no key may come twice any more. `held_rows` bounds the
    memory, whatever the keys are.
    """

    def __init__(self, contract: Contract, held_rows: int = HELD_ROWS) -> None:
        self._contract = contract
        self._held_rows = held_rows
        self._hashes: list[pl.Series] = []
        self._first: pl.DataFrame | None = None

    def add(self, accepted: pl.DataFrame) -> None:
        """Takes the accepted rows of the next part into account."""
        if self._first is None and not self._hashes:
            self._first = accepted  # nearly all slices have one part, and nothing to compare it with
            return
        if self._first is not None:
            self._hashes.append(key_hashes(self._first, self._contract))
            self._first = None
        self._hashes.append(key_hashes(accepted, self._contract))

    def losers(self, read_keys: Callable[[int], pl.DataFrame]) -> dict[int, pl.Series]:
        """By number of the part, from 0, the `_line`s that lose, of parts that have any.

        `read_keys` gives the `key_columns` of a part's accepted rows, in the order in which they were added.
        """
        lost: dict[int, list[pl.Series]] = {}
        if not self._hashes:
            return {}
        for repeated in self._repeated():
            held: list[pl.DataFrame] = []
            for number, hashes in enumerate(self._hashes):
                candidates = hashes.is_in(repeated.implode())
                if not candidates.any():
                    continue
                keys = read_keys(number).filter(candidates)
                held.append(keys.with_columns(pl.lit(number, pl.UInt32).alias(_PART)))
                if sum(frame.height for frame in held) > 2 * self._held_rows:
                    held = [self._settle(held, lost)]
            self._settle(held, lost)
        return {number: pl.concat(lines) for number, lines in lost.items()}

    def _repeated(self) -> Iterator[pl.Series]:
        """The hashes that come more than once, some `held_rows` of them at a time."""
        groups = 1 + sum(map(len, self._hashes)) // self._held_rows
        gathered: list[pl.Series] = []
        for group in range(groups):
            ordered = pl.concat([hashes.filter(hashes % groups == group) for hashes in self._hashes]).sort()
            gathered.append(ordered.filter(ordered == ordered.shift(1)).unique())
            if group == groups - 1 or sum(map(len, gathered)) >= self._held_rows:
                if repeated := [hashes for hashes in gathered if len(hashes)]:
                    yield pl.concat(repeated)
                gathered = []

    def _settle(self, held: list[pl.DataFrame], lost: dict[int, list[pl.Series]]) -> pl.DataFrame:
        """Notes who loses among the rows held; returns the others, who may yet lose to rows that come."""
        rows = pl.concat(held)
        loses = rows["_line"].is_in(duplicate_lines(rows, self._contract).implode())
        for (number,), losers in rows.filter(loses).partition_by(_PART, as_dict=True).items():
            lost.setdefault(int(number), []).append(losers["_line"])
        return rows.filter(~loses)
