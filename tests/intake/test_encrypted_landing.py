"""Landing with encryption: what lies there, what is read of it, and what is said of files that cannot be read."""

import os
from collections.abc import Iterator
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any
from uuid import uuid4

import fsspec
import polars as pl
import pytest

from kkbc.core import landing_keys
from kkbc.core.disk import NotKept
from kkbc.core.encryption import MAGIC
from kkbc.core.errors import UserError
from kkbc.core.settings import get_settings
from kkbc.core.tokens import Key
from kkbc.exchange.contracts import load_contract
from kkbc.exchange.masking import shown_name
from kkbc.exchange.registry import load_registry
from kkbc.exchange.slices import Entry, Slice
from kkbc.intake.landing import Frames, Landed, Landing
from kkbc.intake.process import Intake, take_in
from kkbc.intake.validation import Context
from tests.deliveries import as_csv
from tests.intake.test_process import files_up_to
from tests.servers import landing_bucket

KEY = Key(1, b"k" * 32)
DAY = date(2023, 12, 11)
SLICE = Slice("pendaftaran", "KC001", DAY, 1)
NAME = "Canaria Qwertz"
CONTENT = as_csv(
    "pendaftaran",
    [{"no_pendaftaran": f"R-{n}", "nama_lengkap": NAME, **({"nik": "31"} if n % 5 == 0 else {})} for n in range(20)],
)


@pytest.fixture(scope="module")
def bucket() -> Iterator[dict[str, str]]:
    """The environment in which s3://landing is a bucket of the tests."""
    with landing_bucket() as environment:
        yield environment


