"""The columns of a new feed, as a person writes them: `id:key,tanggal:date,nama:name?,jenis:code(A|B)`."""

import re
from dataclasses import dataclass
from typing import Any

from sqlalchemy.dialects.postgresql.base import RESERVED_WORDS

from kkbc.core.errors import UserError
from kkbc.exchange.contracts import IDENTIFIER_LENGTH, NOT_LATER, REGISTRY, TEXT_LENGTH, UNIQUE_KEY, Sender

_NAME = re.compile(r"[a-z][a-z0-9_]{0,39}")
_WRITTEN = re.compile(r"(?P<name>[^:()]+):(?P<kind>[a-z_]+)(?:\((?P<codes>[^()]*)\))?(?P<optional>\?)?")
_CODE = re.compile(r"[A-Z][A-Z0-9_]{0,19}")
# What the address of a row, the gate's queries and the exchange's own columns are called.
_TAKEN = frozenset(
    (
        *("slice", "feed", "revision", "load_id", "business_date", "file_name", "line", "participant_token"),
        *("sent_at", "branch_id", "tgl_data", "revisi"),
    )
)


@dataclass(frozen=True)
class Kind:
    """What a column of a kind is in the contract. rules: code, severity and parameters of each check."""

    type: str
    classification: str
    description: str
    rules: tuple[tuple[str, str, dict[str, Any]], ...] = ()
    custom: tuple[tuple[str, Any], ...] = ()


_NIK_RULES = (
    ("NIK_FORMAT", "error", {"check": "nik_format"}),
    ("NIK_REGION", "error", {"check": "nik_region", "reference": "provinces.code"}),
    ("NIK_REGION", "warning", {"check": "nik_region", "reference": "districts.code"}),
    ("NIK_DATE", "error", {"check": "nik_date"}),
)
_PHONE = {"check": "phone", "country": "+62", "trunk": "0", "pattern": "^8[0-9]{8,11}$"}
_EMAIL = {"check": "email", "pattern": r"^[^@\s]+@[^@\s]+\.[A-Za-z]{2,}$"}
_PAST = (("DATE_FUTURE", "error", {"check": NOT_LATER}),)
_NOT_NEGATIVE = (("NEGATIVE", "error", {"check": "not_negative"}),)

KINDS: dict[str, Kind] = {
    "key": Kind("text", "internal", "Key of the row, unique within its sender."),
    "branch": Kind("code", "internal", "The branch office that the row belongs to, part of the key."),
    "updated": Kind(
        "timestamp",
        "internal",
        "When the sender last changed the row; the later row of a key wins.",
        (("DATE_FUTURE", "error", {"check": "not_after_sent", "days": 1}),),
    ),
    "code": Kind("code", "internal", "A code."),
    "date": Kind("date", "internal", "A day, not after the business date.", _PAST),
    "due_date": Kind("date", "internal", "A day, which may lie ahead."),
    "timestamp": Kind("timestamp", "internal", "An instant, not after the business date.", _PAST),
    "month": Kind("month", "internal", "Month, YYYY-MM; stored as its first day."),
    "int": Kind("int", "internal", "A whole number, not negative.", _NOT_NEGATIVE),
    "amount": Kind("idr", "internal", "Rupiah, not negative.", _NOT_NEGATIVE),
    "nik": Kind(
        "text", "identifier", "National identity number, 16 digits, of the person that the row is about.", _NIK_RULES
    ),
    "name": Kind("text", "personal", "Name of a person.", custom=(("not_missing", ["nan"]),)),
    "birth_date": Kind("date", "personal", "Date of birth."),
    "phone": Kind(
        "text",
        "personal",
        "Mobile number, stored as E.164.",
        (("PHONE_FORMAT", "warning", _PHONE),),
        (("contact", True),),
    ),
    "email": Kind("text", "personal", "E-mail address.", (("EMAIL_FORMAT", "warning", _EMAIL),), (("contact", True),)),
    "text": Kind("text", "personal", "Text that people type freely, and that may name a person."),
}
"""The kinds of columns, by the word that stands for each."""

LOGICAL = {"date": "date", "timestamp": "timestamp", "int": "integer", "idr": "integer"}
"""The logical type of ODCS of a type of the exchange; the others are strings."""


