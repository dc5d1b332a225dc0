"""Kind http: statuses other than good ones, and the token, which stays where it belongs."""

import datetime as dt
import ipaddress
import socket
import ssl
import time
from dataclasses import replace
from email.utils import format_datetime
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from kkbc.core.connections import Connection
from kkbc.core.errors import BranchRefused, BranchTimeout, BranchUnavailable
from kkbc.intake.sources.http import HttpSource
from tests.intake.sources.branch_api import TOKEN, Asked, BranchApi, serving
from tests.intake.sources.http_api.calls import QUICK, always, fetch, found, manifest, once, put, rejection
from tests.intake.sources.pulled import (
    KC001,
)


def test_a_branch_that_asks_for_time_gets_it(api: BranchApi, source: HttpSource, target: Path) -> None:
    lines = put(api, 1)
    api.misbehave = once(lambda asked: asked.answer(429, {}, Retry_After="1"))
    began = time.monotonic()
    assert fetch(source, target, 1) == lines
    assert 1 <= time.monotonic() - began < 2


def test_the_time_may_be_given_as_a_date(api: BranchApi, source: HttpSource, target: Path) -> None:
    lines = put(api, 1)
    until = dt.datetime.now(dt.UTC).replace(microsecond=0) + dt.timedelta(seconds=2)
    api.misbehave = once(lambda asked: asked.answer(503, {}, Retry_After=format_datetime(until, usegmt=True)))
    assert fetch(source, target, 1) == lines
    assert dt.datetime.now(dt.UTC) >= until


@pytest.mark.parametrize(("seconds", "requests"), [("3600", 1), ("1", 2), ("0", 31)])
def test_a_visit_waits_so_long_and_no_longer(api: BranchApi, target: Path, seconds: str, requests: int) -> None:
    patience = replace(QUICK, wait_seconds=1.3 if seconds == "1" else 0.3)
    source = HttpSource(KC001, Connection("api", host=api.address, password=TOKEN), patience)
    api.misbehave = always(lambda asked: asked.answer(429, {}, Retry_After=seconds))
    began = time.monotonic()
    with pytest.raises(BranchUnavailable, match="left alone"):
        fetch(source, target, 1)
    assert time.monotonic() - began < patience.wait_seconds + 1
    assert abs(len(api.asked) - requests) <= 1
    source.close()


@pytest.mark.parametrize("after", ["soon", "", "Wed, 99 Foo 2023", "-5"])
def test_without_a_time_that_can_be_understood_it_is_a_failure_like_others(
    api: BranchApi, source: HttpSource, target: Path, after: str
) -> None:
    api.misbehave = always(lambda asked: asked.answer(503, {}, Retry_After=after))
    with pytest.raises(BranchUnavailable, match="503"):
        fetch(source, target, 1)
    assert len(api.asked) == QUICK.tries


@pytest.mark.parametrize("status", [401, 403])
def test_a_token_that_is_refused_is_not_tried_again_nor_shown(api: BranchApi, target: Path, status: int) -> None:
    api.misbehave = always(lambda asked: asked.answer(status, {"sent": asked.headers["Authorization"]}))
    source = HttpSource(KC001, Connection("api", host=api.address, password=TOKEN), QUICK)
    with pytest.raises(BranchRefused, match="KC001") as refused:
        found(source)
    with pytest.raises(BranchRefused):
        fetch(source, target, 1)
    source.close()
    assert len(api.asked) == 2
    assert TOKEN not in str(refused.value)


def test_a_wrong_token_is_refused_by_the_server(api: BranchApi) -> None:
    source = HttpSource(KC001, Connection("api", host=api.address, password="salah"), QUICK)
    with pytest.raises(BranchRefused, match="401"):
        found(source)
    source.close()


def test_a_slice_that_the_api_does_not_know_is_missing(api: BranchApi, source: HttpSource, target: Path) -> None:
    assert rejection(source, target, 1) == "FILE_MISSING"


def test_a_slice_that_the_api_will_not_speak_of_is_unreadable(api: BranchApi, source: HttpSource, target: Path) -> None:
    api.misbehave = always(lambda asked: asked.answer(422, {}))
    assert rejection(source, target, 1) == "UNREADABLE"
    assert len(api.asked) == 1


def test_a_slice_without_valid_rows_is_not_asked_for(api: BranchApi, source: HttpSource, target: Path) -> None:
    assert rejection(source, target, -1) == "UNREADABLE"
    assert api.asked == []


@pytest.mark.parametrize("status", [500, 502, 504, 408, 429])
def test_a_failure_of_the_branch_is_tried_again(api: BranchApi, source: HttpSource, target: Path, status: int) -> None:
    lines = put(api, 1)
    api.misbehave = once(lambda asked: asked.answer(status, {}))
    assert fetch(source, target, 1) == lines
    api.misbehave = always(lambda asked: asked.answer(status, {}))
    with pytest.raises(BranchUnavailable, match=str(status)):
        fetch(source, target, 1)
    assert len(api.asked) == 2 + QUICK.tries


