"""Each server of a world, seen by an independent client: it gives what lies there, to those who may, and only that."""

import asyncio
import json
import os
import socket
import subprocess
from collections.abc import Callable, Iterator
from typing import Any

import asyncssh
import botocore.config
import botocore.exceptions
import httpx
import paramiko
import psycopg
import pytest

from kkbc.core.settings import Settings
from kkbc_play.simulator import World, misbehaviour
from kkbc_play.stack import branches
from tests.play.simulator.clients import bucket_of, code_of, http, objects, page, postgres, s3, sftp
from tests.play.simulator.served import FOREIGN, KKBC, SMALL, Served
from tests.play.simulator.test_serving import environment


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    home = tmp_path_factory.mktemp("branches")
    settings = Settings(home=home)
    settings.keys.mkdir(mode=0o700)
    (settings.keys / "connections.json").write_text(json.dumps({"branch_044": FOREIGN}))
    world = World(home / "world", seed=7, scale=SMALL, ways="mix")
    world.play_night()
    branches.start(settings, world.folder)
    try:
        yield Served(settings, world)
    finally:
        branches.stop(settings)


@pytest.fixture(autouse=True)
def behaving(request: pytest.FixtureRequest) -> Iterator[None]:
    yield
    if "served" in request.fixturenames:
        request.getfixturevalue("served").misbehave()


def test_connections_are_private_complete_and_besides_those_of_others(served: Served) -> None:
    path = served.settings.keys / "connections.json"
    assert path.stat().st_mode & 0o777 == 0o600
    assert served.connections["branch_044"] == FOREIGN
    kinds = served.world.kinds
    ways = {branch_id: f"{kind}:sim_{kind}_{branch_id.lower()}" for branch_id, kind in kinds.items() if kind != "file"}
    assert served.ways == {"*": "file", **ways}
    assert set(served.connections) == {"branch_044"} | {way.partition(":")[2] for way in ways.values()}
    secrets = [c.get("password") or c["extra"]["private_key"] for n, c in served.connections.items() if n[:4] == "sim_"]
    assert len(set(secrets)) == len(secrets) == 82


def both_logins(served: Served) -> list[tuple[str, dict[str, Any]]]:
    by_key = next(served.of("sftp", n) for n in range(30) if "private_key" in served.of("sftp", n)[1]["extra"])
    by_password = next(served.of("sftp", n) for n in range(30) if served.of("sftp", n)[1].get("password"))
    return [by_key, by_password]


def test_sftp_gives_a_branch_its_own_files_by_key_and_by_password(served: Served) -> None:
    for branch_id, connection in both_logins(served):
        session = sftp(connection)
        assert session.listdir("/") == [branch_id]
        found = {}
        for day in session.listdir(f"/{branch_id}"):
            for name in session.listdir(f"/{branch_id}/{day}"):
                with session.open(f"/{branch_id}/{day}/{name}") as file:
                    found[f"{day}/{name}"] = file.read()
        assert found == served.files(branch_id)
        assert "2023-12-11/manifest.json" in found
        for other in ("/KC001", "/KC002", "/../servers/keyring.json"):
            if other != f"/{branch_id}":
                with pytest.raises(FileNotFoundError):
                    session.stat(other)
        session.close()


def test_sftp_is_read_only(served: Served) -> None:
    branch_id, connection = served.of("sftp")
    before = served.files(branch_id)
    session = sftp(connection)
    manifest = f"/{branch_id}/2023-12-11/manifest.json"
    attempts: list[Callable[[], Any]] = [
        lambda: session.open(manifest, "w"),
        lambda: session.open(manifest, "a"),
        lambda: session.open(f"/{branch_id}/new", "x"),
        lambda: session.open(manifest, "r+"),
        lambda: session.remove(manifest),
        lambda: session.rename(manifest, f"{manifest}.old"),
        lambda: session.posix_rename(manifest, f"{manifest}.old"),
        lambda: session.mkdir(f"/{branch_id}/2023-12-12"),
        lambda: session.rmdir(f"/{branch_id}/2023-12-11"),
        lambda: session.chmod(manifest, 0o777),
        lambda: session.truncate(manifest, 0),
        lambda: session.symlink("/etc/passwd", f"/{branch_id}/passwd"),
    ]
    for attempt in attempts:
        with pytest.raises(PermissionError):
            attempt()
    session.close()
    assert served.files(branch_id) == before


