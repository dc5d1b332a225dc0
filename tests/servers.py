"""Real servers that branches could have: sshd and asyncssh, an S3 API, and a line between that can be made to fail."""

import asyncio
import contextlib
import logging
import os
import pwd
import shutil
import socket
import subprocess
import threading
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import asyncssh
import boto3
from moto import settings
from moto.core import DEFAULT_ACCOUNT_ID
from moto.s3.models import s3_backends
from moto.server import ThreadedMotoServer

SSHD = shutil.which("sshd", path=f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin")
PASSWORD = "correct horse battery"
REGION = "ap-southeast-3"


class Line:
    """A TCP line to `port` on this machine. Its faults hold for connections that are made from then on.

    `cut_after`, `hang_after`: bytes from the server after which the line breaks, or nothing comes any more.
    `delay`: seconds that each answer takes. `sent`: bytes that came from the server, over all connections.
    """

    def __init__(self, port: int) -> None:
        self.target = port
        self.cut_after: int | None = None
        self.hang_after: int | None = None
        self.delay = 0.0
        self.sent = 0
        self.connections = 0
        self._over = threading.Event()
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=64)
        self.port: int = self._listener.getsockname()[1]
        self._start(self._accept)

    def close(self) -> None:
        """Ends the line; what is connected breaks."""
        self._over.set()
        self._listener.close()

    def _accept(self) -> None:
        while not self._over.is_set():
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            self.connections += 1
            server = socket.create_connection(("127.0.0.1", self.target))
            self._start(self._forward, client, server)
            self._start(self._backward, server, client, self.cut_after, self.hang_after)

    def _forward(self, client: socket.socket, server: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := client.recv(1 << 16):
                server.sendall(data)
        _end(client, server)

    def _backward(
        self, server: socket.socket, client: socket.socket, cut_after: int | None, hang_after: int | None
    ) -> None:
        left = cut_after if cut_after is not None else hang_after
        with contextlib.suppress(OSError):
            while left != 0 and (data := server.recv(1 << 16 if left is None else min(left, 1 << 16))):
                if self.delay:
                    time.sleep(self.delay)
                client.sendall(data)
                self.sent += len(data)
                left = None if left is None else left - len(data)
            if left == 0 and cut_after is None:
                self._over.wait(30)
        _end(client, server)

    def _start(self, work: Any, *arguments: Any) -> None:
        threading.Thread(target=work, args=arguments, daemon=True).start()


def _end(*sockets: socket.socket) -> None:
    for one in sockets:
        with contextlib.suppress(OSError):
            one.shutdown(socket.SHUT_RDWR)
        one.close()


@contextmanager
def line_to(port: int) -> Iterator[Line]:
    """A line to `port`, for the length of a block."""
    line = Line(port)
    try:
        yield line
    finally:
        line.close()


@dataclass(frozen=True)
class SshServer:
    """A running SFTP server: its files are those of this machine. `login` may enter with `private_key`.

    `password` is None where the server knows none that we know. `forbidden` are paths that asyncssh's keeps to itself.
    """

    name: str
    port: int
    host_key: str
    login: str
    private_key: str = field(repr=False)
    password: str | None = field(default=None, repr=False)
    forbidden: set[str] = field(default_factory=set)


def _keys() -> tuple[asyncssh.SSHKey, asyncssh.SSHKey]:
    return asyncssh.generate_private_key("ssh-ed25519"), asyncssh.generate_private_key("ssh-ed25519")


def _public(key: asyncssh.SSHKey) -> str:
    return key.export_public_key().decode().strip()


def free_port() -> int:
    """A port that nobody listens on just now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def openssh(folder: Path) -> Iterator[SshServer]:
    """OpenSSH's sshd with keys and configuration of its own in `folder`, for the user who runs this."""
    assert SSHD is not None
    if os.geteuid() == 0:
        Path("/run/sshd").mkdir(mode=0o755, exist_ok=True)  # sshd insists on it when it is started by root
    host, own = _keys()
    for name, content in (("host", host.export_private_key()), ("authorized", own.export_public_key())):
        (folder / name).write_bytes(content)
        (folder / name).chmod(0o600)
    port = free_port()
    options = {
        "ListenAddress": "127.0.0.1",
        "Port": port,
        "HostKey": folder / "host",
        "AuthorizedKeysFile": folder / "authorized",
        "PidFile": "none",
        "StrictModes": "no",
        # Without it sshd looks for locked accounts itself, in a file that only root may read.
        "UsePAM": "no" if os.geteuid() == 0 else "yes",
        "PasswordAuthentication": "yes",
        "MaxStartups": 100,
        "Subsystem": "sftp internal-sftp",
    }
    (folder / "sshd_config").write_text("".join(f"{name} {value}\n" for name, value in options.items()))
    log = (folder / "log").open("wb")
    process = subprocess.Popen([SSHD, "-D", "-e", "-f", folder / "sshd_config"], stderr=log, stdin=subprocess.DEVNULL)
    try:
        _await_port(port, lambda: (folder / "log").read_text())
        yield SshServer(
            "openssh", port, _public(host), pwd.getpwuid(os.geteuid()).pw_name, own.export_private_key().decode()
        )
    finally:
        process.terminate()
        process.wait(10)
        log.close()


@contextmanager
def asyncssh_server() -> Iterator[SshServer]:
    """asyncssh's server in a thread of this process; it knows a password too."""
    host, own = _keys()
    authorized = asyncssh.import_authorized_keys(_public(own))

    class Gate(asyncssh.SSHServer):
        def begin_auth(self, username: str) -> bool:
            return True

        def password_auth_supported(self) -> bool:
            return True

        def validate_password(self, username: str, password: str) -> bool:
            return (username, password) == ("cabang", PASSWORD)

    forbidden: set[str] = set()

    class Files(asyncssh.SFTPServer):
        def map_path(self, path: bytes) -> bytes:
            if path.decode() in forbidden:
                raise asyncssh.SFTPPermissionDenied("not for you")
            return super().map_path(path)

    async def start() -> asyncssh.SSHAcceptor:
        return await asyncssh.create_server(
            Gate,
            "127.0.0.1",
            0,
            server_host_keys=[host],
            authorized_client_keys=authorized,
            sftp_factory=Files,
            allow_scp=False,
        )

    async def stop(acceptor: asyncssh.SSHAcceptor) -> None:
        acceptor.close()
        await acceptor.wait_closed()
        left = asyncio.all_tasks() - {asyncio.current_task()}
        for task in left:
            task.cancel()
        await asyncio.gather(*left, return_exceptions=True)

    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    acceptor = asyncio.run_coroutine_threadsafe(start(), loop).result(10)
    try:
        private = own.export_private_key().decode()
        yield SshServer("asyncssh", acceptor.get_port(), _public(host), "cabang", private, PASSWORD, forbidden)
    finally:
        asyncio.run_coroutine_threadsafe(stop(acceptor), loop).result(10)
        loop.call_soon_threadsafe(loop.stop)
        thread.join(10)
        loop.close()


@dataclass
class S3Server:
    """A running S3 API, and a key that may do anything. Other keys are refused."""

    port: int
    key: str
    secret: str = field(repr=False)

    @property
    def url(self) -> str:
        """Its address."""
        return f"http://127.0.0.1:{self.port}"

    @cached_property
    def client(self) -> Any:
        """A client of somebody who puts things there."""
        return boto3.client(
            "s3",
            endpoint_url=self.url,
            region_name=REGION,
            aws_access_key_id=self.key,
            aws_secret_access_key=self.secret,
        )

    def fill(self, bucket: str, keys: Iterable[str], content: bytes) -> None:
        """Puts the same content under many keys, past the interface, which takes its time."""
        store = s3_backends[DEFAULT_ACCOUNT_ID]["aws"]
        for key in keys:
            store.put_object(bucket, key, content)


@contextmanager
def s3_server() -> Iterator[S3Server]:
    """moto's server in threads of this process; it checks keys and signatures as long as this block lasts."""
    server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    server.start()
    # Another block may be open, as that of a fixture of the session: it goes on checking after this one.
    checked = settings.INITIAL_NO_AUTH_ACTION_COUNT
    settings.INITIAL_NO_AUTH_ACTION_COUNT = float("inf")
    try:
        port = server.get_host_and_port()[1]
        anybody = {"region_name": REGION, "aws_access_key_id": "x", "aws_secret_access_key": "x"}
        iam = boto3.client("iam", endpoint_url=f"http://127.0.0.1:{port}", **anybody)
        # moto keeps its users for as long as the process lasts.
        user = f"cabang-{port}"
        iam.create_user(UserName=user)
        policy = '{"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "*", "Resource": "*"}]}'
        iam.put_user_policy(UserName=user, PolicyName="all", PolicyDocument=policy)
        made = iam.create_access_key(UserName=user)["AccessKey"]
        settings.INITIAL_NO_AUTH_ACTION_COUNT = 0
        yield S3Server(port, made["AccessKeyId"], made["SecretAccessKey"])
    finally:
        settings.INITIAL_NO_AUTH_ACTION_COUNT = checked
        server.stop()


@contextmanager
def landing_bucket() -> Iterator[dict[str, str]]:
    """A bucket `landing`; yields the environment in which s3://landing is that bucket."""
    with s3_server() as server:
        server.client.create_bucket(Bucket="landing", CreateBucketConfiguration={"LocationConstraint": REGION})
        try:
            yield {
                "AWS_ENDPOINT_URL": server.url,
                "AWS_ACCESS_KEY_ID": server.key,
                "AWS_SECRET_ACCESS_KEY": server.secret,
                "AWS_DEFAULT_REGION": REGION,
            }
        finally:
            # moto keeps its buckets for as long as the process lasts, and the next file makes one of this name.
            for page in server.client.get_paginator("list_objects_v2").paginate(Bucket="landing"):
                for found in page.get("Contents", []):
                    server.client.delete_object(Bucket="landing", Key=found["Key"])
            server.client.delete_bucket(Bucket="landing")


def _await_port(port: int, output: Any) -> None:
    deadline = time.monotonic() + 10
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
        except OSError as error:
            if time.monotonic() > deadline:
                raise AssertionError(f"no server at port {port}: {output()}") from error
            time.sleep(0.02)
        else:
            return
