"""Persons taken out of landing: files, the rows kept next to them, the journal, and the suppression list at intake."""

import gzip
import hashlib
import hmac
import json
from datetime import UTC, date, datetime
from pathlib import Path
from uuid import uuid4

import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from kkbc.core.errors import UserError
from kkbc.core.needles import Needles
from kkbc.core.suppression import Suppression
from kkbc.exchange.contracts import load_contract
from kkbc.exchange.registry import load_registry
from kkbc.exchange.slices import Entry, Slice
from kkbc.intake.erasing import Persons, Taken, erase_from, withhold
from kkbc.intake.landing import Landed, Landing
from kkbc.intake.process import Intake, take_in
from kkbc.intake.validation import Context, judge
from tests.deliveries import CONTRIBUTION, as_csv

KEY = b"k" * 32
LAYERS = (b"1" * 32, b"2" * 32)
DAY = date(2023, 12, 11)
GONE, STAYS = "1171011203909001", "1171011203909002"
PERSONS = Persons(frozenset({GONE}), frozenset({"Orang Hilang"}))

# Line by line from 2 on, with what is accepted; the person's rows stand on the lines 2, 4, 6 and 7.
ROWS: list[dict[str, str]] = [
    {"no_pendaftaran": "R-1", "nik": GONE, "nama_lengkap": "Orang Hilang"},
    {"no_pendaftaran": "R-2", "nik": STAYS, "diubah_pada": "2023-12-11 08:00"},  # loses to line 4
    {"no_pendaftaran": "R-2", "nik": GONE},
    {"no_pendaftaran": "R-3", "nik": STAYS, "kanal": "LAIN"},
    {"no_pendaftaran": "R-4", "nik": GONE, "kanal": "LAIN"},
    {"no_pendaftaran": "R-5", "nik": GONE, "diubah_pada": "2023-12-11 08:00"},  # loses to line 8
    {"no_pendaftaran": "R-5", "nik": STAYS},
    {"no_pendaftaran": "R-6", "nik": STAYS, "diubah_pada": "2023-12-11 08:00"},  # loses to line 10
    {"no_pendaftaran": "R-6", "nik": STAYS},
]
BEFORE = ([2, 4, 8, 10], {3: ["KEY_DUPLICATE"], 5: ["CODE_UNKNOWN"], 6: ["CODE_UNKNOWN"], 7: ["KEY_DUPLICATE"]})
AFTER = ([3, 8, 10], {2: ["ERASED"], 4: ["ERASED"], 5: ["CODE_UNKNOWN"], 6: ["ERASED"], 7: ["ERASED"]})
BOTH = {9: ["KEY_DUPLICATE"]}


def token(nik: str) -> str:
    """The token under both layers, by the letter of the specification: each takes the 32 digits of the one before."""
    for key in LAYERS:
        nik = hmac.new(key, nik.encode(), hashlib.sha256).hexdigest()[:32]
    return nik


LIST = Suppression(LAYERS, frozenset({token(GONE)}))


def context(suppression: Suppression | None = None) -> Context:
    zone = load_registry().get("KC001").zone
    sent = datetime(2023, 12, 11, 17, tzinfo=UTC)
    slice_ = Slice("pendaftaran", "KC001", DAY, 1)
    return Context(slice_, zone, sent, frozenset({"KC001"}), suppression=suppression or Suppression())


@pytest.fixture(params=["local", "remote"])
def landing(request: pytest.FixtureRequest, home: Path) -> Landing:
    return Landing(str(home / "landing") if request.param == "local" else f"memory://{uuid4()}")


def land(landing: Landing, home: Path, content: bytes, name: str = "pendaftaran.csv") -> Landed:
    (home / "spooled").write_bytes(content)
    return landing.land(Slice("pendaftaran", "KC001", DAY, 1), name, home / "spooled")


def take(
    landing: Landing, landed: Landed, rows: int, suppression: Suppression | None = None, size: int = 20_000
) -> Intake:
    entry, contract = Entry("pendaftaran", rows, landed.name, landed.bytes, landed.sha256), load_contract("pendaftaran")
    return take_in(landed, entry, contract, context(suppression), landing, KEY, batch_rows=size)