def test_sftp_refuses_unknown_logins(served: Served) -> None:
    (_, by_key), (_, by_password) = both_logins(served)
    with pytest.raises(paramiko.AuthenticationException):
        sftp(by_password, password="guess")
    with pytest.raises(paramiko.AuthenticationException):
        sftp(by_password, login="kc999")
    with pytest.raises(paramiko.AuthenticationException):
        sftp(by_key, login=by_password["login"])


def test_sftp_by_another_client(served: Served) -> None:
    branch_id, connection = both_logins(served)[1]

    async def manifest() -> bytes:
        known = asyncssh.import_known_hosts(f"* {connection['extra']['host_key']}\n")
        async with (
            asyncssh.connect(
                connection["host"],
                connection["port"],
                username=connection["login"],
                password=connection["password"],
                known_hosts=known,
                client_keys=None,
            ) as line,
            line.start_sftp_client() as client,
            client.open(f"/{branch_id}/2023-12-11/manifest.json", "rb") as file,
        ):
            return bytes(await file.read())

    assert asyncio.run(manifest()) == served.files(branch_id)["2023-12-11/manifest.json"]


def test_s3_gives_a_branch_its_own_objects_as_they_appear(served: Served) -> None:
    branch_id, connection = served.of("s3")
    client, (bucket, prefix) = s3(connection), bucket_of(connection)
    own = f"{prefix}/{branch_id}/"
    assert objects(client, bucket, own) == served.files(branch_id)
    late = served.world.branches_root / branch_id / "2023-12-11" / "susulan.csv"
    late.write_bytes(b"baru")
    assert objects(client, bucket, own) == served.files(branch_id)
    late.write_bytes(b"baru lagi")
    assert objects(client, bucket, own)["2023-12-11/susulan.csv"] == b"baru lagi"
    assert client.head_object(Bucket=bucket, Key=f"{own}2023-12-11/susulan.csv")["ContentLength"] == 9
    assert code_of(lambda: client.get_object(Bucket=bucket, Key=f"{own}2023-12-11/none.csv")) == "NoSuchKey"
    assert code_of(lambda: client.list_objects_v2(Bucket="another-bucket")) == "NoSuchBucket"


def test_s3_is_read_only_and_keeps_branches_apart(served: Served) -> None:
    branch_id, connection = served.of("s3")
    other, _ = served.of("s3", 1)
    client, (bucket, prefix) = s3(connection), bucket_of(connection)
    own = f"{prefix}/{branch_id}/2023-12-11/manifest.json"
    before = served.files(branch_id)
    attempts: list[Callable[[], Any]] = [
        lambda: client.put_object(Bucket=bucket, Key=own, Body=b"x"),
        lambda: client.delete_object(Bucket=bucket, Key=own),
        lambda: client.copy_object(Bucket=bucket, Key=f"{own}2", CopySource=f"{bucket}/{own}"),
        lambda: client.create_bucket(Bucket="mine"),
        lambda: client.get_object(Bucket=bucket, Key=own.replace(branch_id, other)),
        lambda: client.list_objects_v2(Bucket=bucket, Prefix=f"{prefix}/{other}/"),
        lambda: client.list_objects_v2(Bucket=bucket),
    ]
    assert [code_of(attempt) for attempt in attempts] == ["AccessDenied"] * len(attempts)
    assert objects(client, bucket, f"{prefix}/{branch_id}/") == before


def test_s3_refuses_unknown_logins(served: Served) -> None:
    _, connection = served.of("s3")
    bucket, prefix = bucket_of(connection)
    wrong = s3(connection, password="guess")
    assert code_of(lambda: wrong.list_objects_v2(Bucket=bucket, Prefix=prefix)) == "SignatureDoesNotMatch"
    unknown = s3(connection, login="AKSIMNOBODY")
    assert code_of(lambda: unknown.list_objects_v2(Bucket=bucket, Prefix=prefix)) == "InvalidAccessKeyId"
    assert httpx.get(f"{connection['extra']['endpoint_url']}/{bucket}").status_code == 403


def largest_slice(served: Served) -> tuple[str, dict[str, Any], str, list[Any]]:
    """Branch, connection, feed of the opening day with most rows, and those rows."""
    found = []
    for position in range(20):
        branch_id, connection = served.of("http", position)
        for feed in ("pendaftaran", "iuran"):
            text = served.files(branch_id, "api")[f"2023-12-10/{feed}.r1.jsonl"].decode()
            found.append((branch_id, connection, feed, [json.loads(line) for line in text.split("\n")[:-1]]))
    return max(found, key=lambda entry: len(entry[3]))


