"""Connections to the warehouse: one URI, and for each step the role that it needs and no more."""

from typing import Any, Literal
from urllib.parse import quote

import psycopg
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from kkbc.core.errors import UserError
from kkbc.core.settings import get_settings
from kkbc.exchange.masking import without_values
from kkbc.warehouse import server

Role = Literal["loader", "transformer", "auditor", "publisher", "analyst", "bi", "branch_bi", "pii"]

DATABASE = "kkbc"
_FREE_SPACE = "free space for the folder pg of the home, start the server (`kkbc migrate`, `make up`), then do it again"


def conninfo(role: Role | None = None) -> str:
    """The libpq connection string of the warehouse, acting as `role` (None: as the login itself), times in UTC.

    Raises UserError when no server is configured and the embedded one is not running.
    """
    settings = get_settings()
    base = settings.database_url
    if not base:
        running = server.find(settings.home)
        if running is None:
            if server.met_full_disk(settings.home, since_ready=True):
                raise UserError(f"the embedded PostgreSQL of {settings.home} stopped: its disk is full", _FREE_SPACE)
            raise UserError(f"the embedded PostgreSQL of {settings.home} is not running", "start it with `make up`")
        base = running.conninfo(DATABASE)
    try:
        given = conninfo_to_dict(base).get("options") or ""
    except psycopg.ProgrammingError as error:
        raise UserError(
            "KKBC_DATABASE_URL is no PostgreSQL connection URI", "it looks like postgresql://host/db"
        ) from error
    options = [str(given), "-c timezone=UTC"]
    if role is not None:
        options.append(f"-c role={role}")
    return make_conninfo(base, options=" ".join(filter(None, options)), application_name=f"kkbc {role or 'admin'}")


class _Discreet(psycopg.Cursor[Any]):
    """A cursor whose errors quote no value: PostgreSQL names keys and whole rows, which logs would show."""

    def execute(self, *args: Any, **kwargs: Any) -> "_Discreet":
        """As psycopg.Cursor does."""
        try:
            return super().execute(*args, **kwargs)
        except psycopg.Error as error:
            raise _discreet(error) from None

    def executemany(self, *args: Any, **kwargs: Any) -> None:
        """As psycopg.Cursor does."""
        try:
            super().executemany(*args, **kwargs)
        except psycopg.Error as error:
            raise _discreet(error) from None


def _discreet(error: psycopg.Error) -> psycopg.Error:
    """The same error, of whose text the first line is left, without values."""
    error.args = (without_values(str(error)),)
    return error


def connect(role: Role | None = None, *, autocommit: bool = False) -> psycopg.Connection:
    """Opens a connection that acts as `role`.

    Raises UserError when the server cannot be reached or lets us not in; the message names host and database.
    """
    info = conninfo(role)
    try:
        return psycopg.connect(info, autocommit=autocommit, connect_timeout=10, cursor_factory=_Discreet)
    except psycopg.OperationalError as error:
        parts = conninfo_to_dict(info)
        place = f"{parts.get('host', 'localhost')}:{parts.get('port', 5432)}/{parts.get('dbname', '')}"
        cause = str(error).strip().splitlines()[-1].strip()
        remedy = "check KKBC_DATABASE_URL, the server and its logins; `kkbc doctor` tells more"
        if "permission denied to set role" in cause:
            remedy = "let the owner of the database run `kkbc migrate`, or grant it the roles of the warehouse"
        if "role" in cause and "does not exist" in cause:
            remedy = "the database was not migrated: run `kkbc migrate`"
        if "No space left on device" in cause:
            remedy = "free space on its disk, then run the night again"
        raise UserError(f"cannot connect to PostgreSQL at {place}: {cause}", remedy) from error


def as_user_error(error: psycopg.OperationalError) -> UserError:
    """The error that a person sees of a server that could not go on, though nobody asked it for anything wrong."""
    if isinstance(error, psycopg.errors.DiskFull):
        return UserError("the disk of the warehouse is full", "free space there, then run the night again")
    settings = get_settings()
    # Where the disk of its log (WAL) is full the server ends itself, and all that a client hears is that it is gone.
    if not settings.database_url and server.met_full_disk(settings.home):
        return UserError(
            "the disk of the warehouse is full, and its server broke off; what was not done is not lost", _FREE_SPACE
        )
    cause = (str(error).strip().splitlines() or ["no message"])[0].strip()
    return UserError(f"the warehouse broke off: {cause}", "see to its server, then run the night again")


def explained(error: psycopg.Error) -> UserError | None:
    """The error that a person sees for one of PostgreSQL; None for one that is the program's fault."""
    if isinstance(error, psycopg.errors.UndefinedTable | psycopg.errors.UndefinedColumn):
        return UserError("the warehouse is older than this program", "`kkbc migrate` brings it up to date")
    return as_user_error(error) if isinstance(error, psycopg.OperationalError) else None


def sqlalchemy_url(role: Role | None = None, *, driver: str = "psycopg", database: str | None = None) -> str:
    """The same connection as a SQLAlchemy URL, for Airflow's metadata and for Great Expectations."""
    parts = {k: str(v) for k, v in conninfo_to_dict(conninfo(role)).items() if v is not None}
    user = quote(parts.pop("user", ""), safe="")
    password = parts.pop("password", "")
    login = f"{user}:{quote(password, safe='')}" if password else user
    host, port = parts.pop("host", ""), parts.pop("port", "")
    name = database or parts.pop("dbname", "")
    parts.pop("dbname", None)
    query = {k: v for k, v in parts.items() if k in ("options", "sslmode", "sslrootcert")}
    if host.startswith("/"):
        query = {"host": host, "port": port, **query}
        netloc = f"{login}@"
    else:
        netloc = f"{login}@{host}:{port}" if port else f"{login}@{host}"
    encoded = "&".join(f"{k}={quote(v, safe='')}" for k, v in query.items() if v)
    return f"postgresql+{driver}://{netloc}/{name}" + (f"?{encoded}" if encoded else "")
