"""Manifests as branches write them, well and badly."""

import json
from datetime import UTC, date, datetime
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from kkbc.exchange.slices import Delivery
from kkbc.intake.sources.manifest import Place, judge_rows, parse_answer, parse_manifest, revision_of_name

DAY = date(2023, 12, 11)
FILE = {"feed": "pendaftaran", "name": "pendaftaran.csv", "rows": 152, "bytes": 40110, "sha256": "AB" * 32}
GOOD = {
    "schema_version": 1,
    "branch_id": "KC044",
    "business_date": "2023-12-11",
    "revision": 1,
    "sent_at": "2023-12-11T19:02:11+07:00",
    "files": [FILE],
}


def parse(document: Any, *, branch_id: str = "KC044", name: str = "manifest.json") -> Delivery:
    content = document if isinstance(document, bytes) else json.dumps(document).encode()
    return parse_manifest(content, branch_id, DAY, name, ZoneInfo("Asia/Jakarta"))


def test_a_good_manifest() -> None:
    delivery = parse(GOOD)
    assert delivery.rejection is None
    assert delivery.sent_at == datetime(2023, 12, 11, 12, 2, 11, tzinfo=UTC)
    (entry,) = delivery.entries
    assert (entry.feed, entry.rows, entry.name, entry.bytes, entry.sha256) == (
        "pendaftaran",
        152,
        "pendaftaran.csv",
        40110,
        "ab" * 32,
    )


@pytest.mark.parametrize(
    ("name", "revision"),
    [
        ("manifest.json", 1),
        ("manifest.r2.json", 2),
        ("manifest.r12.json", 12),
        ("Manifest.JSON", 1),
        ("MANIFEST.R2.json", 2),
        ("manifest.r007.json", 7),
        ("manifest.r999.json", 999),
        ("manifest.rx.json", None),
        ("manifest.r.json", None),
        ("manifest.r0.json", None),
        ("manifest.r1000.json", None),
        ("manifest.r20231211.json", None),
        ("manifest.r\u0663.json", None),
        ("manife\u017ft.json", None),
        ("m.json", None),
    ],
)
def test_revision_of_a_name(name: str, revision: int | None) -> None:
    assert revision_of_name(name) == revision


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"schema_version": 2}, "SCHEMA_VERSION"),
        ({"schema_version": None}, "SCHEMA_VERSION"),
        ({"schema_version": True}, "SCHEMA_VERSION"),
        ({"schema_version": "1"}, "SCHEMA_VERSION"),
        ({"branch_id": "KC045"}, "MANIFEST_BRANCH"),
        ({"business_date": "2023-12-12"}, "MANIFEST_DATE"),
        # the first in the order of Exchange rule 4
        ({"schema_version": 3, "branch_id": "KC001", "business_date": "x"}, "SCHEMA_VERSION"),
        ({"branch_id": "KC001", "business_date": "x"}, "MANIFEST_BRANCH"),
    ],
)
def test_a_manifest_for_something_else_rejects_what_it_lists(change: dict[str, Any], reason: str) -> None:
    delivery = parse(GOOD | change)
    assert delivery.rejection is not None
    assert delivery.rejection[0] == reason
    assert [entry.feed for entry in delivery.entries] == ["pendaftaran"]
    assert (delivery.branch_id, delivery.business_date) == ("KC044", DAY)


@pytest.mark.parametrize(
    "document",
    [
        b"",
        b"{",
        b"\xff\xfe",
        b"[" * 100_000,
        [],
        GOOD | {"files": None},
        GOOD | {"files": ["pendaftaran.csv"]},
        GOOD | {"files": [FILE, FILE | {"name": "other.csv"}]},
        GOOD | {"files": [FILE, FILE | {"feed": "iuran"}]},
    ],
)
def test_a_broken_manifest_or_a_file_listed_twice_makes_all_feeds_unreadable(document: Any) -> None:
    delivery = parse(document)
    assert delivery.rejection is not None
    assert delivery.rejection[0] == "UNREADABLE"
    assert [entry.feed for entry in delivery.entries] == ["pendaftaran", "iuran", "kegiatan"]


def test_a_broken_manifest_of_head_office_is_about_targets() -> None:
    assert [entry.feed for entry in parse(b"{", branch_id="HQ").entries] == ["target"]


def test_a_broken_revised_manifest_keeps_the_revision_of_its_name() -> None:
    assert parse(b"{", name="manifest.r3.json").revision == 3


