"""Exchange rule 39: which texts are kept as sent, and what stands for the others."""

import re

import polars as pl
import psycopg
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from kkbc.core import tokens
from kkbc.core.errors import BranchUnavailable, UserError
from kkbc.exchange import masking
from kkbc.exchange.contracts import load_contract
from kkbc.exchange.masking import UnforeseenError, error_text, mark, shown_name, without_texts, without_values
from kkbc.warehouse import connect

KEY = b"k" * 32
NIK = "1171011203909001"
MARK = re.compile(r"\?[0-9a-f]{8}")

KEPT = [
    "KG/000009",
    "kg-000006",
    "81000007",
    "KEG-PASAR-001",
    "KC044-2023-0001",
    "001/KEG/XII/2023",
    "BUDI",
    "A 1",
    "R-KC085-12023-12-11",
    "08/2023/0001234",
    "KC081-810000123",
    "-",
]
PERSONS = [
    NIK,
    "1171.0112.0390.9001",
    "081234567890",
    "+62 812-3456-7890",
    "62 (812) 3456 7890",
    "812345678",
    "orang@contoh.id",
    "petugas orang@contoh.id",
    "Budi Santoso",
    "BUDI  SANTOSO",
    "Budi\u00a0Santoso",
    "Santoso, Budi",
    "H. Budi",
    "Jl. Mawar No. 5",
    f"NIK {NIK}",
    "HP 081234567890",
    *(
        f"{before}{NIK}{behind}"
        for before, behind in [("KTP", ""), ("NIK_", ""), ("#", "-01"), ("P(", ")"), ("a|", "|b")]
    ),
    "KTP 117101 120390 9001",
    "117101/120390/9001",
    "１１７１０１１２０３９０９００１",
    "HP081234567890",
    "WA-0812345678901",
    "R_081234567890_1",
    "HP 0812 3456 7890",
    "006281234567890",
    "Budi_Santoso",
    "BUDI/SANTOSO",
    "KP-Budi Santoso-01",
    "[Budi] [Santoso]",
    "1.Budi 2.Santoso",
]


@pytest.fixture
def key(home: object, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tokens, "load_marks_key", lambda: KEY)


def marked(feed: str, column: str, *texts: str | None) -> list[str | None]:
    rows = pl.DataFrame({column: texts}, schema={column: pl.String})
    return masking.Marker(load_contract(feed))(rows)[column].to_list()


@pytest.mark.parametrize("column", ["activity_code", "officer_code", "registration_no"])
@pytest.mark.parametrize("text", KEPT)
def test_codes_that_may_be_no_person_stay(key: None, column: str, text: str) -> None:
    assert marked("pendaftaran", column, text, None) == [text, None]


@pytest.mark.parametrize("feed", ["pendaftaran", "iuran", "kegiatan", "target"])
def test_all_that_closed_lists_hold_stays(key: None, feed: str) -> None:
    contract = load_contract(feed)
    lists = {column.name: masking.closed_list(column) for column in masking.marked_columns(contract)}
    assert any(lists.values())
    for name, known in lists.items():
        assert marked(feed, name, *sorted(known or ())) == sorted(known or ())


@pytest.mark.parametrize("text", PERSONS)
def test_persons_typed_into_codes_are_marks(key: None, text: str) -> None:
    assert marked("kegiatan", "activity_code", text) == [mark(text, KEY)]
    (shown,) = marked("pendaftaran", "activity_code", text)
    assert MARK.fullmatch(shown or "")
    assert shown == mark(text, KEY)
    (number,) = marked("pendaftaran", "registration_no", text)
    assert re.fullmatch(r"\?[0-9a-f]{32}", number or "")


@given(st.from_regex(masking._KEY_CHARACTERS, fullmatch=True))
@example("KC044-20231211-000123")
@example("Ani_Budi")
@example("8123-45678-A")
@example("A-081234567")
def test_what_looks_like_a_key_is_no_person(text: str) -> None:
    """The quick look, which spares nearly all columns the long one, never says more than that does."""
    frame = pl.DataFrame({"c": [text]})
    key, personal = frame.select(
        masking.looks_like_key(pl.col("c")), masking.looks_personal(pl.col("c")).alias("p")
    ).row(0)
    assert not (key and personal)


@given(st.text(alphabet="AZaz089_- .,@:/+\u0665é", max_size=30))
def test_no_text_of_any_kind_is_a_key_and_a_person(text: str) -> None:
    frame = pl.DataFrame({"c": [text]})
    key, personal = frame.select(
        masking.looks_like_key(pl.col("c")), masking.looks_personal(pl.col("c")).alias("p")
    ).row(0)
    assert not (key and personal)


@pytest.mark.parametrize("text", PERSONS)
def test_no_person_looks_like_a_key(text: str) -> None:
    assert pl.DataFrame({"c": [text]}).select(masking.looks_like_key(pl.col("c"))).item() is False


def test_sixteen_digits_without_a_date_are_no_nik(key: None) -> None:
    assert marked("pendaftaran", "officer_code", "2023121100010001", "1171013203909001") == [
        "2023121100010001",
        "1171013203909001",
    ]