def taken(rows: int = len(ROWS)) -> Taken:
    return Taken(load_contract("pendaftaran"), context(), KEY, rows)


def outcome(landing: Landing, uri: str) -> tuple[list[int], dict[int, list[str]]]:
    accepted, quarantined = (pl.concat(landing.rows(uri, kind)) for kind in ("accepted", "quarantined"))
    assert accepted["_line"].is_sorted()
    assert quarantined["_line"].is_sorted()
    return accepted["_line"].to_list(), dict(quarantined.select("_line", "_errors").iter_rows())


def nothing_left(landing: Landing, values: tuple[str, ...] = (GONE, "Orang Hilang")) -> None:
    needles = Needles(values)
    for path in landing.fs.find(landing.path):
        content = landing.fs.cat_file(path)
        if path.endswith(".parquet"):
            with landing.fs.open(path, "rb") as file:
                content += pl.read_parquet(file).write_ndjson().encode()
        elif content.startswith(b"\x1f\x8b"):
            content = gzip.decompress(content)
        assert not needles.count(content), path


@pytest.mark.parametrize("size", [1, 2, 4, 20_000])
def test_file_and_rows_go_together(landing: Landing, home: Path, size: int) -> None:
    landed = land(landing, home, as_csv("pendaftaran", ROWS))
    take(landing, landed, len(ROWS), size=size)
    assert outcome(landing, landed.uri) == (BEFORE[0], BEFORE[1] | BOTH)
    done = erase_from(landing, landed.uri, landed.name, PERSONS, taken(), landed.sha256)
    assert done is not None
    assert (done.old_sha256, done.old_bytes) == (landed.sha256, landed.bytes)
    assert (done.lines, done.freed, done.emptied) == ((2, 4, 6, 7), (3,), False)
    assert outcome(landing, landed.uri) == (AFTER[0], AFTER[1] | BOTH)
    nothing_left(landing)
    kept = [pl.concat(landing.rows(landed.uri, kind)) for kind in ("accepted", "quarantined")]
    with landing.open(landed.uri, landed.name) as again:
        assert (again.sha256, again.bytes) == (done.new_sha256, done.new_bytes)
        take(landing, again, len(ROWS), size=size)
    fresh = [pl.concat(landing.rows(landed.uri, kind)) for kind in ("accepted", "quarantined")]
    assert all(new.equals(old) for new, old in zip(fresh, kept, strict=True))
    assert erase_from(landing, landed.uri, landed.name, PERSONS, taken(), done.new_sha256) is None


def test_nobody_else_is_touched(landing: Landing, home: Path) -> None:
    landed = land(landing, home, as_csv("pendaftaran", ROWS))
    take(landing, landed, len(ROWS))
    other = Persons(frozenset({"1171011203909003"}))
    assert erase_from(landing, landed.uri, landed.name, other, taken(), landed.sha256) is None
    with landing.open(landed.uri) as same:
        assert same.sha256 == landed.sha256
    assert outcome(landing, landed.uri) == (BEFORE[0], BEFORE[1] | BOTH)


