"""KEY_DUPLICATE across the parts of a slice, next to what a plain loop over the rows says (Exchange rules 3, 13)."""

from datetime import UTC, datetime, timedelta

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kkbc.exchange.contracts import load_contract
from kkbc.intake.validation import RepeatedKeys, duplicate_lines, key_columns

START = datetime(2023, 12, 11, tzinfo=UTC)
Row = tuple[str, int]


def frame(rows: list[Row], first_line: int) -> pl.DataFrame:
    """Accepted rows: a key each, and minutes after the start."""
    return pl.DataFrame(
        {
            "branch_id": ["KC001"] * len(rows),
            "registration_no": [key for key, _ in rows],
            "updated_at": [START + timedelta(minutes=minutes) for _, minutes in rows],
            "_line": range(first_line, first_line + len(rows)),
        },
        schema={
            "branch_id": pl.String,
            "registration_no": pl.String,
            "updated_at": pl.Datetime("us", "UTC"),
            "_line": pl.Int64,
        },
    )


def losers(rows: list[Row]) -> list[int]:
    """Lines, from 2 on, that another row of their key beats."""
    winner: dict[str, tuple[int, int]] = {}
    for line, (key, minutes) in enumerate(rows, start=2):
        winner[key] = max(winner.get(key, (-1, -1)), (minutes, line))
    return [line for line, (key, _) in enumerate(rows, start=2) if winner[key][1] != line]


def found(parts: list[list[Row]], held_rows: int) -> list[int]:
    """The lines that lose by parts: within each, then across all."""
    contract = load_contract("pendaftaran")
    keys = RepeatedKeys(contract, held_rows)
    lines: list[int] = []
    frames = []
    first_line = 2
    for part in parts:
        rows = frame(part, first_line)
        first_line += len(part)
        within = duplicate_lines(rows, contract)
        lines.extend(within)
        frames.append(rows.filter(~pl.col("_line").is_in(within.implode())))
        keys.add(frames[-1])
    for _, more in keys.losers(lambda number: frames[number].select(key_columns(contract))).items():
        lines.extend(more)
    return sorted(lines)


ROWS = st.lists(st.tuples(st.sampled_from(["R-1", "R-2", "R-3", "R-4", "R-5", "r-1"]), st.integers(0, 3)), max_size=40)


@settings(max_examples=200, deadline=None)
@given(rows=ROWS, size=st.integers(1, 9), held_rows=st.integers(1, 12))
def test_parts_of_any_size_give_the_same_losers(rows: list[Row], size: int, held_rows: int) -> None:
    parts = [rows[at : at + size] for at in range(0, len(rows), size)] or [[]]
    assert found(parts, held_rows) == losers(rows)


@pytest.mark.parametrize("held_rows", [50, 1_000, 1_000_000])
def test_every_key_twice_and_every_row_of_one_key(held_rows: int) -> None:
    twice = [(f"R-{n % 1_000}", 0) for n in range(2_000)]
    same = [("R-1", n % 7) for n in range(2_000)]
    for rows in (twice, same):
        assert found([rows[at : at + 100] for at in range(0, len(rows), 100)], held_rows) == losers(rows)


def test_what_is_held_at_a_time_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    held: list[int] = []
    settle = RepeatedKeys._settle

    def watched(self: RepeatedKeys, frames: list[pl.DataFrame], lost: dict[int, list[pl.Series]]) -> pl.DataFrame:
        held.append(sum(part.height for part in frames))
        return settle(self, frames, lost)

    monkeypatch.setattr(RepeatedKeys, "_settle", watched)
    rows = [(f"R-{n % 1_500}", n) for n in range(6_000)]
    assert found([rows[at : at + 100] for at in range(0, len(rows), 100)], 500) == losers(rows)
    # Twice what is held, and a part; hashes are gathered up to as many again.
    assert max(held) <= 4 * 500 + 100
