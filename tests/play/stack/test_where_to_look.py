"""The last lines of `make run`: where the report is, as an address in a terminal and as a path in a file."""

from pathlib import Path
from types import SimpleNamespace

import pytest

from kkbc import reporting
from kkbc.cli import console
from kkbc.core import local_airflow
from kkbc.warehouse import server
from kkbc_play.cli import stack


@pytest.mark.parametrize("in_terminal", [True, False])
def test_the_report_is_an_address_to_click_in_a_terminal_alone(
    in_terminal: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    page = tmp_path / "a home" / "nasional.html"
    monkeypatch.setattr(console.out, "_force_terminal", in_terminal)
    monkeypatch.setattr(local_airflow, "find", lambda _: SimpleNamespace(url="http://127.0.0.1:1"))
    monkeypatch.setattr(server, "find", lambda _: SimpleNamespace(port=5))
    monkeypatch.setattr(reporting, "latest_page", lambda: page, raising=False)
    stack._where_to_look()
    wanted = page.as_uri() if in_terminal else str(page)
    assert f"Report:   {wanted}\n" in capsys.readouterr().out
