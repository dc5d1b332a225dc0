"""Secrets and ports of a world's servers: made at random when first asked for, then kept with the world."""

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from kkbc.core import files
from kkbc.core.errors import UserError
from kkbc.warehouse.server import free_port, port_is_free


class Keyring:
    """The file `path`, mode 0600, of names and their secrets."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._kept: dict[str, str] = read_json(path)

    def get(self, name: str, make: Callable[[], str]) -> str:
        """The secret `name`; `make` gives it when there is none yet."""
        if name not in self._kept:
            self._kept[name] = make()
            write_private(self.path, self._kept)
        return self._kept[name]

    def port(self, name: str) -> int:
        """The port `name`, the one of last time when it is free, so that saved addresses go on working."""
        kept = int(self._kept.get(name, 0))
        if kept and port_is_free(kept):
            return kept
        self._kept[name] = str(free_port())
        write_private(self.path, self._kept)
        return int(self._kept[name])


def read_json(path: Path) -> dict[str, Any]:
    """The JSON object in `path`, empty when there is no such file. Raises UserError for anything else."""
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except ValueError as error:
        raise UserError(f"{path} is no JSON", "fix or remove it") from error
    if not isinstance(document, dict):
        raise UserError(f"{path} is no JSON object", "fix or remove it")
    return document


def write_private(path: Path, document: Mapping[str, Any]) -> None:
    """Writes a JSON file that only its owner may read, whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    files.write_private(path, json.dumps(document, indent=1))
