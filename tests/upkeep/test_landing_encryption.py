"""`kkbc landing`, and all that reads landing otherwise: maintenance, the doctor and its search."""

import json
import os
from collections.abc import Iterator
from datetime import date
from pathlib import Path
from typing import Any
from uuid import uuid4

import fsspec
import polars as pl
import pytest
from click.testing import Result
from typer.testing import CliRunner

import kkbc.intake.process
from kkbc import nights
from kkbc.cli.application import app
from kkbc.core import landing_keys, tokens
from kkbc.core.encryption import MAGIC
from kkbc.core.errors import UserError
from kkbc.core.settings import get_settings
from kkbc.intake.landing import Landing
from kkbc.nights import RunRequest
from kkbc.nights.prepare import prepare
from kkbc.rights import searching as privacy_search
from kkbc.upkeep import doctor, landing_encryption
from kkbc.upkeep.maintenance import maintain
from kkbc.warehouse import connect
from kkbc.warehouse.kept import check_landing_keys
from tests.deliveries import deliver
from tests.servers import landing_bucket

DAY = date(2023, 12, 11)
NAME = "Canaria Qwertz"
ROWS = [
    {"no_pendaftaran": f"R-{n}", "nama_lengkap": NAME, **({"tgl_lahir": "1890-01-01"} if n % 5 == 0 else {})}
    for n in range(50)
]


@pytest.fixture(scope="module")
def bucket() -> Iterator[dict[str, str]]:
    """The environment in which s3://landing is a bucket of the tests."""
    with landing_bucket() as environment:
        yield environment


