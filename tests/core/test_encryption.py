"""Encrypted files: what goes in comes out, and whatever was done to a file in between is noticed."""

import io
import os
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from kkbc.core import encryption
from kkbc.core.encryption import (
    CHUNK_BYTES,
    HEADER_BYTES,
    MAGIC,
    Damaged,
    Header,
    Keyring,
    UnknownKey,
    WrappingKey,
    decrypt,
    encrypt,
    is_encrypted,
    rewrap,
)

OLD, NEW = WrappingKey(b"o" * 32), WrappingKey(b"n" * 32)
CHUNK = 16
SEALED_CHUNK = CHUNK + 16


def encrypted(content: bytes, key: WrappingKey = OLD, chunk_bytes: int = CHUNK) -> bytes:
    target = io.BytesIO()
    encrypt(io.BytesIO(content), target, key, chunk_bytes=chunk_bytes)
    return target.getvalue()


def decrypted(content: bytes, *keys: WrappingKey) -> bytes:
    target = io.BytesIO()
    decrypt(io.BytesIO(content), target, Keyring(keys or (OLD,)))
    return target.getvalue()


def chunks(content: bytes) -> list[bytes]:
    body = content[HEADER_BYTES:]
    return [body[at : at + SEALED_CHUNK] for at in range(0, len(body), SEALED_CHUNK)]


@given(content=st.binary(max_size=100), chunk_bytes=st.integers(1, 40))
def test_what_goes_in_comes_out(content: bytes, chunk_bytes: int) -> None:
    there = encrypted(content, chunk_bytes=chunk_bytes)
    assert decrypted(there) == content
    assert there.startswith(MAGIC)
    assert len(content) < 8 or content not in there[HEADER_BYTES:]