@pytest.fixture(params=["folder", "memory", "s3"])
def root(request: pytest.FixtureRequest, home: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The root of a landing of each kind."""
    if request.param == "folder":
        yield str(home / "landing")
    elif request.param == "memory":
        yield f"memory://{uuid4()}"
    else:
        for name, value in request.getfixturevalue("bucket").items():
            monkeypatch.setenv(name, value)
        yield f"s3://landing/{uuid4()}"
        fsspec.get_filesystem_class("s3").clear_instance_cache()


@pytest.fixture(autouse=True)
def _key(home: Path) -> None:
    landing_keys.ensure()


def turn(on: bool) -> None:
    """Turns encryption on, or off again."""
    os.environ["KKBC_LANDING_ENCRYPTION"] = str(on).lower()
    get_settings.cache_clear()


@pytest.fixture(autouse=True)
def _on(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KKBC_LANDING_ENCRYPTION", "true")
    get_settings.cache_clear()


def land(root: str, home: Path, content: bytes = CONTENT, name: str = "pendaftaran.csv") -> Landed:
    spooled = home / f"spooled-{uuid4()}"
    spooled.write_bytes(content)
    return Landing(root).land(SLICE, name, spooled)


def take(root: str, landed: Landed, **options: Any) -> Intake:
    zone = load_registry().get("KC001").zone
    context = Context(SLICE, zone, datetime(2023, 12, 11, 17, tzinfo=UTC), frozenset({"KC001"}))
    entry = Entry("pendaftaran", 20, landed.name, landed.bytes, landed.sha256)
    return take_in(landed, entry, load_contract("pendaftaran"), context, Landing(root), KEY, **options)


def there(root: str) -> dict[str, bytes]:
    """Every file of landing with its content."""
    landing = Landing(root)
    landing.fs.invalidate_cache()
    return {path[len(landing.path) :].lstrip("/"): landing.fs.cat_file(path) for path in landing.fs.find(landing.path)}


def alter(root: str, name: str, content: bytes) -> None:
    landing = Landing(root)
    landing.fs.pipe_file(f"{landing.path}/{name}", content)


def rows(root: str, landed: Landed) -> list[pl.DataFrame]:
    landing = Landing(root)
    return [pl.concat(landing.rows(landed.uri, kind)) for kind in ("accepted", "quarantined")]


def spool(home: Path) -> list[Path]:
    return list((home / "spool").glob("*"))


@pytest.mark.parametrize("batch_rows", [7, 1000])
def test_nothing_lies_in_the_clear_and_all_is_read(root: str, home: Path, batch_rows: int) -> None:
    landed = land(root, home)
    intake = take(root, landed, batch_rows=batch_rows)
    files = there(root)
    assert len(files) == 1 + 2 * (3 if batch_rows == 7 else 1)
    for content in files.values():
        assert content.startswith(MAGIC)
        assert NAME.encode() not in content
        assert b"PAR1" not in content
    assert (intake.rows.counts.accepted, intake.rows.counts.quarantined) == (16, 4)
    accepted, quarantined = rows(root, landed)
    assert accepted.equals(pl.concat(intake.rows.accepted))
    assert quarantined.equals(pl.concat(intake.rows.quarantined))
    assert accepted["full_name"].unique().to_list() == [NAME]
    with Landing(root).open(landed.uri) as again:
        assert again.readable.read_bytes() == CONTENT
        assert (again.name, again.bytes, again.sha256) == (landed.name, len(CONTENT), landed.sha256)
        assert again.readable.is_relative_to(home / "spool")
    assert spool(home) == []


def test_it_is_the_rows_that_lie_in_the_clear_without(root: str, home: Path) -> None:
    landed = land(root, home)
    take(root, landed, batch_rows=7)
    with_encryption = rows(root, landed)
    for path in there(root):
        Landing(root).fs.rm_file(f"{Landing(root).path}/{path}")
    turn(False)
    landed = land(root, home)
    take(root, landed, batch_rows=7)
    assert not any(content.startswith(MAGIC) for content in there(root).values())
    for one, other in zip(with_encryption, rows(root, landed), strict=True):
        assert one.equals(other)


def test_either_kind_is_read_whatever_the_setting_says_now(root: str, home: Path) -> None:
    sealed = land(root, home)
    take(root, sealed)
    turn(False)
    other = CONTENT.replace(b"R-1,", b"R-77,")
    plain = land(root, home, other)
    take(root, plain)
    for on in (True, False):
        turn(on)
        for landed, content in ((sealed, CONTENT), (plain, other)):
            with Landing(root).open(landed.uri, landed.name) as again:
                assert again.readable.read_bytes() == content
            assert [frame.height for frame in rows(root, landed)] == [16, 4]


def test_landing_again_takes_the_place_of_what_is_there(root: str, home: Path) -> None:
    turn(False)
    take(root, land(root, home), batch_rows=7)
    turn(True)
    landed = land(root, home)
    take(root, landed)
    files = there(root)
    assert len(files) == 3
    assert all(content.startswith(MAGIC) for content in files.values())
    again = land(root, home)
    assert (again.uri, again.sha256) == (landed.uri, landed.sha256)
    assert len(there(root)) == 3


def test_a_name_that_holds_a_person_is_not_there_either(root: str, home: Path) -> None:
    name = f"{NAME}.csv"
    landed = land(root, home, name=name)
    (path,) = there(root)
    assert NAME not in path
    for asked in (None, shown_name(name)):
        with Landing(root).open(landed.uri, asked) as again:
            assert again.readable.read_bytes() == CONTENT
            assert again.name.endswith(".csv")


def test_a_file_that_looks_encrypted_is_not_taken_in_the_clear(root: str, home: Path) -> None:
    """It could not be told from one that is."""
    content = MAGIC + CONTENT
    landed = land(root, home, content)
    with Landing(root).open(landed.uri) as again:
        assert again.readable.read_bytes() == content
    turn(False)
    with pytest.raises(NotKept, match="begins as the encrypted files of landing do"):
        land(root, home, MAGIC + b"x")


@pytest.mark.parametrize("how", ["cut", "flipped", "emptied", "header cut"])
def test_damage_is_one_line_that_names_the_folder(root: str, home: Path, how: str) -> None:
    landed = land(root, home, name=f"{NAME}.csv")
    take(root, landed)
    damaged = {
        "cut": lambda content: content[:-1],
        "flipped": lambda content: content[:-1] + bytes([content[-1] ^ 1]),
        "emptied": lambda content: content[:84],
        "header cut": lambda content: content[:50],
    }[how]
    for name, content in there(root).items():
        alter(root, name, damaged(content))
    message = r"cannot be decrypted: .*: restore landing from its backup"
    with pytest.raises(UserError, match=message) as caught, Landing(root).open(landed.uri):
        pass
    assert landed.uri in str(caught.value)
    assert NAME not in str(caught.value)
    with pytest.raises(UserError, match="cannot be decrypted"):
        rows(root, landed)
    assert spool(home) == []


def test_rows_that_are_no_parquet_are_named_too(root: str, home: Path) -> None:
    landed = land(root, home)
    take(root, landed)
    for name in there(root):
        alter(root, name, b"PAR1 but no more")
    with pytest.raises(UserError, match="cannot be read: restore landing"):
        rows(root, landed)


def test_a_missing_or_another_key_is_named(root: str, home: Path) -> None:
    landed = land(root, home)
    take(root, landed)
    path = home / "keys" / "landing.key"
    key_id = landing_keys.load().first.id
    path.write_text("ef" * 32)
    for read in (lambda: rows(root, landed), lambda: Landing(root).open(landed.uri).__enter__()):
        with pytest.raises(UserError, match=rf"under the key {key_id}, which the key file .* does not hold: restore"):
            read()
        path.unlink()
        with pytest.raises(UserError, match="does not exist: restore the key"):
            read()
        path.write_text("ef" * 32)
        path.chmod(0o600)
    path.unlink()
    with pytest.raises(UserError, match=r"key file .* does not exist"):
        land(root, home)


def test_attempts_that_ended_half_way_leave_no_rows_in_landing(home: Path) -> None:
    root = str(home / "landing")
    landed = land(root, home)
    landing = Landing(root)
    with landing.workspace(landed) as workspace:
        assert workspace.is_relative_to(home / "spool")
        (workspace / "accepted-00000.parquet").write_bytes(b"rows")
        assert workspace.stat().st_mode & 0o077 == 0
    folder = Path(landed.uri.removeprefix("file://"))
    (folder / "rows.partial").mkdir()
    (folder / "rows.partial" / "accepted-00007.parquet").write_bytes(b"half")
    take(root, landed)
    assert sorted(path.name for path in folder.iterdir()) == ["rows", "sent"]
    assert sorted(path.name for path in (folder / "rows").iterdir()) == [
        "accepted-00000.parquet",
        "quarantined-00000.parquet",
    ]


def test_frames_can_be_gone_through_again(root: str, home: Path) -> None:
    landed = land(root, home)
    take(root, landed, batch_rows=7)
    frames = Landing(root).rows(landed.uri, "accepted")
    assert isinstance(frames, Frames)
    assert [frame.height for frame in frames] == [frame.height for frame in frames]


def test_a_full_disk_is_reported_and_leaves_nothing_half(home: Path) -> None:
    root = str(home / "landing")
    content = as_csv("pendaftaran", [{"no_pendaftaran": f"R-{n}"} for n in range(2000)])
    landed = land(root, home, content)
    entry = Entry("pendaftaran", 2000, landed.name, landed.bytes, landed.sha256)
    contract, zone = load_contract("pendaftaran"), load_registry().get("KC001").zone
    context = Context(SLICE, zone, None, frozenset({"KC001"}))
    take_in(landed, entry, contract, context, Landing(root), KEY)
    before = there(root)
    spooled = home / "another"
    spooled.write_bytes(content + b"\n")
    with files_up_to(10_000), pytest.raises(UserError, match=r"landing .* cannot be written"):
        Landing(root).land(SLICE, "pendaftaran.csv", spooled)
    with files_up_to(10_000), pytest.raises(UserError, match=r"landing .* cannot be written"):
        take_in(landed, entry, contract, context, Landing(root), KEY)
    with files_up_to(10_000), pytest.raises(UserError, match=r"landing .*spool.* cannot be written"):
        Landing(root).open(landed.uri).__enter__()
    assert there(root) == before
    assert spool(home) == []