@pytest.fixture(params=["folder", "s3"])
def place(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Landing of either kind."""
    if request.param == "s3":
        for name, value in request.getfixturevalue("bucket").items():
            monkeypatch.setenv(name, value)
        monkeypatch.setenv("KKBC_LANDING_URI", f"s3://landing/{uuid4()}")
        get_settings.cache_clear()
    yield
    fsspec.get_filesystem_class("s3").clear_instance_cache()


@pytest.fixture
def root(warehouse: str, home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where branches deliver to, of an installation that encrypts what lands."""
    tokens.ensure_key(home)
    landing_keys.ensure()
    folder = tmp_path / "branches"
    folder.mkdir()
    monkeypatch.setenv("KKBC_LANDING_ENCRYPTION", "true")
    monkeypatch.setattr(kkbc.intake.process, "BATCH_ROWS", 10)
    monkeypatch.setattr(kkbc.intake.process.take_in, "__kwdefaults__", {"batch_rows": 10})
    get_settings.cache_clear()
    return folder


def turn(on: bool) -> None:
    os.environ["KKBC_LANDING_ENCRYPTION"] = str(on).lower()
    get_settings.cache_clear()


def send(root: Path, branch_id: str = "KC001", **more: Any) -> None:
    deliver(root, {"pendaftaran": ROWS}, branch_id=branch_id, **more)
    nights.open_run(RunRequest(DAY, root), mode="plain", run_id="r")
    nights.pull_branch("r", branch_id)


def query(statement: str) -> list[Any]:
    with connect() as conn:
        cursor = conn.execute(statement.encode())
        return cursor.fetchall() if cursor.description else []


def lying() -> dict[str, bytes]:
    landing = Landing(get_settings().landing)
    landing.fs.invalidate_cache()
    return {path[len(landing.path) :]: landing.fs.cat_file(path) for path in landing.fs.find(landing.path)}


def encrypted() -> set[bool]:
    return {content.startswith(MAGIC) for content in lying().values()}


def rows() -> list[pl.DataFrame]:
    """All rows of landing, slice by slice."""
    uris = [uri for (uri,) in query("select landed_uri from ops.slice order by branch_id, revision")]
    landing = Landing(get_settings().landing)
    return [pl.concat(landing.rows(uri, kind)) for uri in uris for kind in ("accepted", "quarantined")]


def equal(some: list[pl.DataFrame], others: list[pl.DataFrame]) -> bool:
    return all(one.equals(other) for one, other in zip(some, others, strict=True))


def invoke(*arguments: str) -> Result:
    done = CliRunner().invoke(app, ["landing", *arguments])
    if done.exception is not None and not isinstance(done.exception, SystemExit):
        raise done.exception
    return done


def findings() -> dict[str, doctor.Finding]:
    return {finding.name: finding for finding in doctor.examine()}


def test_what_lies_in_the_clear_is_encrypted_once(root: Path, place: None) -> None:
    turn(False)
    send(root)
    before = rows()
    turn(True)
    send(root, "KC002")
    assert encrypted() == {True, False}
    foreseen = json.loads(invoke("encrypt", "--dry-run", "--json").stdout)
    assert (foreseen["files"], foreseen["changed"]) == (22, 11)
    assert encrypted() == {True, False}
    assert json.loads(invoke("encrypt", "--json").stdout)["changed"] == 11
    assert encrypted() == {True}
    assert equal(rows()[:2], before)
    after = lying()
    assert invoke("encrypt").stdout == "22 files, 0 encrypted, 0 bytes\n"
    assert lying() == after


def test_a_name_that_holds_a_person_goes_with_the_encryption(root: Path, place: None) -> None:
    turn(False)
    folder = deliver(root, {"pendaftaran": ROWS})
    named = f"{NAME}.csv"
    (folder / "pendaftaran.csv").rename(folder / named)
    manifest = folder / "manifest.json"
    manifest.write_text(manifest.read_text().replace("pendaftaran.csv", named))
    nights.open_run(RunRequest(DAY, root), mode="plain", run_id="r")
    nights.pull_branch("r", "KC001")
    assert any(NAME in path for path in lying())
    turn(True)
    assert landing_encryption.encrypt().changed == 11
    assert len(lying()) == 11
    assert not any(NAME in path for path in lying())
    ((uri, name),) = query("select landed_uri, file_name from ops.slice")
    with Landing(get_settings().landing).open(uri, name) as landed:
        assert NAME in landed.readable.read_text()


def test_it_is_refused_while_what_lands_next_would_be_in_the_clear(root: Path) -> None:
    turn(False)
    with pytest.raises(UserError, match="landing_encryption is off: set KKBC_LANDING_ENCRYPTION=true"):
        landing_encryption.encrypt()


def test_a_key_is_replaced_and_the_earlier_one_destroyed(root: Path, home: Path, place: None) -> None:
    send(root)
    send(root, "KC002")
    before, contents = rows(), lying()
    earlier = landing_keys.load().first.id
    assert json.loads(invoke("rotate-key", "--dry-run", "--json").stdout)["changed"] == 22
    assert lying() == contents
    assert json.loads(invoke("rotate-key", "--json").stdout) | {"bytes": 0} == {
        "files": 22,
        "changed": 22,
        "bytes": 0,
        "failed": {},
    }
    new = landing_keys.load().first.id
    assert landing_encryption.standing().by_key == {new: 22}
    assert {path: content[84:] for path, content in lying().items()} == {p: c[84:] for p, c in contents.items()}
    assert findings()["landing key"].state == "warn"
    send(root, revision=2)  # in the middle of it
    assert json.loads(invoke("drop-key", "--json").stdout) == {"dropped": [earlier]}
    assert landing_keys.load().ids == (new,)
    assert query("select value from ops.setting where name = 'landing_key_ids'") == [(new,)]
    assert equal(rows()[:2], before[:2])
    assert findings()["landing key"].state == "ok"
    send(root, revision=3)
    assert invoke("drop-key").stdout == "there is no key to drop\n"


def test_a_key_that_files_need_is_not_dropped(root: Path, home: Path) -> None:
    send(root)
    earlier = landing_keys.load().first.id
    landing_keys.begin_rotation()
    with pytest.raises(UserError, match=rf"11 files .* under the key {earlier}: `kkbc landing rotate-key`"):
        landing_encryption.drop()
    assert len(landing_keys.load().ids) == 2
    # A rotation that was begun goes on: no third key.
    assert landing_encryption.rotate().changed == 11
    assert len(landing_keys.load().ids) == 2


def test_keys_that_are_elsewhere_are_changed_by_their_keepers(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KKBC_LANDING_KEY", "ab" * 32)
    send(root)
    with pytest.raises(UserError, match=r"KKBC_LANDING_KEY holds one key: put a new one before it, .*openssl"):
        landing_encryption.rotate()
    monkeypatch.setenv("KKBC_LANDING_KEY", f"{'cd' * 32},{'ab' * 32}")
    assert landing_encryption.rotate().changed == 11
    done = invoke("drop-key")
    assert done.exit_code == 0
    assert "Take them out of the variable KKBC_LANDING_KEY." in done.output
    monkeypatch.setenv("KKBC_LANDING_KEY", "cd" * 32)
    send(root, revision=2)


def test_files_that_cannot_be_changed_are_named_and_the_others_are(root: Path, home: Path) -> None:
    send(root)
    send(root, "KC002")
    (damaged,) = (home / "landing").glob("KC001/*/*/*/sent/*")
    damaged.write_bytes(damaged.read_bytes()[:60])
    done = invoke("rotate-key", "--json")
    assert done.exit_code == 1
    outcome = json.loads(done.stdout)
    assert outcome["changed"] == 21
    assert outcome["failed"] == {str(damaged.parent.parent): "its header is cut off"}
    assert landing_encryption.standing().damaged == 1
    assert "1 with a damaged header" in invoke("status").stdout


def test_a_night_without_the_key_is_refused_before_any_branch_is_visited(root: Path, home: Path) -> None:
    path = home / "keys" / "landing.key"
    key = path.read_text()
    path.unlink()
    with pytest.raises(UserError, match=r"key file .*landing.key does not exist: restore the key"):
        send(root)
    path.write_text(key)
    path.chmod(0o600)
    send(root)
    path.write_text("ef" * 32)
    for on in (True, False):  # what is encrypted must be read whatever the setting says
        turn(on)
        with pytest.raises(UserError, match=r"encrypted under the key [0-9a-f]{16}, which the key file .* restore"):
            send(root, "KC002")
        assert findings()["landing key"].state == "fail"
    assert query("select distinct branch_id from ops.attempt") == [("KC001",)]


def test_a_home_without_encryption_needs_no_key(root: Path, home: Path) -> None:
    turn(False)
    (home / "keys" / "landing.key").unlink()
    send(root)
    assert findings()["landing key"].state == "ok"
    assert query("select from ops.setting where name = 'landing_key_ids'") == []
    turn(True)
    assert findings()["landing key"].state == "warn"
    landing_encryption.encrypt()  # makes the first key
    assert findings()["landing key"].state == "ok"


def test_the_first_start_makes_the_key_and_no_other_one_does(
    warehouse: str, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = home / "keys" / "landing.key"
    prepare()
    assert not path.exists()
    monkeypatch.setenv("KKBC_LANDING_ENCRYPTION", "true")
    get_settings.cache_clear()
    prepare()
    assert path.stat().st_mode & 0o777 == 0o600
    with connect("loader") as conn:
        check_landing_keys(conn)
    path.unlink()
    prepare()
    assert not path.exists()  # another key would not be the one that files lie under
    assert findings()["landing key"].state == "fail"


def test_a_home_whose_key_is_lost_can_begin_anew(root: Path, home: Path) -> None:
    """As docs/runbooks/encrypt-landing.md says."""
    send(root)
    lost = landing_keys.load().first.id
    (home / "keys" / "landing.key").write_text("ab" * 32)
    with pytest.raises(UserError, match=rf"11 files of landing are encrypted under the key {lost}: restore"):
        landing_encryption.drop()
    assert landing_encryption.standing().by_key == {lost: 11}
    (home / "landing").rename(home / "landing-of-before")
    assert landing_encryption.drop() == (lost,)
    send(root, "KC002")
    assert findings()["landing key"].state == "ok"


def test_compaction_of_encrypted_parts(root: Path, home: Path) -> None:
    send(root)
    turn(False)
    send(root, "KC002")
    before = rows()
    query("update ops.slice set loaded_at = loaded_at - interval '8 days'")
    for on in (True, False):
        turn(on)
        (done,) = maintain(["compaction"])
        assert done.did["slices"] == (2 if on else 0)
        assert equal(rows(), before)
    assert len(lying()) == 6
    # What was written while the setting was on is encrypted, what was not written again is as it was.
    assert {path for path, content in lying().items() if not content.startswith(MAGIC)} == {
        path for path in lying() if "KC002" in path and "/sent/" in path
    }
    assert list((home / "spool").glob("*")) == []


def test_a_damaged_slice_is_left_alone_by_the_compaction_of_others(root: Path, home: Path) -> None:
    send(root)
    send(root, "KC002")
    query("update ops.slice set loaded_at = loaded_at - interval '8 days'")
    (part,) = (home / "landing").glob("KC001/*/*/*/rows/accepted-00003.parquet")
    content = part.read_bytes()
    part.write_bytes(content[:-1])
    (done,) = maintain(["compaction"])
    assert (done.did["slices"], done.did["damaged"]) == (2, 1)
    part.write_bytes(content)
    (done,) = maintain(["compaction"])
    assert done.did["slices"] == 1
    assert "damaged" not in done.did
    assert [frame.height for frame in rows()] == [40, 10, 40, 10]


def test_a_home_that_never_was_encrypted_is_told_so_and_a_dry_run_needs_no_key(root: Path, home: Path) -> None:
    turn(False)
    send(root)
    (home / "keys" / "landing.key").unlink(missing_ok=True)
    for command in ("rotate-key", "drop-key"):
        with pytest.raises(UserError, match="landing was never encrypted: `kkbc landing encrypt` does it"):
            invoke(command)
    turn(True)
    files = lying()
    foreseen = f"{len(files)} files, {len(files)} to encrypt, {sum(map(len, files.values()))} bytes\n"
    assert invoke("encrypt", "--dry-run").stdout.replace(".", "") == foreseen
    assert not (home / "keys" / "landing.key").exists()
    assert invoke("encrypt").exit_code == 0
    foreseen = json.loads(invoke("rotate-key", "--dry-run", "--json").stdout)
    assert json.loads(invoke("rotate-key", "--json").stdout) == foreseen


def test_the_search_for_persons_decrypts_landing(root: Path, home: Path) -> None:
    send(root)
    assert not any(NAME.encode() in content for content in lying().values())
    places = [place.place for place in privacy_search.search([NAME], protected=True) if "landing" in place.place]
    assert {Path(place).name.partition("-")[0] for place in places} == {"pendaftaran.csv", "accepted", "quarantined"}
    assert len(places) == 11
    assert [place for place in privacy_search.search([NAME]) if "landing" in place.place] == []
    (damaged,) = (home / "landing").glob("KC001/*/*/*/sent/*")
    damaged.write_bytes(damaged.read_bytes()[:-1])
    with pytest.raises(UserError, match="cannot be decrypted"):
        privacy_search.search([NAME], protected=True)
    assert list((home / "spool").glob("*")) == []


def test_each_command_has_an_example() -> None:
    for name in ("status", "encrypt", "rotate-key", "drop-key"):
        assert f"kkbc landing {name}" in invoke(name, "--help").stdout.replace("\n", " ")
