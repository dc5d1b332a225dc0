"""Files for people: whole or not there, through no link, closed to others."""

import os
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from kkbc.core import files
from kkbc.core.home import open_to_others


@pytest.fixture(autouse=True)
def umask() -> Iterator[None]:
    """The umask of most shells."""
    before = os.umask(0o022)
    yield
    os.umask(before)


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_a_link_is_replaced_and_what_it_leads_to_left_alone(tmp_path: Path) -> None:
    precious, link = tmp_path / "precious", tmp_path / "out.csv"
    precious.write_text("keep")
    link.symlink_to(precious)
    with files.replacing(link) as made:
        assert not made.is_symlink()
        assert made.suffix == ".csv"
        made.write_text("new")
    assert (precious.read_text(), link.read_text(), link.is_symlink()) == ("keep", "new", False)


def test_a_file_that_is_not_finished_leaves_nothing(tmp_path: Path) -> None:
    path = tmp_path / "out.csv"
    path.write_text("before")

    def fill() -> None:
        with files.replacing(path) as made:
            made.write_text("half")
            tmp_path.write_text("a folder cannot be written")

    with pytest.raises(IsADirectoryError):
        fill()
    assert {item.name: item.read_text() for item in tmp_path.iterdir()} == {"out.csv": "before"}


def test_a_private_file_is_its_owners_from_the_first_byte(tmp_path: Path) -> None:
    with files.replacing(tmp_path / "a", private=True) as made:
        assert mode(made) == 0o600
    with files.replacing(tmp_path / "b") as made:
        assert mode(made) == 0o600
    files.make_folder(tmp_path / "c" / "d")
    found = {path.name: mode(path) for path in tmp_path.rglob("*")}
    assert found == {"a": 0o600, "b": 0o644, "c": 0o755, "d": 0o755}


def test_below_the_home_all_is_its_owners_whatever_the_umask(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files, "_callers_umask", 0o022)
    (home.parent / "link").symlink_to(home)
    for folder in (home / "docs", home.parent / "link" / "export" / "kpis"):
        files.make_folder(folder)
        with files.replacing(folder / "page.html") as made:
            made.write_text("page")
    assert {str(path.relative_to(home)): mode(path) for path in home.rglob("*")} == {
        **{"docs": 0o700, "export": 0o700, "export/kpis": 0o700},
        **{"docs/page.html": 0o600, "export/kpis/page.html": 0o600},
    }
    assert list(open_to_others(home)) == []
    files.make_folder(home.parent / "homework")
    with files.replacing(home.parent / "homework" / "page.html"):
        pass
    assert mode(home.parent / "homework") == 0o755
    assert mode(home.parent / "homework" / "page.html") == 0o644


def test_what_a_closed_process_makes_is_private_and_what_was_asked_for_is_the_callers(tmp_path: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from kkbc.core import files; folder = Path(sys.argv[1])\n"
        "files.close_to_others(); files.close_to_others()\n"
        "(folder / 'log').write_text(''); (folder / 'home').mkdir(); files.make_folder(folder / 'out')\n"
        "with files.replacing(folder / 'out' / 'a.csv') as made: made.write_text('')\n"
    )
    subprocess.run([sys.executable, "-c", code, str(tmp_path)], check=True)
    found = {path.name: mode(path) for path in tmp_path.rglob("*")}
    assert found == {"log": 0o600, "home": 0o700, "out": 0o755, "a.csv": 0o644}
