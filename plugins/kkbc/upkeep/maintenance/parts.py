"""The parts of maintenance by name, and how they are run."""

import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from kkbc.core.errors import UserError
from kkbc.upkeep.maintenance import files, landing, warehouse
from kkbc.upkeep.maintenance.policy import Policy, load_policy

Part = Callable[[Policy, bool], dict[str, int]]

PARTS: dict[str, Part] = {
    "partitions": warehouse.partitions,
    "rows": warehouse.rows,
    "publications": warehouse.publications,
    "persons": warehouse.persons,
    "landing": landing.sweep,
    "compaction": landing.compact,
    "exports": files.exports,
    "logs": files.logs,
    "airflow": warehouse.airflow,
    "analyze": warehouse.analyze,
    "documents": files.documents,
}


@dataclass(frozen=True)
class Done:
    """What one part did, or (`dry_run`) would do, in numbers."""

    part: str
    did: dict[str, int]
    seconds: float
    dry_run: bool = False

    def as_json(self) -> dict[str, Any]:
        """The outcome as JSON values."""
        return asdict(self)


def maintain(only: Sequence[str] = (), *, dry_run: bool = False) -> list[Done]:
    """Runs the parts `only` (empty: all) in their order; with `dry_run` nothing is changed.

    Raises UserError for a part that is none, a policy that is wrong, and whatever keeps a part from its work; the parts
    before it are done then.
    """
    for name in only:
        if name not in PARTS:
            raise UserError(f"unknown part {name!r}", f"parts are: {', '.join(PARTS)}")
    policy, done = load_policy(), []
    for name, part in PARTS.items():
        if not only or name in only:
            began = time.perf_counter()
            did = part(policy, dry_run)
            done.append(Done(name, did, round(time.perf_counter() - began, 2), dry_run))
    return done