@pytest.mark.parametrize(
    ("feed", "column", "kept", "masked"),
    [
        (
            "pendaftaran",
            "occupation_code",
            ["NELAYAN", "TUKANG_X", "A12-345_6", "PETANI"],
            ["TUKANG X", "A1234567", "9X"],
        ),
        ("pendaftaran", "segment_code", ["MANDIRI", "LAIN"], ["BUDI SANTOSO", NIK]),
        ("pendaftaran", "district_code", ["117101"], ["999999", "LAIN LAIN"]),
        ("iuran", "payment_channel", ["BRI", "OVO", "A" * 20], ["A" * 21, "OVO 081234567890", "?"]),
        ("kegiatan", "target_occupation", ["NELAYAN", "X"], ["IBU SITI", "ORANG@CONTOH.ID"]),
    ],
)
def test_codes_outside_their_list(key: None, feed: str, column: str, kept: list[str], masked: list[str]) -> None:
    assert marked(feed, column, *kept) == kept
    assert marked(feed, column, *masked) == [mark(text, KEY) for text in masked]


def test_every_text_that_raw_holds_is_marked_or_of_a_closed_list() -> None:
    """What has neither, and is not personal, would reach raw as typed."""
    for feed in ("pendaftaran", "iuran", "kegiatan", "target"):
        columns = {column.name for column in masking.marked_columns(load_contract(feed))}
        free = {name for name in columns if name.endswith(("name", "place", "start", "end", "station", "address"))}
        assert free == set()


def test_the_key_is_read_only_when_something_is_marked(home: object) -> None:
    assert marked("iuran", "payment_id", "P-1") == ["P-1"]
    with pytest.raises(UserError, match="does not exist"):
        marked("iuran", "payment_id", NIK)


def test_marks_are_no_tokens_and_depend_on_the_key() -> None:
    token = tokens.tokens(pl.Series([NIK]), tokens.Key(1, KEY))[0]
    assert mark(NIK, KEY, 32)[1:] != token
    assert mark(NIK, KEY) != mark(NIK, b"l" * 32)
    assert mark("\ud800", KEY) != mark("\udfff", KEY)


@pytest.mark.parametrize(
    "name",
    [
        "pendaftaran.csv",
        "iuran.r2.csv.gz",
        "KC044 2023-12-11.xlsx",
        "manifest.r3.json",
        "tgl_lahir",
        "Nama Lengkap",
        "X1",
    ],
)
def test_names_of_the_exchange_stay(key: None, name: str) -> None:
    assert shown_name(name) == name


@pytest.mark.parametrize(
    ("name", "ending"),
    [
        ("Budi.csv", ".csv"),
        ("pendaftaran budi.XLSX", ".xlsx"),
        (f"{NIK}.jsonl.gz", ".jsonl.gz"),
        ("0812-3456-7890", ""),
        ("iuran_081234567890.csv", ".csv"),
        ("2023-12-11 0812 3456 7890", ""),
        ("x@y.id", ""),
        ("Catatan Lain", ""),
        ("山田太郎", ""),
        ("a" * 5000, ""),
    ],
)
def test_other_names_are_marks(key: None, name: str, ending: str) -> None:
    assert shown_name(name) == mark(name, KEY) + ending
    assert shown_name(shown_name(name)) == shown_name(name)


def test_what_no_store_can_hold_is_escaped_and_long_names_are_cut(key: None) -> None:
    assert shown_name("1\0\n\ud8002\u202e") == r"1\x00\n\ud8002\u202e"
    assert shown_name("1" * 60 + ".csv") == "1" * 35 + "….csv"
    assert len(shown_name("\0" * 100)) == masking.NAME_CHARACTERS


def test_a_name_is_hidden_without_a_key_too(home: object) -> None:
    assert shown_name("Budi.csv") == "?.csv"


def test_errors_of_the_database_quote_no_value(warehouse: str) -> None:
    assert without_values('relation "raw.x" does not exist\nLINE 1: SITI') == 'relation "raw.x" does not exist'
    with connect() as conn:
        conn.execute("create table public.t (name text primary key, n int)")
        conn.execute("insert into public.t values ('SITI', 1)")
        for statement in (
            "insert into public.t values ('SITI', 2)",
            "select name::int from public.t",
            "insert into public.t values (null, 7777777)",
            "select 'SITI'::date",
        ):
            with pytest.raises(psycopg.Error) as raised, conn.transaction():
                conn.execute(statement.encode())
            text = error_text(raised.value) + str(raised.value)
            assert type(raised.value).__name__ in text
            assert not re.search("SITI|7777777", text), text


def test_errors_of_libraries_are_reported_by_their_kind() -> None:
    assert error_text(ValueError("SITI")) == "ValueError"
    assert error_text(BranchUnavailable("KC001 hung up")) == "BranchUnavailable: KC001 hung up"
    with pytest.raises(UnforeseenError, match=r"^ValueError$") as raised, without_texts():
        raise ValueError("SITI")
    assert raised.value.__cause__ is None
    assert raised.value.__suppress_context__
    with pytest.raises(UserError, match="fix"), without_texts():
        raise UserError("wrong", "fix it")
