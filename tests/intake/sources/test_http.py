"""Kind http against a real server that answers by the page, or misbehaves."""

import datetime as dt
import gzip
import ipaddress
import json
import socket
import ssl
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import date
from email.utils import format_datetime
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from kkbc.core.connections import Connection
from kkbc.core.errors import BranchRefused, BranchTimeout, BranchUnavailable, SliceRejected
from kkbc.exchange.registry import Branch
from kkbc.exchange.slices import Delivery, Entry
from kkbc.intake.sources import Manifest, Wanted, open_source
from kkbc.intake.sources.api import Patience
from kkbc.intake.sources.http import HttpSource
from tests.deliveries import TEMPLATE, deliver
from tests.intake.sources.branch_api import TOKEN, Asked, BranchApi, serving
from tests.intake.sources.pulled import (
    DAY,
    KC001,
    ROWS,
    empty_warehouse,
    keep_connection,
    landed,
    loaded,
    pull_by,
    visit,
)

QUICK = Patience(
    connect_seconds=2,
    read_seconds=0.3,
    answer_seconds=0.8,
    wait_seconds=2.5,
    pause_seconds=0.01,
    answer_bytes=1 << 20,
)


@pytest.fixture
def api() -> Iterator[BranchApi]:
    with serving(BranchApi()) as server:
        yield server


@pytest.fixture
def source(api: BranchApi) -> Iterator[HttpSource]:
    opened = HttpSource(KC001, Connection("api", host=api.address, password=TOKEN), QUICK)
    yield opened
    opened.close()


@pytest.fixture
def target(tmp_path: Path) -> Path:
    return tmp_path / "sent"


def manifest(day: date = DAY, *slices: dict[str, Any], **changes: Any) -> dict[str, Any]:
    return {
        "schema_version": 1,
        "branch_id": "KC001",
        "business_date": day.isoformat(),
        "revision": 1,
        "sent_at": f"{day}T19:02:11+07:00",
        "slices": list(slices),
    } | changes


def found(
    source: HttpSource, since: date = DAY, until: date = DAY, skip: frozenset[date] = frozenset()
) -> list[Manifest]:
    return list(source.manifests(Wanted(since, until, skip)))


def fetch(source: HttpSource, target: Path, rows: int, revision: int = 1) -> bytes:
    delivery = Delivery("KC001", DAY, 1, None, (), "deliveries/2023-12-11", "")
    source.fetch(delivery, Entry("iuran", rows, revision=revision), target)
    return target.read_bytes()


def rejection(source: HttpSource, target: Path, rows: int) -> str:
    with pytest.raises(SliceRejected) as rejected:
        fetch(source, target, rows)
    return rejected.value.reason


def put(api: BranchApi, rows: int) -> bytes:
    """A slice of so many rows; returns the lines that must come of it."""
    items = [{"id_bayar": f"P-{number}", "total": number} for number in range(rows)]
    api.slices["iuran", "2023-12-11", 1] = items
    return b"".join(json.dumps(item).encode() + b"\n" for item in items)


def once(answer: Callable[[Asked], None], at: int = 1) -> Callable[[Asked], bool]:
    """Misbehaviour at the request of that number, counted from 1, and none after it."""

    def misbehave(asked: Asked) -> bool:
        if len(asked.server.asked) != at:
            return False
        answer(asked)
        return True

    return misbehave


def always(answer: Callable[[Asked], None]) -> Callable[[Asked], bool]:
    def misbehave(asked: Asked) -> bool:
        answer(asked)
        return True

    return misbehave


# --- manifests ---


def test_each_day_is_asked_for_but_those_that_are_settled(api: BranchApi, source: HttpSource) -> None:
    api.manifests = {day: manifest(date.fromisoformat(day)) for day in ("2023-12-10", "2023-12-12", "2023-12-14")}
    manifests = found(source, date(2023, 12, 10), date(2023, 12, 13), frozenset({date(2023, 12, 11)}))
    assert [path for path, _ in api.asked] == [f"deliveries/2023-12-{day}" for day in (10, 12, 13)]
    assert [item.business_date for item in manifests] == [date(2023, 12, 10), date(2023, 12, 12)]
    assert api.connections == 1


