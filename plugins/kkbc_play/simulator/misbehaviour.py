"""What single branches do wrong on purpose, besides the play: listed in `<world>/misbehave.yml`, and in force at once.

down, hang, slow, half are the line's; checksum, throttled, expired are the servers'; revised, moved are the play's and
take effect overnight, so that the truth knows of them.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import yaml

from kkbc.core.errors import UserError
from kkbc_play.simulator.ways import KINDS

FILE_NAME = "misbehave.yml"
HEAD = """# What branches do wrong. Saved changes hold at once; an empty file heals all. Like:
#   KC010: down          no answer: the line is cut at once      hang            taken up, never answered
#   KC010: slow:2        each answer takes two seconds           half            cut in the middle of a response
#   KC010: checksum      a bit falls over in every file          throttled       every other request is refused
#   KC010: throttled:always                                      expired         a cursor of each slice expires once
#   KC010: expired:always
#   KC010: revised       from the next night on, each delivery is restated a night later
#   KC010: moved:http    from the next night on, the branch delivers by another way
"""

_LINES = frozenset({"sftp", "s3", "http", "postgres"})
_KINDS_OF: dict[str, frozenset[str]] = {
    **dict.fromkeys(("down", "hang", "slow", "half"), _LINES),
    "checksum": frozenset({"sftp", "s3"}),
    "throttled": frozenset({"s3", "http"}),
    "expired": frozenset({"http"}),
    "revised": frozenset(KINDS),
    "moved": frozenset(KINDS),
}
_VALUES = {"throttled": ("", "always"), "expired": ("", "always"), "moved": tuple(KINDS)}


@dataclass(frozen=True)
class Misbehaviour:
    """One branch's: what it does, and how much or where to."""

    name: str
    value: str = ""

    @property
    def seconds(self) -> float:
        """How long each answer of a slow branch takes."""
        return float(self.value or 1)

    @property
    def always(self) -> bool:
        """Whether it goes on however often the other side tries."""
        return self.value == "always"

    def __str__(self) -> str:
        return f"{self.name}:{self.value}" if self.value else self.name


GOOD = Misbehaviour("")


class Sheet:
    """The file of a world, read again whenever it has changed."""

    def __init__(self, world: Path, kinds: Mapping[str, str]) -> None:
        self.path = world / FILE_NAME
        self.kinds = kinds
        self._stamp: tuple[int, int] | None = None
        self._parsed: dict[str, Misbehaviour] = {}

    def of(self, branch_id: str) -> Misbehaviour:
        """What `branch_id` does just now. A line that is not understood counts as none."""
        try:
            status = self.path.stat()
        except FileNotFoundError:
            return GOOD
        stamp = (status.st_mtime_ns, status.st_size)
        if stamp != self._stamp:
            self._stamp, self._parsed = stamp, {}
            for branch, text in _read(self.path).items():
                try:
                    self._parsed |= parse([f"{branch}={text}"], self.kinds)
                except UserError:
                    continue
        return self._parsed.get(branch_id, GOOD)


def parse(texts: Iterable[str], kinds: Mapping[str, str]) -> dict[str, Misbehaviour]:
    """Reads `KC010=slow:2` and the like, for branches that deliver as `kinds` say. Raises UserError for what is not."""
    found = {}
    for text in texts:
        branch_id, _, rest = text.partition("=")
        name, _, value = rest.partition(":")
        if branch_id not in kinds or name not in _KINDS_OF:
            known = ", ".join(_KINDS_OF)
            raise UserError(f"--misbehave {text!r} is not understood", f"write BRANCH=HOW like KC010=down, of {known}")
        if kinds[branch_id] not in _KINDS_OF[name]:
            able = ", ".join(kind for kind in KINDS if kind in _KINDS_OF[name])
            raise UserError(
                f"{branch_id} delivers by {kinds[branch_id]}, where {name} means nothing",
                f"{name} is for branches of kind {able}",
            )
        if not _is_valid(name, value):
            values = ", ".join(filter(None, _VALUES.get(name, ())))
            raise UserError(
                f"--misbehave {text!r}: {name} takes no such value",
                f"like {name}:2" if name == "slow" else f"one of {values}" if values else f"{name} takes none",
            )
        found[branch_id] = Misbehaviour(name, value)
    return found


def read(world: Path, kinds: Mapping[str, str]) -> dict[str, Misbehaviour]:
    """All misbehaviour of `world`. Raises UserError for a line that is not understood."""
    path = world / FILE_NAME
    return parse([f"{branch}={text}" for branch, text in _read(path).items()], kinds) if path.is_file() else {}


def add(world: Path, texts: Iterable[str], kinds: Mapping[str, str]) -> None:
    """Adds `texts` to the misbehaviour of `world`. Raises UserError for one that is not understood."""
    found = {**read(world, kinds), **parse(texts, kinds)}
    lines = "".join(f"{branch_id}: {how}\n" for branch_id, how in sorted(found.items()))
    fresh = world / f"{FILE_NAME}.new"
    fresh.write_text(HEAD + lines, encoding="utf-8")
    fresh.replace(world / FILE_NAME)


def _is_valid(name: str, value: str) -> bool:
    if name == "slow":
        return value == "" or (value.replace(".", "", 1).isdecimal() and float(value) > 0)
    return value in _VALUES.get(name, ("",))


def _read(path: Path) -> dict[str, str]:
    try:
        document = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, yaml.YAMLError):
        return {}
    return {str(branch): str(how) for branch, how in document.items()} if isinstance(document, dict) else {}
