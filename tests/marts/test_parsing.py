"""The parsed project: kept for as long as its files, and made again when what is kept cannot be read."""

import shutil
from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import Any

import pytest

from kkbc.core.errors import UserError
from kkbc.core.settings import get_settings
from kkbc.marts import parsing, runner
from kkbc.nights.prepare import prepare

PLACE = {"DBT_HOST": "none", "DBT_USER": "none", "DBT_PASSWORD": "", "DBT_DBNAME": "warehouse", "DBT_SCHEMA": "next"}


@pytest.fixture
def project(home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the project, in whose home nothing was parsed yet."""
    folder = tmp_path / "dbt_project"
    shutil.copytree(runner.DBT_PROJECT, folder, ignore=shutil.ignore_patterns("target", "logs"))
    monkeypatch.setattr(runner, "DBT_PROJECT", folder)
    monkeypatch.setenv("KKBC_CACHE_FOLDER", str(home / "kept"))
    get_settings.cache_clear()
    return folder


def parse(**place: str) -> Any:
    with runner.exported(PLACE | place):
        return parsing.parsed(runner.DBT_PROJECT, runner._folders("next"), PLACE | place)


def kept() -> list[Path]:
    return sorted((get_settings().cache / "dbt").iterdir())


def described(manifest: Any) -> dict[str, Any]:
    """All that a build takes from a manifest; when it was made and where the files lie in memory is none of it."""
    made: dict[str, Any] = manifest.writable_manifest().to_dict(omit_none=False)
    made.pop("metadata")
    described: dict[str, Any] = timeless(made | {"flat": manifest.flat_graph})
    return described


def timeless(value: Any) -> Any:
    """The same without the moments at which its parts were parsed."""
    if isinstance(value, dict):
        return {name: timeless(part) for name, part in value.items() if name != "created_at"}
    return [timeless(part) for part in value] if isinstance(value, list | tuple) else value


@pytest.fixture
def parses(monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """The arguments of every parse by dbt itself."""
    from dbt.cli.main import dbtRunner

    seen: list[list[str]] = []
    invoke: Callable[..., Any] = dbtRunner.invoke

    def counted(self: dbtRunner, arguments: list[str], **rest: Any) -> Any:
        seen.append(arguments)
        return invoke(self, arguments, **rest)

    monkeypatch.setattr(dbtRunner, "invoke", counted)
    return seen


def test_what_is_kept_is_what_was_parsed_until_a_file_changes(project: Path, parses: list[list[str]]) -> None:
    first = parse()
    again = parse()
    assert (len(parses), len(kept())) == (1, 1)
    assert again is not first
    assert described(again) == described(first)
    assert len(first.nodes) > 100

    elsewhere = parse(DBT_DBNAME="another")
    assert len(parses) == 2
    assert {node.database for node in elsewhere.nodes.values()} == {"another"}
    assert {node.database for node in parse().nodes.values()} == {"warehouse"}

    model = next((project / "models" / "marts").glob("kpi_national_daily/*.sql"))
    model.write_text(model.read_text() + "\n-- changed\n")
    changed = parse()
    assert len(parses) == 3
    assert "-- changed" in changed.nodes["model.kkbc.kpi_national_daily"].raw_code


def test_a_damaged_file_is_made_again(project: Path, parses: list[list[str]], caplog: pytest.LogCaptureFixture) -> None:
    whole = described(parse())
    (file,) = kept()
    for damage in (b"", file.read_bytes()[:-1], b"\x91\xc3"):
        file.write_bytes(damage)
        assert described(parse()) == whole
        assert f"{file} cannot be read" in caplog.messages[-1]
    assert len(parses) == 4
    assert kept() == [file]


def test_a_project_that_does_not_parse_is_one_line_and_nothing_is_kept(project: Path) -> None:
    (project / "models" / "marts" / "kpi_national_daily" / "kpi_national_daily.sql").write_text("select {{ no such")
    with pytest.raises(UserError, match="dbt could not build its project: "):
        parse()
    assert not (get_settings().cache / "dbt").exists()


def test_a_prepared_home_builds_without_parsing(project: Path, warehouse: str, parses: list[list[str]]) -> None:
    prepare()
    prepare()
    assert [arguments[0] for arguments in parses] == ["parse"]
    assert runner.build("seeds", as_of=date(2024, 1, 1), first_business_date=date(2024, 1, 1))
    assert [arguments[0] for arguments in parses] == ["parse", "build"]


def test_a_project_that_does_not_parse_stops_builds_alone(
    project: Path, warehouse: str, caplog: pytest.LogCaptureFixture
) -> None:
    (project / "models" / "marts" / "kpi_national_daily" / "kpi_national_daily.sql").write_text("select {{ no such")
    prepare()
    (told,) = [record.getMessage() for record in caplog.records if record.name == "kkbc.nights.prepare"]
    assert "dbt could not build its project: " in told
    assert "until then nights load" in told
    with pytest.raises(UserError, match="dbt could not build its project: "):
        runner.build("seeds", as_of=date(2024, 1, 1), first_business_date=date(2024, 1, 1))
