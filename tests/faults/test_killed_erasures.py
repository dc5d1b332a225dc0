"""An erasure is killed at a named point, and asked for again: it goes on, and leaves what an undisturbed one leaves."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from kkbc.core import tokens
from kkbc.rights.erasing import STEPS
from kkbc.warehouse import server

from .conftest import NewHome, homes
from .stage import (
    PULLED,
    Home,
    Trap,
    Victims,
    assert_killed,
    files,
    fill,
    nik,
    small_disk,
    spooled,
    tables,
    trap,
)

ERASURE = "kkbc.rights.erasing:_Erasure"
BETWEEN: dict[str, tuple[Trap, ...]] = {
    f"{when} step {step}": (trap(f"{ERASURE}._{step}", when),) for step in STEPS for when in ("before", "after")
}
WITHIN: dict[str, tuple[Trap, ...]] = {
    "a landed file is written anew, its rows are not": (trap("kkbc.intake.landing:Landing.replace", "after"),),
    "the rows beside are being changed": (trap("kkbc.intake.landing:Landing.keep", "before"),),
    "a landed file is done, and not on record": (trap("kkbc.rights.landing:record_rewrite", "before"),),
    "one branch is done": (trap("kkbc.rights.landing:LandedFiles.erase", "after", nth=2),),
    "rows are gone, tokens are not cut": (trap("kkbc.rights.erasing:cut_tokens", "before"),),
    "tokens are cut, not committed": (trap("kkbc.rights.erasing:cut_tokens", "after"),),
    "tables are written anew, the log is not": (trap("kkbc.rights.cleaning:_end_log", "before"),),
    "the proof is written, the request is open": (trap("kkbc.rights.requests:close", "before"),),
    "it is done, and its file is there": (trap("kkbc.rights.requests:remove", "before"),),
}
EXECUTE = "psycopg:Connection.execute"
IN_VACUUM: dict[str, tuple[Trap, ...]] = {
    "in the first table": (trap(EXECUTE, "half", having="vacuum (full"),),
    "in a later table": (trap(EXECUTE, "half", nth=4, having="vacuum (full"),),
    "in the statistics": (trap(EXECUTE, "half", having="pg_catalog.pg_statistic"),),
    "before the statistics": (trap(EXECUTE, having="pg_catalog.pg_statistic"),),
}
# Where the list is read, written or gone by, and the end.
WITH_A_LIST: dict[str, tuple[Trap, ...]] = {
    **{name: traps for name, traps in BETWEEN.items() if re.search("suppressed|found|landing", name)},
    "on the list, not noted": (trap("kkbc.rights.erasing:suppress", "after"),),
    **{name: WITHIN[name] for name in ("tokens are cut, not committed", "the proof is written, the request is open")},
}
ERASED = (3, 30, 50, 60)
BEFORE = (10, 30)


@pytest.fixture(scope="module")
def persons(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file that names some people, of whom one had rows in quarantine and one came twice."""
    return naming(ERASED, tmp_path_factory.mktemp("request"))


