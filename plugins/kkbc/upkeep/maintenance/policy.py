"""The policy: what is kept for how long, from `config/maintenance.yml`."""

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, model_validator

from kkbc.core.policies import load_policy_file
from kkbc.core.settings import get_settings

# Less would take what the branch board, the status and people on holiday look at.
Days = Annotated[int, Field(ge=35)]


class Policy(BaseModel):
    """Days that things are kept, validated; the file explains each. months_ahead: partitions made ahead."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    months_ahead: Annotated[int, Field(ge=0, le=24)]
    attempts: Days
    steps: Days
    results: Days
    notifications: Days
    superseded: Days
    rejected: Days
    unknown: Annotated[int, Field(ge=2)]
    superseded_rows: Days
    quarantined_rows: Days
    in_force: Days
    quarantine: Days
    vault: Days
    compact: Annotated[int, Field(ge=1)]
    exports: Annotated[int, Field(ge=1)]
    logs: Annotated[int, Field(ge=2)]
    airflow: Days

    @model_validator(mode="after")
    def _landing_goes_first(self) -> "Policy":
        """Landing holds the persons of the vault too; the text of an open quarantined row lies there alone."""
        if self.in_force > self.vault:
            raise ValueError("in_force may not be longer than vault: landing would keep whom the vault lets go")
        if self.quarantine > self.in_force:
            raise ValueError("quarantine may not be longer than in_force: an open row needs the landed file")
        return self


def load_policy() -> Policy:
    """The policy as the file has it now. Raises UserError naming what is wrong in it."""
    return load_policy_file(get_settings().maintenance, Policy, "KKBC_MAINTENANCE")
