"""`kkbc query`: what it asks of the semantic layer, whose answers are tested in tests/dbt_project."""

from typing import Any

import pytest
from typer.testing import CliRunner

from kkbc.cli.application import app
from kkbc.marts import semantic


@pytest.mark.parametrize(
    ("arguments", "order"),
    [
        (["aktif", "--by", "metric_time__month", "--by", "branch"], ["metric_time__month"]),
        (["aktif", "--by", "metric_time__month", "--order", "-aktif"], ["-aktif"]),
        (["aktif", "--by", "branch"], []),
    ],
)
def test_rows_come_by_time_unless_another_order_is_asked_for(
    arguments: list[str], order: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[Any] = []

    class Layer:
        def __init__(self) -> None:
            self.labels = {"aktif": "Peserta aktif"}

        def ask(self, metrics: list[str], by: list[str], **more: Any) -> semantic.Answer:
            asked.append(more["order"])
            return semantic.Answer([*by, *metrics], [], "select")

    monkeypatch.setattr(semantic, "Metrics", Layer)
    result = CliRunner().invoke(app, ["query", *arguments], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    assert asked == [order]
