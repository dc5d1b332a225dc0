"""Reading bytes as a delivered file would be read."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import polars as pl
import pytest

from kkbc.core.errors import SliceRejected
from kkbc.exchange.contracts import Contract, load_contract
from kkbc.intake.reading import Reading, read

TARGET_WIRES = ["kode_kantor", "bulan", "target_peserta_baru", "target_peserta_aktif", "target_iuran"]


@dataclass
class Result:
    """What came out: the reading, consumed, and all its rows in one frame."""

    reading: Reading
    frame: pl.DataFrame

    def column(self, name: str) -> list[str | None]:
        return self.frame.get_column(name).to_list()

    @property
    def lines(self) -> list[int]:
        return self.frame.get_column("_line").to_list()

    @property
    def cells(self) -> list[tuple[str | None, ...]]:
        """The contract's columns, row by row."""
        return self.frame.drop("_line", "_raw", "_shape_ok").rows()


Reader = Callable[..., Result]


@pytest.fixture
def read_bytes(tmp_path: Path) -> Reader:
    """Read `content` as a delivery of `feed` named `name`."""

    def reader(
        content: bytes, name: str = "target.csv", feed: str = "target", expected_rows: int = 1, batch_rows: int = 50_000
    ) -> Result:
        path = tmp_path / "landed"
        path.write_bytes(content)
        reading = read(path, name, load_contract(feed), expected_rows=expected_rows, batch_rows=batch_rows)
        return Result(reading, pl.concat(list(reading.batches)))

    return reader


def rejected(read: Reader, *args: object, **options: object) -> str | None:
    """The reason for which reading is refused, None when it gives rows."""
    try:
        read(*args, **options)
    except SliceRejected as rejection:
        return rejection.reason
    return None


@pytest.fixture
def target() -> Contract:
    return load_contract("target")
