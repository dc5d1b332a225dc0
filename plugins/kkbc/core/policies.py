"""Files of limits and policies in `config/`: YAML that a person edits, validated whole before anything goes by it."""

from pathlib import Path
from typing import TypeVar

import yaml
from pydantic import BaseModel, ValidationError

from kkbc.core.errors import UserError

Model = TypeVar("Model", bound=BaseModel)


def load_policy_file(path: Path, model: type[Model], variable: str) -> Model:
    """The file as `model` has it. `variable` is the one by which another file can be named.

    Raises UserError naming the file and what is wrong in it.
    """
    try:
        return model.model_validate(yaml.safe_load(path.read_text(encoding="utf-8")))
    except OSError as error:
        raise UserError(f"{path} cannot be read", f"restore it, or name another one by {variable}") from error
    except yaml.YAMLError as error:
        raise UserError(f"{path} is no YAML", "mend it: indentation, quotes, colons") from error
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(map(str, first["loc"])) or "the file"
        raise UserError(
            f"{place} of {path} is not valid: {first['msg'].removeprefix('Value error, ')}", "mend it"
        ) from error