def test_the_api_gives_the_manifest_and_all_rows_page_by_page(served: Served) -> None:
    branch_id, connection, feed, rows = largest_slice(served)
    with http(connection) as client:
        answer = client.get("deliveries/2023-12-10")
        manifest = json.loads(served.files(branch_id, "api")["2023-12-10/manifest.json"])
        assert answer.json() == manifest
        assert {"feed": feed, "revision": 1, "rows": len(rows)} in manifest["files"]
        read, cursors, cursor = [], 0, {}
        while True:
            body = page(client, feed, limit=7, **cursor).json()
            assert body["total"] == len(rows)
            assert len(body["data"]) == 7 or body["next_cursor"] is None
            read += body["data"]
            if body["next_cursor"] is None:
                break
            cursor, cursors = {"cursor": body["next_cursor"]}, cursors + 1
        assert read == rows
        assert cursors == (len(rows) - 1) // 7
        whole = page(client, feed)
        assert whole.headers["content-encoding"] == "gzip"
        assert whole.json() == {"data": rows, "next_cursor": None, "total": len(rows)}
    with http(connection, **{"Accept-Encoding": "identity"}) as client:
        assert "content-encoding" not in page(client, feed).headers


def test_the_api_says_what_it_does_not_have(served: Served) -> None:
    _, connection = served.of("http")
    with http(connection) as client:
        assert client.get("deliveries/2023-12-12").status_code == 404
        assert client.get("deliveries/kemarin").status_code == 400
        assert page(client, "pendaftaran", revision=9).status_code == 404
        assert page(client, "gaji").status_code == 404
        assert page(client, "pendaftaran", revision="1/../../..").status_code == 400
        assert page(client, "pendaftaran", limit=0).status_code == 400
        assert page(client, "pendaftaran", cursor="bm90aGluZw==").status_code == 400
        assert client.post("deliveries/2023-12-10").status_code == 405
        assert client.delete("pendaftaran").status_code == 405


def test_the_api_refuses_unknown_logins(served: Served) -> None:
    _, connection = served.of("http")
    _, other = served.of("http", 1)
    for token in ("guess", other["password"]):
        with http(connection | {"password": token}) as client:
            assert client.get("deliveries/2023-12-10").status_code == 401
    assert httpx.get(f"{connection['host']}/v1/deliveries/2023-12-10").status_code == 401


def test_a_database_holds_the_deliveries_with_proper_types(served: Served) -> None:
    for position in range(12):
        branch_id, connection = served.of("postgres", position)
        files = served.files(branch_id, "ekspor")
        said = [row for name, data in files.items() if "pengiriman" in name for row in json.loads(data)]
        with postgres(connection) as conn:
            found = conn.execute("select tgl_data::text, umpan, revisi, jumlah_baris from ekspor.pengiriman").fetchall()
            assert sorted(found) == sorted(
                (row["tgl_data"], row["umpan"], row["revisi"], row["jumlah_baris"]) for row in said
            )
            for feed, key in (("pendaftaran", "no_pendaftaran"), ("iuran", "id_bayar"), ("kegiatan", "kode_kegiatan")):
                lines = [
                    json.loads(line)
                    for name, data in files.items()
                    if f"/{feed}.r" in name
                    for line in data.decode().split("\n")[:-1]
                ]
                query = f"select tgl_data::text, revisi, {key} from ekspor.{feed}"
                rows = conn.execute(query).fetchall()  # type: ignore[call-overload]
                assert sorted(rows, key=str) == sorted(
                    ((line["tgl_data"], line["revisi"], line[key]) for line in lines), key=str
                )
            types = dict(
                conn.execute(
                    "select table_name || '.' || column_name, data_type from information_schema.columns"
                    " where table_schema = 'ekspor'"
                ).fetchall()
            )
        assert types["pendaftaran.tgl_lahir"] == types["iuran.tgl_data"] == "date"
        assert types["iuran.total"] in {"bigint", "numeric"}
        assert types["iuran.tgl_bayar"] in {"timestamp with time zone", "timestamp without time zone"}
        assert types["pendaftaran.jml_bulan"] == "integer"


