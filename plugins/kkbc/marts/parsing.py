"""Parsing: the dbt project as dbt's own manifest, read from the files once for each state of them, then kept.

To parse the project costs more CPU than to build all models of a small night, and nothing in it changes from night to
night.
"""

import hashlib
import logging
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

from kkbc.core.errors import UserError
from kkbc.core.files import replacing
from kkbc.core.settings import get_settings
from kkbc.exchange.masking import without_values
from kkbc.marts import state

# What decides what a parse gives; dbt's logs and targets do not.
PARTS = (*state.PARTS, "semantic")
KEPT = 12

log = logging.getLogger(__name__)


def parsed(project: Path, arguments: list[str], place: Mapping[str, str]) -> Any:
    """The parsed `project` (dbt's Manifest), a new object each time, for dbt writes into what it compiles.

    `place` names the database and the schema that models are for (DBT_DBNAME, DBT_SCHEMA), which dbt writes into every
    node; `arguments` say to dbt where it reads and writes. What was parsed lies in <cache>/dbt, a file for each state
    of the project; parsing takes no variables, so that it serves every night. Raises UserError when it does not parse.
    """
    # Here and not above: it takes a second or more, which the many tasks that only pull need not pay.
    from dbt.cli.main import dbtRunner
    from dbt.contracts.graph.manifest import Manifest
    from dbt.parser.manifest import extended_mashumaro_encoder, extended_mashumuro_decoder

    file = _file(project, place)
    if file.exists():
        try:
            manifest = Manifest.from_msgpack(file.read_bytes(), decoder=extended_mashumuro_decoder)
        except Exception as error:  # whatever a damaged file makes msgpack or dbt raise
            log.warning("parsing the dbt project again, for %s cannot be read: %s", file, type(error).__name__)
        else:
            # The one part of it that this format leaves out.
            manifest.build_flat_graph()
            return manifest
    # All of it, for this is another state of the project: dbt takes a description that moved from file to file for two.
    outcome = dbtRunner().invoke(["parse", "--no-partial-parse", *arguments])
    if outcome.exception is not None or outcome.result is None:
        raise unable("its project", outcome.exception)
    _keep(file, outcome.result.to_msgpack(extended_mashumaro_encoder))
    return outcome.result


def kept(project: Path, place: Mapping[str, str]) -> bool:
    """Whether `parsed` would have nothing to parse."""
    return _file(project, place).exists()


def unable(what: str, failure: BaseException | None) -> UserError:
    """The error that says why dbt could not build `what`."""
    return UserError(f"dbt could not build {what}: {cause(str(failure))}", "fix dbt_project, or the connection")


def cause(message: str) -> str:
    """The line of a dbt message that says what is wrong; later ones may hold rows, the first may but name the model."""
    lines = [line.strip() for line in message.splitlines() if line.strip()]
    plain = [line for line in lines if not line.endswith(")") or " Error in " not in line]
    return without_values((plain or lines or ["no message"])[0])


def _file(project: Path, place: Mapping[str, str]) -> Path:
    """Where the parse of the project's present state is kept."""
    return get_settings().cache / "dbt" / f"{_digest(project, place)}.msgpack"


def _digest(project: Path, place: Mapping[str, str]) -> str:
    """Digest of all that a parse depends on."""
    made = hashlib.sha256(f"{version('dbt-core')} {version('dbt-postgres')}".encode())
    for name in ("DBT_DBNAME", "DBT_SCHEMA"):
        made.update(place[name].encode() + b"\0")
    paths = [path for part in PARTS for path in (project / part).rglob("*") if path.is_file()]
    made.update(state.digest(project, [*paths, project / "profiles.yml", project / ".dbtignore"]).encode())
    return made.hexdigest()


def _keep(file: Path, content: bytes) -> None:
    """Writes the file whole or not at all, and removes the oldest ones."""
    file.parent.mkdir(parents=True, exist_ok=True)
    with replacing(file, private=True) as made:
        made.write_bytes(content)
    kept = sorted(file.parent.glob("*.msgpack"), key=lambda path: path.stat().st_mtime, reverse=True)
    for path in kept[KEPT:]:
        path.unlink(missing_ok=True)
