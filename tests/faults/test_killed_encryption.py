"""Pulls with encryption, and commands that change it, are killed at a named point and done again.

At no moment is anything in the clear that was not before, and every file can be read under the keys that are there.
"""

import hashlib
import io
import random
import time
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from kkbc.core.encryption import MAGIC, Header, Keyring, WrappingKey, decrypt

from .conftest import NewHome
from .stage import Home, Trap, Victims, assert_killed, fill, small_disk, spooled, trap

ENCRYPT = "kkbc.core.encryption:encrypt"
LANDING = "kkbc.intake.landing:Landing"
COMMANDS = "kkbc.upkeep.landing_encryption"
REPLACE = "pathlib:Path.replace"

PULLS: dict[str, tuple[Trap, ...]] = {
    "fetched, not landed": (trap(f"{LANDING}.land", "before", 2),),
    "encrypted, not in place": (trap(f"{LANDING}.land", "before", 2), trap(REPLACE, "before", 1, "sent.partial")),
    "landed, not read": (trap(f"{LANDING}.land", "after", 2),),
    "half a Parquet part": (trap("polars:DataFrame.write_parquet", "half", 4),),
    "one of the parts is encrypted": (trap(f"{LANDING}.keep", "before", 2), trap(ENCRYPT, "after", 2)),
    "all parts are encrypted, none in place": (
        trap(f"{LANDING}.keep", "before", 2),
        trap("pathlib:Path.rename", "before", 1),
    ),
    "kept, not loaded": (trap(f"{LANDING}.keep", "after", 2),),
    "all done, not committed": (trap("kkbc.slices.loading:copy_quarantine", "after", 2),),
}
ENCRYPTIONS: dict[str, tuple[Trap, ...]] = {
    "nothing encrypted": (trap(f"{COMMANDS}:_encrypt"),),
    "encrypted, not in place": (trap(f"{COMMANDS}:_encrypt", "before", 4), trap(REPLACE)),
    "in place": (trap(f"{COMMANDS}:_encrypt", "after", 4),),
    "between two branches": (trap(f"{COMMANDS}:branch_locked", "before", 2),),
}
ROTATIONS: dict[str, tuple[Trap, ...]] = {
    "the new key is not in the file": (trap("kkbc.core.landing_keys:_write"),),
    "the new key is in the file, nothing else": (trap("kkbc.core.landing_keys:begin_rotation", "after"),),
    "the warehouse knows the new key": (trap(f"{COMMANDS}:keep_landing_key_ids", "after"),),
    "some files are under the new key": (trap(f"{COMMANDS}:_rewrap", "after", 4),),
    "all headers are written, not on the disk": (trap("os:sync"),),
    "all files are under the new key": (trap(f"{COMMANDS}:_go_through", "after"),),
}
DROPS: dict[str, tuple[Trap, ...]] = {
    "all looked at": (trap(f"{COMMANDS}:standing", "after"),),
    "the warehouse has forgotten the key, the file not": (trap(f"{COMMANDS}:keep_landing_key_ids", "after"),),
    "dropped": (trap("kkbc.core.landing_keys:end_rotation", "after"),),
}


@pytest.fixture
def home(new_home: NewHome) -> Home:
    """An installation with encryption."""
    return with_key(new_home(KKBC_LANDING_ENCRYPTION="true"))


def with_key(made: Home) -> Home:
    path = made.folder / "keys" / "landing.key"
    path.write_text("cd" * 32)
    path.chmod(0o600)
    return made


def keys(home: Home) -> Keyring:
    texts = (home.folder / "keys" / "landing.key").read_text().split()
    return Keyring(WrappingKey(bytes.fromhex(text)) for text in texts)


def lying(home: Home) -> dict[str, bytes]:
    """What lies in landing, as it lies."""
    return {str(p.relative_to(home.landing)): p.read_bytes() for p in home.landing.rglob("*") if p.is_file()}


def content(home: Home, there: bytes) -> bytes:
    target = io.BytesIO()
    decrypt(io.BytesIO(there), target, keys(home))
    return target.getvalue()


def contents(home: Home) -> dict[str, str]:
    """As stage.files, of what is encrypted; that all is, is asserted."""
    found = {}
    for name, there in sorted(lying(home).items()):
        assert there.startswith(MAGIC), f"{name} lies in the clear"
        found[name] = hashlib.sha256(content(home, there)).hexdigest()[:16]
    return found


def under(home: Home) -> set[str]:
    """The ids of the keys that files are encrypted under."""
    headers = [Header.parse(there) for there in lying(home).values()]
    return {header.key_id for header in headers if header is not None}


def assert_whole(home: Home, *, encrypted: bool = True) -> None:
    """Under its own name every file is whole, whatever else lies there; nothing of it is in the clear."""
    for name, there in lying(home).items():
        assert there.startswith(MAGIC) or not encrypted, f"{name} lies in the clear"
        if ".partial" in name:
            continue
        plain = content(home, there) if there.startswith(MAGIC) else there
        if "/sent/" in name:
            assert hashlib.sha256(plain).hexdigest()[:12] in name
        else:
            pl.read_parquet(io.BytesIO(plain))


def pull(victims: Victims, home: Home, **more: Any) -> int | None:
    return victims.run(home, "pull", *home.pull_arguments(), **more)


def run(victims: Victims, home: Home, *arguments: str, **more: Any) -> int | None:
    return victims.run(home, "command", "landing", *arguments, **more)