def test_a_database_is_read_only_and_keeps_branches_apart(served: Served) -> None:
    _, connection = served.of("postgres")
    _, other = served.of("postgres", 1)
    with postgres(connection) as conn, pytest.raises(psycopg.errors.ReadOnlySqlTransaction):
        conn.execute("delete from ekspor.pengiriman")
    for statement in ("delete from ekspor.pengiriman", "create table ekspor.x ()", "create table public.x ()"):
        with postgres(connection) as conn:
            conn.execute("set transaction read write")
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                conn.execute(statement)  # type: ignore[call-overload]
    for schema in (other["schema"], "postgres"):
        with pytest.raises(psycopg.OperationalError, match="permission denied for database"):
            postgres(connection, schema=schema).close()
    with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
        postgres(connection, password="guess").close()


# Misbehaviour

Visit = Callable[[dict[str, Any], str], Any]
VISITS: dict[str, Visit] = {
    "sftp": lambda connection, branch_id: sftp(connection).listdir(f"/{branch_id}"),
    "s3": lambda connection, branch_id: objects(
        s3(connection), bucket_of(connection)[0], f"{bucket_of(connection)[1]}/{branch_id}/"
    ),
    "http": lambda connection, _: http(connection).get("deliveries/2023-12-10").raise_for_status(),
    "postgres": lambda connection, _: postgres(connection).execute("select 1").fetchone(),
}
DOWN = (
    OSError,
    EOFError,
    httpx.TransportError,
    psycopg.OperationalError,
    paramiko.SSHException,
    botocore.exceptions.HTTPClientError,
    # The line may be cut before boto takes it for made.
    botocore.exceptions.ConnectionError,
    botocore.exceptions.ClientError,
)


@pytest.mark.parametrize("kind", VISITS)
def test_a_branch_goes_down_alone_and_comes_back_at_once(served: Served, kind: str) -> None:
    branch_id, connection = served.of(kind)
    other_id, other = served.of(kind, 1)
    assert VISITS[kind](connection, branch_id)
    served.misbehave(**{branch_id: "down"})
    with pytest.raises(DOWN):
        VISITS[kind](connection, branch_id)
    assert VISITS[kind](other, other_id)
    served.misbehave()
    assert VISITS[kind](connection, branch_id)


@pytest.mark.parametrize("kind", VISITS)
def test_a_branch_that_hangs_takes_the_call_and_says_nothing(served: Served, kind: str) -> None:
    branch_id, connection = served.of(kind)
    served.misbehave(**{branch_id: "hang"})
    address = connection["extra"]["endpoint_url"] if kind == "s3" else connection["host"]
    port = connection.get("port") or httpx.URL(address).port
    with socket.create_connection(("127.0.0.1", port), timeout=5) as line:
        line.settimeout(0.5)
        line.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        with pytest.raises(TimeoutError):
            line.recv(1)


def test_a_slow_branch_takes_its_time_for_each_answer(served: Served) -> None:
    branch_id, connection = served.of("http")
    served.misbehave(**{branch_id: "slow:0.7"})
    with http(connection) as client:
        for _ in range(2):
            assert client.get("deliveries/2023-12-10").elapsed.total_seconds() >= 0.7


@pytest.mark.parametrize("kind", ["sftp", "s3", "http", "postgres"])
def test_half_a_response_is_seen_as_half(served: Served, kind: str) -> None:
    branch_id, connection = served.of(kind)
    if kind == "http":
        branch_id, connection, feed, rows = largest_slice(served)
        assert len(rows) > 30
    if kind == "sftp":
        large = served.world.branches_root / branch_id / "2023-12-11" / "besar.bin"
        large.write_bytes(os.urandom(300_000))
    served.misbehave(**{branch_id: "half"})
    reads: dict[str, Callable[[], Any]] = {
        "sftp": lambda: sftp(connection).open(f"/{branch_id}/2023-12-11/besar.bin").read(),
        "s3": lambda: objects(s3(connection), bucket_of(connection)[0], f"{bucket_of(connection)[1]}/{branch_id}/"),
        "http": lambda: page(http(connection), feed),
        "postgres": lambda: postgres(connection).execute("select repeat('x', 100000)").fetchall(),
    }
    with pytest.raises(DOWN):
        reads[kind]()


