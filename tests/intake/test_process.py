"""Taking a slice in: parts, what is kept next to the bytes, and what a rejected slice leaves behind."""

import csv
import gzip
import io
import json
import re
import resource
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any
from uuid import uuid4

import polars as pl
import pytest
import xlsxwriter
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from kkbc.core.errors import SliceRejected, UserError
from kkbc.core.tokens import Key
from kkbc.exchange.contracts import load_contract
from kkbc.exchange.masking import shown_name
from kkbc.exchange.registry import load_registry
from kkbc.exchange.slices import Entry, Slice
from kkbc.intake.landing import Landing
from kkbc.intake.process import Intake, read_lines, take_in
from kkbc.intake.validation import Context
from kkbc.slices import SliceRecord, load
from kkbc.warehouse import connect
from tests.deliveries import CONTRIBUTION, REGISTRATION, TEMPLATE, as_csv

KEY = Key(1, b"k" * 32)
DAY = date(2023, 12, 11)

# Line by line from 2 on: what the row changes of the template, and what comes of it.
ROWS: list[tuple[dict[str, str], list[str]]] = [
    ({"no_pendaftaran": "R-1"}, ["KEY_DUPLICATE"]),  # a later row of the key stands on line 6
    ({"no_pendaftaran": "R-2", "diubah_pada": "2023-12-11 12:00"}, []),  # later than line 7
    ({"no_pendaftaran": "R-3", "nik": "123"}, ["NIK_FORMAT"]),
    ({"no_pendaftaran": "R-3"}, []),  # line 4 has another error: no duplicate
    ({"no_pendaftaran": "R-1", "email": "contoh@contoh.id"}, []),  # same time as line 2, and after it
    ({"no_pendaftaran": "R-2", "diubah_pada": "2023-12-11 11:00"}, ["KEY_DUPLICATE"]),
    ({"no_pendaftaran": "R-4", "kanal": "LAIN", "kode_program": "LAIN"}, ["CODE_UNKNOWN"]),
    ({"no_pendaftaran": "R-5", "kode_pekerjaan": "PENYAIR"}, []),  # a warning
    (
        {"no_pendaftaran": "R-2", "diubah_pada": "2023-12-11 12:00", "status_data": "BATAL"},
        [],
    ),  # line 3 loses after all
    ({"no_pendaftaran": "R-6", "no_hp": "-"}, []),
]
ACCEPTED = [5, 6, 9, 10, 11]
QUARANTINED = {2: ["KEY_DUPLICATE"], 3: ["KEY_DUPLICATE"], 4: ["NIK_FORMAT"], 7: ["KEY_DUPLICATE"], 8: ["CODE_UNKNOWN"]}


@pytest.fixture
def landing(home: Path) -> Landing:
    return Landing(str(home / "landing"))


@pytest.fixture
def remote() -> Landing:
    return Landing(f"memory://{uuid4()}")


@pytest.fixture
def take(home: Path) -> Callable[..., Intake]:
    """Lands `content` and takes it in, the manifest being true of it unless `rows` says otherwise."""

    def taken(landing: Landing, content: bytes, rows: int, name: str = "pendaftaran.csv", **options: Any) -> Intake:
        feed = name.partition(".")[0]
        spooled = home / "spooled"
        spooled.write_bytes(content)
        slice_ = Slice(feed, "KC001", DAY, 1)
        landed = landing.land(slice_, name, spooled)
        context = Context(
            slice_, load_registry().get("KC001").zone, datetime(2023, 12, 11, 17, tzinfo=UTC), frozenset({"KC001"})
        )
        entry = Entry(feed, rows, name, landed.bytes, landed.sha256)
        return take_in(landed, entry, load_contract(feed), context, landing, KEY, **options)

    return taken


def registrations() -> bytes:
    return as_csv("pendaftaran", [changes for changes, _ in ROWS])


def files(landing: Landing) -> list[str]:
    """All that is there, below the folder of the slice's content."""
    return sorted(re.sub(".*/r1-[0-9a-f]{12}/", "", path) for path in landing.fs.find(landing.path))