@pytest.mark.parametrize("size", [0, 1, CHUNK_BYTES - 1, CHUNK_BYTES, CHUNK_BYTES + 1, 3 * CHUNK_BYTES])
def test_sizes_around_a_chunk(size: int) -> None:
    content = os.urandom(size)
    there = encrypted(content, chunk_bytes=CHUNK_BYTES)
    assert decrypted(there) == content
    assert len(there) == HEADER_BYTES + size + 16 * max(1, -(-size // CHUNK_BYTES))


@settings(max_examples=300)
@given(content=st.binary(max_size=80), place=st.floats(0, 1, exclude_max=True), bit=st.integers(0, 7))
def test_any_bit_that_flips_is_noticed(content: bytes, place: float, bit: int) -> None:
    there = bytearray(encrypted(content))
    there[int(place * len(there))] ^= 1 << bit
    with pytest.raises((Damaged, UnknownKey)):
        decrypted(bytes(there))


@given(content=st.binary(max_size=80), place=st.floats(0, 1, exclude_max=True))
def test_a_file_that_is_cut_off_anywhere_is_noticed(content: bytes, place: float) -> None:
    there = encrypted(content)
    with pytest.raises(Damaged):
        decrypted(there[: int(place * len(there))])


@given(content=st.binary(min_size=CHUNK + 1, max_size=120), data=st.data())
def test_chunks_that_are_missing_swapped_or_repeated_are_noticed(content: bytes, data: st.DataObject) -> None:
    there = encrypted(content)
    parts = chunks(there)
    which = data.draw(st.integers(0, len(parts) - 1))
    other = data.draw(st.integers(0, len(parts) - 1).filter(lambda at: at != which))
    swapped = list(parts)
    swapped[which], swapped[other] = parts[other], parts[which]
    for altered in (parts[:which] + parts[which + 1 :], swapped, [*parts, parts[which]]):
        with pytest.raises(Damaged):
            decrypted(there[:HEADER_BYTES] + b"".join(altered))


def test_a_file_that_ends_at_the_end_of_a_chunk_is_noticed() -> None:
    there = encrypted(b"x" * CHUNK * 4)
    for count in range(4):
        with pytest.raises(Damaged):
            decrypted(there[: HEADER_BYTES + count * SEALED_CHUNK])


def test_chunks_and_headers_of_other_files_are_noticed() -> None:
    mine, other = encrypted(b"m" * CHUNK * 3), encrypted(b"o" * CHUNK * 3)
    with pytest.raises(Damaged):
        decrypted(other[:HEADER_BYTES] + mine[HEADER_BYTES:])
    with pytest.raises(Damaged):
        decrypted(mine[: HEADER_BYTES + SEALED_CHUNK] + other[HEADER_BYTES + SEALED_CHUNK :])


def test_the_same_content_is_never_the_same_file() -> None:
    assert encrypted(b"x")[HEADER_BYTES:] != encrypted(b"x")[HEADER_BYTES:]


def test_a_file_under_another_key_is_named_by_its_key() -> None:
    with pytest.raises(UnknownKey, match=f"^{OLD.id}$"):
        decrypted(encrypted(b"x"), NEW)
    assert decrypted(encrypted(b"x"), NEW, OLD) == b"x"
    assert OLD.secret.hex() not in repr(OLD)


def test_a_header_that_names_another_key_is_noticed() -> None:
    there = encrypted(b"x")
    header = Header.parse(there)
    assert header is not None
    claimed = Header(header.chunk_bytes, NEW.id, header.wrapped)
    with pytest.raises(Damaged):
        decrypted(bytes(claimed) + there[HEADER_BYTES:], NEW, OLD)


def test_another_wrapping_key_changes_the_header_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "file"
    before = encrypted(b"x" * 100)
    path.write_bytes(before)
    assert rewrap(path, Keyring([NEW, OLD]))
    after = path.read_bytes()
    assert after[HEADER_BYTES:] == before[HEADER_BYTES:]
    assert decrypted(after, NEW) == b"x" * 100
    with pytest.raises(UnknownKey):
        decrypted(after, OLD)
    assert not rewrap(path, Keyring([NEW, OLD]))
    assert path.read_bytes() == after


def test_what_cannot_be_wrapped_again_stays_as_it_was(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"in the clear")
    assert not is_encrypted(path)
    assert not rewrap(path, Keyring([NEW, OLD]))
    for content, error in ((encrypted(b"x"), UnknownKey), (encrypted(b"x")[: HEADER_BYTES - 1], Damaged)):
        path.write_bytes(content)
        assert is_encrypted(path)
        with pytest.raises(error):
            rewrap(path, Keyring([NEW]))
        assert path.read_bytes() == content


@pytest.mark.parametrize("at", [len(MAGIC), len(MAGIC) + 4])
def test_a_version_or_size_of_chunks_that_none_writes_is_refused(at: int) -> None:
    there = bytearray(encrypted(b"x"))
    there[at] = 0xFF
    with pytest.raises(Damaged, match="later version"):
        decrypted(bytes(there))


class Endless(io.RawIOBase):
    """So many zero bytes, of which none is kept."""

    def __init__(self, size: int) -> None:
        self.left, self.largest = size, 0

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: "memoryview") -> int:  # type: ignore[override]
        count = min(self.left, len(buffer))
        self.left -= count
        self.largest = max(self.largest, len(buffer))
        return count


def test_a_file_is_never_in_memory_whole(tmp_path: Path) -> None:
    source = Endless(64 * CHUNK_BYTES)
    path = tmp_path / "file"
    with path.open("wb") as target:
        encrypt(io.BufferedReader(source), target, OLD)
    assert source.largest <= 2 * CHUNK_BYTES
    written: list[int] = []

    class Sink(io.BytesIO):
        def write(self, data: bytes) -> int:  # type: ignore[override]
            written.append(len(data))
            return len(data)

    with path.open("rb") as file:
        decrypt(file, Sink(), Keyring([OLD]))
    assert written == [CHUNK_BYTES] * 64


@settings(max_examples=50, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(start=st.binary(max_size=HEADER_BYTES + 4))
def test_no_first_bytes_of_a_file_are_too_much_for_the_reader(start: bytes) -> None:
    for content in (start, MAGIC + start):
        try:
            header = Header.parse(content)
        except Damaged:
            continue
        assert (header is None) == (not content.startswith(MAGIC))


def test_the_header_fits_into_a_sector() -> None:
    assert HEADER_BYTES == 84 < 512
    assert encryption.MAGIC[0] > 127
