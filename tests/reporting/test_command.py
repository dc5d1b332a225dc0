"""`kkbc report`: where it writes, what it prints, and that each mistake is one line with its remedy."""

import stat
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from kkbc.cli import console
from kkbc.cli.application import app
from kkbc.core.errors import UserError
from kkbc.core.settings import get_settings
from kkbc.reporting import write_report
from tests.reporting.conftest import AS_OF, reports_of_its_own
from tests.reporting.invented import Campaign


def test_the_command_writes_where_it_is_told_and_prints_where(published: Campaign, tmp_path: Path) -> None:
    target = tmp_path / "a" / "b.html"
    done = kkbc("report", "--branch", "KC001", "--out", str(target))
    assert (done.exit_code, done.stdout.strip()) == (0, str(target))
    assert "KC001" in target.read_text(encoding="utf-8")
    done = kkbc("report", "--night", AS_OF.isoformat(), "--regional", "KW06")
    path = Path(done.stdout.strip())
    assert path == get_settings().home / "reports" / AS_OF.isoformat() / "KW06.html"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_a_terminal_gets_an_address_to_click(
    published: Campaign, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = tmp_path / "laporan malam.html"
    monkeypatch.setattr(console.out, "_force_terminal", True)
    assert kkbc("report", "--out", str(target)).stdout.strip() == target.as_uri()
    assert target.as_uri().endswith("/laporan%20malam.html")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--branch", "KC999"], "branch 'KC999' is not published: the 6 that are, KC001 to KC056, stand in config"),
        (["--branch", "HQ"], "head office (HQ) is no branch and has no page of its own: leave --branch out"),
        (["--branch", "kw06"], "KW06 is a regional office: ask for it by --regional KW06"),
        (["--regional", "KW99"], "there is no regional office 'KW99': there are: KW01 "),
        (["--regional", "KC001"], "KC001 is a branch: ask for it by --branch KC001"),
        (["--branch", "KC001", "--regional", "KW01"], "a report is of a branch or of a regional office"),
        (["--night", "2025-12-19"], "the night of 2025-12-19 is not published: published is 2025-12-18"),
        (["--night", "2025-12-01"], "no report of the night of 2025-12-01 is kept"),
        (["--out", "/proc/x/report.html"], "folder /proc/x cannot be made"),
        (["--out", "/proc/report.html"], "/proc/report.html cannot be written"),
        (["--out", "/proc"], "/proc is a folder: name a file, such as /proc/nasional.html"),
    ],
)
def test_a_mistake_is_one_line(published: Campaign, arguments: list[str], said: str) -> None:
    with pytest.raises(UserError) as error:
        kkbc("report", *arguments)
    assert said in str(error.value)
    assert "\n" not in str(error.value)


def test_a_home_whose_reports_cannot_be_written_is_one_line(
    published: Campaign, monkeypatch: pytest.MonkeyPatch
) -> None:
    with reports_of_its_own(monkeypatch):
        (get_settings().home / "reports").write_text("a file in the place of the folder")
        with pytest.raises(UserError, match=r"^folder \S+ cannot be made: [^\n]+: choose another --out$"):
            kkbc("report")
        (get_settings().home / "reports").unlink()


def test_marts_that_were_never_published_are_one_line(warehouse: str) -> None:
    with pytest.raises(UserError, match="nothing is published in schema bi: run a night first"):
        write_report()
    assert not (get_settings().home / "reports").exists()


def kkbc(*arguments: str) -> Any:
    return CliRunner().invoke(app, list(arguments), catch_exceptions=False)
