"""What is known of landed files that were rewritten without persons: the hashes from one state to the next."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace


@dataclass(frozen=True)
class Rewritten:
    """A landed file before and after it was rewritten without persons; `uri` is its folder, `name` as it is reported.

    lines: data rows that are tombstones since, ascending. freed: rows that had lost their key to one of these (Exchange
    rule 3) and are accepted since. emptied: it could not be read as rows, and is an empty file since.
    """

    uri: str
    name: str
    old_sha256: str
    old_bytes: int
    new_sha256: str
    new_bytes: int
    lines: tuple[int, ...] = ()
    freed: tuple[int, ...] = ()
    emptied: bool = False

    def after(self, earlier: "Rewritten") -> "Rewritten":
        """This one and the one before it as one."""
        return replace(
            self,
            old_sha256=earlier.old_sha256,
            old_bytes=earlier.old_bytes,
            lines=tuple(sorted({*earlier.lines, *self.lines})),
            freed=tuple(sorted({*earlier.freed, *self.freed} - set(self.lines))),
            emptied=earlier.emptied or self.emptied,
        )


@dataclass(frozen=True)
class Journal:
    """All rewrites of one landed file, the oldest first. It is kept next to the file, and names no person."""

    entries: tuple[Rewritten, ...] = ()

    def with_entry(self, entry: Rewritten) -> "Journal":
        """With one more; it takes the place of one of the same two states."""
        states = (entry.old_sha256, entry.new_sha256)
        return Journal((*(e for e in self.entries if (e.old_sha256, e.new_sha256) != states), entry))

    def chain(self, sha256: str, since: str | None = None) -> Rewritten | None:
        """The rewrites that led to the state `sha256`, from the state `since` (None: the first) on, as one.

        None when there was no rewrite between them, or `since` is no state before it.
        """
        made: Rewritten | None = None
        seen = {sha256}
        state = sha256
        while state != since and (entry := next((e for e in reversed(self.entries) if e.new_sha256 == state), None)):
            made = entry if made is None else made.after(entry)
            state = entry.old_sha256
            if state in seen:
                break
            seen.add(state)
        return made if since in (None, state) else None

    def as_json(self) -> str:
        """The text that is kept."""
        return json.dumps([asdict(entry) for entry in self.entries], indent=1)

    @classmethod
    def of(cls, text: str) -> "Journal":
        """The journal with this text."""
        return cls(tuple(_entry(said) for said in json.loads(text)))


def _entry(said: dict[str, object]) -> Rewritten:
    lists = {name: tuple(value) for name, value in said.items() if isinstance(value, Sequence) and name in _LISTS}
    return Rewritten(**{**said, **lists})  # type: ignore[arg-type]


_LISTS = ("lines", "freed")
