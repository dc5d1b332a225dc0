"""Users of Superset, made from the readers of the warehouse: whoever may see rows has a user of the same name.

Which rows, PostgreSQL decides by that name; the user's role in Superset only lets it open the dashboards.
"""

import hashlib
import json
import secrets
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from kkbc.core.errors import UserError
from kkbc.core.files import write_private
from kkbc.upkeep.dashboards.api import Api

ROLE = "Pembaca"
# No address: it tells the users that were made here from those that an administrator made.
DOMAIN = "@pembaca.invalid"
LONGEST = 64


@dataclass
class Changes:
    """What was done: names by kind. `foreign`: readers whose user somebody else made, and who keeps it as it is."""

    created: list[str] = field(default_factory=list)
    enabled: list[str] = field(default_factory=list)
    disabled: list[str] = field(default_factory=list)
    foreign: list[str] = field(default_factory=list)
    refused: list[str] = field(default_factory=list)


def synchronise(api: Api, readers: Iterable[str], keep_password: Callable[[str, str], None]) -> Changes:
    """Gives each reader a user, and disables the users of those who see nothing any more.

    keep_password: called with name and initial password before the user is made. Users that were not made here stay as
    they are. Raises UserError when the bundle was never imported.
    """
    done = Changes()
    role = _role(api)
    users = {user["username"].casefold(): user for user in api.all("security/users/")}
    wanted = list(dict.fromkeys(readers))
    for reader in wanted:
        user = users.get(reader.casefold())
        if user is not None and user["username"] == reader and user["email"].endswith(DOMAIN):
            if not user["active"]:
                api.call("PUT", f"security/users/{user['id']}", json={"active": True})
                done.enabled.append(reader)
        elif user is not None:
            done.foreign.append(reader)
        elif len(reader) > LONGEST:
            done.refused.append(reader)
        else:
            password = secrets.token_urlsafe(12)
            keep_password(reader, password)
            api.call("POST", "security/users/", json=_new(reader, password, role))
            done.created.append(reader)
    for user in users.values():
        if user["email"].endswith(DOMAIN) and user["active"] and user["username"] not in wanted:
            api.call("PUT", f"security/users/{user['id']}", json={"active": False})
            done.disabled.append(user["username"])
    return done


def _role(api: Api) -> int:
    for role in api.all("security/roles/"):
        if role["name"] == ROLE:
            return int(role["id"])
    raise UserError(f"this Superset has no role {ROLE}", "import the bundle first: `kkbc bi import`")


def _new(reader: str, password: str, role: int) -> dict[str, Any]:
    return {
        "username": reader,
        "first_name": reader,
        "last_name": "-",
        "email": f"{hashlib.sha256(reader.encode()).hexdigest()[:24]}{DOMAIN}",
        "password": password,
        "active": True,
        "roles": [role],
    }


def keeping(path: Path) -> Callable[[str, str], None]:
    """Keeps initial passwords in `path`, mode 0600, beside those that are there."""

    def keep(reader: str, password: str) -> None:
        known = json.loads(path.read_text()) if path.exists() else {}
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        write_private(path, json.dumps(known | {reader: password}, indent=2, ensure_ascii=False) + "\n")

    return keep
