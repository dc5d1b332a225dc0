"""Kind s3 where it fails: a real S3 API that checks keys and signatures, and a line that breaks or hangs."""

import os
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import closing, suppress
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import boto3
import fsspec.asyn
import pytest

from kkbc.core.errors import BranchRefused, BranchTimeout, BranchUnavailable
from kkbc.exchange.slices import Delivery, Entry
from kkbc.intake.sources import Wanted
from kkbc.intake.sources.bounds import Deadline
from kkbc.intake.sources.s3 import S3Tree
from kkbc.intake.sources.tree import TreeSource
from tests.deliveries import deliver
from tests.servers import REGION, Line, S3Server, free_port, line_to

from .conftest import BUCKET, Way, way_of_s3

DAY = date(2023, 12, 11)
EVER = Wanted(date(2020, 1, 1), date(2024, 2, 12))
BIG = 3_000_000


@pytest.fixture
def line(s3: S3Server) -> Iterator[Line]:
    with line_to(s3.port) as made:
        yield made


@pytest.fixture
def way(s3: S3Server, branches: Path, line: Line) -> Way:
    """One delivery with a file of three megabytes, by a line."""
    folder = deliver(branches, {"iuran": [{}]})
    (folder / "besar.csv").write_bytes(os.urandom(BIG))
    made = way_of_s3(s3, branches, line.port)
    made.sent()
    return made


def opened(way: Way, seconds: float = 20.0, **extra: Any) -> TreeSource:
    way.fields["extra"] |= extra
    return TreeSource(way.branch, S3Tree(way.branch, way.connection, seconds, seconds))


def found(way: Way, seconds: float = 20.0, **extra: Any) -> list[str]:
    with closing(opened(way, seconds, **extra)) as source:
        return [manifest.name for manifest in source.manifests(EVER)]


def fetch_big(source: TreeSource, target: Path) -> None:
    entry = Entry("iuran", 1, "besar.csv", BIG, "ab" * 32)
    source.fetch(Delivery("KC001", DAY, 1, None, (entry,), "manifest.json", ""), entry, target)


def refusal(way: Way, **extra: Any) -> str:
    """How a visit is refused; no secret in its text."""
    with pytest.raises(BranchRefused) as caught:
        found(way, **extra)
    assert "branch_001" in caught.value.remedy or "branch_001" in caught.value.problem
    assert way.fields["password"] == "" or way.fields["password"] not in str(caught.value)
    return caught.value.problem


def test_nothing_is_taken_from_the_environment_or_the_users_files(
    way: Way, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / ".aws"
    folder.mkdir()
    (folder / "config").write_text("[default]\nregion = mars\nendpoint_url = http://127.0.0.1:1\n[nonsense\n")
    (folder / "credentials").write_text(
        f"[default]\naws_access_key_id = {way.fields['login']}\naws_secret_access_key = {way.fields['password']}\n"
    )
    other = {"ACCESS_KEY_ID": "x", "SECRET_ACCESS_KEY": "y", "SESSION_TOKEN": "z", "PROFILE": "nobody"}
    other |= {"ENDPOINT_URL": "http://127.0.0.1:1", "REGION": "mars", "DEFAULT_REGION": "mars", "MAX_ATTEMPTS": "0"}
    monkeypatch.setenv("HOME", str(tmp_path))
    for name, value in other.items():
        monkeypatch.setenv(f"AWS_{name}", value)
    assert found(way) == ["manifest.json"]
    monkeypatch.delenv("AWS_PROFILE")
    for name in ("login", "password"):
        was, way.fields[name] = way.fields[name], ""
        assert refusal(way) == f"Airflow connection 'branch_001' has no {name}"
        way.fields[name] = was


def test_no_thread_is_left_that_a_fork_would_lose(way: Way) -> None:
    fsspec.asyn.reset_lock()
    before = threading.active_count()
    assert found(way) == ["manifest.json"]
    assert fsspec.asyn.iothread == [None]
    # The server's threads, one a request, are of this process too, and end when they come to it.
    until = time.monotonic() + 10
    while threading.active_count() > before + 1:  # the line's
        assert time.monotonic() < until, [thread.name for thread in threading.enumerate()]
        time.sleep(0.02)


def test_a_wrong_key_secret_bucket_or_address_is_refused(way: Way, s3: S3Server) -> None:
    way.fields["password"] = "wrong-password-of-forty-characters-length"
    assert refusal(way).endswith("cannot be entered (SignatureDoesNotMatch)")
    way.fields |= {"login": "AKIAIOSFODNN7EXAMPLE", "password": s3.secret}
    assert refusal(way).endswith("cannot be entered (InvalidAccessKeyId)")
    way.fields["login"] = s3.key
    root = way.fields["extra"]["root"]
    assert refusal(way, root="s3://nowhere/x").endswith("does not exist")
    assert refusal(way, root="s3://No_Bucket!/x").endswith("cannot be asked for (ParamValidationError)")
    assert "names no bucket" in refusal(way, root="/kantor")
    assert refusal(way, root="") == "Airflow connection 'branch_001' has no extra.root"
    for address in ("nonsense", "http://"):
        assert "cannot be asked for" in refusal(way, root=root, endpoint_url=address)
    problem = refusal(way, endpoint_url=f"http://user:secret@127.0.0.1:{s3.port}")
    assert problem == "extra.endpoint_url of Airflow connection 'branch_001' holds a login"


def test_a_key_that_may_not_read_is_refused(way: Way, s3: S3Server) -> None:
    common = {"endpoint_url": s3.url, "region_name": REGION}
    keys = {"aws_access_key_id": s3.key, "aws_secret_access_key": s3.secret}
    iam = boto3.client("iam", **common, **keys)
    iam.create_user(UserName="lister")
    policy = '{"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "s3:List*", "Resource": "*"}]}'
    made = iam.create_access_key(UserName="lister")["AccessKey"]
    way.fields |= {"login": made["AccessKeyId"], "password": made["SecretAccessKey"]}
    assert refusal(way).endswith("cannot be entered (AccessDenied)")
    iam.put_user_policy(UserName="lister", PolicyName="list", PolicyDocument=policy)
    with closing(opened(way)) as source:
        (manifest,) = source.manifests(EVER)
        with pytest.raises(BranchRefused, match=r"KC001 does not let 2023-12-11/manifest\.json be read"):
            manifest.read()


def test_a_store_that_is_down_may_come_back(way: Way) -> None:
    with pytest.raises(BranchUnavailable, match="of branch KC001 at 127"):
        found(way, endpoint_url=f"http://127.0.0.1:{free_port()}")
    with pytest.raises(BranchUnavailable, match="cannot be read"):
        found(way, endpoint_url="http://cabang.invalid")


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 503 Slow Down\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 500 Oh\r\nContent-Length: 2\r\n\r\nno",
        b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello",
        b"SSH-2.0-OpenSSH_9.2\r\n",
        b"",
    ],
    ids=["503", "500", "no-xml", "no-http", "nothing"],
)
def test_a_store_that_answers_nonsense_may_come_back(way: Way, answer: bytes) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            while True:
                try:
                    client, _ = listener.accept()
                except OSError:
                    return
                with client:
                    client.recv(1 << 16)
                    client.sendall(answer)

        threading.Thread(target=serve, daemon=True).start()
        with pytest.raises(BranchUnavailable):
            found(way, endpoint_url=f"http://127.0.0.1:{listener.getsockname()[1]}")