def test_the_stamp_changes_when_the_manifest_does(api: BranchApi, source: HttpSource) -> None:
    api.manifests["2023-12-11"] = manifest(DAY, {"feed": "iuran", "revision": 1, "rows": 3})
    (first,), (same,) = found(source), found(source)
    api.manifests["2023-12-11"] = manifest(DAY, {"feed": "iuran", "revision": 2, "rows": 3})
    (revised,) = found(source)
    assert first.stamp == same.stamp != revised.stamp
    (entry,) = revised.read().entries
    assert (entry.feed, entry.revision, entry.rows) == ("iuran", 2, 3)


@pytest.mark.parametrize("content", [b"<html>down for maintenance</html>", b"", b'{"slices": [', b"[" * 100_000])
def test_a_manifest_that_is_none_condemns_its_day(api: BranchApi, source: HttpSource, content: bytes) -> None:
    api.manifests["2023-12-11"] = content
    (only,) = found(source)
    delivery = only.read()
    assert delivery.rejection is not None
    assert delivery.rejection[0] == "UNREADABLE"
    assert len(delivery.entries) == 3


def test_half_a_manifest_is_asked_for_again(api: BranchApi, source: HttpSource) -> None:
    whole = json.dumps(manifest(DAY, {"feed": "iuran", "rows": 3})).encode()
    api.manifests["2023-12-11"] = whole
    api.misbehave = once(lambda asked: asked.answer(200, whole[:50]))
    assert found(source)[0].read().rejection is None


@pytest.mark.parametrize(("status", "error"), [(500, BranchUnavailable), (400, BranchRefused)])
def test_one_bad_day_does_not_keep_the_others_back(
    api: BranchApi, source: HttpSource, status: int, error: type[Exception]
) -> None:
    api.manifests = {day: manifest(date.fromisoformat(day)) for day in ("2023-12-11", "2023-12-12", "2023-12-13")}

    def misbehave(asked: Asked) -> bool:
        if not asked.path_asked.endswith("-12"):
            return False
        asked.answer(status, {})
        return True

    api.misbehave = misbehave
    manifests = source.manifests(Wanted(DAY, date(2023, 12, 13)))
    assert [next(manifests).business_date.day, next(manifests).business_date.day] == [11, 13]
    with pytest.raises(error, match=str(status)):
        next(manifests)


def test_an_api_that_fails_for_every_day_is_not_asked_for_all_of_them(api: BranchApi, source: HttpSource) -> None:
    api.misbehave = always(lambda asked: asked.answer(500, {}))
    with pytest.raises(BranchUnavailable):
        found(source, date(2023, 1, 1))
    assert len(api.asked) == 2 * QUICK.tries


# --- pages ---


@pytest.mark.parametrize("gzipped", [False, True])
def test_all_pages_are_read_in_their_order(api: BranchApi, source: HttpSource, target: Path, gzipped: bool) -> None:
    lines = put(api, 2500)
    api.gzipped = gzipped
    assert fetch(source, target, 2500) == lines
    asked = {"business_date": "2023-12-11", "revision": "1", "limit": "1000"}
    assert api.asked == [
        ("iuran", asked),
        ("iuran", asked | {"cursor": "from-1000"}),
        ("iuran", asked | {"cursor": "from-2000"}),
    ]
    assert api.connections == 1


def test_a_slice_is_asked_for_by_its_own_revision(api: BranchApi, source: HttpSource, target: Path) -> None:
    put(api, 2)
    api.slices["iuran", "2023-12-11", 7] = [{"id_bayar": "P-9"}]
    assert fetch(source, target, 1, revision=7) == b'{"id_bayar": "P-9"}\n'


