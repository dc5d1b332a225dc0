"""The SFTP server of a world: each branch sees its own folder, and may read."""

import os
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

import asyncssh
from asyncssh.constants import ACE4_APPEND_DATA, ACE4_WRITE_DATA, FXF_ACCESS_DISPOSITION, FXF_OPEN_EXISTING

from kkbc_play.simulator.misbehaviour import Misbehaviour
from kkbc_play.simulator.servers.links import HOST

_WRITING = asyncssh.FXF_WRITE | asyncssh.FXF_APPEND | asyncssh.FXF_CREAT | asyncssh.FXF_TRUNC | asyncssh.FXF_EXCL
_WRITING_56 = ACE4_WRITE_DATA | ACE4_APPEND_DATA


@dataclass(frozen=True)
class Account:
    """Who may log in for a branch: by password, or by the private key in PEM."""

    branch_id: str
    password: str | None = None
    private_key: str | None = None


def make_key() -> str:
    """A new private key, PEM text."""
    return str(asyncssh.generate_private_key("ssh-ed25519").export_private_key().decode())


def public_key(private_key: str) -> str:
    """Its public half, as in known_hosts: algorithm and key."""
    text = asyncssh.import_private_key(private_key).export_public_key().decode()
    return " ".join(text.split()[:2])


async def listen(
    root: Path, host_key: str, accounts: Mapping[str, Account], how: Callable[[str], Misbehaviour]
) -> asyncssh.SSHAcceptor:
    """Serves the branches' folders below `root` to `accounts` by login; `how` says what a branch does just now."""

    root = root.resolve()
    return await asyncssh.listen(
        HOST,
        0,
        server_factory=lambda: _Logins(accounts),
        server_host_keys=[asyncssh.import_private_key(host_key)],
        sftp_factory=lambda chan: _ReadOnly(chan, root, accounts, how),
        allow_scp=False,
        gss_host=None,
        agent_forwarding=False,
    )


class _Logins(asyncssh.SSHServer):
    def __init__(self, accounts: Mapping[str, Account]) -> None:
        self.accounts = accounts

    def begin_auth(self, username: str) -> bool:
        return True

    def password_auth_supported(self) -> bool:
        return True

    def validate_password(self, username: str, password: str) -> bool:
        account = self.accounts.get(username)
        return account is not None and account.password == password

    def public_key_auth_supported(self) -> bool:
        return True

    def validate_public_key(self, username: str, key: asyncssh.SSHKey) -> bool:
        account = self.accounts.get(username)
        if account is None or account.private_key is None:
            return False
        return " ".join(key.export_public_key().decode().split()[:2]) == public_key(account.private_key)


class _ReadOnly(asyncssh.SFTPServer):
    def __init__(
        self,
        chan: "asyncssh.SSHServerChannel[bytes]",
        root: Path,
        accounts: Mapping[str, Account],
        how: Callable[[str], Misbehaviour],
    ) -> None:
        super().__init__(chan, chroot=os.fsencode(root))
        self.root = root
        self.branch_id = accounts[chan.get_extra_info("username")].branch_id
        self.how = how

    def map_path(self, path: bytes) -> bytes:
        """See SFTPServer. Other branches' folders are not there."""
        mapped = super().map_path(path)
        parts = Path(os.fsdecode(mapped)).relative_to(self.root).parts
        if parts and parts[0] != self.branch_id:
            raise asyncssh.SFTPNoSuchFile("No such file")
        return mapped

    async def scandir(self, path: bytes) -> AsyncIterator[asyncssh.SFTPName]:
        """See SFTPServer. The top holds the branch's own folder and nothing else."""
        top = Path(os.fsdecode(self.map_path(path))) == self.root
        async for name in super().scandir(path):
            if not top or name.filename in (b".", b"..", self.branch_id.encode()):
                yield name

    def open(self, path: bytes, pflags: int, attrs: asyncssh.SFTPAttrs) -> Any:
        """See SFTPServer."""
        if pflags & _WRITING:
            _refuse()
        return super().open(path, pflags, attrs)

    def open56(self, path: bytes, desired_access: int, flags: int, attrs: asyncssh.SFTPAttrs) -> Any:
        """See SFTPServer."""
        if desired_access & _WRITING_56 or flags & FXF_ACCESS_DISPOSITION != FXF_OPEN_EXISTING:
            _refuse()
        return super().open56(path, desired_access, flags, attrs)

    def read(self, file_obj: Any, offset: int, size: int) -> bytes:
        """See SFTPServer."""
        file_obj.seek(offset)
        data = bytes(file_obj.read(size))
        name = Path(os.fsdecode(file_obj.name)).name
        spoiled = self.how(self.branch_id).name == "checksum" and not name.startswith("manifest")
        return bytes([data[0] ^ 1]) + data[1:] if spoiled and data and offset == 0 else data

    def _never(self, *_args: Any, **_kwargs: Any) -> Any:
        _refuse()

    write = setstat = lsetstat = fsetstat = remove = mkdir = rmdir = _never
    rename = posix_rename = symlink = link = _never


def _refuse() -> NoReturn:
    raise asyncssh.SFTPPermissionDenied("read only")