def test_a_line_that_breaks_in_the_middle_of_a_file_leaves_no_whole_file(way: Way, line: Line, tmp_path: Path) -> None:
    for after in (0, 100, BIG // 2, BIG - 1):
        line.cut_after = after
        with closing(opened(way)) as source, pytest.raises(BranchUnavailable):
            fetch_big(source, tmp_path / "target")
        assert (tmp_path / "target").stat().st_size < BIG
    line.cut_after = None
    with closing(opened(way)) as source:
        fetch_big(source, tmp_path / "target")
    assert (tmp_path / "target").read_bytes() == (way.folder / "KC001" / DAY.isoformat() / "besar.csv").read_bytes()


@pytest.mark.parametrize("after", [0, 100, BIG // 2])
def test_a_store_that_falls_silent(way: Way, line: Line, tmp_path: Path, after: int) -> None:
    line.hang_after = after
    began = time.monotonic()
    with closing(opened(way, seconds=0.5)) as source, pytest.raises(BranchTimeout, match="KC001 at 127"):
        fetch_big(source, tmp_path / "target")
    assert time.monotonic() - began < 5


@pytest.mark.parametrize(
    "first", [b"HTTP/1.1 200 OK\r\nX-Header: ", b"HTTP/1.1 200 OK\r\nContent-Length: 99999\r\n\r\n"]
)
def test_an_answer_in_drips_ends_with_the_visits_time(way: Way, first: bytes) -> None:
    """Whether it is the header or what follows it, and though no single byte is late."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def drip() -> None:
            client, _ = listener.accept()
            with client, suppress(OSError):
                client.recv(1 << 16)
                client.sendall(first)
                while True:
                    client.sendall(b"x")
                    time.sleep(0.05)

        threading.Thread(target=drip, daemon=True).start()
        way.fields["extra"]["endpoint_url"] = f"http://127.0.0.1:{listener.getsockname()[1]}"
        began = time.monotonic()
        tree = S3Tree(way.branch, way.connection, 20, 20, deadline=Deadline(1))
        with (
            closing(TreeSource(way.branch, tree)) as source,
            pytest.raises(BranchTimeout, match="the visit took its 1 s"),
        ):
            list(source.manifests(EVER))
        assert time.monotonic() - began < 5


def test_a_listing_is_one_question_for_a_thousand_files_and_ends_with_the_last_day_wanted(
    way: Way, s3: S3Server, line: Line
) -> None:
    root = way.fields["extra"]["root"].removeprefix(f"s3://{BUCKET}/")
    content = (way.folder / "KC001" / DAY.isoformat() / "manifest.json").read_bytes()
    days = [DAY + timedelta(days=n) for n in range(550)]
    names = ("manifest.json", "iuran.csv")
    s3.fill(BUCKET, [f"{root}KC001/{day}/{name}" for day in days for name in names], content)
    for last, requests in ((520, 2), (100, 1)):
        before = line.connections  # this server ends each with its answer
        with closing(opened(way)) as source:
            listed = [manifest.business_date for manifest in source.manifests(Wanted(DAY, days[last]))]
        assert listed == days[: last + 1]
        assert line.connections - before == requests
