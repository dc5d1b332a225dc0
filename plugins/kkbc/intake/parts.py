"""The judged rows of a slice being taken in, part by part, on disk but for the only part of a short slice."""

import io
from collections.abc import Sequence
from dataclasses import replace
from functools import lru_cache
from pathlib import Path

import polars as pl

from kkbc.intake.landing import writing
from kkbc.intake.rows import Counts
from kkbc.intake.validation import Judged


class Parts:
    """Parts of a slice in the order of its file, kept as pairs of Parquet files in `folder`.

    `contacts` are those of the contract, `suppressed` the NIKs on the suppression list that stand in any part. The
    first part stays in memory until a second comes, so that a short slice is never read back.
    """

    def __init__(self, folder: Path, contacts: Sequence[str]) -> None:
        self._folder = folder
        self._contacts = contacts
        self._only: Judged | None = None
        self._counts: list[Counts] = []
        self.suppressed: set[str] = set()

    def __len__(self) -> int:
        return len(self._counts)

    def append(self, part: Judged) -> None:
        """Adds the next part."""
        if self._only is not None:
            self._write(0, self._only)
            self._only = None
        number = len(self)
        self.suppressed |= part.suppressed
        self._counts.append(Counts.of(part.accepted, part.quarantined, part.nik_valid, self._contacts))
        if number == 0:
            self._only = part
        else:
            self._write(number, part)

    def accepted(self, number: int, columns: list[str]) -> pl.DataFrame:
        """Some columns of the accepted rows of one part."""
        if self._only is not None:
            return self._only.accepted.select(columns)
        return pl.read_parquet(self._path(number, "accepted"), columns=columns)

    def read(self, number: int) -> Judged:
        """One part, whole."""
        if self._only is not None:
            return self._only
        accepted, quarantined = (pl.read_parquet(self._path(number, kind)) for kind in ("accepted", "quarantined"))
        return Judged(accepted, quarantined, self._counts[number].nik_valid)

    def replace(self, number: int, part: Judged) -> None:
        """Puts other rows in the place of a part's."""
        part = replace(part, nik_valid=self._counts[number].nik_valid)
        self._counts[number] = Counts.of(part.accepted, part.quarantined, part.nik_valid, self._contacts)
        if self._only is not None:
            self._only = part
        else:
            self._write(number, part)

    @property
    def counts(self) -> Counts:
        """Of all parts together."""
        return sum(self._counts[1:], start=self._counts[0])

    def finish(self) -> Judged | None:
        """Sees to it that all parts are in the folder; returns the only one, None where there are several."""
        if self._only is not None:
            self._write(0, self._only)
        return self._only

    def _path(self, number: int, kind: str) -> Path:
        return self._folder / f"{kind}-{number:05}.parquet"

    def _write(self, number: int, part: Judged) -> None:
        for kind, frame in (("accepted", part.accepted), ("quarantined", part.quarantined)):
            path = self._path(number, kind)
            with writing(self._folder):
                if frame.is_empty():
                    path.write_bytes(_nothing(tuple(frame.schema.items())))
                else:
                    frame.write_parquet(path, compression_level=1)


@lru_cache(maxsize=64)
def _nothing(schema: tuple[tuple[str, pl.DataType], ...]) -> bytes:
    """The file of a frame without rows: to make one takes as long as one of hundreds, and most slices have one."""
    content = io.BytesIO()
    pl.DataFrame(schema=dict(schema)).write_parquet(content, compression_level=1)
    return content.getvalue()