def test_unknown_feeds_are_reported_and_targets_are_head_offices_alone() -> None:
    delivery = parse(
        GOOD | {"files": [FILE, FILE | {"feed": "gaji", "name": "g.csv"}, FILE | {"feed": "target", "name": "t.csv"}]}
    )
    assert delivery.rejection is None
    assert delivery.unknown_feeds == ("gaji", "target")
    assert [entry.feed for entry in delivery.entries] == ["pendaftaran"]


SLICES = [
    {"feed": "pendaftaran", "revision": 2, "rows": 152, "sent_at": "2023-12-12T08:00:00"},
    {"feed": "iuran", "rows": 0},
]
ANSWER = {key: value for key, value in GOOD.items() if key != "files"} | {"slices": SLICES}


def answer(document: Any) -> Delivery:
    place = Place("KC044", DAY, "deliveries/2023-12-11", ZoneInfo("Asia/Jakarta"))
    return parse_answer(document if isinstance(document, bytes) else json.dumps(document).encode(), place)


@pytest.mark.parametrize(
    "document",
    [
        ANSWER,
        ANSWER | {"slices": None, "files": SLICES},
        ANSWER | {"slices": None, "feeds": SLICES, "note": {"anything": []}},
        ANSWER | {"slices": {item["feed"]: {k: v for k, v in item.items() if k != "feed"} for item in SLICES}},
        ANSWER
        | {"slices": [{"name": item["feed"]} | {k: v for k, v in item.items() if k != "feed"} for item in SLICES]},
        {"sent_at": "2023-12-11T12:02:11Z", "slices": SLICES},
    ],
)
def test_an_answer_may_have_any_of_several_forms(document: dict[str, Any]) -> None:
    delivery = answer(document)
    assert delivery.rejection is None
    assert (delivery.revision, delivery.sent_at) == (1, datetime(2023, 12, 11, 12, 2, 11, tzinfo=UTC))
    first, second = delivery.entries
    assert (first.feed, first.revision, first.rows) == ("pendaftaran", 2, 152)
    assert first.sent_at == datetime(2023, 12, 12, 1, tzinfo=UTC)
    assert (second.feed, second.revision, second.rows, second.sent_at) == ("iuran", None, 0, None)
    assert (first.name, first.bytes, first.sha256) == (None, None, None)


@pytest.mark.parametrize(
    ("document", "reason"),
    [
        (ANSWER | {"schema_version": 2}, "SCHEMA_VERSION"),
        (ANSWER | {"branch_id": "KC045"}, "MANIFEST_BRANCH"),
        (ANSWER | {"business_date": "2023-12-12"}, "MANIFEST_DATE"),
        (ANSWER | {"slices": [SLICES[0], SLICES[0]]}, "UNREADABLE"),
        (ANSWER | {"slices": [SLICES[1], SLICES[1] | {"revision": 1}]}, "UNREADABLE"),
        (ANSWER | {"slices": [{"feed": "iuran", "revision": [], "rows": 1}] * 2}, "UNREADABLE"),
        (ANSWER | {"slices": "pendaftaran"}, "UNREADABLE"),
        (ANSWER | {"slices": {"pendaftaran": 152}}, "UNREADABLE"),
        ({}, "UNREADABLE"),
        ([], "UNREADABLE"),
        (b"<html>", "UNREADABLE"),
    ],
)
def test_an_answer_is_judged_as_a_manifest_file_is(document: Any, reason: str) -> None:
    delivery = answer(document)
    assert delivery.rejection is not None
    assert delivery.rejection[0] == reason
    known = reason != "UNREADABLE"
    assert [e.feed for e in delivery.entries] == ["pendaftaran", "iuran"] + ([] if known else ["kegiatan"])


def test_an_answer_may_list_two_revisions_of_a_feed() -> None:
    delivery = answer(ANSWER | {"slices": [SLICES[0], SLICES[0] | {"revision": 1, "rows": 3}]})
    assert delivery.rejection is None
    assert [(entry.revision, entry.rows) for entry in delivery.entries] == [(2, 152), (1, 3)]


@pytest.mark.parametrize("revision", [0, -1, "2", 1000, 20231211, 2**31, True, 1.5, [], {}])
def test_a_slice_whose_revision_is_none_is_not_taken_and_reported(revision: Any) -> None:
    delivery = answer(ANSWER | {"slices": [SLICES[0], SLICES[1] | {"revision": revision}]})
    assert delivery.rejection is None
    assert [(entry.revision, entry.rows) for entry in delivery.entries] == [(2, 152)]
    assert delivery.notes == ("iuran: its revision is no whole number from 1 to 999: it is not taken",)


