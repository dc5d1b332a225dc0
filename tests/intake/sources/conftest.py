"""Every way in that is a tree of files, each over a real server; the servers last for the session."""

import hashlib
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from kkbc.core.connections import Connection
from kkbc.exchange.registry import Branch
from tests.servers import REGION, SSHD, S3Server, SshServer, asyncssh_server, openssh, s3_server

CONNECTION = "branch_001"
BUCKET = "deliveries"
_folders = count(1)


@dataclass
class Way:
    """A way to deliver. What the branch writes to `folder` is to be had by `connection` once it is `sent`."""

    kind: str
    folder: Path
    fields: dict[str, Any]
    sent: Callable[[], None] = lambda: None
    seal: Callable[[], str] = lambda: ""
    branch: Branch = field(init=False)

    def __post_init__(self) -> None:
        self.branch = Branch.model_validate({"branch_id": "KC001", "kind": self.kind, "connection": CONNECTION})

    @property
    def connection(self) -> Connection:
        """The connection as the sources get it."""
        return Connection(CONNECTION, **self.fields)

    def connect(self, home: Path) -> None:
        """Writes the connection to the file of `home`."""
        path = home / "keys" / "connections.json"
        path.parent.mkdir(exist_ok=True, mode=0o700)
        path.write_text(json.dumps({CONNECTION: {"conn_type": self.kind} | self.fields}))
        path.chmod(0o600)


@pytest.fixture(scope="session")
def openssh_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SshServer]:
    """OpenSSH's sshd."""
    if SSHD is None:
        pytest.skip("OpenSSH's sshd is not installed here (Debian: openssh-server)")
    with openssh(tmp_path_factory.mktemp("sshd")) as server:
        yield server


@pytest.fixture(scope="session")
def python_ssh_server() -> Iterator[SshServer]:
    """asyncssh's server."""
    with asyncssh_server() as server:
        yield server


@pytest.fixture(params=["openssh_server", "python_ssh_server"], ids=["openssh", "asyncssh"])
def ssh(request: pytest.FixtureRequest) -> SshServer:
    """An SFTP server, one and the other."""
    server: SshServer = request.getfixturevalue(request.param)
    return server


@pytest.fixture(scope="session")
def s3() -> Iterator[S3Server]:
    """moto's S3, with one bucket."""
    with s3_server() as server:
        server.client.create_bucket(Bucket=BUCKET, CreateBucketConfiguration={"LocationConstraint": REGION})
        yield server


@pytest.fixture
def branches(tmp_path: Path) -> Path:
    """The folder that the branches write to."""
    folder = tmp_path / "branches"
    folder.mkdir()
    return folder


@pytest.fixture(params=["file", "s3", "openssh", "asyncssh"])
def way(request: pytest.FixtureRequest, branches: Path) -> Way:
    """Each way in turn."""
    match request.param:
        case "file":
            return Way("file", branches, {"extra": {"root": str(branches)}}, seal=lambda: seal_of_folder(branches))
        case "s3":
            return way_of_s3(request.getfixturevalue("s3"), branches)
        case "openssh":
            return way_of_sftp(request.getfixturevalue("openssh_server"), branches)
        case _:
            return way_of_sftp(request.getfixturevalue("python_ssh_server"), branches)


def way_of_sftp(server: SshServer, branches: Path, port: int | None = None) -> Way:
    """The folder `branches` by way of `server`; `port` is that of a line to it."""
    fields = {
        "host": "127.0.0.1",
        "port": port or server.port,
        "login": server.login,
        "extra": {"root": str(branches), "host_key": server.host_key, "private_key": server.private_key},
    }
    return Way("sftp", branches, fields, seal=lambda: seal_of_folder(branches))


def way_of_s3(server: S3Server, branches: Path, port: int | None = None) -> Way:
    """The folder `branches` as objects in a folder of a bucket; `port` is that of a line to the server."""
    prefix = f"kantor/{next(_folders)}"
    known: dict[str, bytes] = {}

    def send() -> None:
        for path in branches.rglob("*"):
            key, content = f"{prefix}/{path.relative_to(branches)}", path.read_bytes() if path.is_file() else b""
            if path.is_file() and known.get(key) != content:
                server.client.put_object(Bucket=BUCKET, Key=key, Body=content)
                known[key] = content

    def seal() -> str:
        found = server.client.list_objects_v2(Bucket=BUCKET, Prefix=f"{prefix}/").get("Contents", [])
        return str([(item["Key"], item["ETag"], item["LastModified"]) for item in found])

    extra = {
        "endpoint_url": f"http://127.0.0.1:{port or server.port}",
        "region_name": REGION,
        "root": f"s3://{BUCKET}/{prefix}/",
    }
    return Way("s3", branches, {"login": server.key, "password": server.secret, "extra": extra}, send, seal)


def seal_of_folder(folder: Path) -> str:
    """Changes with anything in a tree: names, contents, modes, times of change."""
    digest = hashlib.sha256()
    for path in sorted(folder.rglob("*")):
        status = path.stat()
        digest.update(f"{path.relative_to(folder)} {status.st_mode} {status.st_mtime_ns} {status.st_size}\n".encode())
        if path.is_file():
            digest.update(path.read_bytes())
    return digest.hexdigest()
