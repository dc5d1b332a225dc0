"""What nobody sees: the blanks of Unicode, and the characters that take no room at all (Exchange rules 14, 28, 36)."""

INVISIBLE = "\u200b\u200c\u200d\u200e\u200f\u2060\ufeff\u00ad"
"""Zero-width spaces, joiners and marks, the word joiner, the byte order mark, the soft hyphen."""

UNSEEN = "".join(character for character in map(chr, range(0x3001)) if character.isspace()) + INVISIBLE
"""What a blank line may hold."""


def is_blank(text: str) -> bool:
    """Whether `text` holds nothing that can be seen."""
    return not text.strip(UNSEEN)
