"""The words in which `expectations/` says what must hold, and the expectations of Great Expectations they stand for."""

import re
from collections.abc import Callable, Iterator, Sequence
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

_PAIR = re.compile(r"(\w+) (=|>=) (\w+)")
_CONDITION = re.compile(r"(\w+) (==|!=|<=|>=|<|>) (\w+)")
_COMPARISONS: dict[str, tuple[str, dict[str, Any]]] = {
    "=": ("expect_column_pair_values_to_be_equal", {}),
    ">=": ("expect_column_pair_values_a_to_be_greater_than_b", {"or_equal": True}),
}
# Great Expectations knows two severities; what holds a branch says so in its meta.
_SEVERITIES: dict[str, tuple[str, dict[str, str]]] = {
    "fail": ("critical", {}),
    "warn": ("warning", {}),
    "hold": ("warning", {"gate": "hold"}),
}

Limit = float | Annotated[str, Field(pattern=r"^\$\w+$")]
"""A number, or $ and the name of a parameter in config/gate.yml."""

Expectation = dict[str, Any]
"""An expectation in the form of Great Expectations' own files, without its id."""


class Check(BaseModel):
    """One entry of `expect`: what must hold of the rows of a suite, how badly, and why (expectations/README.md).

    Exactly one of `compare`, `between`, `one_of` and `not_null` is given. `between` takes several columns to which the
    same bounds apply.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    compare: Annotated[str, Field(pattern=rf"^{_PAIR.pattern}$")] | None = None
    between: str | tuple[str, ...] | None = None
    one_of: str | None = None
    not_null: str | None = None
    min: Limit | None = None
    max: Limit | None = None
    values: tuple[str | int, ...] | str | None = None
    where: Annotated[str, Field(pattern=rf"^{_CONDITION.pattern}$")] | None = None
    severity: Literal["fail", "hold", "warn"] = "fail"
    why: Annotated[str, Field(min_length=1)]

    @model_validator(mode="after")
    def _is_one_kind_with_what_it_needs(self) -> "Check":
        kinds = [name for name in ("compare", "between", "one_of", "not_null") if getattr(self, name) is not None]
        if len(kinds) != 1:
            raise ValueError("name one of compare, between, one_of, not_null")
        if (kinds == ["between"]) != (self.min is not None or self.max is not None):
            raise ValueError("min or max, or both, go with between")
        if (kinds == ["one_of"]) != (self.values is not None):
            raise ValueError("values go with one_of")
        return self

    def expectations(self, named_values: Callable[[str], Sequence[str]]) -> Iterator[Expectation]:
        """The expectations that the check stands for. `named_values` gives the values that `values` names.

        Raises UserError, from `named_values`, when there are no such values.
        """
        severity, meta = _SEVERITIES[self.severity]
        for kind, kwargs in self._kinds(named_values):
            if self.where:
                kwargs["row_condition"] = _condition(self.where)
            yield {"type": kind, "kwargs": kwargs, "severity": severity, "meta": dict(meta), "notes": self.why}

    def _kinds(self, named_values: Callable[[str], Sequence[str]]) -> Iterator[tuple[str, dict[str, Any]]]:
        if self.compare:
            left, operator, right = _matched(_PAIR, self.compare)
            kind, extra = _COMPARISONS[operator]
            yield kind, {"column_A": left, "column_B": right, "ignore_row_if": "either_value_is_missing", **extra}
        if self.between:
            limits = {"min_value": self.min, "max_value": self.max}
            for column in (self.between,) if isinstance(self.between, str) else self.between:
                bounds = {name: _limit(limit) for name, limit in limits.items() if limit is not None}
                yield "expect_column_values_to_be_between", {"column": column, **bounds}
        if self.one_of:
            assert self.values is not None
            values = named_values(self.values) if isinstance(self.values, str) else self.values
            yield "expect_column_values_to_be_in_set", {"column": self.one_of, "value_set": list(values)}
        if self.not_null:
            yield "expect_column_values_to_not_be_null", {"column": self.not_null}


def columns_of(expectation: Expectation) -> Iterator[str]:
    """The columns that an expectation reads, that of its condition included."""
    kwargs = expectation["kwargs"]
    yield from (kwargs[name] for name in ("column", "column_A", "column_B") if name in kwargs)
    if "row_condition" in kwargs:
        yield kwargs["row_condition"]["column"]["name"]


def _matched(pattern: re.Pattern[str], text: str) -> tuple[str, str, str]:
    """The three parts of a text that the model has found to match."""
    match = pattern.fullmatch(text)
    assert match is not None
    left, operator, right = match.groups()
    return left, operator, right


def _condition(where: str) -> dict[str, Any]:
    column, operator, value = _matched(_CONDITION, where)
    parameter = int(value) if value.isdigit() else value
    return {"type": "comparison", "column": {"name": column}, "operator": operator, "parameter": parameter}


def _limit(limit: float | str) -> float | dict[str, str]:
    return {"$PARAMETER": limit.removeprefix("$")} if isinstance(limit, str) else float(limit)
