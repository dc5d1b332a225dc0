"""The gate's limits: `config/gate.yml`, which the expectations name as parameters."""

import json
from functools import cache
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from kkbc.core.policies import load_policy_file
from kkbc.core.settings import get_settings

Share = Annotated[float, Field(ge=0, le=1)]


class AtOnce(BaseModel):
    """How many branches may be held in one night: the greater of `branches` and `share` of those that sent."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    branches: int = Field(ge=0)
    share: Share

    def of(self, branches: int) -> float:
        """The limit for a night on which `branches` sent something."""
        return max(self.branches, self.share * branches)


class Limits(BaseModel):
    """All limits, validated. parameters: by the name that expectations call them by; leniency: a factor by branch."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    parameters: dict[str, float]
    held_at_once: AtOnce
    leniency: dict[str, Annotated[float, Field(gt=0)]] = {}

    @property
    def leniency_json(self) -> str:
        """The factors as the setting kkbc.leniency of a database session: JSON without blanks."""
        return json.dumps(self.leniency, separators=(",", ":"))


@cache
def load_limits() -> Limits:
    """The limits of this process. Raises UserError naming what is wrong in the file."""
    return load_policy_file(get_settings().gate_limits, Limits, "KKBC_GATE_LIMITS")
