"""The kinds of checks that contracts may name: one small function each, giving an expression that is true where a row
breaks the rule.

A rule reads the typed columns of the batch (null where missing or unreadable) and answers null where it cannot judge,
so that a missing or unreadable value earns no second code (Exchange rule 6). Bounds and lists are parameters: they
stand in the contract or in a reference table that it names. What depends on the slice comes in as columns, `SCOPE`.
"""

from collections.abc import Callable, Collection
from dataclasses import dataclass
from datetime import date
from typing import Any

import polars as pl

from kkbc.core.clock import JAKARTA
from kkbc.core.errors import UserError
from kkbc.exchange.contracts import NOT_LATER, REGISTRY, UNIQUE_KEY, Check, Contract
from kkbc.exchange.nik import DATED, DIGITS
from kkbc.exchange.reference import codes, seed
from kkbc.intake.validation.parse import DTYPES

BRANCH, DAY_END, SENT_BY = SCOPE = ("_branch_id", "_day_end", "_sent_by")
"""Columns that the judge adds to a batch: the delivering branch, the end of the business date, when it was sent at the
latest."""


@dataclass(frozen=True)
class Verdict:
    """`broken` is true where a row breaks the rule, `column` the one to look at, `stored` what replaces its value."""

    column: str
    broken: pl.Expr
    stored: pl.Expr | None = None


Rule = Callable[..., Verdict]
RULES: dict[str, Rule] = {}


def rule(name: str) -> Callable[[Rule], Rule]:
    """Registers a function as the rule that contracts call `name`; their parameters are its arguments."""

    def register(function: Rule) -> Rule:
        RULES[name] = function
        return function

    return register


def verdict(check: Check, contract: Contract, column: str | None, branch_ids: frozenset[str]) -> Verdict:
    """The verdict of `check`, on `column` or (None) on the whole row.

    A parameter `reference` is looked up: `table.column` becomes `values`, a whole `table` becomes `table`.
    Raises UserError naming contract and check when its kind is unknown or its parameters do not fit.
    """
    function = RULES.get(check.check)
    if function is None:
        known = ", ".join(sorted([*RULES, UNIQUE_KEY]))
        problem = f"contract {contract.feed}: {check.code} names the unknown check {check.check!r}"
        raise UserError(problem, f"known are {known}")
    params = _looked_up(check.params, branch_ids)
    try:
        return function(**params) if column is None else function(column, **params)
    except TypeError as error:
        problem = f"contract {contract.feed}: {check.code} gives check {check.check!r} parameters that do not fit"
        raise UserError(problem, str(error)) from error


def _looked_up(params: dict[str, Any], branch_ids: frozenset[str]) -> dict[str, Any]:
    reference = params.get("reference")
    if reference is None:
        return params
    rest = {name: value for name, value in params.items() if name != "reference"}
    if "." not in reference:
        return {**rest, "table": seed(reference)}
    return {**rest, "values": branch_ids if reference == REGISTRY else codes(reference)}


@rule("one_of")
def _one_of(column: str, values: Collection[str], strip: str = "") -> Verdict:
    """Not in a closed list. A known value is stored without the characters `strip`."""
    value = pl.col(column)
    bare = value.str.replace_all(strip, "", literal=True) if strip else value
    stored = pl.when(_known(bare, values)).then(bare).otherwise(value) if strip else None
    return Verdict(column, value.is_not_null() & ~_known(bare, values), stored)


@rule("delivering_branch")
def _delivering_branch(column: str) -> Verdict:
    """Not the branch that delivers (Exchange rule 11)."""
    return Verdict(column, pl.col(column) != pl.col(BRANCH))


@rule("range")
def _range(column: str, min: int | None = None, max: int | None = None) -> Verdict:
    """Below `min` or above `max`; None leaves that side open."""
    value = pl.col(column)
    sides = [value < min] if min is not None else []
    return Verdict(column, pl.any_horizontal(*sides, *([value > max] if max is not None else [])))


@rule("usual")
def _usual(column: str, values: Collection[int]) -> Verdict:
    """A valid number, but not one of the usual ones."""
    return Verdict(column, ~pl.col(column).is_in(values))


@rule("not_negative")
def _not_negative(column: str) -> Verdict:
    """Below zero."""
    return Verdict(column, pl.col(column) < 0)


@rule(NOT_LATER)
def _not_after_business_date(column: str) -> Verdict:
    """At or after 24:00 Jakarta of the business date (Exchange rule 5)."""
    # A day is taken for its beginning in UTC, which is 07:00 Jakarta of it.
    return Verdict(column, pl.col(column).cast(DTYPES["timestamp"]) >= pl.col(DAY_END))


@rule("not_after_sent")
def _not_after_sent(column: str, days: int) -> Verdict:
    """More than `days` after the delivery was sent (Exchange rules 5, 30); not judged when that is unknown."""
    return Verdict(column, pl.col(column) > pl.col(SENT_BY) + pl.duration(days=days))


@rule("phone")
def _phone(column: str, country: str, trunk: str, pattern: str) -> Verdict:
    """Not a mobile number; stored as E.164, else not at all (Exchange rule 12)."""
    prefixes = "|".join(prefix.replace("+", r"\+") for prefix in (country, country.removeprefix("+"), trunk))
    number = pl.col(column).str.replace_all(r"[\s.()\[\]-]+", "").str.replace(f"^(?:{prefixes})", "")
    valid = number.str.contains(pattern)
    return Verdict(column, ~valid, pl.when(valid).then(pl.concat_str(pl.lit(country), number)))