@pytest.fixture(scope="module")
def persons_before(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file that names people who are erased first, one of those of the other file among them."""
    return naming(BEFORE, tmp_path_factory.mktemp("earlier_request"))


def naming(numbers: tuple[int, ...], folder: Path) -> Path:
    path = folder / "niks.txt"
    path.touch(mode=0o600)
    path.write_text("".join(f"{nik(number)}\n" for number in numbers))
    return path


def arguments(persons: Path) -> tuple[str, ...]:
    return ("erase", "--file", str(persons), "--why", "requested")


def pulled(victims: Victims, home: Home, persons_before: Path | None = None) -> None:
    """A home after a pull, and after an erasure where one is asked for."""
    tokens.ensure_key(home.folder)
    # The same for all homes, so that their suppression lists can be compared.
    for name in ("suppression.key", "marks.key"):
        (home.folder / "keys" / name).write_text("cd" * 32)
    assert victims.run(home, "pull", *home.pull_arguments()) == 0, home.log.read_text()
    if persons_before is not None:
        assert victims.run(home, "command", *arguments(persons_before)) == 0, home.log.read_text()


def state(home: Home) -> dict[str, Any]:
    """All that an erasure leaves behind, but for times, names, numbers and the random tokens."""
    hidden = {table: (*columns, "participant_token", "closed_why") for table, columns in PULLED.items()}
    cut = "select count(*), count(distinct participant_token) from raw.{} where participant_token like '00%'"
    left = [path for path in files(home.folder) if path.startswith("requests")]
    return {
        **tables(home.database, hidden),
        **tables(home.database, {"vault.suppressed": ("suppressed_at", "suppressed_id", "erasure_id")}),
        "rewritten": home.query("select new_sha256, rows_erased from ops.landed_rewrite order by 1"),
        "cut": [home.query(cut.format(table)) for table in ("registrations", "contributions")],
        "outcome": home.query("select outcome, persons from ops.erasure order by erasure_id"),
        "steps": home.query("select step from ops.erasure_step where finished_at is not null order by 1"),
        "landing": {p: h for p, h in files(home.landing).items() if not p.endswith((".parquet", ".json"))},
        "requests": left,
        "spool": spooled(home.folder),
    }


@pytest.fixture(scope="module")
def undisturbed_erasure(victims: Victims, shared_home: Home, persons: Path) -> dict[str, Any]:
    """What an erasure leaves behind that nothing disturbs."""
    pulled(victims, shared_home)
    before = shared_home.query("select count(*) from raw.registrations")
    assert victims.run(shared_home, "command", *arguments(persons)) == 0, shared_home.log.read_text()
    found = state(shared_home)
    assert shared_home.query("select count(*) from raw.registrations") == before
    assert found["rewritten"]
    assert (found["outcome"], found["requests"]) == ([("done", len(ERASED))], [])
    return found


@pytest.fixture(scope="module")
def undisturbed_after_another(
    victims: Victims,
    pg: server.Server,
    deliveries: Path,
    tmp_path_factory: pytest.TempPathFactory,
    persons: Path,
    persons_before: Path,
) -> Iterator[dict[str, Any]]:
    """The same where people had been erased before, one of them again."""
    with homes(pg, tmp_path_factory.mktemp("listed"), deliveries) as make:
        quiet = make()
        pulled(victims, quiet, persons_before)
        assert quiet.query("select count(*) from vault.suppressed") == [(len(BEFORE),)]
        assert victims.run(quiet, "command", *arguments(persons)) == 0, quiet.log.read_text()
        found = state(quiet)
        assert quiet.query("select count(*) from vault.suppressed") == [(len({*BEFORE, *ERASED}),)]
        assert found["outcome"] == [("done", len(BEFORE)), ("done", len(ERASED))]
        yield found


@pytest.mark.parametrize("point", WITHIN)
def test_killed_within_a_step(
    point: str, victims: Victims, home: Home, persons: Path, undisturbed_erasure: dict[str, Any]
) -> None:
    killed_and_asked_again(WITHIN[point], victims, home, persons, undisturbed_erasure)


@pytest.mark.faults
@pytest.mark.parametrize("point", BETWEEN)
def test_killed_between_steps(
    point: str, victims: Victims, home: Home, persons: Path, undisturbed_erasure: dict[str, Any]
) -> None:
    killed_and_asked_again(BETWEEN[point], victims, home, persons, undisturbed_erasure)


@pytest.mark.parametrize("point", IN_VACUUM)
def test_killed_while_a_table_is_written_anew(
    point: str, victims: Victims, home: Home, persons: Path, undisturbed_erasure: dict[str, Any]
) -> None:
    """The server goes on with the statement for a while, and holds the table against the one who comes again."""
    killed_and_asked_again(IN_VACUUM[point], victims, home, persons, undisturbed_erasure)


@pytest.mark.parametrize("point", WITH_A_LIST)
def test_killed_where_others_were_erased_before(
    point: str,
    victims: Victims,
    home: Home,
    persons: Path,
    persons_before: Path,
    undisturbed_after_another: dict[str, Any],
) -> None:
    killed_and_asked_again(WITH_A_LIST[point], victims, home, persons, undisturbed_after_another, persons_before)


@pytest.mark.parametrize("kilobytes", [0, 8, 200, 1000])
def test_the_disk_of_the_warehouse_is_full(
    kilobytes: int,
    victims: Victims,
    home_with_small_warehouse: tuple[Home, Path],
    persons: Path,
    undisturbed_erasure: dict[str, Any],
) -> None:
    home, disk = home_with_small_warehouse
    pulled(victims, home)
    full_and_asked_again(victims, home, persons, fill(disk, kilobytes * 1024))
    assert state(home) == undisturbed_erasure


@pytest.mark.parametrize("kilobytes", [0, 12, 30, 60])
def test_the_disk_of_the_home_is_full(
    kilobytes: int,
    victims: Victims,
    new_home: NewHome,
    persons: Path,
    tmp_path: Path,
    undisturbed_erasure: dict[str, Any],
) -> None:
    with small_disk(tmp_path / "disk", 16) as disk:
        home = new_home(disk / "home")
        pulled(victims, home)
        full_and_asked_again(victims, home, persons, fill(disk, kilobytes * 1024))
        assert state(home) == undisturbed_erasure


def full_and_asked_again(victims: Victims, home: Home, persons: Path, ballast: Path) -> None:
    home.forget_log()
    status = victims.run(home, "command", *arguments(persons))
    text = home.log.read_text()
    assert status == 2, text
    assert "space" in home.complaint(), text
    ballast.unlink()
    assert victims.run(home, "command", *arguments(persons)) == 0, home.log.read_text()


def test_without_the_input_it_goes_on_by_its_name(
    victims: Victims, home: Home, persons: Path, undisturbed_erasure: dict[str, Any]
) -> None:
    pulled(victims, home)
    named = (*arguments(persons), "--request", "by-name")
    assert_killed(victims.run(home, "command", *named, traps=(trap(f"{ERASURE}._landing", "after"),)))
    resumed = ("erase", "--resume", "by-name")
    assert victims.run(home, "command", *resumed) == 0, home.log.read_text()
    assert state(home) == undisturbed_erasure


def killed_and_asked_again(
    traps: tuple[Trap, ...],
    victims: Victims,
    home: Home,
    persons: Path,
    wanted: dict[str, Any],
    persons_before: Path | None = None,
) -> None:
    pulled(victims, home, persons_before)
    assert_killed(victims.run(home, "command", *arguments(persons), traps=traps))
    assert victims.run(home, "command", *arguments(persons)) == 0, home.log.read_text()
    assert state(home) == wanted
