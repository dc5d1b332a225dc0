"""Which spellings of a value are one and the same."""

import pytest

from kkbc.core.needles import same_text


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("+6281234567890", "0812-3456-7890"),
        ("62 812 3456 7890", "(0812) 34567890"),
        ("Orang Contoh", "ORANG  CONTOH"),
        ("orang.contoh@example.com", "Orang.Contoh@Example.com"),
    ],
)
def test_spellings_of_one_value(one: str, other: str) -> None:
    assert same_text(one) == same_text(other)


@pytest.mark.parametrize(("one", "other"), [("081234567890", "081234567891"), ("Orang Contoh", "Orang Contoha")])
def test_different_values(one: str, other: str) -> None:
    assert same_text(one) != same_text(other)