@rule("email")
def _email(column: str, pattern: str) -> Verdict:
    """Not an e-mail address; then not stored (Exchange rule 12)."""
    valid = pl.col(column).str.contains(pattern)
    return Verdict(column, ~valid, pl.when(valid).then(pl.col(column)))


@rule("nik_format")
def _nik_format(nik: str) -> Verdict:
    """Not 16 digits, or the serial 0000 (Exchange rule 6)."""
    return Verdict(nik, ~_is_nik(nik) | pl.col(nik).str.ends_with("0000"))


@rule("nik_region")
def _nik_region(nik: str, values: Collection[str]) -> Verdict:
    """The leading digits are none of the region codes `values`, which are of one length."""
    region = pl.col(nik).str.head(max(map(len, values)))
    return Verdict(nik, _is_nik(nik) & ~_known(region, values))


@rule("nik_date")
def _nik_date(nik: str) -> Verdict:
    """The day of birth in it exists neither in 19YY nor in 20YY (Exchange rule 7)."""
    return Verdict(nik, _is_nik(nik) & ~_has_born(nik))


@rule("nik_birth_date")
def _nik_birth_date(nik: str, column: str) -> Verdict:
    """The day of birth in it, of 19YY or 20YY, is not `column`; not judged when it does not exist (Exchange rule 7)."""
    birth = pl.col(column).dt
    as_man = birth.day().cast(pl.Int32) * 10_000 + birth.month().cast(pl.Int32) * 100 + birth.year() % 100
    same = (_born(nik) - as_man).is_in([0, _WOMAN]) & birth.year().is_between(1900, 2099)
    return Verdict(nik, _has_born(nik) & ~same)


@rule("nik_sex")
def _nik_sex(nik: str, column: str, male: str, female: str) -> Verdict:
    """The sex in it is not `column`; not judged when the day of birth in it does not exist (Exchange rule 7)."""
    sex = pl.when(_born(nik) > _WOMAN).then(pl.lit(female)).otherwise(pl.lit(male))
    return Verdict(nik, _has_born(nik) & (pl.col(column) != sex))


@rule("age")
def _age(birth_date: str, at: str, min: int, max: int, adult: int, segment: str, minor_segment: str) -> Verdict:
    """Completed years on the Jakarta day of `at`: below `min`, above `max`, or a minor outside `minor_segment`.

    Who is born on 29 Feb completes a year on 1 Mar in common years (Exchange rule 8).
    """
    day, born = pl.col(at).dt.convert_time_zone(JAKARTA.key).dt, pl.col(birth_date).dt
    before_birthday = (day.month() < born.month()) | ((day.month() == born.month()) & (day.day() < born.day()))
    years = day.year() - born.year() - before_birthday.cast(pl.Int32)
    minor = (years < adult) & pl.col(segment).ne_missing(minor_segment)
    return Verdict(birth_date, ~years.is_between(min, max) | minor)


@rule("not_before")
def _not_before(start: str, end: str) -> Verdict:
    """`end` lies before `start`."""
    return Verdict(end, pl.col(end) < pl.col(start))


@rule("sum")
def _sum(total: str, parts: list[str]) -> Verdict:
    """`total` is not the sum of `parts`."""
    # In 128 bits: amounts that are each valid may overflow 64 when added.
    added = pl.sum_horizontal([pl.col(part).cast(pl.Int128) for part in parts], ignore_nulls=False)
    return Verdict(total, pl.col(total).cast(pl.Int128) != added)


@rule("tier")
def _tier(
    table: pl.DataFrame, jkk: str, jkm: str, jht: str, months: str, program: str, with_jht: str, at: str
) -> Verdict:
    """The amounts are no tier's of the rate table in force on the day `at`, times `months` (Exchange rule 10).

    Not judged on a day that has no rate table (Exchange rule 23); no `valid_from` or `valid_to` is an open end. The
    work accident rate tells which tier it is.
    """
    paid, count = pl.col(jkk), pl.when(pl.col(months) > 0).then(pl.col(months))
    rate = paid // count
    judged = pl.all_horizontal(count.is_not_null(), pl.col(jkk, jkm, jht, program).is_not_null())
    broken = []
    for (start, end), tiers in table.group_by("valid_from", "valid_to"):
        rates = tiers.select(pl.col("jkk", "jkm", "jht").cast(pl.Int64))
        jkm_due, jht_due = (
            rate.replace_strict(rates["jkk"], rates[part], default=None, return_dtype=pl.Int64) * count
            for part in ("jkm", "jht")
        )
        jht_due = pl.when(pl.col(program) == with_jht).then(jht_due).otherwise(0)
        fits = (paid == rate * count) & (pl.col(jkm) == jkm_due) & (pl.col(jht) == jht_due)
        first, last = (date.fromisoformat(day) if day else open_ for day, open_ in ((start, date.min), (end, date.max)))
        in_force = pl.col(at).is_between(first, last)
        broken.append(in_force & judged & ~fits.fill_null(False))
    return Verdict(jkk, pl.any_horizontal(broken))


def _known(value: pl.Expr, values: Collection[str]) -> pl.Expr:
    """Whether a closed list holds it, false for null. An Enum carries its lookup, `is_in` builds one each time."""
    return value.cast(pl.Enum(sorted(set(values))), strict=False).is_not_null()


_WOMAN = 40_00_00


def _is_nik(nik: str) -> pl.Expr:
    """Where it is not 16 digits, no other rule of a NIK judges it (Exchange rule 6)."""
    return pl.col(nik).str.contains(f"^{DIGITS}$")


def _has_born(nik: str) -> pl.Expr:
    return pl.col(nik).str.contains(f"^{DATED}$")


def _born(nik: str) -> pl.Expr:
    return pl.col(nik).str.slice(6, 6).cast(pl.Int32, strict=False)
