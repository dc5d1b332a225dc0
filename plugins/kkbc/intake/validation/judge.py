"""Every row of a batch is read and judged by its contract: accepted with typed values, or quarantined with codes."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from functools import lru_cache
from itertools import zip_longest
from zoneinfo import ZoneInfo

import polars as pl

from kkbc.core.clock import JAKARTA, end_of_day
from kkbc.core.suppression import Suppression
from kkbc.exchange.contracts import UNIQUE_KEY, Contract, Severity
from kkbc.exchange.slices import Slice
from kkbc.intake.validation import erased, parse
from kkbc.intake.validation.judged import CODES, Judged
from kkbc.intake.validation.rules import BRANCH, DAY_END, SENT_BY, verdict
from kkbc.intake.validation.tidy import tidy

_REFUSED, _NIK_REFUSED = "_refused", "_nik_refused"
_MISSHAPEN = (
    pl.col("_line"),
    pl.col("_raw"),
    pl.lit(["ROW_SHAPE"], CODES).alias("_errors"),
    pl.lit([], CODES).alias("_warnings"),
    pl.lit([], CODES).alias("_fields"),
)

_NONE = pl.DataFrame(
    schema={"_line": pl.Int64, "_raw": pl.String, "_errors": CODES, "_warnings": CODES, "_fields": CODES}
)

# What rules have in common is worked out once; the rest of the optimiser takes longer than it saves.
_SHARED = pl.QueryOptFlags.none()
_SHARED.comm_subexpr_elim = True


@dataclass(frozen=True)
class Context:
    """What the rules must know of a slice besides its rows.

    `zone` is that of timestamps without an offset, `branch_ids` the branch offices of the registry. Of the aware
    instants, `sent_at` is the one that the manifest names and `seen_at` the one at which the pipeline first saw the
    manifest; None: unknown. `suppression` names the persons whose rows are quarantined as ERASED.
    """

    slice: Slice
    zone: ZoneInfo
    sent_at: datetime | None
    branch_ids: frozenset[str]
    seen_at: datetime | None = None
    suppression: Suppression = field(default_factory=Suppression)

    @property
    def sent_by(self) -> datetime | None:
        """The earlier of `sent_at` and `seen_at`, for a branch's clock may be wrong (Exchange rule 30)."""
        return min((instant for instant in (self.sent_at, self.seen_at) if instant is not None), default=None)


@dataclass(frozen=True)
class _Finding:
    """One way of breaking the contract: `broken` is true where a row does."""

    column: str
    code: str
    severity: Severity
    broken: pl.Expr


@dataclass(frozen=True)
class _Plan:
    """A contract as expressions: each stage uses columns of the one before, the outputs use all of them."""

    stages: tuple[tuple[pl.Expr, ...], ...]
    accepted: tuple[pl.Expr, ...]
    quarantined: tuple[pl.Expr, ...]


def judge(batch: pl.DataFrame, contract: Contract, context: Context) -> Judged:
    """Reads and judges a batch of rows.

    batch: `_line` Int64, `_raw` String, `_shape_ok` Boolean, and a String column for every column of the contract,
    cells as sent, null where there was none. Every row ends in `accepted` or in `quarantined`, with every code that
    applies (branch exchange, table of codes; Exchange rules 5-13, 15-18, 22-28, 30, 32), but for KEY_DUPLICATE: that is
    judged over a whole slice, by `duplicate_lines`.
    Raises UserError when the contract names a check that does not exist.
    """
    is_tombstone = erased.tombstones(batch, contract)
    if not is_tombstone.any():
        return erased.without_suppressed(_judged(batch, contract, context), batch, contract, context.suppression)
    rest = batch.filter(~is_tombstone)
    judged = erased.without_suppressed(_judged(rest, contract, context), rest, contract, context.suppression)
    return erased.with_tombstones(judged, batch.filter(is_tombstone))


def _judged(batch: pl.DataFrame, contract: Contract, context: Context) -> Judged:
    all_shaped = bool(batch["_shape_ok"].all())
    cells = tidy(batch if all_shaped else batch.filter("_shape_ok"), contract.columns)
    plain = parse.plain_columns(cells, contract.columns)
    complete = parse.is_complete(cells, contract.columns, plain)
    plan = _plan(contract, context.zone.key, context.branch_ids, plain, complete)
    rows = cells.lazy().with_columns(_scope(context))
    for stage in plan.stages:
        rows = rows.with_columns(stage)
    frame = rows.collect(optimizations=_SHARED)
    refused = frame[_REFUSED]
    accepted = (frame.filter(~refused) if refused.any() else frame).select(plan.accepted)
    # Of many files no row is refused, and each step takes as long for no row as for hundreds.
    out = [] if all_shaped else [batch.filter(~pl.col("_shape_ok")).select(_MISSHAPEN)]
    if refused.any():
        out.append(frame.filter(refused).select(plan.quarantined))
    quarantined = pl.concat(out).sort("_line") if out else _NONE
    assert accepted.height + quarantined.height == batch.height, "a row was lost or judged twice"
    nik_valid = frame.height - int(frame[_NIK_REFUSED].sum()) if contract.has_nik else None
    return Judged(accepted, quarantined, nik_valid)


def check_contract(contract: Contract, branch_ids: frozenset[str]) -> None:
    """Raises UserError when `contract` names a check, a parameter or a reference that does not exist."""
    _plan(contract, JAKARTA.key, branch_ids, frozenset())


def key_columns(contract: Contract) -> list[str]:
    """The columns that `duplicate_lines` needs: key, ordering column, `_line`."""
    return list(dict.fromkeys([*contract.key, _latest(contract), "_line"]))


