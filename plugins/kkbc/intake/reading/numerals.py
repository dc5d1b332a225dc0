"""Numbers that come as numbers, written so that nobody takes a decimal sign for grouping (Exchange rule 16)."""

from decimal import Decimal, InvalidOperation

MIN_DECIMALS = 4
_LONGEST = 40


def amount(literal: str) -> str:
    """The number `literal` for an amount or count: whole ones without decimals, others with at least four.

    Three decimals would read as grouping, `1500.123` as 1,500,123. A number out of all proportion stays as it is.
    """
    try:
        number = Decimal(literal)
    except InvalidOperation:  # an exponent that no computer holds
        return literal
    if not number.is_finite() or abs(number.adjusted()) > _LONGEST:
        return literal
    if number == number.to_integral_value():
        return f"{number.to_integral_value():f}"
    whole, _, decimals = f"{number:f}".partition(".")
    return f"{whole}.{decimals.ljust(MIN_DECIMALS, '0')}"
