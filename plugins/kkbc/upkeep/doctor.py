"""Doctor: what an installation needs, looked at piece by piece; each finding that is not well says what fixes it."""

import os
import re
import shutil
import sys
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import asdict, dataclass
from importlib import metadata
from pathlib import Path
from typing import Literal

import psycopg
from alembic.config import Config
from alembic.script import ScriptDirectory
from packaging.markers import Marker
from packaging.utils import canonicalize_name

from kkbc.core import landing_keys, tokens
from kkbc.core.errors import UserError
from kkbc.core.extensions import extensions
from kkbc.core.home import OTHERS, open_to_others
from kkbc.core.settings import PROJECT_ROOT, get_settings
from kkbc.exchange.contracts import feeds, load_contract
from kkbc.exchange.offices import check_offices
from kkbc.exchange.registry import load_registry
from kkbc.gate.limits import load_limits
from kkbc.intake.validation import check_contract
from kkbc.reporting import page_of
from kkbc.upkeep.maintenance.policy import load_policy
from kkbc.warehouse import access, access_record, connect, kept, server
from kkbc.warehouse.kept import landing_key_ids
from kkbc.warehouse.schema import MIGRATIONS

LOCK = PROJECT_ROOT / "requirements.lock"
PYTHONS = ((3, 11), (3, 14))
# A night of the whole network at national scale lands about one gigabyte, and builds as much again.
DISK_WARN = 10 * 1024**3
DISK_FAIL = 2 * 1024**3
START = "`make up` starts it"
WIDE_NAMED = 8


@dataclass(frozen=True)
class Finding:
    """What one look found. `remedy` is empty when there is nothing to fix."""

    name: str
    state: Literal["ok", "warn", "fail"]
    found: str
    remedy: str = ""

    def as_json(self) -> dict[str, str]:
        """The finding as JSON values."""
        return asdict(self)


def examine() -> list[Finding]:
    """Looks at everything; a look that cannot be taken because of a user's mistake is a failed one.

    Raises UserError only when the settings themselves are wrong, for then there is no telling what to look at.
    """
    get_settings()
    return [finding for name, look in (_LOOKS | extensions("kkbc.doctor")).items() for finding in _take(name, look)]


def _take(name: str, look: Callable[[], Iterator[Finding]]) -> Iterator[Finding]:
    try:
        yield from look()
    except UserError as error:
        yield Finding(name, "fail", error.problem, error.remedy)


def _python() -> Iterator[Finding]:
    version = ".".join(str(part) for part in sys.version_info[:3])
    if PYTHONS[0] <= sys.version_info[:2] < PYTHONS[1]:
        yield Finding("python", "ok", version)
    else:
        yield Finding("python", "fail", f"{version}, tested are 3.11 to 3.13", "rebuild: make env PYTHON=python3.12")


def _packages() -> Iterator[Finding]:
    """Installed against locked versions, for this platform."""
    if not LOCK.is_file():
        yield Finding("packages", "warn", f"there is no {LOCK} to compare with")
        return
    locked = {}
    for line in LOCK.read_text().splitlines():
        if match := re.match(r"([A-Za-z0-9._-]+)==([^ ;\\]+)(?:\s*;\s*([^\\]+))?", line):
            name, version, marker = match.groups()
            if marker is None or Marker(marker.strip()).evaluate():
                locked[canonicalize_name(name)] = version
    installed = {canonicalize_name(d.metadata["Name"]): d.version for d in metadata.distributions()}
    wrong = [f"{n} {installed.get(n, 'missing')} ≠ {v}" for n, v in sorted(locked.items()) if installed.get(n) != v]
    if wrong:
        shown = ", ".join(wrong[:5]) + (f" and {len(wrong) - 5} more" if len(wrong) > 5 else "")
        yield Finding("packages", "fail", f"not as locked: {shown}", "remove .venv, then `make env`")
    else:
        yield Finding("packages", "ok", f"{len(locked)} as locked")


def _disk() -> Iterator[Finding]:
    home = get_settings().home
    place = next(folder for folder in (home, *home.parents) if folder.exists())
    free = shutil.disk_usage(place).free
    state: Literal["ok", "warn", "fail"] = "fail" if free < DISK_FAIL else "warn" if free < DISK_WARN else "ok"
    remedy = "" if state == "ok" else "free some, or move KKBC_HOME to a larger disk"
    yield Finding("disk", state, f"{free / 1024**3:.1f} GB free at {place}", remedy)


