"""Encryption of files: each by a data key of its own, which lies in its header, wrapped by a key of the installation.

A file is a header and chunks of AES-256-GCM. A chunk's nonce is its number and whether it is the last, so that chunks
that are missing, swapped or added are noticed (the STREAM construction). Only the header depends on the wrapping key:
another one takes 84 bytes, whatever the length of the file. Why so: docs/decisions/0034-landing-at-rest.md.
"""

import hashlib
import hmac
import os
import struct
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

MAGIC = b"\x89KKBC\r\n\x1a"
"""What an encrypted file begins with: no text, and no file of another format."""
KEY_BYTES = 32
CHUNK_BYTES = 1 << 16

_VERSION = 1
_FIXED = struct.Struct(">8sII8s")  # magic, version, bytes of a chunk, id of the wrapping key
_NONCE_BYTES = 12
_TAG_BYTES = 16
_WRAPPED_BYTES = KEY_BYTES + _TAG_BYTES
HEADER_BYTES = _FIXED.size + _NONCE_BYTES + _WRAPPED_BYTES
"""Within one sector of a disk, and one page of memory: it is rewritten in place, whole or not at all."""
_LARGEST_CHUNK = 1 << 24  # what a header may ask for in memory


class Damaged(Exception):
    """A file was cut off or altered, or its header is that of another file. Nothing that came of it may be used."""


class UnknownKey(Exception):
    """A file is encrypted under a wrapping key that is not at hand; the text is the id of the key."""


@dataclass(frozen=True)
class WrappingKey:
    """A key that data keys are wrapped by. Its id tells it from others and gives nothing away."""

    secret: bytes = field(repr=False)

    @property
    def id(self) -> str:
        """16 hexadecimal digits."""
        return hmac.new(self.secret, b"kkbc landing key", hashlib.sha256).hexdigest()[:16]


class Keyring:
    """The wrapping keys at hand: new files are encrypted under the first, and read under any of them."""

    def __init__(self, keys: Iterable[WrappingKey]) -> None:
        self.keys = tuple(keys)
        self._by_id = {key.id: key for key in self.keys}

    @property
    def first(self) -> WrappingKey:
        """The key for new files."""
        return self.keys[0]

    @property
    def ids(self) -> tuple[str, ...]:
        """The ids of all keys, that of the first one first."""
        return tuple(key.id for key in self.keys)

    def get(self, key_id: str) -> WrappingKey:
        """The key of an id. Raises UnknownKey."""
        try:
            return self._by_id[key_id]
        except KeyError:
            raise UnknownKey(key_id) from None


@dataclass(frozen=True)
class Header:
    """The head of an encrypted file."""

    chunk_bytes: int
    key_id: str
    wrapped: bytes
    """Nonce, and the data key as the wrapping key encrypts it."""

    @classmethod
    def parse(cls, start: bytes) -> "Header | None":
        """The header that a file of these first bytes has; None for a file in the clear. Raises Damaged."""
        if not start.startswith(MAGIC):
            return None
        if len(start) < HEADER_BYTES:
            raise Damaged("its header is cut off")
        _, version, chunk_bytes, key_id = _FIXED.unpack(start[: _FIXED.size])
        if version != _VERSION or not 0 < chunk_bytes <= _LARGEST_CHUNK:
            raise Damaged("its header is altered, or of a later version")
        return cls(chunk_bytes, key_id.hex(), start[_FIXED.size : HEADER_BYTES])

    @classmethod
    def make(cls, data_key: bytes, key: WrappingKey, chunk_bytes: int = CHUNK_BYTES) -> "Header":
        """A header with `data_key` in it, wrapped by `key`."""
        nonce = os.urandom(_NONCE_BYTES)
        wrapped = AESGCM(key.secret).encrypt(nonce, data_key, _fixed(chunk_bytes, key.id))
        return cls(chunk_bytes, key.id, nonce + wrapped)

    def data_key(self, keys: Keyring) -> bytes:
        """The data key. Raises UnknownKey, and Damaged when the header is not as it was written."""
        key = keys.get(self.key_id)
        nonce, wrapped = self.wrapped[:_NONCE_BYTES], self.wrapped[_NONCE_BYTES:]
        try:
            return AESGCM(key.secret).decrypt(nonce, wrapped, _fixed(self.chunk_bytes, self.key_id))
        except InvalidTag:
            raise Damaged("its header is altered") from None

    def under_first(self, keys: Keyring) -> "Header":
        """The same data key, wrapped by the first key. Raises as data_key does."""
        return self.make(self.data_key(keys), keys.first, self.chunk_bytes)

    def __bytes__(self) -> bytes:
        return _fixed(self.chunk_bytes, self.key_id) + self.wrapped


def encrypt(source: BinaryIO, target: BinaryIO, key: WrappingKey, *, chunk_bytes: int = CHUNK_BYTES) -> None:
    """Writes the bytes of `source` to `target`, encrypted under a new data key that `key` wraps."""
    data_key = AESGCM.generate_key(KEY_BYTES * 8)
    target.write(bytes(Header.make(data_key, key, chunk_bytes)))
    cipher = AESGCM(data_key)
    number, chunk = 0, source.read(chunk_bytes)
    while True:
        following = source.read(chunk_bytes) if len(chunk) == chunk_bytes else b""
        target.write(cipher.encrypt(_nonce(number, last=not following), chunk, None))
        if not following:
            return
        number, chunk = number + 1, following


def decrypt(source: BinaryIO, target: BinaryIO, keys: Keyring) -> None:
    """Writes what was encrypted to `target`.

    What is there before the end is reached may be part of a file that was cut off: on Damaged it must not be used.
    Raises Damaged and UnknownKey.
    """
    header = Header.parse(source.read(HEADER_BYTES))
    if header is None:
        raise Damaged("it is not encrypted")
    cipher = AESGCM(header.data_key(keys))
    size = header.chunk_bytes + _TAG_BYTES
    number, chunk = 0, source.read(size)
    while True:
        following = source.read(size) if len(chunk) == size else b""
        try:
            target.write(cipher.decrypt(_nonce(number, last=not following), chunk, None))
        except (InvalidTag, ValueError):  # ValueError: shorter than a tag
            raise Damaged("it was cut off or altered") from None
        if not following:
            return
        number, chunk = number + 1, following


def is_encrypted(path: Path) -> bool:
    """Whether a file begins as an encrypted one does."""
    with path.open("rb") as file:
        return file.read(len(MAGIC)) == MAGIC


def rewrap(path: Path, keys: Keyring) -> bool:
    """Has the data key of an encrypted file wrapped by the first key; False when it is already, or is in the clear.

    The header is replaced by one write, in place. It is for the caller to see it on the disk before a key goes.
    Raises Damaged and UnknownKey; the file is then as it was.
    """
    with path.open("r+b", buffering=0) as file:
        header = Header.parse(file.read(HEADER_BYTES))
        if header is None or header.key_id == keys.first.id:
            return False
        os.pwrite(file.fileno(), bytes(header.under_first(keys)), 0)
    return True


def _fixed(chunk_bytes: int, key_id: str) -> bytes:
    return _FIXED.pack(MAGIC, _VERSION, chunk_bytes, bytes.fromhex(key_id))


def _nonce(number: int, *, last: bool) -> bytes:
    return number.to_bytes(_NONCE_BYTES - 1, "big") + bytes([last])
