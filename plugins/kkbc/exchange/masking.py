"""Masking: what branches typed is shown outside landing and vault only where it cannot be a person (Exchange rule 39).

A text that may be one is replaced by a mark, a question mark and the first digits of a keyed hash of it: the same text
has the same mark, so that joins hold and a reader can ask for it, and nobody reads the text out of it.
"""

import hashlib
import hmac
import re
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from functools import cache, cached_property
from typing import Any

import polars as pl
import psycopg

from kkbc.core import tokens
from kkbc.core.errors import BranchTimeout, BranchUnavailable, SliceRejected, UserError
from kkbc.exchange import nik
from kkbc.exchange.contracts import REGISTRY, Column, Contract, feeds, load_contract
from kkbc.exchange.reference import codes
from kkbc.exchange.registry import load_registry

MARK_DIGITS = 8
NAME_CHARACTERS = 40
HIDDEN = "***"

_DOMAIN = b"kkbc mark\0"  # no mark is the beginning of a token

# --- what may be a person -------------------------------------------------------------------------------------------
_BETWEEN = r"[\s.()\[\]-]*"  # what rule 12 takes out of a number
_NIK_DIGITS = re.compile(nik.DATED)
_SIXTEEN = re.compile(rf"(?<![0-9])(?=([0-9](?:{_BETWEEN}[0-9]){{15}})(?![0-9]))")
_PHONE = re.compile(rf"(?<![0-9])(?:\+?62|0)?{_BETWEEN}8(?:{_BETWEEN}[0-9]){{8,11}}(?![0-9])")
_EMAIL = re.compile(r"[^@\s]+@[^@\s]+\.[A-Za-z]{2,}")
_WORD = re.compile(r"[^\W\d_]{2,}")

# The same for whole columns. A number may stand alone, signs between its digits, or among letters and other signs; a
# telephone number among those is known by its prefix, for other runs of digits may begin with an 8.
_NUMBER_NOISE = r"[\s.()\[\]-]+"  # what rule 12 takes out of a number
_MORE_NOISE = r"[\s.,;:/|_()\[\]-]+"
_NIK_TEXT = f"^{nik.DATED}$"
_PHONE_TEXT = r"^(?:\+62|0062|62|0)?8[0-9]{8,11}$"
_NUMBER_ALONE = r"(?:^|[\s,;:/])8[0-9]{8,11}(?:$|[\s,;:/])"
_NUMBER_WITHIN = rf"(?:^|[^0-9])(?:{nik.DATED}|(?:0062|62|0)8[0-9]{{8,11}})(?:$|[^0-9])"
_FOREIGN_DIGIT = r"[\p{Nd}--[0-9]]"
_BLANKS = r"[\s,;]+"
_LETTERS = r"""(?:^| )[("'`]?\pL[\pL.'’`-]*[)"'`:!?]?(?: |$)"""
# What is made up of such characters, with a letter and a digit and without a run of ten digits, is no person: it holds
# no number of one, and no two words.
_KEY_CHARACTERS = "^(?:[0-9]{0,9}[A-Za-z_-])+[0-9]{0,9}$"
_CODE = "^[A-Z][A-Z0-9_-]{0,19}$"
_CODE_DIGITS = 6


def mark(text: str, key: bytes, digits: int = MARK_DIGITS) -> str:
    """The mark of `text` under the key of the tokens: `?` and `digits` hexadecimal ones."""
    message = _DOMAIN + text.encode("utf-8", "surrogatepass")
    return "?" + hmac.new(key, message, hashlib.sha256).hexdigest()[:digits]


def looks_personal(value: pl.Expr) -> pl.Expr:
    """Whether a text is or holds a NIK, a phone number, an e-mail address, or two or more words of letters; null for
    null. Words are what blanks part, or other signs where there is no digit: KG-PASAR-01 is a code, Ani_Budi is not.
    """
    number = value.str.replace_all(_NUMBER_NOISE, "")
    has_blank = value.str.contains(r"\S\s+\S")
    return (
        value.str.replace_all(_MORE_NOISE, "").str.contains(_NIK_TEXT)
        | number.str.contains(_PHONE_TEXT)
        | value.str.contains(_NUMBER_ALONE)
        | value.str.contains(_NUMBER_WITHIN)
        | (has_blank & value.str.replace_all(r"\s+", "").str.contains(_NUMBER_WITHIN))
        | value.str.contains(_FOREIGN_DIGIT)
        | value.str.contains(_EMAIL.pattern)
        # Blanks doubled, so that a word does not take the one before the next.
        | (value.str.replace_all(_BLANKS, "  ").str.count_matches(_LETTERS) >= 2)
        | (has_blank & (value.str.count_matches(r"\pL{2,}") >= 2))
        | (~value.str.contains("[0-9]") & (value.str.count_matches(r"\pL{3,}") >= 2))
    )