def _folders() -> Iterator[Finding]:
    """The home can be written, and what is private in it is closed to others."""
    settings = get_settings()
    if not settings.home.is_dir():
        yield Finding("home", "warn", f"{settings.home} does not exist yet", "`make up` makes it")
        return
    if not os.access(settings.home, os.W_OK | os.X_OK):
        yield Finding("home", "fail", f"{settings.home} cannot be written", f"chown or chmod {settings.home}")
        return
    private = [*settings.keys.glob("*"), *(settings.home / "airflow").glob("*.*")]
    if "://" not in settings.landing:
        private.append(Path(settings.landing))
    wide = dict.fromkeys(open_to_others(settings.home))
    wide |= dict.fromkeys(path for path in private if path.exists() and path.stat().st_mode & OTHERS)
    if wide:
        names = " ".join(str(path) for path in [*wide][:WIDE_NAMED])
        more = f" and {len(wide) - WIDE_NAMED} more" if len(wide) > WIDE_NAMED else ""
        close = f"`kkbc migrate` closes the home; else: chmod go= {names}"
        yield Finding("home", "fail", f"open to other users: {names}{more}", close)
    else:
        yield Finding("home", "ok", str(settings.home))


def _contracts() -> Iterator[Finding]:
    offices = frozenset(branch.branch_id for branch in load_registry().offices)
    for feed in feeds():
        check_contract(load_contract(feed), offices)
    versions = {f"{feed} {load_contract(feed).version}" for feed in feeds()}
    yield Finding("contracts", "ok", ", ".join(sorted(versions)))


def _registry() -> Iterator[Finding]:
    registry = load_registry()
    check_offices(registry)
    offices = registry.offices
    yield Finding("registry", "ok", f"{len(offices)} branch offices")


def _policies() -> Iterator[Finding]:
    """The limits of the gate, and what is kept for how long."""
    settings = get_settings()
    load_limits()
    load_policy()
    yield Finding("policies", "ok", f"{settings.gate_limits.name}, {settings.maintenance.name}")


def _key() -> Iterator[Finding]:
    """The keys are there, closed to others, and those the warehouse was loaded with."""
    settings = get_settings()
    if not (settings.database_url or settings.pii_key_connection or (settings.home / "pg").is_dir()):
        yield Finding("token key", "warn", "not made yet, and nothing was loaded", "`make up` makes it")
        return
    if tokens.load_next_key() is None:
        tokens.load_key()
    unasked = Finding("token key", "warn", "there, but the warehouse cannot be asked whether it is the right one")
    try:
        conn = connect("loader")
    except UserError:
        yield unasked
        return
    with closing(conn):
        try:
            loaded = kept.known(conn, kept.TOKEN_KEY) is not None
            kept.check_key(conn)
        except psycopg.Error:
            yield unasked
            return
    found = "it and the others are those the warehouse was loaded with" if loaded else "there; nothing is loaded yet"
    yield Finding("token key", "ok", found)


def _landing_key() -> Iterator[Finding]:
    """The keys that landing is encrypted under are there, those of earlier files too."""
    name, settings = "landing key", get_settings()
    try:
        with connect("loader") as conn:
            known = landing_key_ids(conn)
    except (UserError, psycopg.Error):
        known = None
    if not settings.landing_encryption and not known:
        found = "not needed: landing_encryption is off" + ("" if known is not None else ", the warehouse not reached")
        yield Finding(name, "ok", found)
        return
    if not known and landing_keys.in_file() and not landing_keys.key_file().exists():
        yield Finding(name, "warn", "not made yet, and nothing is encrypted", "`make up` or `kkbc migrate` makes it")
        return
    keys = landing_keys.load()
    missing = [key_id for key_id in known or [] if key_id not in keys.ids]
    if missing:
        yield Finding(name, "fail", f"{landing_keys.place()} lacks the key {missing[0]}", landing_keys.RESTORE)
    elif len(keys.ids) > 1:
        found = f"{keys.ids[0]}, and {len(keys.ids) - 1} for files of before"
        yield Finding(name, "warn", found, "`kkbc landing rotate-key`, then `kkbc landing drop-key`")
    elif known is None:
        yield Finding(name, "warn", "there, but the warehouse cannot be asked whether it is the right one")
    else:
        yield Finding(
            name, "ok", f"{keys.ids[0]}, new files are {'' if settings.landing_encryption else 'not '}encrypted"
        )