@pytest.mark.parametrize("batch_rows", [1, 2, 3, 7, 1000])
def test_however_small_the_parts_the_rows_are_the_same(
    take: Callable[..., Intake], landing: Landing, batch_rows: int
) -> None:
    rows = take(landing, registrations(), len(ROWS), batch_rows=batch_rows).rows
    for _ in range(2):
        accepted, quarantined = pl.concat(rows.accepted), pl.concat(rows.quarantined)
        assert accepted["_line"].to_list() == ACCEPTED
        assert accepted["record_status"].to_list() == ["BARU", "BARU", "BARU", "BATAL", "BARU"]
        assert dict(quarantined.select("_line", "_errors").iter_rows()) == QUARANTINED
        assert quarantined["_line"].is_sorted()
        assert quarantined["_fields"].to_list()[0] == ["branch_id:KEY_DUPLICATE", "registration_no:KEY_DUPLICATE"]
    counts = rows.counts
    assert (counts.accepted, counts.quarantined, rows.sent) == (5, 5, 10)
    assert counts.warnings == 1
    assert counts.contactable == 4  # all of the accepted but the one without phone
    assert counts.nik_valid == 9


def test_a_short_slice_is_one_part_and_its_raw_text_is_kept(take: Callable[..., Intake], landing: Landing) -> None:
    rows = take(landing, registrations(), len(ROWS)).rows
    assert files(landing) == ["rows/accepted-00000.parquet", "rows/quarantined-00000.parquet", "sent/pendaftaran.csv"]
    (folder,) = Path(landing.path).glob("*/*/*/*")
    kept = pl.concat(landing.rows(f"file://{folder}", "quarantined"))
    assert kept.equals(pl.concat(rows.quarantined))
    lines = registrations().decode().splitlines()
    assert kept["_raw"].to_list() == [lines[line - 1] for line in QUARANTINED]


def test_rows_of_an_earlier_attempt_go_whole(take: Callable[..., Intake], landing: Landing, remote: Landing) -> None:
    for place in (landing, remote):
        take(place, registrations(), len(ROWS), batch_rows=2)
        assert len(files(place)) == 11
        take(place, registrations(), len(ROWS))
        assert len(files(place)) == 3


def test_what_a_killed_attempt_left_is_cleared(take: Callable[..., Intake], landing: Landing) -> None:
    take(landing, registrations(), len(ROWS))
    (folder,) = Path(landing.path).glob("*/*/*/*")
    (folder / "rows.partial").mkdir()
    (folder / "rows.partial" / "accepted-00007.parquet").write_bytes(b"half")
    take(landing, registrations(), len(ROWS))
    assert len(files(landing)) == 3


CELLS = st.fixed_dictionaries(
    {},
    optional={
        "no_pendaftaran": st.sampled_from(["R-1", "R-2", "", "-"]),
        "nik": st.sampled_from(["123", "1171011203900000", "3,17206E+15", "9971011203909001", "1171013102909001"]),
        "penghasilan": st.sampled_from(["0", "1.5", "Rp2.000.000,00", "x", "9" * 25]),
        "diubah_pada": st.sampled_from(["2023-12-11 12:00", "31/02/2023", "2030-01-01", "11 Des 2023", "0000-00-00"]),
        "status_data": st.sampled_from(["BATAL", "koreksi", "LAIN"]),
        "alamat": st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=8),
    },
)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(rows=st.lists(CELLS, max_size=12), cut=st.sets(st.integers(0, 11)), batch_rows=st.integers(1, 13))
def test_every_row_sent_is_accepted_or_quarantined_once(
    take: Callable[..., Intake], landing: Landing, rows: list[dict[str, str]], cut: set[int], batch_rows: int
) -> None:
    template = TEMPLATE["pendaftaran"]
    lines = [
        list(template),
        *(list((template | {"no_pendaftaran": f"N-{n}"} | row).values()) for n, row in enumerate(rows)),
    ]
    for n in cut & set(range(len(rows))):
        lines[n + 1].pop()  # a cell too few
    sent = io.StringIO()
    csv.writer(sent).writerows(lines)  # CRLF: some versions of Python leave a lone CR bare where lines end in LF
    taken = take(landing, sent.getvalue().encode(), len(rows), batch_rows=batch_rows).rows
    accepted = [line for frame in taken.accepted for line in frame["_line"].to_list()]
    quarantined = {line: errors for f in taken.quarantined for line, errors in f.select("_line", "_errors").iter_rows()}
    assert len(accepted) + len(quarantined) == taken.sent == len(rows)
    assert set(accepted).isdisjoint(quarantined)
    assert all(quarantined.values())
    assert sum("ROW_SHAPE" in errors for errors in quarantined.values()) == len(cut & set(range(len(rows))))
    assert (taken.counts.accepted, taken.counts.quarantined) == (len(accepted), len(quarantined))


