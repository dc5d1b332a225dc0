"""Who changes slices or quarantined rows by hand, and why: it is kept with them."""

from dataclasses import dataclass
from typing import Any

from kkbc.core.errors import UserError


@dataclass(frozen=True)
class AuditNote:
    """Who retries, resolves or re-reads, and why. `run_id` is the run of Airflow that it is part of."""

    why: str
    done_by: str
    run_id: str | None = None

    def __post_init__(self) -> None:
        """Raises UserError when no reason is given."""
        if not self.why.strip():
            raise UserError("no reason is given", "say why in a few words: it is kept on record")

    def parameters(self) -> dict[str, Any]:
        """The note as parameters of SQL."""
        return {"why": self.why.strip(), "done_by": self.done_by, "run_id": self.run_id}
