"""Files of limits and policies in `config/`: YAML that a person edits, validated whole before anything goes by it."""

from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import BaseModel, ValidationError

from kkbc.core.errors import UserError

Model = TypeVar("Model", bound=BaseModel)


class UniqueKeyLoader(yaml.CSafeLoader):
    """YAML in which no key comes twice in a mapping; the library's own loader keeps the last and says nothing."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen = set()
        for key_node, _ in node.value:
            key = self.construct_object(key_node, deep=True)
            if key in seen:
                raise yaml.constructor.ConstructorError(None, None, f"key {key!r} comes twice", key_node.start_mark)
            seen.add(key)
        return super().construct_mapping(node, deep)


def load_policy_file(path: Path, model: type[Model], variable: str) -> Model:
    """The file as `model` has it. `variable` is the one by which another file can be named.

    Raises UserError naming the file and what is wrong in it.
    """
    try:
        return model.model_validate(yaml.safe_load(path.read_text(encoding="utf-8")))
    except OSError as error:
        raise UserError(f"{path} cannot be read", f"restore it, or name another one by {variable}") from error
    except yaml.YAMLError as error:
        raise UserError(f"{path} is no YAML", "fix it: indentation, quotes, colons") from error
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(map(str, first["loc"])) or "the file"
        raise UserError(
            f"{place} of {path} is not valid: {first['msg'].removeprefix('Value error, ')}", "fix it"
        ) from error
