"""The valid spellings: every way in which a branch may write a value, and the fashion that each branch keeps to."""

from dataclasses import dataclass, replace
from datetime import date, datetime, timedelta
from random import Random

from kkbc_play.simulator.reference import Branch
from kkbc_play.simulator.rows import COLUMNS, Kind, Value

_EPOCH = datetime(1970, 1, 1)
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "Mei", "Jun", "Jul", "Agu", "Sep", "Okt", "Nov", "Des")
_OTHER_MONTHS = {8: ("Agt", "Ags"), 9: ("Sept",), 11: ("Nop",)}
_FULL_MONTHS = (
    *("Januari", "Februari", "Maret", "April", "Mei", "Juni"),
    *("Juli", "Agustus", "September", "Oktober", "November", "Desember"),
)
MISSING = ("", "-", "NULL", "nan", "N/A", "null", "NaN", "n/a", "  ")
DATE_FASHIONS = ("iso", "slash", "dash", "dot", "words")
AMOUNT_FASHIONS = ("plain", "dots", "commas", "rupiah", "rp", "float")
PHONE_FASHIONS = ("0", "62", "+62", "bare")
FORMATS = ("csv", "csv.gz", "xlsx", "jsonl", "jsonl.gz")
# Optional columns that a branch's program may lack; no figure hangs on the first ones, e-mail counts as a contact.
_DROPPABLE = {
    "pendaftaran": ("tempat_lahir", "kode_pos", "lokasi_pekerjaan", "jam_awal", "jam_akhir", "email", "kpj"),
    "iuran": (),
    "kegiatan": ("lokasi", "stasiun_radio", "sasaran_pekerjaan"),
}


@dataclass(frozen=True)
class Fashion:
    """How values are written: dates, amounts, phones, missing ones, and whether Excel's apostrophe is there."""

    dates: str
    amounts: str
    phones: str
    missing: str
    apostrophe: bool = False
    separator: str = " "
    numeric: bool = True


@dataclass(frozen=True)
class Profile:
    """How a branch's program writes its files; kept from night to night."""

    format: str
    delimiter: str
    encoding: str
    newline: str
    titles: int
    headers: str
    order: int
    extra: tuple[str, ...]
    dropped: frozenset[str]
    utc_hours: int
    fashion: Fashion