def looks_like_key(value: pl.Expr) -> pl.Expr:
    """Whether a text is a key as systems write them: then `looks_personal` says no, which takes much longer to find."""
    return value.str.contains(_KEY_CHARACTERS) & value.str.contains("[A-Za-z]") & value.str.contains("[0-9]")


def looks_like_code(value: pl.Expr) -> pl.Expr:
    """Whether a text outside a closed list may be kept as sent."""
    return value.str.contains(_CODE) & (value.str.count_matches("[0-9]") <= _CODE_DIGITS)


def closed_list(column: Column) -> frozenset[str] | None:
    """The closed list of a column; None where there is none."""
    for check in column.checks:
        if check.check == "one_of":
            reference = check.params.get("reference")
            if reference == REGISTRY:
                return frozenset(office.branch_id for office in load_registry().offices)
            return frozenset(codes(reference) if reference else check.params["values"])
        if check.check == "delivering_branch":
            return frozenset(office.branch_id for office in load_registry().offices)
    return None


def _suspect(column: Column) -> pl.Expr:
    """True where what a branch typed into the column is not shown outside landing and vault."""
    value = pl.col(column.name)
    known = closed_list(column)
    if known is None:
        return looks_personal(value)
    # What breaks a list of severity error is quarantined: such a list has nothing outside it here. An Enum carries its
    # lookup, `is_in` would build one each time.
    listed = value.cast(pl.Enum(sorted(known)), strict=False).is_not_null()
    return value.is_not_null() & ~listed & ~looks_like_code(value)


def _plain(column: Column) -> pl.Expr:
    """True where a quick look is enough to know that `_suspect` is not."""
    value = pl.col(column.name)
    return looks_like_key(value) if closed_list(column) is None else looks_like_code(value)


def marked_columns(contract: Contract) -> tuple[Column, ...]:
    """The columns of raw that hold text of a branch. What is personal goes to the vault as it is."""
    return tuple(column for column in contract.columns if column.type in ("text", "code") and not column.personal)


@cache
def _suspects(contract: Contract, branch_ids: frozenset[str]) -> dict[str, tuple[pl.Expr, pl.Expr]]:
    """What `_plain` and `_suspect` say of the marked columns: districts alone are thousands, too many to list for each
    slice.

    `branch_ids` are the offices of the registry, one of the closed lists, so that another registry has other lists.
    """
    return {
        column.name: (_plain(column).fill_null(True).all().alias(column.name), _suspect(column).fill_null(False))
        for column in marked_columns(contract)
    }


class Marker:
    """Puts marks into the rows of one contract. The key is only read when something has to be marked.

    Raises UserError, as kkbc.core.tokens.load_marks_key does, when it is needed and cannot be had.
    """

    def __init__(self, contract: Contract) -> None:
        self._columns = {column.name: column for column in marked_columns(contract)}
        self._suspects = _suspects(contract, frozenset(office.branch_id for office in load_registry().offices))

    @cached_property
    def _key(self) -> bytes:
        return tokens.load_marks_key()

    def __call__(self, rows: pl.DataFrame) -> pl.DataFrame:
        """The rows as raw may hold them: every text that may be a person is replaced by its mark."""
        columns = [column for name, column in self._columns.items() if name in rows.columns]
        if not columns:
            return rows
        are_plain = rows.select(self._suspects[column.name][0] for column in columns).row(0)
        columns = [column for column, is_plain in zip(columns, are_plain, strict=True) if not is_plain]
        if not columns:
            return rows
        found = rows.select(self._suspects[column.name][1] for column in columns)
        return rows.with_columns(
            self._marked(rows[column.name], found[column.name], column)
            for column in columns
            if found[column.name].any()
        )

    def _marked(self, texts: pl.Series, suspect: pl.Series, column: Column) -> pl.Series:
        marks = {
            text: mark(text, self._key, column.mark_digits or MARK_DIGITS)
            for text in texts.filter(suspect).unique().to_list()
        }
        return texts.replace(marks)


