"""Numbers, rupiah and dates as Indonesians write them; a dash for what is not known."""

from collections.abc import Iterable
from datetime import date

DASH = "–"
# A blank at which no line ends.
HARD = "\u00a0"
MONTHS = (
    *("Januari", "Februari", "Maret", "April", "Mei", "Juni"),
    *("Juli", "Agustus", "September", "Oktober", "November", "Desember"),
)
SHORT_MONTHS = ("Jan", "Feb", "Mar", "Apr", "Mei", "Jun", "Jul", "Agt", "Sep", "Okt", "Nov", "Des")
DAYS = ("Senin", "Selasa", "Rabu", "Kamis", "Jumat", "Sabtu", "Minggu")
_SCALES = ((1e12, "triliun"), (1e9, "miliar"), (1e6, "juta"))
_SWAP = str.maketrans(",.", ".,")


def number(value: float | None, decimals: int = 0) -> str:
    """1.234.567 or, with decimals, 1.234,5."""
    if value is None:
        return DASH
    return f"{value + 0.0:,.{decimals}f}".translate(_SWAP).replace("-", "−")


def short(value: float | None) -> str:
    """A number in few characters: 950, 12.345, 1,23 juta."""
    if value is None:
        return DASH
    for scale, name in _SCALES:
        if abs(value) >= scale:
            return f"{number(value / scale, 2 if abs(value) < 100 * scale else 1)}{HARD}{name}"
    return number(value)


def rupiah(value: float | None) -> str:
    """Rp12.345, Rp1,23 miliar."""
    return DASH if value is None else f"Rp{short(value)}"


def percent(share: float | None, decimals: int = 1) -> str:
    """A share as percent: 12,3 %."""
    return DASH if share is None else f"{number(100 * share, decimals)}{HARD}%"


def change(now: float | None, before: float | None) -> str:
    """How a figure changed: naik 2,1 %, turun 0,4 %, tetap; nothing to compare with gives a dash."""
    ratio = growth(now, before)
    if ratio is None:
        return DASH
    if abs(ratio) < 0.0005:
        return "tetap"
    return f"{'naik' if ratio > 0 else 'turun'}{HARD}{percent(abs(ratio))}"


def growth(now: float | None, before: float | None) -> float | None:
    """The relative change; None when there is nothing to compare with."""
    return None if now is None or not before else now / before - 1


def day(value: date | None) -> str:
    """5 Desember 2026."""
    return DASH if value is None else f"{value.day} {MONTHS[value.month - 1]} {value.year}"


def since(first: date, last: date) -> str:
    """16 Des sampai 18 Des; one day alone: 18 Des."""
    return short_day(last) if first == last else f"{short_day(first)} sampai {short_day(last)}"


def weekday(value: date) -> str:
    """Sabtu, 5 Desember 2026."""
    return f"{DAYS[value.weekday()]}, {day(value)}"


def short_day(value: date | None) -> str:
    """5 Des."""
    return DASH if value is None else f"{value.day} {SHORT_MONTHS[value.month - 1]}"


def month(value: date) -> str:
    """Desember 2026."""
    return f"{MONTHS[value.month - 1]} {value.year}"


def short_month(value: date) -> str:
    """Des 26."""
    return f"{SHORT_MONTHS[value.month - 1]} {value.year % 100:02}"


def listing(names: Iterable[str], limit: int = 12) -> str:
    """Names with commas between; of many the first ones, and how many more there are."""
    all_names = list(names)
    more = f", dan {number(len(all_names) - limit)} lagi" if len(all_names) > limit else ""
    return ", ".join(all_names[:limit]) + more


def sentence(text: str) -> str:
    """The text with a capital at its beginning, all else as it is."""
    return text[:1].upper() + text[1:]