def as_lines(rows: list[dict[str, str]]) -> bytes:
    return "".join(json.dumps(CONTRIBUTION | row) + "\n" for row in rows).encode()


@pytest.mark.parametrize(
    ("content", "rows", "name", "reason"),
    [
        (registrations(), 9, "pendaftaran.csv", "ROW_COUNT"),
        (registrations(), 11, "pendaftaran.csv", "ROW_COUNT"),
        (b"a;b\n1;2\n" * 5, 5, "pendaftaran.csv", "HEADER"),
        (
            as_lines([{"id_bayar": f"P-{n}"} for n in range(5)]).replace(b'"total"', b'"jumlah"'),
            5,
            "iuran.jsonl",
            "HEADER",
        ),
        (as_lines([{"id_bayar": f"P-{n}"} for n in range(5)]) + b"{\n", 6, "iuran.jsonl", "UNREADABLE"),
    ],
)
@pytest.mark.parametrize("where", ["landing", "remote"])
def test_a_rejected_slice_leaves_its_bytes_and_nothing_else(
    take: Callable[..., Intake],
    request: pytest.FixtureRequest,
    home: Path,
    where: str,
    content: bytes,
    rows: int,
    name: str,
    reason: str,
) -> None:
    landing = request.getfixturevalue(where)
    with pytest.raises(SliceRejected, match=reason):
        take(landing, content, rows, name, batch_rows=2)
    assert files(landing) == [f"sent/{name}"]
    assert list((home / "spool").glob("*") if (home / "spool").exists() else []) == []


def written(name: str, rows: list[dict[str, str]]) -> bytes:
    """`rows` in the format that the ending of `name` tells; tables have the columns of any row."""
    columns = list(dict.fromkeys(column for row in rows for column in row))
    buffer = io.BytesIO()
    if name.endswith(".xlsx"):
        with xlsxwriter.Workbook(buffer) as book:
            sheet = book.add_worksheet()
            for line, row in enumerate([columns, *([row.get(column, "") for column in columns] for row in rows)]):
                sheet.write_row(line, 0, row)
        return buffer.getvalue()
    if ".csv" in name:
        text = io.StringIO()
        writer = csv.DictWriter(text, columns, restval="", delimiter=";")
        writer.writeheader()
        writer.writerows(rows)
        content = text.getvalue().encode()
    else:
        content = "".join(json.dumps(row) + "\n" for row in rows).encode()
    return gzip.compress(content) if name.endswith(".gz") else content


@pytest.mark.parametrize("ending", ["csv", "csv.gz", "xlsx", "jsonl", "jsonl.gz"])
def test_extra_and_missing_columns_are_drift_of_the_slice(
    take: Callable[..., Intake], landing: Landing, warehouse: str, ending: str
) -> None:
    rows = [{wire: text for wire, text in CONTRIBUTION.items() if wire != "iuran_jht"} for _ in range(5)]
    for number, row in enumerate(rows):
        row["id_bayar"] = f"P-{number}"
    rows[4]["Catatan Lain"] = "x"  # in JSON lines the last line alone has it, in a part of its own
    content = written(f"iuran.{ending}", rows)
    intake = take(landing, content, 5, f"iuran.{ending}", batch_rows=2)
    assert intake.format == ending
    assert intake.rows.counts.accepted == 5
    slice_ = Slice("iuran", "KC001", DAY, 1)
    with connect("loader", autocommit=True) as conn:
        conn.execute("insert into ops.run (run_id, as_of, mode) values ('r', '2023-12-31', 'plain')")
        record = SliceRecord(slice_, "r", "0" * 64, 5, None, file_format=intake.format, drift=intake.found)
        load(conn, load_contract("iuran"), record, intake.rows)
    with connect() as conn:
        ((drift,),) = conn.execute("select drift from ops.slice").fetchall()
        assert conn.execute("select jht_amount from raw.contributions").fetchall() == [(0,)] * 5
    assert (drift["extra_columns"], drift["missing_columns"]) == ([shown_name("Catatan Lain")], ["iuran_jht"])
    assert "Catatan" not in str(drift)