@pytest.mark.parametrize("kind", ["sftp", "s3"])
def test_a_wrong_checksum_is_in_the_data_not_in_the_manifest(served: Served, kind: str) -> None:
    branch_id, connection = served.of(kind)
    served.misbehave(**{branch_id: "checksum"})
    if kind == "s3":
        bucket, prefix = bucket_of(connection)
        found = objects(s3(connection), bucket, f"{prefix}/{branch_id}/")
    else:
        session, found = sftp(connection), {}
        for name in served.files(branch_id):
            with session.open(f"/{branch_id}/{name}") as file:
                found[name] = file.read()
    sent = served.files(branch_id)
    assert found.keys() == sent.keys()
    same = {name for name in sent if found[name] == sent[name]}
    assert same == {name for name, data in sent.items() if "manifest" in name or not data}
    assert {len(found[name]) - len(sent[name]) for name in sent} == {0}


def test_a_cursor_expires_once_for_each_slice_or_always(served: Served) -> None:
    branch_id, connection, feed, rows = largest_slice(served)
    served.misbehave(**{branch_id: "expired"})
    with http(connection) as client:
        first = page(client, feed).json()
        assert 0 < len(first["data"]) < len(rows)
        assert page(client, feed, cursor=first["next_cursor"]).status_code == 410
        again = page(client, feed).json()
        rest = page(client, feed, cursor=again["next_cursor"]).json()
        assert again["data"] + rest["data"] == rows
        served.misbehave(**{branch_id: "expired:always"})
        for _ in range(3):
            cursor = page(client, feed).json()["next_cursor"]
            assert page(client, feed, cursor=cursor).status_code == 410


def test_a_throttled_branch_says_when_to_come_again(served: Served) -> None:
    branch_id, connection = served.of("http")
    served.misbehave(**{branch_id: "throttled"})
    with http(connection) as client:
        answers = [client.get("deliveries/2023-12-10") for _ in range(11)]
        assert [answer.status_code for answer in answers].count(200) == 8
        refused = [answer for answer in answers if answer.status_code != 200]
        assert {answer.status_code for answer in refused} == {429, 503}
        assert {answer.headers["Retry-After"] for answer in refused} == {"1"}
        served.misbehave(**{branch_id: "throttled:always"})
        assert 200 not in {client.get("deliveries/2023-12-10").status_code for _ in range(6)}
    branch_id, connection = served.of("s3")
    served.misbehave(**{branch_id: "throttled:always"})
    bucket, prefix = bucket_of(connection)
    assert code_of(lambda: s3(connection).list_objects_v2(Bucket=bucket, Prefix=f"{prefix}/{branch_id}")) == "SlowDown"


# From night to night


def test_the_next_night_appears_while_serving_and_a_moved_branch_at_its_new_way(served: Served) -> None:
    """Comes after the tests of the first night, which look at what lies there alone."""
    kinds = sorted(served.world.kinds.items())
    moved = next(branch_id for branch_id, kind in kinds if kind == "sftp")
    stayed = next(branch_id for branch_id, kind in kinds if kind == "postgres")
    misbehaviour.add(served.world.folder, [f"{moved}=moved:postgres"], served.world.kinds)
    served.world.play_night()
    after = Served(served.settings, served.world)
    assert after.ways[moved] == f"postgres:sim_postgres_{moved.lower()}"
    assert {b: w for b, w in after.ways.items() if b != moved} == {b: w for b, w in served.ways.items() if b != moved}
    for branch_id, days in ((moved, 1), (stayed, 3)):
        with postgres(after.connections[f"sim_postgres_{branch_id.lower()}"]) as conn:
            row = conn.execute("select count(distinct tgl_data), max(tgl_data)::text from ekspor.pengiriman").fetchone()
        assert row == (days, "2023-12-12")
    with http(after.of("http")[1]) as client:
        assert client.get("deliveries/2023-12-12").status_code == 200
    branch_id, connection = after.of("s3")
    bucket, prefix = bucket_of(connection)
    assert "2023-12-12/manifest.json" in objects(s3(connection), bucket, f"{prefix}/{branch_id}/")


def test_a_world_is_served_once(served: Served) -> None:
    command = [KKBC, "simulate", "serve", "--world", served.world.folder]
    second = subprocess.run(command, capture_output=True, text=True, env=environment(served.settings))
    assert second.returncode == 2
    assert "are being served already" in second.stderr
    assert len(second.stderr.strip().splitlines()) == 1