# --- names of files, folders, feeds, sheets and columns --------------------------------------------------------------
_EXCHANGE_WORDS = (
    *("manifest", "deliveries", "pengiriman", "ekspor", "csv", "xlsx", "jsonl", "json", "gz", "kc", "hq", "data"),
    *("tgl", "revisi", "umpan", "jumlah", "baris", "dikirim", "pada", "sheet", "lembar"),
)


@cache
def _known_words() -> frozenset[str]:
    """The words of the exchange's own names, in lower case."""
    words = set(_EXCHANGE_WORDS)
    for feed in feeds():
        contract = load_contract(feed)
        words.add(feed)
        words.update(word for column in contract.columns for word in _WORD.findall(column.wire.lower()))
    return frozenset(words)


def _holds_person(name: str) -> bool:
    numbers = (re.sub(_BETWEEN, "", found[1]) for found in _SIXTEEN.finditer(name))
    if any(_NIK_DIGITS.fullmatch(number) for number in numbers) or _PHONE.search(name) or _EMAIL.search(name):
        return True
    return not {word.lower() for word in _WORD.findall(name)} <= _known_words()


_ENDING = re.compile(r"(?:\.(?:csv|xlsx|jsonl|json))?(?:\.gz)?$", re.IGNORECASE)
_MARKED = re.compile(rf"\?(?:[0-9a-f]{{{MARK_DIGITS}}})?(?:{_ENDING.pattern[:-1]})")


def shown_name(name: str) -> str:
    """How the name of a file, folder, feed, sheet or column that a branch has chosen is reported (Exchange rule 39).

    What no store can hold is escaped, and it is cut to 40 characters. A name that holds a NIK, a phone number, an
    e-mail address or a word that is none of the exchange's becomes its mark; the ending of a file stays. Never raises:
    without a key there is a question mark and no digits.
    """
    if _MARKED.fullmatch(name):
        return name
    if _holds_person(name):
        marked = "?"
        with suppress(UserError):
            marked = mark(name, tokens.load_marks_key())
        ending = _ENDING.search(name)
        return marked + (ending[0].lower() if ending else "")
    escaped = "".join(c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in name)
    if len(escaped) <= NAME_CHARACTERS:
        return escaped
    ending = _ENDING.search(escaped)
    kept = ending[0] if ending else ""
    return escaped[: NAME_CHARACTERS - 1 - len(kept)] + "…" + kept


def shown_names(names: Iterable[str]) -> list[str]:
    """The same for several, each reported once."""
    return list(dict.fromkeys(map(shown_name, names)))


# --- errors of libraries ---------------------------------------------------------------------------------------------
_NOUNS = "relation|column|table|view|constraint|schema|function|index|type|role|database|sequence|extension|model|test"
_QUOTED = re.compile(rf"(?P<noun>\b(?:{_NOUNS}) )?\"(?P<text>[^\"]*)\"")


def without_values(message: str) -> str:
    """The first line of a message of PostgreSQL, without any value in it.

    It quotes values and names of objects alike; kept are those that a noun tells to be an object's.
    """
    line = (message.strip().splitlines() or ["no message"])[0]
    return _QUOTED.sub(lambda m: m[0] if m["noun"] else f'"{HIDDEN}"', line)


_OWN = (UserError, SliceRejected, BranchUnavailable, BranchTimeout)


def error_text(error: BaseException) -> str:
    """An error in one line as it may be kept: the project's own in its words, any other by its kind alone."""
    if isinstance(error, psycopg.Error):
        return f"{type(error).__name__}: {without_values(str(error))}"
    text = f": {' '.join(str(error).split())[:500]}" if isinstance(error, _OWN) else ""
    return f"{type(error).__name__}{text}"


class UnforeseenError(Exception):
    """An error of a library, by its kind alone: its text may quote what a branch sent. The traceback says where."""


@contextmanager
def without_texts() -> Iterator[None]:
    """Lets no error out of the block that may quote a value: those that are not the project's own lose their text.

    Errors of PostgreSQL have lost it already, see kkbc.warehouse.connection.
    """
    try:
        yield
    except (*_OWN, psycopg.Error):
        raise
    except Exception as error:
        raise UnforeseenError(type(error).__name__).with_traceback(error.__traceback__) from None


def safe_findings(found: Mapping[str, Any]) -> dict[str, Any]:
    """What a reader found out about a file, with the names in it as they may be reported."""
    safe = dict(found)
    for name, value in found.items():
        if name == "missing_columns":  # names of the exchange
            continue
        if isinstance(value, str) and name not in ("encoding", "delimiter"):
            safe[name] = shown_name(value)
        elif isinstance(value, list):
            safe[name] = shown_names(map(str, value))
    return safe
