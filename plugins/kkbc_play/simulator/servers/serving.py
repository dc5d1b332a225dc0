"""All servers of a world in one process: started, kept up with the play, and stopped together."""

import asyncio
import json
import secrets
import signal
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from kkbc.core.connections import connections_file
from kkbc.core.errors import UserError
from kkbc.core.files import replacing
from kkbc.core.settings import Settings, get_settings
from kkbc_play.simulator import reference
from kkbc_play.simulator.deliver import FOLDERS
from kkbc_play.simulator.misbehaviour import Sheet
from kkbc_play.simulator.servers import FOLDER, STATE, WAYS, api, sftp
from kkbc_play.simulator.servers.databases import Databases, name_of
from kkbc_play.simulator.servers.keyring import Keyring, read_json, write_private
from kkbc_play.simulator.servers.links import HOST, Link
from kkbc_play.simulator.servers.s3 import BUCKET, PREFIX, REGION, KeyPair, S3Server
from kkbc_play.simulator.spelling import Profile, profile_of
from kkbc_play.simulator.ways import FILE
from kkbc_play.simulator.world import WORLD_FILE, kinds_of, read_world

LOOK_SECONDS = 0.2

Json = dict[str, Any]


@dataclass(frozen=True)
class Way:
    """How one branch is reached: a kind, and the connection of that name."""

    branch_id: str
    kind: str
    link: Link

    @property
    def connection(self) -> str:
        """The connection's name."""
        return f"sim_{self.kind}_{self.branch_id.lower()}"


class Servers:
    """The servers of the world in `world`. The home of `settings` gets its connections."""

    def __init__(self, world: Path, settings: Settings) -> None:
        self.world = world
        self.settings = settings
        self.folder = world / FOLDER
        self.keyring = Keyring(self.folder / "keyring.json")
        noted = read_world(world)
        branches = reference.load().branches.values()
        self.profiles: dict[str, Profile] = {b.branch_id: profile_of(b, noted["seed"]) for b in branches}
        self.kinds = kinds_of(noted, list(self.profiles))
        self.sheet = Sheet(world, self.kinds)
        self.ways: dict[tuple[str, str], Way] = {}
        self.accounts: dict[str, sftp.Account] = {}
        self.pairs: dict[str, KeyPair] = {}
        self.tokens: dict[str, str] = {}
        self._upstream: dict[str, int] = {}
        self._databases: Databases | None = None
        self._s3: S3Server | None = None
        self._sftp: Any = None
        self._api: tuple[api.ApiServer, asyncio.Task[None]] | None = None
        self._seen: tuple[int, int] | None = None

    async def keep_up(self) -> None:
        """Starts what the world needs by now, takes in what was played since the last look, and tells home and world
        how each branch is reached.
        """
        status = (self.world / "state" / WORLD_FILE).stat()
        stamp = (status.st_mtime_ns, status.st_ino)
        if stamp == self._seen:
            return
        noted = read_world(self.world)
        self.kinds.update(kinds_of(noted, list(self.profiles)))
        new = [(b, kind) for b, kind in self.kinds.items() if kind != FILE and (b, kind) not in self.ways]
        for kind in sorted({kind for _, kind in new}):
            await self._start_server(kind)
        for branch_id, kind in new:
            await self._open(branch_id, kind)
        if self._databases is not None:
            await asyncio.to_thread(self._fill_databases)
        if new:
            self._publish()
        self._seen = stamp
        write_private(self.folder / STATE, {"nights": noted["nights_played"]})

    async def run(self) -> None:
        """Keeps up with the play until it is cancelled."""
        while True:
            await asyncio.sleep(LOOK_SECONDS)
            await self.keep_up()

    async def stop(self) -> None:
        """Ends all of it. Idempotent."""
        (self.folder / STATE).unlink(missing_ok=True)
        await asyncio.gather(*(way.link.stop() for way in self.ways.values()))
        if self._api is not None:
            server, task = self._api
            server.should_exit = server.force_exit = True
            await task
        if self._sftp is not None:
            self._sftp.close()
            await self._sftp.wait_closed()
        if self._s3 is not None:
            await asyncio.to_thread(self._s3.stop)
        if self._databases is not None:
            await asyncio.to_thread(self._databases.stop)
        self._api = self._sftp = self._s3 = self._databases = None

    def table(self) -> list[tuple[str, int, str]]:
        """For people: kind, number of branches, where."""
        ports: dict[str, list[int]] = {}
        for way in self.ways.values():
            ports.setdefault(way.kind, []).append(way.link.port)
        details = {
            "sftp": f"{HOST}, a port a branch, host key {self._host_key()}",
            "s3": f"http://{HOST}, a port a branch, s3://{BUCKET}/{PREFIX}",
            "http": f"http://{HOST}, a port a branch",
            "postgres": f"{HOST}, a port and a database a branch, schema ekspor",
        }
        files = sum(kind == FILE for kind in self.kinds.values())
        return [(FILE, files, str(self.world / FOLDERS[FILE]))] + [
            (kind, len(ports[kind]), detail) for kind, detail in details.items() if kind in ports
        ]

    async def _start_server(self, kind: str) -> None:
        if kind in self._upstream:
            return
        root = self.world / FOLDERS[kind]
        root.mkdir(exist_ok=True)
        if kind == "sftp":
            host_key = self.keyring.get("sftp/host", sftp.make_key)
            self._sftp = await sftp.listen(root, host_key, self.accounts, self.sheet.of)
            self._upstream[kind] = self._sftp.get_port()
        elif kind == "s3":
            self._s3 = await asyncio.to_thread(S3Server, root, self.pairs, self.sheet.of)
            self._upstream[kind] = self._s3.port
        elif kind == "http":
            server = api.ApiServer(api.Api(root, self.tokens, self.sheet.of), self.keyring.port("port/http"))
            task = asyncio.create_task(server.serve())
            while not server.started:
                if task.done():
                    raise UserError("the API of the branches does not start", "see the lines above")
                await asyncio.sleep(0.01)
            self._api = (server, task)
            self._upstream[kind] = server.config.port
        else:
            self._databases = await asyncio.to_thread(Databases, self.folder)
            self._upstream[kind] = self._databases.port

    async def _open(self, branch_id: str, kind: str) -> None:
        """Lets the pipeline in to `branch_id` by `kind`, through a line of its own."""
        name = f"{kind}/{branch_id}"
        login = name_of(branch_id)
        secret = self.keyring.get(name, sftp.make_key if _by_key(branch_id, kind) else _password)
        if kind == "sftp":
            by_key = _by_key(branch_id, kind)
            self.accounts[login] = sftp.Account(branch_id, None if by_key else secret, secret if by_key else None)
        elif kind == "s3":
            access_key = self.keyring.get(f"{name}/id", lambda: f"AKSIM{secrets.token_hex(8).upper()}")
            self.pairs[access_key] = KeyPair(branch_id, access_key, secret)
        elif kind == "http":
            self.tokens[branch_id] = secret
        else:
            assert self._databases is not None
            await asyncio.to_thread(self._databases.open, branch_id, secret, self.profiles[branch_id])
        port = self.keyring.port(f"port/{name}")
        link = Link(kind, port, self._upstream[kind], partial(self.sheet.of, branch_id))
        await link.start()
        self.ways[branch_id, kind] = Way(branch_id, kind, link)

    def _fill_databases(self) -> None:
        assert self._databases is not None
        for branch_id, kind in self.ways:
            if kind == "postgres":
                self._databases.take_in(branch_id, self.world / FOLDERS[kind])

    def _publish(self) -> None:
        """Writes the connections into the home and the ways into the world."""
        path = connections_file(self.settings)
        write_private(path, read_json(path) | {way.connection: self._connection(way) for way in self.ways.values()})
        served = {b: self.ways[b, kind] for b, kind in sorted(self.kinds.items()) if kind != FILE}
        ways = {"*": FILE} | {branch_id: f"{way.kind}:{way.connection}" for branch_id, way in served.items()}
        with replacing(self.world / WAYS) as made:
            made.write_text(json.dumps(ways, indent=1), encoding="utf-8")

    def _connection(self, way: Way) -> Json:
        """The connection in Airflow's JSON."""
        name, port = f"{way.kind}/{way.branch_id}", way.link.port
        secret = self.keyring.get(name, _password)
        login = name_of(way.branch_id)
        if way.kind == "sftp":
            extra: Json = {"host_key": self._host_key(), "root": "/"}
            if _by_key(way.branch_id, way.kind):
                extra["private_key"] = secret
            password = {} if "private_key" in extra else {"password": secret}
            return {"conn_type": "sftp", "host": HOST, "port": port, "login": login, **password, "extra": extra}
        if way.kind == "s3":
            extra = {"endpoint_url": f"http://{HOST}:{port}", "region_name": REGION, "root": f"s3://{BUCKET}/{PREFIX}"}
            access_key = self.keyring.get(f"{name}/id", _password)
            return {"conn_type": "aws", "login": access_key, "password": secret, "extra": extra}
        if way.kind == "http":
            return {"conn_type": "http", "host": f"http://{HOST}:{port}/{login}", "password": secret}
        known = {"host": HOST, "port": port, "login": login, "password": secret, "schema": login}
        return {"conn_type": "postgres", **known}

    def _host_key(self) -> str:
        return sftp.public_key(self.keyring.get("sftp/host", sftp.make_key))


