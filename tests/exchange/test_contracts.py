"""Which feeds there are: those with a contract, as of now."""

import os
import shutil
from pathlib import Path

import pytest

from kkbc.core.errors import UserError
from kkbc.core.settings import PROJECT_ROOT
from kkbc.exchange.contracts import feeds, load_contract

CONTRACTS = PROJECT_ROOT / "contracts"


def copied(folder: Path, *names: str) -> Path:
    """A folder with these contracts, last changed long ago."""
    folder.mkdir()
    for name in names:
        shutil.copy(CONTRACTS / f"{name}.odcs.yaml", folder)
    os.utime(folder, (0, 0))
    return folder


def test_a_contract_that_comes_or_goes_is_seen_at_once(tmp_path: Path) -> None:
    folder = copied(tmp_path / "contracts", "pendaftaran")
    assert feeds(folder=folder) == ("pendaftaran",)
    shutil.copy(CONTRACTS / "iuran.odcs.yaml", folder)
    assert feeds(folder=folder) == ("pendaftaran", "iuran")
    (folder / "pendaftaran.odcs.yaml").unlink()
    os.utime(folder, (1, 1))  # as if time had passed: clocks of file systems tick every few milliseconds
    assert feeds(folder=folder) == ("iuran",)
    assert feeds("head_office", folder=folder) == ()


def test_the_folder_is_listed_once_as_long_as_it_stays_as_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = copied(tmp_path / "contracts", "pendaftaran")
    assert feeds(folder=folder) == ("pendaftaran",)
    monkeypatch.setattr(Path, "glob", lambda *_: pytest.fail("the folder is listed again"))
    assert feeds(folder=folder) == ("pendaftaran",)


def test_a_folder_that_is_not_there_has_no_feeds(tmp_path: Path) -> None:
    assert feeds(folder=tmp_path / "none") == ()


def test_a_property_by_its_earlier_name_is_no_silent_change(tmp_path: Path) -> None:
    path = copied(tmp_path / "contracts", "pendaftaran") / "pendaftaran.odcs.yaml"
    path.write_text(path.read_text().replace("property: not_missing", "property: lawful"))
    with pytest.raises(UserError, match="the custom property lawful is called not_missing now"):
        load_contract("pendaftaran", path.parent)


def test_two_feeds_cannot_have_one_table(tmp_path: Path) -> None:
    folder = copied(tmp_path / "contracts", "pendaftaran", "iuran")
    path = folder / "iuran.odcs.yaml"
    path.write_text(path.read_text().replace("- name: contributions\n", "- name: registrations\n", 1))
    with pytest.raises(UserError, match="the contracts of pendaftaran and iuran name one table, registrations"):
        feeds(folder=folder)