@dataclass(frozen=True)
class NewColumn:
    """A column as it was asked for. codes: its closed list, of the kind `code`."""

    name: str
    kind: str
    required: bool = True
    codes: tuple[str, ...] = ()

    def as_property(self, sender: Sender, key: tuple[str, ...]) -> dict[str, Any]:
        """The column as a property of the contract, where `key` names the columns of the key in their order."""
        kind = KINDS[self.kind]
        found: dict[str, Any] = {
            "name": self.name,
            "physicalName": self.name,
            "logicalType": LOGICAL.get(kind.type, "string"),
            "physicalType": kind.type,
        }
        if kind.type in ("text", "code", "month"):
            is_identifier = (
                self.name in key
                or kind.type != "text"
                or kind.classification == "identifier"
                or self.name.startswith("kode_")  # as kkbc.exchange.contracts takes it
            )
            found["logicalTypeOptions"] = {"maxLength": IDENTIFIER_LENGTH if is_identifier else TEXT_LENGTH}
        found |= {"businessName": self.label, "description": kind.description}
        if self.required:
            found["required"] = True
        if self.name in key:
            found |= {"primaryKey": True, "primaryKeyPosition": key.index(self.name) + 1}
        found["classification"] = kind.classification
        if kind.custom:
            found["customProperties"] = [{"property": name, "value": value} for name, value in kind.custom]
        if rules := self._rules(sender):
            found["quality"] = [as_rule(*rule) for rule in rules]
        return found

    @property
    def label(self) -> str:
        """The Indonesian label: the name as words."""
        return self.name.replace("_", " ").capitalize()

    def _rules(self, sender: Sender) -> tuple[tuple[str, str, dict[str, Any]], ...]:
        if self.kind == "branch" and sender == "branch":
            return (("BRANCH_MISMATCH", "error", {"check": "delivering_branch"}),)
        if self.kind == "branch":
            return (("CODE_UNKNOWN", "error", {"check": "one_of", "reference": REGISTRY}),)
        if self.codes:
            return (("CODE_UNKNOWN", "error", {"check": "one_of", "values": list(self.codes)}),)
        return KINDS[self.kind].rules


def as_rule(code: str, severity: str, implementation: dict[str, Any]) -> dict[str, Any]:
    """A rule as the contract writes it."""
    return {"name": code, "type": "custom", "engine": "kkbc", "severity": severity, "implementation": implementation}


def row_rules(columns: list[NewColumn]) -> list[dict[str, Any]]:
    """The rules over all rows of a slice: a key comes once, the latest row of it is taken."""
    latest = next((column.name for column in columns if column.kind == "updated"), "_line")
    return [as_rule("KEY_DUPLICATE", "error", {"check": UNIQUE_KEY, "latest": latest})]


def parse_columns(text: str) -> list[NewColumn]:
    """Reads NAME:KIND with commas between; (A|B) after `code` is its closed list, ? at the end: may be missing.

    Raises UserError for anything else, a name or kind that cannot be, no key, and several columns of a kind that a feed
    has one of.
    """
    columns = [_column(part.strip()) for part in text.split(",")]
    for kind, least in (("key", 1), ("branch", 0), ("updated", 0), ("nik", 0)):
        named = [column.name for column in columns if column.kind == kind]
        if not least <= len(named) <= 1:
            problem = f"columns {', '.join(named)} are all of kind {kind}" if named else f"no column is of kind {kind}"
            raise UserError(problem, f"let one column be of kind {kind}")
    seen: set[str] = set()
    for column in columns:
        if column.name in seen:
            raise UserError(f"column {column.name} is there twice", "give each column a name of its own")
        seen.add(column.name)
    return columns


def _column(part: str) -> NewColumn:
    found = _WRITTEN.fullmatch(part)
    if found is None:
        raise UserError(
            f"{part!r} is no column", "write NAME:KIND, like id:key,tanggal:date,jenis:code(A|B),nama:name?"
        )
    name, kind, codes = found["name"], found["kind"], found["codes"]
    if not _NAME.fullmatch(name):
        raise UserError(f"{name!r} is no name of a column", "use a to z, 0 to 9 and _, 40 at most, a letter first")
    if name in _TAKEN or name in RESERVED_WORDS:
        raise UserError(f"a column cannot be called {name}: it means something else already", "choose another name")
    if kind not in KINDS:
        raise UserError(f"column {name} is of the unknown kind {kind!r}", f"kinds are: {', '.join(KINDS)}")
    listed = tuple(code.strip() for code in codes.split("|")) if codes is not None else ()
    if codes is not None:
        _check_codes(name, kind, listed)
    if found["optional"] and kind in ("key", "branch", "updated"):
        raise UserError(f"column {name} of kind {kind} cannot be missing", "leave out the question mark")
    return NewColumn(name, kind, not found["optional"], listed)


def _check_codes(column: str, kind: str, codes: tuple[str, ...]) -> None:
    """Raises UserError for a closed list that a column cannot have."""
    if kind != "code":
        raise UserError(f"column {column} of kind {kind} has a list of codes", "only kind code has one: code(A|B)")
    for place, code in enumerate(codes):
        if not _CODE.fullmatch(code):
            raise UserError(
                f"column {column}: {code!r} cannot be a code",
                "use A to Z, 0 to 9 and _, 20 at most, a letter first, with | between codes: code(A|B)",
            )
        if code in codes[:place]:
            raise UserError(f"column {column} lists the code {code} twice", "list each once")