def _by_key(branch_id: str, kind: str) -> bool:
    """Half of the branches let one in by key, the others by password."""
    return kind == "sftp" and int(branch_id[2:]) % 2 == 1


def _password() -> str:
    return secrets.token_urlsafe(24)


async def serve(world: Path, settings: Settings, ready: Callable[[Servers], None], stop: asyncio.Event) -> None:
    """Serves until `stop` is set. `ready` is called once all of it answers.

    Raises UserError when another process serves the world.
    """
    servers = Servers(world, settings)
    servers.folder.mkdir(exist_ok=True)
    try:
        with FileLock(servers.folder / ".lock", timeout=0):
            try:
                await servers.keep_up()
                ready(servers)
                going = [asyncio.create_task(servers.run()), asyncio.create_task(stop.wait())]
                done, pending = await asyncio.wait(going, return_when=asyncio.FIRST_COMPLETED)
                for task in pending:
                    task.cancel()
                for task in done:
                    task.result()
            finally:
                await servers.stop()
    except Timeout as error:
        raise UserError(f"the branches of {world} are being served already", "stop that one first") from error


def serve_here(world: Path, ready: Callable[[Servers], None]) -> None:
    """Serves in this process until it is interrupted or asked to end. Raises UserError like `serve`."""

    async def all_of_it() -> None:
        stop = asyncio.Event()
        for number in (signal.SIGINT, signal.SIGTERM):
            asyncio.get_running_loop().add_signal_handler(number, stop.set)
        await serve(world, get_settings(), ready, stop)

    asyncio.run(all_of_it())
