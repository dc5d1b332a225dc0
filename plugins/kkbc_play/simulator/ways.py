"""Which branch of a world delivers by which way, and what each way can carry (branch exchange, Ways to deliver)."""

from collections.abc import Sequence
from dataclasses import dataclass
from random import Random
from typing import get_args

from kkbc.core.errors import UserError
from kkbc.exchange.registry import Kind

MIX = "mix"
FILE = "file"
KINDS: tuple[Kind, ...] = get_args(Kind)
TREES = ("file", "sftp", "s3")
"""The ways that carry files; the others carry rows."""

# Of 122 branches; other numbers of branches are shared out alike.
_SHARES: tuple[tuple[Kind, int], ...] = (("file", 40), ("sftp", 30), ("s3", 20), ("http", 20), ("postgres", 12))


@dataclass(frozen=True)
class Carries:
    """The mistakes that a way can carry: those that condemn a whole delivery, and reasons why a slice is refused."""

    whole: tuple[str, ...]
    refused: tuple[str, ...]


_WHOLE = ("SCHEMA_VERSION", "MANIFEST_BRANCH", "MANIFEST_DATE", "NO_JSON", "LISTED_TWICE")
_FILES = Carries(_WHOLE, ("CHECKSUM", "FILE_MISSING", "UNREADABLE", "HEADER", "ROW_COUNT"))
CARRIES: dict[str, Carries] = {
    **dict.fromkeys(TREES, _FILES),
    # No checksum, and a page that is no JSON is a bad line rather than a bad slice.
    "http": Carries(_WHOLE, ("FILE_MISSING", "HEADER", "ROW_COUNT")),
    # The tables are typed and always there; only the announced count can be wrong.
    "postgres": Carries((), ("ROW_COUNT",)),
}


def check_ways(ways: str) -> str:
    """`ways` when it is MIX or a kind; raises UserError for anything else."""
    if ways != MIX and ways not in KINDS:
        raise UserError(f"--ways {ways!r} is no way to deliver", f"give one of {', '.join((MIX, *KINDS))}")
    return ways


def assign(ways: str, branch_ids: Sequence[str], seed: int) -> dict[str, str]:
    """The kind of each branch: all of one kind, or for MIX every kind in its share, drawn by `seed`."""
    if ways != MIX:
        return dict.fromkeys(branch_ids, ways)
    total = sum(share for _, share in _SHARES)
    drawn = Random(f"{seed}/ways").sample(list(branch_ids), len(branch_ids))
    kinds: dict[str, str] = {}
    begin = upto = 0
    for kind, share in _SHARES:
        upto += share
        end = round(upto * len(drawn) / total)
        kinds |= dict.fromkeys(drawn[begin:end], kind)
        begin = end
    return {branch_id: kinds[branch_id] for branch_id in branch_ids}
