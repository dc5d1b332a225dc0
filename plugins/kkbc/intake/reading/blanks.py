"""What nobody sees: the blanks of Unicode, and the characters that take no room at all (Exchange rules 14, 28, 36)."""

from kkbc.intake.spreadsheets.sheet import INVISIBLE

__all__ = ["INVISIBLE", "UNSEEN", "is_blank"]

UNSEEN = "".join(character for character in map(chr, range(0x3001)) if character.isspace()) + INVISIBLE
"""What a blank line may hold."""


def is_blank(text: str) -> bool:
    """Whether `text` holds nothing that can be seen."""
    return not text.strip(UNSEEN)
