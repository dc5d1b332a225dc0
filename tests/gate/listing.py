"""Expectations as lines of tests/gate/checks.txt: checkpoint, suite, severity, and what must hold."""

from collections.abc import Iterator
from typing import Any

SEVERITIES = {
    ("critical", None): "fail",
    ("warning", None): "warn",
    ("warning", "hold"): "hold",
}


def lines_of(context: Any) -> Iterator[str]:
    """A line an expectation of all checkpoints of a context that Great Expectations opened."""
    for checkpoint in context.checkpoints.all():
        for validation in checkpoint.validation_definitions:
            for expectation in validation.suite.expectations:
                config = expectation.configuration.to_json_dict()
                severity = SEVERITIES[config["severity"], (config.get("meta") or {}).get("gate")]
                text = describe(config["type"], dict(config["kwargs"]))
                yield f"{checkpoint.name} {validation.suite.name} {severity} {text}"


def describe(kind: str, kwargs: dict[str, Any]) -> str:
    """What must hold, every argument of it. Fails on one that it has no words for."""
    where = kwargs.pop("row_condition", None)
    match kind:
        case "expect_column_pair_values_to_be_equal":
            assert kwargs.pop("ignore_row_if") == "either_value_is_missing"
            text = f"{kwargs.pop('column_A')} = {kwargs.pop('column_B')}"
        case "expect_column_pair_values_a_to_be_greater_than_b":
            assert kwargs.pop("ignore_row_if") == "either_value_is_missing"
            assert kwargs.pop("or_equal") is True
            text = f"{kwargs.pop('column_A')} >= {kwargs.pop('column_B')}"
        case "expect_column_values_to_be_between":
            low, high = (_limit(kwargs.pop(name, None)) for name in ("min_value", "max_value"))
            column = kwargs.pop("column")
            one_sided = f"{column} >= {low}" if low else f"{column} <= {high}"
            text = f"{low} <= {column} <= {high}" if low and high else one_sided
        case "expect_column_values_to_be_in_set":
            text = f"{kwargs.pop('column')} in {', '.join(map(str, kwargs.pop('value_set')))}"
        case "expect_column_values_to_not_be_null":
            text = f"{kwargs.pop('column')} is there"
        case _:
            raise AssertionError(kind)
    assert kwargs == {}, (kind, kwargs)
    if where:
        assert set(where) == {"type", "column", "operator", "parameter"}, where
        assert where["type"] == "comparison"
        text += f" where {where['column']['name']} {where['operator']} {where['parameter']!r}"
    return text


def _limit(value: Any) -> str | None:
    """A bound as it is, or as $ and the parameter that it names; None if there is none."""
    if value is None:
        return None
    return f"${value['$PARAMETER']}" if isinstance(value, dict) else f"{value:g}"
