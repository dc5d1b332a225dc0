"""Kind http: manifests and pages."""

import gzip
import json
from datetime import date
from functools import partial
from pathlib import Path

import pytest

from kkbc.core.errors import BranchRefused, BranchUnavailable
from kkbc.intake.sources import Wanted
from kkbc.intake.sources.http import HttpSource
from tests.intake.sources.branch_api import Asked, BranchApi
from tests.intake.sources.http_api.calls import QUICK, always, fetch, found, manifest, once, put, rejection
from tests.intake.sources.pulled import (
    DAY,
)


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
