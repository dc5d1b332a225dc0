"""The policy: what is kept for how long, from `config/maintenance.yml`."""

from typing import Annotated

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from kkbc.errors import UserError
from kkbc.settings import get_settings

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
    compact: Annotated[int, Field(ge=1)]
    logs: Annotated[int, Field(ge=2)]


def load_policy() -> Policy:
    """The policy as the file has it now. Raises UserError naming what is wrong in it."""
    path = get_settings().maintenance
    try:
        return Policy.model_validate(yaml.safe_load(path.read_text(encoding="utf-8")))
    except OSError as error:
        raise UserError(f"{path} cannot be read", "restore it, or name another one by KKBC_MAINTENANCE") from error
    except yaml.YAMLError as error:
        raise UserError(f"{path} is no YAML", "mend it: indentation, quotes, colons") from error
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(map(str, first["loc"])) or "the file"
        raise UserError(f"{place} of {path} is not valid: {first['msg']}", "mend it") from error
