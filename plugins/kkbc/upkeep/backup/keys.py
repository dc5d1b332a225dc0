"""The keys of a home in a place of their own, never among the backups that they would open."""

import shutil
from collections.abc import Iterable
from pathlib import Path

from kkbc.core import tokens
from kkbc.core.errors import UserError
from kkbc.core.files import replacing
from kkbc.core.settings import get_settings


def check_apart(place: Path, others: Iterable[str]) -> None:
    """Raises UserError when keys would lie in one tree with what they open, or that in theirs."""
    own = place.expanduser().resolve()
    for other in others:
        if "://" in other and not other.startswith("file://"):
            continue
        tree = Path(other.removeprefix("file://")).expanduser().resolve()
        if own.is_relative_to(tree) or tree.is_relative_to(own):
            raise UserError(
                f"the keys in {own} would lie in one tree with {tree}", "name a folder elsewhere, --keys-to"
            )


def keep(place: Path) -> list[str]:
    """Copies the key files of the home, each with mode 0600; returns their names."""
    folder = get_settings().keys
    names = sorted(path.name for path in folder.glob("*") if path.is_file() and not path.name.startswith("."))
    if not names:
        raise UserError(f"there are no keys in {folder}", "leave --keys-to out")
    place.mkdir(parents=True, exist_ok=True, mode=0o700)
    place.chmod(0o700)
    for name in names:
        _copy(folder / name, place / name)
    return names


def check(place: Path, fingerprint: str | None) -> None:
    """Raises UserError when the key of the tokens in `place` is not the one that the backup was made under."""
    path = place / tokens.KEY_FILE
    if fingerprint is None:
        return
    try:
        found = tokens.read_key(path.read_text().strip(), str(path)).fingerprint
    except FileNotFoundError as error:
        raise UserError(f"{path} is missing", "name the folder that `kkbc backup --keys-to` wrote") from error
    if found != fingerprint:
        raise UserError(f"the key in {path} is not the one that this backup was made under", "bring the right one")


def bring_back(place: Path) -> None:
    """Copies the key files into the home."""
    folder = get_settings().keys
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    for path in sorted(place.iterdir()):
        if path.is_file():
            _copy(path, folder / path.name)


def _copy(source: Path, target: Path) -> None:
    with replacing(target, private=True) as made:
        shutil.copyfile(source, made)
