"""docs/security.md and the catalogue of a migrated and published warehouse say the same; so does a server of others."""

from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
from psycopg import sql
from psycopg.conninfo import make_conninfo

from kkbc.core.settings import Settings, get_settings
from kkbc.publishing.sessions import ending_blockers
from kkbc.warehouse import access, connect, migrate, server
from tests.conftest import UNSAFE_BUT_FAST, environment
from tests.databases import as_in_containers
from tests.publishing.conftest import change, marts, publish  # noqa: F401 (a fixture)

from .privileges import in_the_database, on_the_page, table

ROOT = Path(__file__).resolve().parents[2]
ROLES = "| role | login | attributes | member of |"


@pytest.fixture
def limited(marts: None) -> None:  # noqa: F811
    """A published warehouse with a month of partitions, a change of shape that is kept, and its limits."""
    publish()
    change("alter table next.kpi_x add column x int")
    publish()
    with connect() as conn:
        conn.execute("select ops.ensure_partitions('2023-12-01')")
        access.apply(conn, server=True)


def test_every_object_of_the_page_and_of_the_database_is_the_same(limited: None) -> None:
    with connect() as conn:
        rights, owners = in_the_database(conn)
    documented_rights, documented_owners = on_the_page()
    # Tables that dbt and publications make, by the line of their kind.
    made = {
        "next": ("new tables of next", "kpi_x", "fct_y"),
        "bi": ("published tables of bi", "kpi_x", "publication_slice"),
        "bi_detail": ("published tables of bi_detail", "fct_y"),
    }
    for schema, (kind, *names) in made.items():
        line = {role: letters for (name, role), letters in documented_rights.items() if name == kind}
        for shown in (f"table {schema}.{name}" for name in names):
            assert {role: letters for (name, role), letters in rights.items() if name == shown} == line
            assert owners.pop(shown) == documented_owners[kind]
            rights = {place: letters for place, letters in rights.items() if place[0] != shown}
    # What takes publications back, by number. A table that was published keeps its grants, in a schema that is closed.
    for name in [name for name in owners if name.startswith("table bi_kept.d") and name != "table bi_kept.difference"]:
        assert owners.pop(name) == "publisher"
        rights = {place: letters for place, letters in rights.items() if place[0] != name}
    pattern = "published tables of "
    assert owners == {name: owner for name, owner in documented_owners.items() if not name.startswith(pattern)}
    assert rights == {
        place: letters for place, letters in documented_rights.items() if not place[0].startswith(pattern)
    }


def test_partitions_are_nobodys(limited: None) -> None:
    with connect() as conn:
        granted = conn.execute(
            "select oid::regclass::text, relacl from pg_class where relispartition and relkind = 'r'"
        )
        assert {acl for _, acl in granted.fetchall()} == {None}


def test_roles_of_the_page_and_of_the_server_are_the_same(limited: None) -> None:
    with connect() as conn:
        found = conn.execute(
            "select rolname::text, case when rolcanlogin then 'yes' else 'no' end,"
            " concat_ws(' ', case when rolsuper then 'superuser' end, case when rolcreaterole then 'createrole' end,"
            " case when rolcreatedb then 'createdb' end, case when rolreplication then 'replication' end,"
            " case when rolbypassrls then 'bypassrls' end),"
            " coalesce((select string_agg(m.roleid::regrole::text, ' ') from pg_auth_members m where m.member = r.oid),"
            " '')"
            " from pg_roles r where rolname = any(%s)",
            [list(access.CONNECTING)],
        ).fetchall()
    assert sorted(list(row) for row in found) == sorted(table(ROLES))


def test_limits_of_the_page_are_those_of_the_settings_and_the_database(limited: None) -> None:
    settings = Settings.model_fields
    with connect() as conn:
        ((database,),) = conn.execute(
            "select setconfig from pg_db_role_setting where setrole = 0"
            " and setdatabase = (select oid from pg_database where datname = current_database())"
        ).fetchall()
        ((connections,),) = conn.execute("select rolconnlimit from pg_roles where rolname = 'bi'").fetchall()
        context = dict(conn.execute("select name, context from pg_settings").fetchall())
    documented = {}
    for name, setting, default, removable in table("| limit | setting |"):
        limit = name.split()[0]
        if setting:
            assert default.split()[0] == str(settings[setting].default)
        if limit == "connections":
            assert connections == int(default)
            continue
        documented[limit] = default.replace(" ", "")
        assert removable.startswith("yes") == (context[limit] == "user")
    assert dict(entry.split("=") for entry in database) == documented


def test_applying_again_leaves_nothing_to_do(limited: None) -> None:
    with connect() as conn:
        assert access.outstanding(conn) == []