def test_landed_bytes_are_found_again(
    take: Callable[..., Intake], landing: Landing, remote: Landing, home: Path
) -> None:
    for place in (landing, remote):
        take(place, registrations(), len(ROWS))
        (path,) = (path for path in place.fs.find(place.path) if "/sent/" in path)
        uri = place.fs.unstrip_protocol(path.partition("/sent/")[0])
        for name in (None, "pendaftaran.csv"):
            with place.open(uri, name) as landed:
                assert landed.readable.read_bytes() == registrations()
                assert (landed.uri, landed.name, landed.bytes) == (uri, "pendaftaran.csv", len(registrations()))
                batches = list(read_lines(landed, load_contract("pendaftaran"), len(ROWS), [4, 8, 99]))
                assert pl.concat(batches)["_line"].to_list() == [4, 8]
        for name, there in (("iuran.csv", uri), (None, uri + "x")):
            with pytest.raises(UserError, match="does not hold"), place.open(there, name):
                pass
    assert list((home / "spool").glob("*")) == []


@contextmanager
def files_up_to(size: int) -> Iterator[None]:
    """No file can grow beyond `size` bytes: what a full disk does to writers."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_a_full_disk_is_reported_and_leaves_nothing_half(take: Callable[..., Intake], landing: Landing) -> None:
    content = as_csv("pendaftaran", [{"no_pendaftaran": f"R-{n}"} for n in range(2000)])
    take(landing, content, 2000)
    before = files(landing)
    (folder,) = Path(landing.path).glob("*/*/*/*")
    (folder / "rows" / "accepted-00000.parquet").unlink()
    slice_ = Slice("pendaftaran", "KC001", DAY, 1)
    context = Context(slice_, load_registry().get("KC001").zone, None, frozenset({"KC001"}))
    entry, contract = Entry("pendaftaran", 2000), load_contract("pendaftaran")
    full = pytest.raises(UserError, match=r"landing .* cannot be written")
    with landing.open(f"file://{folder}") as landed, files_up_to(10_000), full:
        take_in(landed, entry, contract, context, landing, KEY)
    assert files(landing) == [name for name in before if "accepted" not in name]


def test_parts_load_as_one_slice(take: Callable[..., Intake], landing: Landing, warehouse: str) -> None:
    intake = take(landing, registrations(), len(ROWS), batch_rows=3)
    slice_ = Slice("pendaftaran", "KC001", DAY, 1)
    with connect("loader", autocommit=True) as conn:
        conn.execute("insert into ops.run (run_id, as_of, mode) values ('r', '2023-12-31', 'plain')")
        record = SliceRecord(slice_, "r", "0" * 64, len(ROWS), None, drift=intake.found)
        assert load(conn, load_contract("pendaftaran"), record, intake.rows) == "loaded"
    with connect() as conn:
        assert conn.execute("select _line from raw.registrations order by 1").fetchall() == [(n,) for n in ACCEPTED]
        assert conn.execute(
            "select r._line, v.nik from raw.registrations r join vault.registrations v using (_line, participant_token)"
            " order by 1"
        ).fetchall() == [(n, REGISTRATION["nik"]) for n in ACCEPTED]
        assert dict(conn.execute("select line, errors from ops.quarantine order by 1").fetchall()) == QUARANTINED
        assert conn.execute(
            "select rows_sent, rows_accepted, rows_quarantined, warnings, rows_nik_valid, rows_contactable"
            " from ops.slice"
        ).fetchall() == [(10, 5, 5, 1, 9, 4)]


def test_rows_that_landing_lost_after_judging_stop_the_load(
    take: Callable[..., Intake], landing: Landing, warehouse: str
) -> None:
    intake = take(landing, registrations(), len(ROWS), batch_rows=3)
    (lost,) = Path(landing.path).glob("*/*/*/*/rows/accepted-00001.parquet")
    pl.read_parquet(lost).clear().write_parquet(lost)
    with connect("loader", autocommit=True) as conn:
        conn.execute("insert into ops.run (run_id, as_of, mode) values ('r', '2023-12-31', 'plain')")
        record = SliceRecord(Slice("pendaftaran", "KC001", DAY, 1), "r", "0" * 64, len(ROWS), None)
        with pytest.raises(UserError, match="landing holds 3 of 5 rows"):
            load(conn, load_contract("pendaftaran"), record, intake.rows)
        assert conn.execute("select count(*) from raw.registrations").fetchone() == (0,)
        assert conn.execute("select count(*) from ops.slice").fetchone() == (0,)