def test_a_slice_without_rows_is_a_file_of_no_bytes(api: BranchApi, source: HttpSource, target: Path) -> None:
    put(api, 0)
    assert fetch(source, target, 0) == b""


def answer_with(api: BranchApi, content: bytes) -> None:
    api.misbehave = always(lambda asked: asked.answer(200, content))


def test_items_stay_as_they_were_spelt_each_on_one_line(api: BranchApi, source: HttpSource, target: Path) -> None:
    items = [
        b'{"a": 1.50, "b":1e3,"c" : 12345678901234567890.10}',
        b'{"text": "line\\nbreak \\u0041 \xe2\x80\xa8 \xc3\xa9 ] } ,"}',
        b'{"none": NaN, "twice": 1, "twice": 2}',
        b'{\r\n  "pretty": [\n 1,\n\t2 ]\r}',
        b'"no object"',
        b"null",
    ]
    page = b'\n{ "extra":{"data":[1]} ,"total" : 6,\n"data":[ ' + b" ,\n ".join(items) + b' ] ,"next_cursor":null}\n'
    answer_with(api, page)
    came = fetch(source, target, 6).splitlines(keepends=True)
    assert came[:3] == [item + b"\n" for item in items[:3]]
    assert came[3] == b'{    "pretty": [  1, \t2 ] }\n'
    assert came[4:] == [b'"no object"\n', b"null\n"]


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-32", "windows-1252"])
def test_a_page_in_another_encoding_becomes_utf_8(
    api: BranchApi, source: HttpSource, target: Path, encoding: str
) -> None:
    answer_with(api, '{"data": [{"nama": "Andr\u00e9 \u2013 \u20ac"}], "total": 1}'.encode(encoding))
    assert fetch(source, target, 1).decode() == '{"nama": "Andr\u00e9 \u2013 \u20ac"}\n'


@pytest.mark.parametrize("rest", ["}", ', "next_cursor": null}', ', "next_cursor": "", "total": null}'])
def test_what_a_page_leaves_out_ends_it(api: BranchApi, source: HttpSource, target: Path, rest: str) -> None:
    answer_with(api, b'{"data": [{"a": 1}]' + rest.encode())
    assert fetch(source, target, 1) == b'{"a": 1}\n'


@pytest.mark.parametrize(
    "content",
    [
        b"<html>",
        b"",
        b"[]",
        b'{"data": [{"a": 1}',
        b'{"data": [{"a": 1},]}',
        b'{"data": [{"a": "line\nbreak"}]}',
        b'{"data": {"a": 1}}',
        b'{"total": 0}',
        b'{"data": [], "total": "0"}',
        b'{"data": []} x',
        b'{"data": [' + b"[" * 100_000,
    ],
)
def test_a_page_that_is_none_is_tried_again_then_unreadable_and_kept(
    api: BranchApi, source: HttpSource, target: Path, content: bytes
) -> None:
    answer_with(api, content)
    assert rejection(source, target, 1) == "UNREADABLE"
    assert len(api.asked) == QUICK.tries
    assert target.read_bytes() == content


def test_damaged_gzip_is_unreadable(api: BranchApi, source: HttpSource, target: Path) -> None:
    put(api, 3)
    folded = gzip.compress(json.dumps({"data": [], "total": 0}).encode())
    for damaged in (folded[:-9], b"\x1f\x8b nothing of the kind", folded[:12] + b"\xff" * 10 + folded[22:]):
        api.misbehave = always(partial(Asked.answer, status=200, content=damaged, Content_Encoding="gzip"))
        assert rejection(source, target, 0) == "UNREADABLE"
    api.misbehave = always(lambda asked: asked.answer(200, folded, Content_Encoding="br"))
    assert rejection(source, target, 0) == "UNREADABLE"