def test_another_figure_is_taken_over(limited: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KKBC_READER_STATEMENT_SECONDS", "7")
    get_settings.cache_clear()
    with connect() as conn:
        (left,) = access.outstanding(conn)
        assert left.statement.endswith("set statement_timeout = '7s'")
        assert access.apply(conn, server=False) == []


# ---------------------------------------------------------------------------------------------------------------------
# A server whose superuser is somebody else, as in containers
# ---------------------------------------------------------------------------------------------------------------------
@pytest.fixture(scope="module")
def foreign(tmp_path_factory: pytest.TempPathFactory) -> Iterator[server.Server]:
    """A server that the first start of the compose stack's PostgreSQL has seen, and whose databases are migrated."""
    home = tmp_path_factory.mktemp("foreign")
    with as_in_containers(home, UNSAFE_BUT_FAST) as (running, login):
        with environment(KKBC_DATABASE_URL=login, KKBC_HOME=str(home)):
            migrate()
        yield running


def owner(running: server.Server) -> str:
    return make_conninfo(running.conninfo("kkbc"), user="kkbc")


@pytest.fixture
def as_owner(foreign: server.Server, home: Path, monkeypatch: pytest.MonkeyPatch) -> server.Server:
    monkeypatch.setenv("KKBC_DATABASE_URL", owner(foreign))
    get_settings.cache_clear()
    return foreign


def test_the_first_start_of_the_containers_leaves_nothing_open(as_owner: server.Server) -> None:
    with connect() as conn:
        assert access.outstanding(conn) == []
        assert conn.execute("select rolsuper from pg_roles where rolname = current_user").fetchone() == (False,)


def test_what_an_administrator_left_open_is_named_and_not_believed_done(as_owner: server.Server) -> None:
    """An owner may revoke neither of these, and PostgreSQL only warns of the attempt."""
    with psycopg.connect(as_owner.conninfo("kkbc"), autocommit=True) as superuser:
        superuser.execute("grant usage on language plpgsql to public; grant connect on database postgres to public")
        with connect() as conn:
            left = access.apply(conn, server=False)
        assert {measure.statement for measure in left} == {
            "revoke usage on language plpgsql from public",
            'revoke CONNECT on database "postgres" from public',
        } | {measure.statement for measure in left if measure.statement.startswith("grant usage on language")}
        for measure in left:
            superuser.execute(sql.SQL(measure.statement))  # type: ignore[arg-type]
        with connect() as conn:
            assert access.outstanding(conn) == []


def test_an_owner_who_is_no_superuser_ends_readers_as_well(as_owner: server.Server) -> None:
    with psycopg.connect(as_owner.conninfo("kkbc"), autocommit=True) as superuser:
        superuser.execute("create role kkbc_test_analyst login in role analyst")
    with connect("publisher") as conn:
        conn.execute("create table bi_detail.kept (a int)")
    login = make_conninfo(as_owner.conninfo("kkbc"), user="kkbc_test_analyst")
    with psycopg.connect(login) as reader, connect("publisher") as conn:
        reader.execute("select from bi_detail.kept")
        with ending_blockers(conn):
            conn.execute("set local lock_timeout = '20s'")
            conn.execute("drop table bi_detail.kept")
        with pytest.raises(psycopg.OperationalError):
            reader.execute("select 1")


def test_an_owner_who_is_no_superuser_has_changes_of_hidden_tables_noted(as_owner: server.Server) -> None:
    with connect("transformer") as conn:
        conn.execute("create table next.followed (a int not null)")
    with connect("publisher") as conn:
        conn.execute("select ops.follow_changes('next.followed', array['a'])")
    change("insert into next.followed values (1)")
    with connect("publisher") as conn:
        assert conn.execute("select key from bi_kept.changed_key").fetchall() == [({"a": 1},)]


def test_readers_cannot_take_the_connections_of_the_pipeline(as_owner: server.Server) -> None:
    with connect() as conn:
        ((most, superusers, kept),) = conn.execute(
            "select current_setting('max_connections')::int, current_setting('superuser_reserved_connections')::int,"
            " current_setting('reserved_connections')::int"
        ).fetchall()
        assert superusers >= access.RESERVED_CONNECTIONS or kept >= access.RESERVED_CONNECTIONS // 2
        members = conn.execute(
            "select rolname::text from pg_roles where rolcanlogin and not rolsuper"
            " and pg_has_role(oid, 'pg_use_reserved_connections', 'member') order by 1"
        ).fetchall()
    assert [name for (name,) in members] == ["airflow", "kkbc", "kkbc_board"]
    assert most - superusers - kept > 3 * get_settings().reader_connections
