"""The branches at the SFTP server of the stack: each with a key of its own, all pushing at the same time."""

import asyncio
import json
from collections.abc import Iterable, Mapping
from pathlib import Path

import asyncssh

from kkbc.core.errors import UserError
from kkbc.core.files import write_private
from kkbc_play.simulator.servers.sftp import make_key, public_key

PORT = 2222
PRIVATE = "branch-keys.json"
PUSHED = "pushed.json"
HOST_KEY_FILE = "/etc/ssh/host_keys/ssh_host_ed25519_key.pub"
CONNECT_SECONDS = 60
TRIES = 5
"""A branch whose connection is refused tries again, as any client of a busy server does."""


class Drop:
    """Keys and deliveries of the branches of a world. What was pushed once is not pushed again."""

    def __init__(self, folder: Path, keys: Path, host: str) -> None:
        self.host = host
        self._keys = keys
        self._private_file = folder / PRIVATE
        self._pushed_file = folder / PUSHED

    def make_keys(self, branch_ids: Iterable[str]) -> None:
        """Gives every branch its key, and the SFTP server their public halves."""
        if self._private_file.exists():
            return
        private = {branch_id: make_key() for branch_id in branch_ids}
        self._keys.mkdir(parents=True, exist_ok=True)
        for branch_id, key in private.items():
            (self._keys / f"{branch_id}.pub").write_text(f"{public_key(key)} {branch_id}\n", encoding="utf-8")
        write_private(self._private_file, json.dumps(private))

    def push(self, root: Path, host_key: str) -> tuple[int, int]:
        """All branches push what they have new below `root`, at once; returns files pushed and tries that were refused.

        Raises UserError when a branch does not get through.
        """
        pushed = set(json.loads(self._pushed_file.read_text())) if self._pushed_file.exists() else set()
        private: Mapping[str, str] = json.loads(self._private_file.read_text(encoding="utf-8"))
        new: dict[str, list[Path]] = {}
        for path in sorted(path for path in root.rglob("*") if path.is_file()):
            relative = path.relative_to(root)
            if str(relative) not in pushed:
                new.setdefault(relative.parts[0], []).append(relative)
        refused = asyncio.run(self._push_all(root, host_key, private, new))
        names = [str(path) for paths in new.values() for path in paths]
        self._pushed_file.write_text(json.dumps(sorted(pushed | set(names))), encoding="utf-8")
        return len(names), refused

    async def _push_all(
        self, root: Path, host_key: str, private: Mapping[str, str], new: Mapping[str, list[Path]]
    ) -> int:
        jobs = [self._push_branch(root, host_key, branch, private[branch], paths) for branch, paths in new.items()]
        return sum(await asyncio.gather(*jobs))

    async def _push_branch(self, root: Path, host_key: str, branch: str, key: str, paths: list[Path]) -> int:
        for refused in range(TRIES):
            try:
                await self._deliver(root, host_key, branch, key, paths)
                return refused
            except (OSError, asyncssh.Error) as error:
                problem = error
                await asyncio.sleep(2 * (refused + 1))
        raise UserError(f"branch {branch} cannot push to the SFTP server: {problem}", "docker compose logs sftp")

    async def _deliver(self, root: Path, host_key: str, branch: str, key: str, paths: list[Path]) -> None:
        """Files first, manifests last and under their names only when they are whole (branch exchange)."""
        known = asyncssh.import_known_hosts(f"[{self.host}]:{PORT} {host_key}\n")
        async with (
            asyncssh.connect(
                self.host,
                PORT,
                username=branch,
                client_keys=[asyncssh.import_private_key(key)],
                known_hosts=known,
                config=None,
                agent_path=None,
                connect_timeout=CONNECT_SECONDS,
                login_timeout=CONNECT_SECONDS,
            ) as connection,
            connection.start_sftp_client() as sftp,
        ):
            for folder in sorted({path.parent.name for path in paths}):
                if not await sftp.exists(folder):
                    await sftp.mkdir(folder)
            for path in sorted(paths, key=lambda path: (path.name.startswith("manifest"), path)):
                target = "/".join(path.parts[1:])
                await sftp.put(str(root / path), f"{target}.part")
                await sftp.posix_rename(f"{target}.part", target)