def duplicate_lines(keys: pl.DataFrame, contract: Contract) -> pl.Series:
    """The `_line`s, ascending, that lose their key to a later row of the slice: KEY_DUPLICATE (Exchange rules 3, 13).

    `keys` has the `key_columns` of all accepted rows of one slice, over all its batches. The greatest ordering value
    wins, then the last line.
    """
    if key_hashes(keys, contract).n_unique() == keys.height:
        return keys["_line"].clear()
    in_order = keys.sort(list(dict.fromkeys([_latest(contract), "_line"])))
    return in_order.filter(~pl.struct(contract.key).is_last_distinct())["_line"].sort()


def key_hashes(rows: pl.DataFrame, contract: Contract) -> pl.Series:
    """A 64-bit hash of the key of each row: those of equal keys are equal."""
    return rows.select(contract.key).hash_rows()


def _latest(contract: Contract) -> str:
    return next((str(check.params["latest"]) for check in contract.checks if check.check == UNIQUE_KEY), "_line")


def _scope(context: Context) -> list[pl.Expr]:
    instant = parse.DTYPES["timestamp"]
    sent_by = context.sent_by.astimezone(UTC) if context.sent_by else None
    return [
        pl.lit(context.slice.branch_id).alias(BRANCH),
        pl.lit(end_of_day(context.slice.business_date).astimezone(UTC), instant).alias(DAY_END),
        pl.lit(sent_by, instant).alias(SENT_BY),
    ]


@lru_cache(maxsize=128)
def _plan(
    contract: Contract, zone: str, branch_ids: frozenset[str], plain: frozenset[str], complete: bool = False
) -> _Plan:
    """Built once a contract, zone, registry and what is known of the cells: that takes longer than judging a small
    slice. `plain` are parse.plain_columns, and `complete` is parse.is_complete.
    """
    judged = [
        (check, verdict(check, contract, name, branch_ids))
        for name, checks in [*((column.name, column.checks) for column in contract.columns), (None, contract.checks)]
        for check in checks
        if check.check != UNIQUE_KEY
    ]
    found = [_Finding(result.column, check.code, check.severity, result.broken) for check, result in judged]
    findings = {
        f"_flag{i}": finding for i, finding in enumerate([*_reading_findings(contract, complete), *_graver_only(found)])
    }
    flags = [finding.broken.fill_null(False).alias(flag) for flag, finding in findings.items()]
    stored = [result.stored.alias(result.column) for _, result in judged if result.stored is not None]
    reading = zip_longest(
        *(
            parse.steps(column, zone, plain=column.name in plain, complete=complete and column.required)
            for column in contract.columns
        )
    )

    errors, warnings = (
        {flag: finding for flag, finding in findings.items() if finding.severity == severity}
        for severity in ("error", "warning")
    )
    outcome = [pl.max_horizontal(*errors).alias(_REFUSED)]
    if contract.has_nik:
        of_nik = [flag for flag, finding in errors.items() if finding.column == contract.nik]
        outcome.append(pl.max_horizontal(*of_nik).alias(_NIK_REFUSED))

    origin = (pl.col("_line"), pl.col("_raw"))
    error_codes = _labels(errors, lambda finding: finding.code).alias("_errors")
    warning_codes = _labels(warnings, lambda finding: finding.code).alias("_warnings")
    fields = _labels(findings, lambda finding: f"{finding.column}:{finding.code}").alias("_fields")
    return _Plan(
        stages=(
            *(tuple(step for step in steps if step is not None) for steps in reading),
            (*flags, *stored),
            tuple(outcome),
        ),
        accepted=(*origin, warning_codes, *(pl.col(column.name) for column in contract.columns)),
        quarantined=(*origin, error_codes, warning_codes, fields),
    )


def _reading_findings(contract: Contract, complete: bool) -> Iterator[_Finding]:
    for column in contract.columns:
        if complete and column.required:
            if column.type not in ("text", "code"):
                yield _Finding(column.name, "VALUE_INVALID", "error", pl.col(column.name).is_null())
            continue
        missing = pl.col(parse.text_of(column)).is_null()
        if column.required:
            yield _Finding(column.name, "REQUIRED_MISSING", "error", missing)
        yield _Finding(column.name, "VALUE_INVALID", "error", ~missing & pl.col(column.name).is_null())


def _graver_only(findings: list[_Finding]) -> Iterator[_Finding]:
    """A value out of bounds is not called unusual too: a warning gives way to an error of the same code and column."""
    errors = {(f.column, f.code): f.broken.fill_null(False) for f in findings if f.severity == "error"}
    for finding in findings:
        error = errors.get((finding.column, finding.code))
        if finding.severity == "warning" and error is not None:
            yield replace(finding, broken=finding.broken & ~error)
        else:
            yield finding


def _labels(findings: dict[str, _Finding], label: Callable[[_Finding], str]) -> pl.Expr:
    """The distinct labels, sorted, of the findings (by flag) that a row has."""
    flags: dict[str, list[str]] = {}
    for flag, finding in findings.items():
        flags.setdefault(label(finding), []).append(flag)
    if not flags:
        return pl.lit([], CODES)
    having = [pl.when(pl.any_horizontal(*flags[text])).then(pl.lit(text)) for text in sorted(flags)]
    # Joined and split again: a list of so many pieces is dear to make, and nearly all rows have none.
    joined = pl.concat_str(having, separator=",", ignore_nulls=True)
    return joined.replace("", None).str.split(",").fill_null(pl.lit([], CODES))