@pytest.mark.parametrize("revision", [0, -1, "2", 1000, 20231211, 2**31, True, 1.5, [], {}])
@pytest.mark.parametrize("judged", [parse, answer])
def test_a_manifest_whose_revision_is_none_is_not_taken_and_reported(judged: Any, revision: Any) -> None:
    delivery = judged((GOOD if judged is parse else ANSWER) | {"revision": revision})
    assert (delivery.entries, delivery.rejection) == ((), None)
    assert delivery.notes == ("its revision is no whole number from 1 to 999: it is not taken",)


@pytest.mark.parametrize("version", [1, 1.0])
def test_a_schema_version_is_the_number_one(version: float) -> None:
    assert parse(GOOD | {"schema_version": version}).rejection is None
    assert answer(ANSWER | {"schema_version": version}).rejection is None
    assert answer(ANSWER | {"schema_version": True}).rejection is not None


@pytest.mark.parametrize("revision", [True, 0, 1.0, "1"])
def test_a_slice_that_is_not_taken_is_no_second_one_of_revision_1(revision: Any) -> None:
    delivery = answer(ANSWER | {"slices": [*SLICES, SLICES[1] | {"revision": revision, "rows": 7}]})
    assert delivery.rejection is None
    assert [(entry.feed, entry.rows) for entry in delivery.entries] == [("pendaftaran", 152), ("iuran", 0)]
    assert delivery.notes == ("iuran: its revision is no whole number from 1 to 999: it is not taken",)


def test_true_and_one_are_two_names() -> None:
    odd_entries = [{"feed": True, "name": 1}, {"feed": 1, "name": True}]
    delivery = parse(GOOD | {"files": [FILE, *odd_entries]})
    assert delivery.rejection is None
    assert delivery.unknown_feeds == ("1", "True")
    assert [entry.feed for entry in delivery.entries] == ["pendaftaran"]


def test_lists_as_deep_as_json_allows_are_no_names() -> None:
    deep = b"[" * 900 + b"]" * 900
    for content in (b'{"feed": %b}' % deep, b'{"feed": "iuran", "name": %b}' % deep):
        listed = b'"files": [%b, %b]' % (content, content)
        delivery = parse(json.dumps(GOOD | {"files": None}).encode().replace(b'"files": null', listed))
        assert delivery.rejection == ("UNREADABLE", "the manifest lists a feed twice")


def test_rows_of_a_database_are_judged_as_a_manifest_file_is() -> None:
    place = Place("KC044", DAY, "pengiriman r3", ZoneInfo("Asia/Jayapura"), 3)
    row = {"feed": "iuran", "rows": 5, "sent_at": "2023-12-11T20:00:00"}
    delivery = judge_rows([row, {"feed": "gaji", "rows": 1}, {"feed": "kegiatan", "rows": None}], place)
    assert (delivery.revision, delivery.rejection, delivery.unknown_feeds) == (3, None, ("gaji",))
    assert [(e.feed, e.rows, e.sent_at) for e in delivery.entries] == [
        ("iuran", 5, datetime(2023, 12, 11, 11, tzinfo=UTC)),
        ("kegiatan", -1, None),
    ]
    twice = judge_rows([row, row | {"rows": 6}], place)
    assert twice.rejection is not None
    assert (twice.rejection[0], len(twice.entries), twice.revision) == ("UNREADABLE", 3, 3)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"name": "a\x00.csv"}, (152, None, 40110)),
        ({"name": "\ud800.csv"}, (152, None, 40110)),
        ({"rows": 2**63}, (-1, "pendaftaran.csv", 40110)),
        ({"rows": -(10**30)}, (-1, "pendaftaran.csv", 40110)),
        ({"rows": 2**31}, (2**31, "pendaftaran.csv", 40110)),
        ({"bytes": 10**30}, (152, "pendaftaran.csv", None)),
        ({"rows": True}, (-1, "pendaftaran.csv", 40110)),
        ({"rows": 1.0}, (-1, "pendaftaran.csv", 40110)),
        ({"bytes": True}, (152, "pendaftaran.csv", None)),
        ({"name": True}, (152, None, 40110)),
    ],
)
def test_what_nothing_can_hold_is_not_said(change: dict[str, Any], said: tuple[Any, ...]) -> None:
    (entry,) = parse(GOOD | {"files": [FILE | change]}).entries
    assert (entry.rows, entry.name, entry.bytes) == said


@pytest.mark.parametrize("moment", ["9999-12-31T23:59:59-12:00", "0001-01-01T00:00:00+14:00", "0001-01-01", "x\x00"])
def test_a_time_that_other_zones_have_no_name_for_is_none(moment: str) -> None:
    assert parse(GOOD | {"sent_at": moment}).sent_at is None