def test_an_answer_without_measure_is_not_read_to_its_end(api: BranchApi, source: HttpSource, target: Path) -> None:
    bomb = gzip.compress(b'{"data": [' + b" " * (50 << 20))
    api.misbehave = always(lambda asked: asked.answer(200, bomb, Content_Encoding="gzip"))
    assert rejection(source, target, 1) == "UNREADABLE"
    api.misbehave = always(lambda asked: asked.answer(200, b" " * (QUICK.answer_bytes + 1)))
    assert rejection(source, target, 1) == "UNREADABLE"
    assert len(api.asked) == 2


# --- total, cursors ---


def test_a_total_that_is_wrong_once_is_read_again(api: BranchApi, source: HttpSource, target: Path) -> None:
    lines = put(api, 3)
    api.misbehave = once(lambda asked: asked.page(total=4))
    assert fetch(source, target, 3) == lines


def test_a_total_that_stays_wrong_rejects_the_slice_and_its_bytes_are_kept(
    api: BranchApi, source: HttpSource, target: Path
) -> None:
    lines = put(api, 3)
    for total in (4, 2, 0):
        api.asked.clear()
        api.misbehave = always(partial(Asked.page, total=total))
        assert rejection(source, target, 3) == "ROW_COUNT"
        assert target.read_bytes() == lines
        assert len(api.asked) == 2


def test_a_total_that_changes_from_page_to_page_is_wrong(api: BranchApi, source: HttpSource, target: Path) -> None:
    lines = put(api, 1500)
    api.misbehave = once(lambda asked: asked.page(total=1501), at=2)
    assert fetch(source, target, 1500) == lines
    assert len(api.asked) == 4
    api.misbehave = always(lambda asked: asked.page(total=1500 + ("cursor" in asked.query)))
    assert rejection(source, target, 1500) == "ROW_COUNT"


@pytest.mark.parametrize("total", [2000, 10**9, None])
def test_a_cursor_that_repeats_comes_to_an_end(
    api: BranchApi, source: HttpSource, target: Path, total: int | None
) -> None:
    put(api, 2000)
    api.misbehave = always(lambda asked: asked.page(next_cursor="from-0", total=total))
    assert rejection(source, target, 2000) == "ROW_COUNT"
    assert len(api.asked) == 2 * 2


def test_pages_without_end_come_to_one(api: BranchApi, source: HttpSource, target: Path) -> None:
    put(api, 10)

    def next_page(asked: Asked) -> None:
        page = {"data": [{"id_bayar": "P"}] * 100, "next_cursor": f"from-{len(asked.server.asked)}", "total": 10**9}
        asked.answer(200, page)

    api.misbehave = always(next_page)
    assert rejection(source, target, 10) == "ROW_COUNT"
    assert len(api.asked) < 30


def test_a_cursor_that_expires_starts_the_slice_again(api: BranchApi, source: HttpSource, target: Path) -> None:
    lines = put(api, 2500)
    api.misbehave = once(lambda asked: asked.answer(410, {}), at=3)
    assert fetch(source, target, 2500) == lines
    assert [query.get("cursor") for _, query in api.asked] == [None, "from-1000", "from-2000"] * 2


def test_a_cursor_that_always_expires_is_given_up(api: BranchApi, source: HttpSource, target: Path) -> None:
    put(api, 2500)

    def misbehave(asked: Asked) -> bool:
        if "cursor" not in asked.query:
            return False
        asked.answer(410, {})
        return True

    api.misbehave = misbehave
    with pytest.raises(BranchUnavailable, match="KC001"):
        fetch(source, target, 2500)
    assert len(api.asked) == 2 * QUICK.starts


# --- statuses ---


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


# --- the token stays where it belongs ---


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


# --- whole visits ---


def as_items(feed: str, branch_id: str = "KC001") -> list[dict[str, Any]]:
    return [TEMPLATE[feed] | {"kode_kantor": branch_id} | row for row in ROWS[feed]]