@pytest.mark.parametrize("gzipped", [False, True])
def test_half_an_answer_is_tried_again(api: BranchApi, source: HttpSource, target: Path, gzipped: bool) -> None:
    lines = put(api, 100)
    api.gzipped = gzipped
    page = {"data": api.slices["iuran", "2023-12-11", 1], "total": 100}
    api.misbehave = once(lambda asked: asked.answer(200, page, cut=90))
    assert fetch(source, target, 100) == lines
    api.misbehave = always(lambda asked: asked.answer(200, page, cut=90))
    with pytest.raises(BranchUnavailable, match="broke off"):
        fetch(source, target, 100)


def test_a_branch_that_does_not_answer_is_left_after_its_time(api: BranchApi, source: HttpSource, target: Path) -> None:
    api.misbehave = always(lambda asked: time.sleep(0.6))
    began = time.monotonic()
    with pytest.raises(BranchTimeout, match="KC001"):
        fetch(source, target, 1)
    assert time.monotonic() - began < 2 * QUICK.read_seconds
    assert len(api.asked) == 1


def test_a_branch_that_answers_in_drips_is_left_after_its_time(
    api: BranchApi, source: HttpSource, target: Path
) -> None:
    def drip(asked: Asked) -> None:
        asked.send_response(200)
        asked.send_header("Content-Length", "1000")
        asked.end_headers()
        for _ in range(100):
            asked.wfile.write(b" ")
            time.sleep(0.05)

    api.misbehave = always(drip)
    began = time.monotonic()
    with pytest.raises(BranchTimeout, match="KC001"):
        fetch(source, target, 1)
    assert time.monotonic() - began < 2 * QUICK.answer_seconds


def test_a_branch_where_nothing_listens_is_unavailable(target: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        source = HttpSource(KC001, Connection("api", "127.0.0.1", taken.getsockname()[1], "", TOKEN, "http"), QUICK)
        with pytest.raises(BranchUnavailable, match=r"KC001 at 127\.0\.0\.1"):
            found(source)
        source.close()


def test_the_token_is_not_carried_elsewhere(api: BranchApi, source: HttpSource, target: Path) -> None:
    with serving(BranchApi()) as other:
        api.misbehave = always(lambda asked: asked.answer(302, {}, Location=f"{other.address}/v1/iuran"))
        with pytest.raises(BranchRefused, match="302"):
            fetch(source, target, 1)
        assert other.asked == []


@pytest.mark.parametrize(
    "connection",
    [
        Connection("api", host="http://127.0.0.1"),
        Connection("api", password=TOKEN),
        Connection("api", host="ftp://127.0.0.1", password=TOKEN),
        Connection("api", host="http://user:pw@127.0.0.1", password=TOKEN),
        Connection("api", host="http://", password=TOKEN),
        Connection("api", host="http://127.0.0.1", password="rahasia-s\u00e9kali\u2028"),
        Connection("api", host="https://127.0.0.1", password=TOKEN, extra={"verify": "/no/such/file.pem"}),
    ],
)
def test_a_connection_that_cannot_be_used_is_refused(connection: Connection) -> None:
    with pytest.raises(BranchRefused, match="'api'") as refused:
        HttpSource(KC001, connection, QUICK)
    assert "rahasia" not in str(refused.value)


def test_a_token_that_is_none_is_refused_without_being_shown(api: BranchApi) -> None:
    source = HttpSource(KC001, Connection("api", host=api.address, password=f"{TOKEN}\nX: y"), QUICK)
    with pytest.raises(BranchRefused, match="check address and token") as refused:
        found(source)
    source.close()
    assert TOKEN not in str(refused.value)


def certificate(folder: Path) -> tuple[ssl.SSLContext, Path]:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "kc001")])
    now = dt.datetime.now(dt.UTC)
    address = x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))])
    made = (
        x509.CertificateBuilder(name, name, key.public_key(), 1, now - dt.timedelta(1), now + dt.timedelta(1))
        .add_extension(address, critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    public, private = folder / "public.pem", folder / "private.pem"
    public.write_bytes(made.public_bytes(serialization.Encoding.PEM))
    private.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(public, private)
    return context, public


def test_a_certificate_is_verified(tmp_path: Path) -> None:
    context, public = certificate(tmp_path)
    with serving(BranchApi(), context) as api:
        api.manifests["2023-12-11"] = manifest()
        address = api.address.replace("http://", "https://")
        unknown = HttpSource(KC001, Connection("api", host=address, password=TOKEN), QUICK)
        with pytest.raises(BranchRefused, match="certificate"):
            found(unknown)
        unknown.close()
        assert api.asked == []
        # without a scheme in host, and with none in schema, it is https
        host = address.removeprefix("https://")
        for verify in (str(public), False):
            known = HttpSource(KC001, Connection("api", host=host, password=TOKEN, extra={"verify": verify}), QUICK)
            assert len(found(known)) == 1
            known.close()