def _warehouse() -> Iterator[Finding]:
    """Reachable, and migrated to the newest schema."""
    settings = get_settings()
    if not settings.database_url and server.find(settings.home) is None:
        yield Finding("warehouse", "warn", f"the embedded PostgreSQL of {settings.home} is not running", START)
        return
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS))
    newest = ScriptDirectory.from_config(config).get_current_head()
    with connect() as conn:
        product = conn.execute("show server_version").fetchone()
        try:
            row = conn.execute("select version_num from public.schema_version").fetchone()
        except psycopg.errors.UndefinedTable:
            row = None
    if row is None or row[0] != newest:
        found = f"schema {row[0]}, newest is {newest}" if row else "the database was never migrated"
        yield Finding("warehouse", "fail", found, "`kkbc migrate`")
    else:
        yield Finding("warehouse", "ok", f"PostgreSQL {product[0] if product else '?'}, schema {newest}")


def _readers() -> Iterator[Finding]:
    """What readers might hold up, in a warehouse that is up to date."""
    settings = get_settings()
    if not settings.database_url and server.find(settings.home) is None:
        yield Finding("readers", "warn", "cannot be looked at while the warehouse is not running", START)
        return
    with connect() as conn:
        try:
            left = access.outstanding(conn)
        except psycopg.errors.UndefinedObject:  # a role, in a database that was never migrated
            yield Finding("readers", "warn", "the database was never migrated", "`kkbc migrate`")
            return
    if left:
        found = f"{len(left)} things are open to them that could hold up a night"
        remedy = "`kkbc reader limits` prints what the server's administrator runs; see docs/security.md"
        yield Finding("readers", "warn", found, remedy)
    else:
        yield Finding("readers", "ok", "limited as docs/security.md says")


def _access_record() -> Iterator[Finding]:
    """Who looked at persons is on record as it was written."""
    settings = get_settings()
    if not settings.database_url and server.find(settings.home) is None:
        yield Finding("access record", "warn", "cannot be looked at while the warehouse is not running", START)
        return
    try:
        with connect("auditor") as conn:
            head = access_record.head(conn)
        faults = access_record.faults()
    except (UserError, psycopg.Error):
        yield Finding("access record", "warn", "the database was never migrated, or not to the newest schema")
        return
    found = f"{head.entries} entries, the last {head.hash or '-'}"
    if faults:
        remedy = "`kkbc access verify` names them; ask who was at work, see docs/runbooks/a-leaver-with-access.md"
        yield Finding("access record", "fail", f"{found}; {len(faults)} places not as written", remedy)
    else:
        yield Finding("access record", "ok", found)


def _report() -> Iterator[Finding]:
    """What is published has its report."""
    settings = get_settings()
    if settings.report_pages == "off":
        yield Finding("report", "ok", "not wanted: report_pages is off")
        return
    try:
        with connect("auditor") as conn:
            row = conn.execute("select as_of from ops.publication_live").fetchone()
    except (UserError, psycopg.Error):
        yield Finding("report", "warn", "cannot be looked at without the warehouse", START)
        return
    if row is None:
        yield Finding("report", "ok", "nothing is published yet")
    elif page_of(row[0]) is None:
        yield Finding(
            "report", "warn", f"there is none of the night of {row[0]}", "`kkbc report` writes it, or says why"
        )
    else:
        yield Finding("report", "ok", f"the night of {row[0]}: {page_of(row[0])}")


_LOOKS: dict[str, Callable[[], Iterator[Finding]]] = {
    "python": _python,
    "packages": _packages,
    "disk": _disk,
    "home": _folders,
    "contracts": _contracts,
    "registry": _registry,
    "policies": _policies,
    "token key": _key,
    "landing key": _landing_key,
    "warehouse": _warehouse,
    "readers": _readers,
    "access record": _access_record,
    "report": _report,
}