@pytest.mark.parametrize("step", ["note", "_move", "put_file", "keep"])
def test_an_erasure_that_is_cut_off_goes_on(
    landing: Landing, home: Path, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    landed = land(landing, home, as_csv("pendaftaran", ROWS))
    take(landing, landed, len(ROWS))

    def cut(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        if step == "_move":
            patched.setattr("kkbc.intake.landing._move", cut)
        else:
            patched.setattr(landing.fs if step == "put_file" else landing, step, cut)
        cut_off = (step == "_move") <= landing.is_local and (step == "put_file") <= (not landing.is_local)
        if cut_off:
            with pytest.raises(KeyboardInterrupt):
                erase_from(landing, landed.uri, landed.name, PERSONS, taken(), landed.sha256)
    done = erase_from(landing, landed.uri, landed.name, PERSONS, taken(), landed.sha256)
    assert done is not None
    assert (done.old_sha256, done.lines, done.freed) == (landed.sha256, (2, 4, 6, 7), (3,))
    assert outcome(landing, landed.uri) == (AFTER[0], AFTER[1] | BOTH)
    nothing_left(landing)
    # Done, but not recorded: it is told until it is.
    assert erase_from(landing, landed.uri, landed.name, PERSONS, taken(), landed.sha256) == done
    assert erase_from(landing, landed.uri, landed.name, PERSONS, taken(), done.new_sha256) is None


def test_one_erasure_after_the_other(landing: Landing, home: Path) -> None:
    landed = land(landing, home, as_csv("pendaftaran", ROWS))
    take(landing, landed, len(ROWS))
    first = erase_from(landing, landed.uri, landed.name, PERSONS, taken(), landed.sha256)
    assert first is not None
    second = erase_from(landing, landed.uri, landed.name, Persons(frozenset({STAYS})), taken(), first.new_sha256)
    assert second is not None
    assert (second.old_sha256, second.lines, second.freed) == (first.new_sha256, (3, 5, 8, 9, 10), ())
    assert outcome(landing, landed.uri) == ([], {line: ["ERASED"] for line in range(2, 11)})
    chain = landing.journal(landed.uri).chain(second.new_sha256, landed.sha256)
    assert chain is not None
    assert chain.lines == tuple(range(2, 11))


def test_what_a_killed_attempt_left_is_cleared(home: Path) -> None:
    landing = Landing(str(home / "landing"))
    landed = land(landing, home, as_csv("pendaftaran", ROWS))
    take(landing, landed, len(ROWS))
    folder = Path(landing.fs._strip_protocol(landed.uri))
    (folder / "rows").rename(folder / "rows.earlier")
    (folder / "sent.partial").write_bytes(GONE.encode())
    (folder / "rows.partial").mkdir()
    (folder / "rows.partial" / "accepted-00000.parquet").write_bytes(GONE.encode())
    erase_from(landing, landed.uri, landed.name, PERSONS, taken(), landed.sha256)
    assert outcome(landing, landed.uri) == (AFTER[0], AFTER[1] | BOTH)
    nothing_left(landing)
    assert list(landing.uris()) == [landed.uri]


@pytest.mark.parametrize("files", [1, 2, 3, 5])
def test_rows_that_a_store_has_by_halves_are_made_again(
    home: Path, monkeypatch: pytest.MonkeyPatch, files: int
) -> None:
    landing = Landing(f"memory://{uuid4()}")
    landed = land(landing, home, as_csv("pendaftaran", ROWS))
    take(landing, landed, len(ROWS), size=4)
    put, done = landing.fs.put_file, []

    def some(*paths: str) -> None:
        if len(done) == files:
            raise KeyboardInterrupt
        done.append(put(*paths))

    with monkeypatch.context() as patched:
        patched.setattr(landing.fs, "put_file", some)
        with pytest.raises(KeyboardInterrupt):
            erase_from(landing, landed.uri, landed.name, PERSONS, taken(), landed.sha256)
    assert erase_from(landing, landed.uri, landed.name, PERSONS, taken(), landed.sha256) is not None
    assert outcome(landing, landed.uri) == (AFTER[0], AFTER[1] | BOTH)
    nothing_left(landing)


def test_quarantined_rows_that_are_gone_stay_so(landing: Landing, home: Path) -> None:
    landed = land(landing, home, as_csv("pendaftaran", ROWS))
    take(landing, landed, len(ROWS), size=4)
    for path in landing.rows(landed.uri, "quarantined").paths:
        landing.fs.rm_file(path)
    done = erase_from(landing, landed.uri, landed.name, PERSONS, taken(), landed.sha256)
    assert done is not None
    assert (done.lines, done.freed) == ((2, 4, 6, 7), ())
    assert pl.concat(landing.rows(landed.uri, "accepted"))["_line"].to_list() == [8, 10]
    assert landing.rows(landed.uri, "quarantined").paths == ()


@pytest.mark.parametrize(
    ("content", "name"),
    [
        (f"a;b\n{GONE};1\n".encode(), "pendaftaran.csv"),
        (gzip.compress(f"a;b\n{GONE};1\n".encode())[:-5], "pendaftaran.csv.gz"),
        (b"\0" + GONE.encode("utf-16-le"), "pendaftaran.xlsx"),
        (b'{"nik": "\\u0031171011203909001"', "pendaftaran.jsonl"),
    ],
)
def test_the_file_of_a_rejected_slice_is_emptied(landing: Landing, home: Path, content: bytes, name: str) -> None:
    landed = land(landing, home, content, name)
    done = erase_from(landing, landed.uri, landed.name, PERSONS, None, landed.sha256)
    assert done is not None
    assert (done.new_bytes, done.lines, done.emptied) == (0, (), True)
    assert done.new_sha256 == hashlib.sha256(b"").hexdigest()
    with landing.open(landed.uri, name) as emptied:
        assert emptied.bytes == 0
    assert erase_from(landing, landed.uri, landed.name, PERSONS, None, done.new_sha256) is None


def test_a_file_that_was_taken_in_and_cannot_be_read_is_not_emptied(landing: Landing, home: Path) -> None:
    landed = land(landing, home, f"a;b\n{GONE};1\n".encode())
    with pytest.raises(UserError, match="cannot be rewritten"):
        erase_from(landing, landed.uri, landed.name, PERSONS, taken(1), landed.sha256)
    with landing.open(landed.uri) as same:
        assert same.sha256 == landed.sha256


# --- the suppression list --------------------------------------------------------------------------------------------
def test_tokens_of_the_list_have_a_layer_for_each_key() -> None:
    assert LIST.token_of(GONE) == token(GONE)
    niks = pl.Series([GONE, STAYS, None, GONE, "123", ""])
    assert LIST.suppressed(niks).to_list() == [True, False, False, True, False, False]
    assert Suppression().suppressed(niks).to_list() == [False] * 6
    assert not Suppression()
    assert GONE not in repr(LIST)
    assert token(GONE) not in repr(LIST)


def batch(*rows: tuple[str, bool, dict[str, str | None]]) -> pl.DataFrame:
    contract = load_contract("iuran")
    return pl.DataFrame(
        [
            {"_line": line, "_raw": raw, "_shape_ok": shaped, **{c.name: cells.get(c.wire) for c in contract.columns}}
            for line, (raw, shaped, cells) in enumerate(rows, start=2)
        ],
        schema={
            "_line": pl.Int64,
            "_raw": pl.String,
            "_shape_ok": pl.Boolean,
            **{c.name: pl.String for c in contract.columns},
        },
    )


def test_rows_of_the_list_keep_their_codes_and_tombstones_earn_one() -> None:
    good = dict(CONTRIBUTION)
    rows = batch(
        (";", True, good | {"nik": f"' {GONE[:8]}\u200b{GONE[8:]}"}),
        (f"{GONE};x", False, {}),
        (";", True, good | {"nik": GONE, "total": "1", "status_data": "LAIN"}),
        ("x", False, {}),
        (f"alamat {GONE}", True, good | {"nik": STAYS}),
        (";", True, good | {"nik": STAYS}),
        ("ERASED;", True, {"nik": "ERASED", "total": ""}),
        ("ERASED;1", True, {"nik": "ERASED", "total": "1"}),
        ("", True, good | {"nik": "1"}),
    )
    judged = judge(rows, load_contract("iuran"), context(LIST))
    errors = dict(judged.quarantined.select("_line", "_errors").iter_rows())
    assert errors == {
        2: ["ERASED"],
        3: ["ERASED", "ROW_SHAPE"],
        4: ["AMOUNT_SUM", "CODE_UNKNOWN", "ERASED"],
        5: ["ROW_SHAPE"],
        6: ["ERASED"],
        8: ["ERASED"],
        9: ["NIK_FORMAT", "REQUIRED_MISSING"],
        10: ["NIK_FORMAT"],
    }
    assert judged.accepted["_line"].to_list() == [7]
    assert judged.nik_valid == 5  # lines 2, 4, 6, 7 and the tombstone
    assert judged.suppressed == {GONE}
    fields = dict(judged.quarantined.select("_line", "_fields").iter_rows())
    assert fields[2] == fields[8] == []


@pytest.mark.parametrize("size", [1, 3, 20_000])
def test_a_slice_with_persons_of_the_list_is_rewritten_before_it_is_kept(
    landing: Landing, home: Path, size: int
) -> None:
    landed = land(landing, home, as_csv("pendaftaran", ROWS))
    intake = take(landing, landed, len(ROWS), LIST, size)
    assert outcome(landing, landed.uri) == (AFTER[0], AFTER[1] | BOTH)
    assert [line for frame in intake.rows.accepted for line in frame["_line"]] == AFTER[0]
    assert (intake.rows.sent, intake.rows.counts.accepted, intake.rows.counts.nik_valid) == (9, 3, 9)
    done = intake.rewritten
    assert done is not None
    assert (done.old_sha256, done.lines) == (landed.sha256, (2, 4, 6, 7))
    with landing.open(landed.uri) as now:
        assert now.sha256 == done.new_sha256
        again = take(landing, now, len(ROWS), LIST, size)
    assert again.rewritten is None
    nothing_left(landing)


def test_nobody_of_the_list_stays_in_a_rejected_file(landing: Landing, home: Path) -> None:
    for content in (f"a;b\n{GONE}\n".encode(), gzip.compress(GONE.encode()), GONE.encode("utf-16-le")):
        landed = land(landing, home, content)
        with landing.open(landed.uri) as there:
            assert withhold(landing, there, Suppression()) is None
            done = withhold(landing, there, LIST)
        assert done is not None
        assert (done.emptied, done.new_bytes) == (True, 0)
    landed = land(landing, home, f"a;b\n{STAYS}\n".encode())
    with landing.open(landed.uri) as there:
        assert withhold(landing, there, LIST) is None


def test_the_journal_names_no_person(landing: Landing, home: Path) -> None:
    landed = land(landing, home, as_csv("pendaftaran", ROWS), "pendaftaran Orang Hilang.csv")
    take(landing, landed, len(ROWS))
    erase_from(landing, landed.uri, landed.name, PERSONS, taken(), landed.sha256)
    path = next(path for path in landing.fs.find(landing.path) if path.endswith("rewritten.json"))
    text = landing.fs.cat_file(path).decode()
    assert not Needles([GONE, "Orang Hilang"]).count(text.encode())
    assert [entry["lines"] for entry in json.loads(text)] == [[2, 4, 6, 7]]


RANDOM = st.fixed_dictionaries(
    {
        "no_pendaftaran": st.sampled_from(["R-1", "R-2", "R-3"]),
        "nik": st.sampled_from([GONE, STAYS, "1171011203909003"]),
        "diubah_pada": st.sampled_from(["2023-12-11 08:00", "2023-12-11 09:00"]),
        "kanal": st.sampled_from(["PASAR", "PASAR", "LAIN"]),
        "alamat": st.sampled_from(["", "Jl. 1", "dua\nbaris", f"lihat {GONE}"]),
    }
)


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(rows=st.lists(RANDOM, min_size=1, max_size=9), size=st.integers(1, 10), listed=st.booleans())
def test_the_rows_kept_are_those_that_judging_the_rewritten_file_gives(
    home: Path, rows: list[dict[str, str]], size: int, listed: bool
) -> None:
    landing = Landing(f"memory://{uuid4()}")
    landed = land(landing, home, as_csv("pendaftaran", rows))
    take(landing, landed, len(rows), LIST if listed else None, size)
    if not listed:
        erase_from(landing, landed.uri, landed.name, Persons(frozenset({GONE})), taken(len(rows)), landed.sha256)
    kept = [pl.concat(landing.rows(landed.uri, kind)) for kind in ("accepted", "quarantined")]
    with landing.open(landed.uri) as again:
        take(landing, again, len(rows), None, size)
    fresh = [pl.concat(landing.rows(landed.uri, kind)) for kind in ("accepted", "quarantined")]
    assert all(new.equals(old) for new, old in zip(fresh, kept, strict=True))
    erased = kept[1].filter(pl.col("_errors").list.contains("ERASED")).height
    assert erased == sum(GONE in (row["nik"], row["alamat"].removeprefix("lihat ")) for row in rows)
    assert sum(frame.height for frame in kept) == len(rows)