def offer(api: BranchApi, **revisions: int) -> None:
    """ROWS as an API gives them, each slice with its revision."""
    api.manifests["2023-12-11"] = manifest(
        DAY, *({"feed": feed, "revision": revisions.get(feed, 1), "rows": len(rows)} for feed, rows in ROWS.items())
    )
    api.slices |= {(feed, "2023-12-11", revisions.get(feed, 1)): as_items(feed) for feed in ROWS}


@pytest.fixture
def by_file(warehouse: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, list[Any]]:
    """What the same rows come to when they are sent as files; the warehouse is empty again."""
    deliver(tmp_path / "branches", ROWS)
    pull_by(open_source(KC001, tmp_path / "branches"), KC001, monkeypatch)
    came = loaded()
    empty_warehouse()
    return came


def test_a_visit_brings_what_the_same_rows_as_files_bring(
    by_file: dict[str, list[Any]], api: BranchApi, monkeypatch: pytest.MonkeyPatch
) -> None:
    offer(api)
    api.most_rows = 2
    connection = Connection("api", host=api.address, password=TOKEN)
    report = pull_by(HttpSource(KC001, connection, QUICK), KC001, monkeypatch)
    assert (report.loaded, report.rejected, report.rows) == (3, 0, 8)
    assert loaded() == by_file
    assert len(by_file["raw.registrations"]) == 3
    again = pull_by(HttpSource(KC001, connection, QUICK), KC001, monkeypatch)
    assert (again.outcome, again.notes) == ("nothing_new", [])
    assert loaded() == by_file


def test_a_slice_that_is_restated_replaces_itself_alone(
    by_file: dict[str, list[Any]], api: BranchApi, monkeypatch: pytest.MonkeyPatch
) -> None:
    offer(api)
    connection = Connection("api", host=api.address, password=TOKEN)
    pull_by(HttpSource(KC001, connection, QUICK), KC001, monkeypatch)
    offer(api, iuran=2)
    api.slices["iuran", "2023-12-11", 2] = as_items("iuran")[:1]
    api.manifests["2023-12-11"]["slices"][1]["rows"] = 1
    report = pull_by(HttpSource(KC001, connection, QUICK), KC001, monkeypatch)
    assert (report.loaded, report.notes) == (1, [])
    after = loaded()
    assert [row[:3] for row in after["ops.slice"]] == [
        ("iuran", 1, "superseded"),
        ("iuran", 2, "loaded"),
        ("kegiatan", 1, "loaded"),
        ("pendaftaran", 1, "loaded"),
    ]
    assert after["raw.registrations"] == by_file["raw.registrations"]


def test_a_rejected_slice_leaves_the_others_and_is_taken_when_fixed(
    by_file: dict[str, list[Any]], api: BranchApi, monkeypatch: pytest.MonkeyPatch
) -> None:
    offer(api)

    def misbehave(asked: Asked) -> bool:
        if asked.path_asked != "iuran":
            return False
        asked.page(total=99)
        return True

    api.misbehave = misbehave
    connection = Connection("api", host=api.address, password=TOKEN)
    report = pull_by(HttpSource(KC001, connection, QUICK), KC001, monkeypatch)
    assert (report.loaded, report.rejected) == (2, 1)
    assert loaded()["ops.slice"][0][:7] == ("iuran", 1, "rejected", "ROW_COUNT", 2, 0, 0)
    assert len(landed("iuran")) == 2
    api.misbehave = None
    assert pull_by(HttpSource(KC001, connection, QUICK), KC001, monkeypatch).loaded == 1
    assert loaded() == by_file


def test_the_registry_and_a_connection_are_all_that_it_takes(warehouse: str, api: BranchApi) -> None:
    offer(api)
    keep_connection("api_kc001", "http", host=api.address, password=TOKEN)
    report = visit(Branch(branch_id="KC001", kind="http", connection="api_kc001"))
    assert (report.kind, report.loaded, report.rejected, report.rows) == ("http", 3, 0, 8)
