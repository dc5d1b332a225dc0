"""`kkbc new feed`: what it writes is valid, and a mistake is one line that leaves nothing behind."""

import csv
import json
import shutil
from collections.abc import Iterator
from datetime import date
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.testing import CliRunner

from kkbc.cli.application import app
from kkbc.core.errors import UserError
from kkbc.core.settings import PROJECT_ROOT, get_settings
from kkbc.exchange.contracts import feeds, load_contract
from kkbc.intake.validation import check_contract
from kkbc.upkeep.scaffold import feed
from kkbc.upkeep.scaffold.feed import add_feed
from kkbc.upkeep.scaffold.feed_columns import KINDS

GOOD = "id:key,tanggal:date,nik:nik,nama:name,jumlah:amount"
EVERY_KIND = ",".join(f"k_{kind}:{kind}" for kind in KINDS) + ",jenis:code(A|B_1)?"
DAY = date(2023, 12, 11)


@pytest.fixture
def project(tmp_path: Path, home: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """An empty project with the contracts of this one."""
    folder = tmp_path / "project"
    shutil.copytree(PROJECT_ROOT / "contracts", folder / "contracts")
    monkeypatch.setenv("KKBC_CONTRACTS", str(folder / "contracts"))
    monkeypatch.setattr("kkbc.upkeep.scaffold.feed.PROJECT_ROOT", folder)
    get_settings.cache_clear()
    load_contract.cache_clear()
    yield folder
    load_contract.cache_clear()


def files(folder: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize("sender", ["branch", "head_office"])
def test_every_kind_makes_a_valid_contract(project: Path, sender: Any) -> None:
    before = files(project)
    written = add_feed("bantuan", EVERY_KIND, sender=sender, expected_from=DAY)
    assert set(files(project)) - set(before) == set(written.files)
    assert len(written.files) == 4
    contract = load_contract("bantuan")
    check_contract(contract, frozenset({"KC001"}))
    assert (contract.sender, contract.expected_from, contract.version) == (sender, DAY, "1.0.0")
    assert contract.key == ("k_branch", "k_key")
    assert (contract.nik, contract.contacts) == ("k_nik", ("k_phone", "k_email"))
    assert contract.days == ("k_date", "k_timestamp")
    assert {c.name for c in contract.columns if c.personal} == {
        f"k_{kind}" for kind in ("nik", "name", "birth_date", "phone", "email", "text")
    }
    assert {c.name for c in contract.columns if not c.required} == {"jenis"}
    assert feeds()[-1] == "bantuan"
    properties = yaml.safe_load((project / "dbt_project/models/staging/stg_bantuan.yml").read_text())
    shown = {column["name"] for column in properties["models"][0]["columns"]}
    assert shown.isdisjoint({"k_nik", "k_name", "k_birth_date", "k_phone", "k_email", "k_text"})
    assert ("branch_id" in shown) == (sender == "branch")
    suite = yaml.safe_load((project / "expectations/feeds/bantuan.yml").read_text())
    assert suite["include"] == (["every_feed", "branch_feed"] if sender == "branch" else ["every_feed"])
    assert [check["values"] for check in suite["expect"][1:]] == ["contract.jenis"]


def test_the_sample_is_a_delivery_as_the_exchange_has_it(project: Path, home: Path) -> None:
    written = add_feed("bantuan", GOOD, expected_from=DAY)
    assert written.sample == home / "samples" / "bantuan"
    folder = written.sample / "KC001" / "2023-12-11"
    manifest = json.loads((folder / "manifest.json").read_text())
    (said,) = manifest["files"]
    rows = list(csv.DictReader((folder / said["name"]).open()))
    assert (said["feed"], said["rows"], manifest["business_date"]) == ("bantuan", len(rows), "2023-12-11")
    assert [row["id"] for row in rows] == ["ID-1", "ID-2", "ID-3", ""]
    assert {len(row["nik"]) for row in rows} == {16}


@pytest.mark.parametrize(
    ("name", "columns", "message"),
    [
        ("iuran", GOOD, "feed iuran is there already"),
        ("contributions", GOOD, "a feed cannot be called contributions: so is the table of iuran"),
        ("Klaim", GOOD, "'Klaim' is no name of a feed"),
        ("klaim2", GOOD, "'klaim2' is no name of a feed"),
        ("../klaim", GOOD, "'../klaim' is no name of a feed"),
        ("select", GOOD, "a feed cannot be called select: it is a word of SQL"),
        ("klaim", "tanggal:date", "no column is of kind key"),
        ("klaim", "id:key,nomor:key", "columns id, nomor are all of kind key: let one column be of kind key"),
        ("klaim", "id:key,nik:nik,nik_ahli:nik", "columns nik, nik_ahli are all of kind nik"),
        ("klaim", "id:key,id:date", "column id is there twice"),
        ("klaim", "id:key,jumlah:money", "column jumlah is of the unknown kind 'money': kinds are: key, branch, "),
        ("klaim", "id:key,Jumlah:int", "'Jumlah' is no name of a column"),
        ("klaim", "id:key,user:text", "a column cannot be called user: it means something else already"),
        ("klaim", "id:key,line:int", "a column cannot be called line: it means something else already"),
        ("klaim", "id:key?", "column id of kind key cannot be missing"),
        ("klaim", "id:key,jenis:code(a b)", "column jenis: 'a b' cannot be a code: use A to Z, 0 to 9 and _"),
        ("klaim", "id:key,jenis:code()", "column jenis: '' cannot be a code"),
        ("klaim", "id:key,jenis:code(A|B|A)", "column jenis lists the code A twice"),
        ("klaim", "id:key,jumlah:int(A)", "column jumlah of kind int has a list of codes: only kind code has one"),
        ("klaim", "id", "'id' is no column: write NAME:KIND"),
        ("klaim", "", "'' is no column: write NAME:KIND"),
    ],
)
def test_a_mistake_is_one_line_and_nothing_is_written(
    project: Path, home: Path, name: str, columns: str, message: str
) -> None:
    before = files(project) | files(home)
    with pytest.raises(UserError) as raised:
        add_feed(name, columns)
    assert str(raised.value).startswith(message)
    assert "\n" not in str(raised.value)
    assert files(project) | files(home) == before


def test_what_is_left_of_an_earlier_feed_is_not_written_over(project: Path, home: Path) -> None:
    left = project / "expectations" / "feeds" / "klaim.yml"
    left.parent.mkdir(parents=True)
    left.write_text("# mine\n")
    with pytest.raises(UserError, match=r"klaim\.yml is there already"):
        add_feed("klaim", GOOD)
    left.unlink()
    (home / "samples" / "klaim").mkdir(parents=True)
    (home / "samples" / "klaim" / "mine").touch()
    with pytest.raises(UserError, match="of the sample delivery is not empty: name another by --sample, or remove it"):
        add_feed("klaim", GOOD)
    assert "klaim" not in feeds()


@pytest.mark.parametrize("written", range(6))
def test_after_an_interruption_the_same_call_writes_what_is_left(
    project: Path, home: Path, monkeypatch: pytest.MonkeyPatch, written: int
) -> None:
    """The contract comes last: what has one is a feed, which a second call does not touch."""
    before = len(files(project)) + len(files(home))

    def interrupted(path: Path, content: str) -> None:
        if len(files(project)) + len(files(home)) == before + written:
            raise KeyboardInterrupt
        writes(path, content)

    writes = feed._write
    with monkeypatch.context() as patch:
        patch.setattr(feed, "_write", interrupted)
        with pytest.raises(KeyboardInterrupt):
            add_feed("klaim", GOOD, expected_from=DAY)
    assert "klaim" not in feeds()
    add_feed("klaim", GOOD, expected_from=DAY)
    assert len(files(project)) + len(files(home)) == before + 6
    check_contract(load_contract("klaim"), frozenset({"KC001"}))


def test_the_command_names_the_files(project: Path, tmp_path: Path) -> None:
    arguments = [
        "new",
        "feed",
        "pagu",
        "--columns",
        "nomor:key",
        "--from",
        "head-office",
        "--sample",
        str(tmp_path / "s"),
    ]
    done = CliRunner().invoke(app, arguments)
    assert done.exit_code == 0
    assert f"{project}/contracts/pagu.odcs.yaml" in done.output
    assert (tmp_path / "s" / "HQ").is_dir()
    assert load_contract("pagu").sender == "head_office"
    assert CliRunner().invoke(app, [*arguments[:-3], "centre"]).exit_code == 2
