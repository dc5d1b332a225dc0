"""Rows of persons who were erased: tombstones in landed files, and rows of persons on the suppression list (Exchange
rule 22).

A tombstone is the row that stands in a landed file in place of a person's: ERASED in the cell of the NIK, nothing in
any other. It earns ERASED and nothing else, and counts as a row whose NIK is valid, for so it was or nobody knows.
"""

from dataclasses import replace

import polars as pl

from kkbc.core.suppression import Suppression
from kkbc.exchange.contracts import Contract
from kkbc.exchange.nik import DIGITS
from kkbc.exchange.slices import ERASED
from kkbc.intake.validation.judged import CODES, Judged
from kkbc.intake.validation.tidy import tidy

_VERDICT = (
    pl.col("_line"),
    pl.col("_raw"),
    pl.lit([ERASED], CODES).alias("_errors"),
    pl.lit([], CODES).alias("_warnings"),
    pl.lit([], CODES).alias("_fields"),
)


def tombstones(batch: pl.DataFrame, contract: Contract) -> pl.Series:
    """Which rows of a batch, as the reader gives it, are tombstones."""
    marked = contract.marked_erased.name
    is_marked = (batch[marked] == ERASED).fill_null(False)
    if not is_marked.any():
        return is_marked
    others = [pl.col(column.name).fill_null("") == "" for column in contract.columns if column.name != marked]
    return is_marked & batch.select(pl.all_horizontal(pl.col("_shape_ok"), *others)).to_series()


def with_tombstones(judged: Judged, found: pl.DataFrame) -> Judged:
    """The verdicts with those on the tombstones `found`."""
    quarantined = pl.concat([judged.quarantined, found.select(_VERDICT)]).sort("_line")
    nik_valid = None if judged.nik_valid is None else judged.nik_valid + found.height
    return replace(judged, quarantined=quarantined, nik_valid=nik_valid)


def without_suppressed(judged: Judged, batch: pl.DataFrame, contract: Contract, suppression: Suppression) -> Judged:
    """The verdicts with ERASED for each row of `batch` in which the NIK of a person on the list stands.

    Such a row keeps the codes that it earned, and its NIK counts as it is.
    """
    if not suppression:
        return judged
    found = _suppressed(batch, contract, suppression)
    if found.is_empty():
        return judged
    of_them = pl.col("_line").is_in(found["_line"].unique().implode())
    quarantined = pl.concat(
        [
            judged.quarantined.with_columns(
                pl.when(of_them)
                .then(pl.col("_errors").list.concat(pl.lit([ERASED], CODES)).list.sort())
                .otherwise(pl.col("_errors"))
                .alias("_errors")
            ),
            judged.accepted.filter(of_them).select(*_VERDICT[:3], "_warnings", _VERDICT[4]),
        ]
    ).sort("_line")
    return replace(
        judged,
        accepted=judged.accepted.filter(~of_them),
        quarantined=quarantined,
        suppressed=frozenset(found["nik"].to_list()),
    )


def _suppressed(batch: pl.DataFrame, contract: Contract, suppression: Suppression) -> pl.DataFrame:
    """`_line` and `nik` of those in the rows: in the NIK's cell as cleaned, or 16 digits anywhere in the text."""
    written = [batch.select("_line", pl.col("_raw").str.extract_all(DIGITS).alias("nik")).explode("nik")]
    if contract.nik is not None:
        cells = tidy(batch.select("_line", contract.nik), [contract.column(contract.nik)])
        written.append(cells.select("_line", pl.col(contract.nik).alias("nik")))
    niks = pl.concat(written).drop_nulls()
    return niks.filter(suppression.suppressed(niks["nik"]))