@pytest.mark.parametrize("point", PULLS)
def test_a_pull_killed_at(point: str, victims: Victims, home: Home, undisturbed: dict[str, Any]) -> None:
    assert_killed(pull(victims, home, traps=PULLS[point]))
    assert_whole(home)
    assert pull(victims, home) == 0, home.log.read_text()
    assert {**home.pulled(), "landing": contents(home)} == undisturbed


@pytest.mark.parametrize("point", ENCRYPTIONS)
def test_encryption_killed_at(point: str, victims: Victims, home: Home, undisturbed: dict[str, Any]) -> None:
    home.more["KKBC_LANDING_ENCRYPTION"] = "false"
    assert pull(victims, home) == 0, home.log.read_text()
    home.more["KKBC_LANDING_ENCRYPTION"] = "true"
    assert_killed(run(victims, home, "encrypt", traps=ENCRYPTIONS[point]))
    assert_whole(home, encrypted=False)
    assert run(victims, home, "encrypt") == 0, home.log.read_text()
    assert {**home.pulled(), "landing": contents(home)} == undisturbed
    before = lying(home)
    assert run(victims, home, "encrypt") == 0
    assert lying(home) == before


@pytest.mark.parametrize("command", ["encrypt", "rotate-key"])
@pytest.mark.parametrize("kilobytes", [0, 6])
def test_the_disk_is_full(
    command: str, kilobytes: int, victims: Victims, new_home: NewHome, tmp_path: Path, undisturbed: dict[str, Any]
) -> None:
    with small_disk(tmp_path / "disk", 16) as disk:
        home = with_key(new_home(disk / "home", KKBC_LANDING_ENCRYPTION=str(command != "encrypt").lower()))
        assert pull(victims, home) == 0, home.log.read_text()
        home.more["KKBC_LANDING_ENCRYPTION"] = "true"
        ballast = fill(disk, kilobytes * 1024)
        home.forget_log()
        status = run(victims, home, command)
        text = home.log.read_text()
        if status != 0:  # what is wrapped anew takes no room of the disk
            assert (command, kilobytes) != ("rotate-key", 6), text
            assert status == 2, text
            assert "No space left on device" in home.complaint()
        else:
            assert command != "encrypt"
        assert_whole(home, encrypted=command != "encrypt")
        ballast.unlink()
        assert run(victims, home, command) == 0, home.log.read_text()
        assert {**home.pulled(), "landing": contents(home)} == undisturbed


@pytest.mark.parametrize("point", ROTATIONS)
def test_a_rotation_killed_at(point: str, victims: Victims, home: Home, undisturbed: dict[str, Any]) -> None:
    assert pull(victims, home) == 0, home.log.read_text()
    (earlier,) = under(home)
    assert_killed(run(victims, home, "rotate-key", traps=ROTATIONS[point]))
    assert contents(home) == undisturbed["landing"]
    # A night goes on in the middle of it.
    assert pull(victims, home) == 0, home.log.read_text()
    assert run(victims, home, "rotate-key") == 0, home.log.read_text()
    assert len(keys(home).ids) == 2
    assert under(home) == {keys(home).first.id} != {earlier}
    assert run(victims, home, "drop-key") == 0, home.log.read_text()
    assert keys(home).ids == tuple(under(home))
    assert pull(victims, home) == 0, home.log.read_text()
    assert {**home.pulled(), "landing": contents(home)} == undisturbed


@pytest.mark.parametrize("point", DROPS)
def test_a_key_that_is_dropped_killed_at(point: str, victims: Victims, home: Home, undisturbed: dict[str, Any]) -> None:
    assert pull(victims, home) == 0, home.log.read_text()
    assert run(victims, home, "rotate-key") == 0, home.log.read_text()
    assert_killed(run(victims, home, "drop-key", traps=DROPS[point]))
    assert contents(home) == undisturbed["landing"]
    assert pull(victims, home) == 0, home.log.read_text()
    assert run(victims, home, "drop-key") == 0, home.log.read_text()
    assert keys(home).ids == tuple(under(home))
    assert pull(victims, home) == 0, home.log.read_text()


@pytest.mark.parametrize("seed", [*range(2), *(pytest.param(n, marks=pytest.mark.faults) for n in range(2, 20))])
def test_a_rotation_killed_at_random(seed: int, victims: Victims, home: Home, undisturbed: dict[str, Any]) -> None:
    """Killed again and again at any moment until one gets through; the landing can be read after each."""
    assert pull(victims, home) == 0, home.log.read_text()
    rng = random.Random(seed)
    began = time.monotonic()
    assert run(victims, home, "status") == 0
    least = time.monotonic() - began
    for kills in range(200):
        pid = victims.start(home, "command", "landing", "rotate-key")
        # More time by and by: how much it needs beyond that is the machine's and what runs beside it.
        time.sleep(rng.uniform(0.5, 2 + kills / 10) * least)
        victims.kill(pid)
        status = victims.wait(pid)
        assert contents(home) == undisturbed["landing"]
        if status == 0:
            break
        assert_killed(status)
    else:
        pytest.fail("no rotation gets through")
    assert under(home) == {keys(home).first.id}
    assert spooled(home.folder) == []


def test_partial_files_are_swept_by_what_comes_next(victims: Victims, home: Home) -> None:
    assert_killed(pull(victims, home, traps=PULLS["encrypted, not in place"]))
    (left,) = home.landing.rglob("sent.partial")
    assert left.read_bytes().startswith(MAGIC)
    assert run(victims, home, "rotate-key") == 0, home.log.read_text()
    assert run(victims, home, "drop-key") == 0, home.log.read_text()
    assert pull(victims, home) == 0
    assert not left.exists()
    assert not list(home.landing.rglob("*.partial"))