def profile_of(branch: Branch, seed: int) -> Profile:
    """The profile of a branch; formats, delimiters and encodings go round, so that every one is met."""
    rng = Random(f"{seed}/profile/{branch.branch_id}")
    number = int(branch.branch_id[2:])
    dropped = {c for columns in _DROPPABLE.values() for c in columns if rng.random() < 0.06}
    return Profile(
        format=("csv", "csv.gz", "csv", "jsonl", "csv", "xlsx", "csv.gz", "csv", "jsonl.gz", "csv")[number % 10],
        delimiter=(";", ",", "\t", "|")[number // 2 % 4],
        encoding=("utf-8", "utf-8-sig", "cp1252")[number % 3],
        newline=("\n", "\r\n")[number // 3 % 2],
        titles=max(0, rng.randint(-5, 5)),
        headers=rng.choice(("lower", "upper", "title", "dots", "hyphens")),
        order=rng.randint(0, 10**6),
        extra=tuple(rng.sample(("Keterangan", "No", "Versi Aplikasi"), max(0, rng.randint(-2, 2)))),
        dropped=frozenset(dropped),
        utc_hours=branch.utc_hours,
        fashion=Fashion(
            dates=DATE_FASHIONS[number % 5],
            amounts=AMOUNT_FASHIONS[number % 6],
            phones=PHONE_FASHIONS[number % 4],
            missing=("", "", "-", "NULL", "nan", "N/A")[number % 6],
            apostrophe=rng.random() < 0.1,
            separator=rng.choice((" ", "T")),
            numeric=rng.random() < 0.7,
        ),
    )


def columns_of(profile: Profile, feed: str) -> list[str]:
    """The wire columns in the order in which the branch writes them, without those that its program lacks."""
    columns = [c for c in COLUMNS[feed] if c not in profile.dropped]
    if profile.order % 3:
        Random(profile.order).shuffle(columns)
    return columns


def header_of(profile: Profile, column: str) -> str:
    """A column's name as the branch spells it."""
    return {
        "lower": column,
        "upper": column.upper(),
        "title": column.replace("_", " ").title(),
        "dots": column.replace("_", "."),
        "hyphens": column.replace("_", "-").capitalize(),
    }[profile.headers]


def extra_cell(name: str, number: int) -> str:
    """What stands in an extra column of row `number`."""
    return {"No": str(number), "Versi Aplikasi": "v2.3"}.get(name, "ok" if number % 2 else "")


def vary(rng: Random, fashion: Fashion) -> Fashion:
    """Another fashion, for a row that somebody typed by hand."""
    return replace(
        fashion,
        dates=rng.choice(DATE_FASHIONS),
        amounts=rng.choice(AMOUNT_FASHIONS),
        phones=rng.choice(PHONE_FASHIONS),
        missing=rng.choice(MISSING),
        apostrophe=rng.random() < 0.3,
        separator=rng.choice((" ", "T")),
        numeric=rng.random() < 0.5,
    )


def spell(rng: Random, fashion: Fashion, kind: Kind, value: Value, utc_hours: int, odd: bool) -> str:
    """`value` as text. `odd` lets the cell be written in one of the rarer valid ways (spaces, offsets, lower case)."""
    if value is None:
        return fashion.missing
    match kind:
        case Kind.MOMENT:
            assert isinstance(value, int)
            return _moment(rng, fashion, value, utc_hours, odd)
        case Kind.DATE:
            assert isinstance(value, date)
            return _date(rng, fashion.dates, value, odd)
        case Kind.IDR:
            assert isinstance(value, int)
            return _amount(fashion.amounts, value)
        case Kind.INT:
            return f"{value}.0" if odd and rng.random() < 0.3 else str(value)
        case Kind.PHONE:
            return _phone(rng, fashion.phones, str(value))
        case Kind.CODE:
            return f" {str(value).lower()} " if odd and rng.random() < 0.5 else str(value)
        case Kind.DISTRICT:
            text = str(value)
            return f"{text[:2]}.{text[2:4]}.{text[4:]}" if odd and len(text) == 6 else text
        case Kind.NIK | Kind.KEY:
            return f"'{value}" if fashion.apostrophe else f" {value} " if odd and rng.random() < 0.3 else str(value)
        case _:
            return str(value)


def local(moment: int, utc_hours: int) -> datetime:
    """The wall clock at the branch."""
    return _EPOCH + timedelta(seconds=moment + utc_hours * 3600)


def _date(rng: Random, fashion: str, day: date, odd: bool) -> str:
    match fashion:
        case "iso":
            return f"{day.year:04d}-{day.month:02d}-{day.day:02d}"
        case "slash":
            return f"{day.day:02d}/{day.month:02d}/{day.year:04d}"
        case "dash":
            return f"{day.day:02d}-{day.month:02d}-{day.year:04d}"
        case "dot":
            return f"{day.day:02d}.{day.month:02d}.{day.year:04d}"
        case _:
            month = _MONTHS[day.month - 1]
            if odd:
                month = rng.choice((month, _FULL_MONTHS[day.month - 1], *_OTHER_MONTHS.get(day.month, ())))
            return f"{day.day} {month.upper() if odd else month} {day.year:04d}"


def _moment(rng: Random, fashion: Fashion, moment: int, utc_hours: int, odd: bool) -> str:
    hours, offset = utc_hours, ""
    if odd and rng.random() < 0.3:
        hours = rng.choice((0, 7, utc_hours))
        offset = f"+{hours:02d}:00" if rng.random() < 0.5 else f"+{hours:02d}00" if hours else "Z"
    wall = local(moment, hours)
    day = _date(rng, fashion.dates, wall.date(), odd)
    if odd and not offset and wall.hour == wall.minute == wall.second == 0:
        return day
    clock = f"{wall.hour:02d}:{wall.minute:02d}"
    if wall.second or not odd:
        clock += f":{wall.second:02d}"
        if odd and rng.random() < 0.3:
            clock += rng.choice((".0", ".000"))
    return f"{day}{fashion.separator}{clock}{offset}"


def _amount(fashion: str, value: int) -> str:
    if value < 0:
        return str(value)
    match fashion:
        case "dots":
            return f"{value:,}".replace(",", ".")
        case "commas":
            return f"{value:,}"
        case "rupiah":
            return "Rp" + f"{value:,}".replace(",", ".") + ",00"
        case "rp":
            return "Rp " + f"{value:,}".replace(",", ".")
        case "float":
            return f"{value}.0"
        case _:
            return str(value)


def _phone(rng: Random, fashion: str, number: str) -> str:
    match fashion:
        case "0":
            return f"0{number}"
        case "62":
            return f"62{number}"
        case "+62":
            return f"+62 {number[:3]}-{number[3:7]}-{number[7:]}" if rng.random() < 0.7 else f"+62{number}"
        case _:
            return number
