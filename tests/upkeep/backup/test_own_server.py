"""Backup and restore by a login that owns the database and is no superuser, as in the containers."""

import json
from pathlib import Path

import psycopg
import pytest

from kkbc.core import tokens
from kkbc.core.errors import UserError
from kkbc.core.settings import get_settings
from kkbc.upkeep import backup
from kkbc.warehouse import access, connect, migrate
from tests.conftest import UNSAFE_BUT_FAST, environment
from tests.databases import as_in_containers
from tests.upkeep.backup.conftest import Site
from tests.upkeep.backup.test_restore import contents

POLICY = """
create table bi.kpi (branch_id text, n int);
insert into bi.kpi values ('KC001', 1), ('KC002', 2);
alter table bi.kpi enable row level security;
create policy own on bi.kpi for select to branch_bi using (branch_id = any(readers.branches()));
grant select on bi.kpi to branch_bi
"""


@pytest.mark.usefixtures("home")
def test_a_server_that_was_lost_is_replaced_by_a_new_one(tmp_path: Path) -> None:
    home, places = tmp_path / "home", {"KKBC_HOME": str(tmp_path / "home")}
    with as_in_containers(tmp_path / "first", UNSAFE_BUT_FAST) as (first, login):
        with environment(KKBC_DATABASE_URL=login, **places):
            migrate()
            tokens.ensure_key(home)
            (tmp_path / "branches").mkdir()
            site = Site(home, login, tmp_path / "store", tmp_path / "keys", tmp_path / "branches")
            site.send("A", "B")
            with connect("publisher") as conn:
                conn.execute(POLICY)
            with psycopg.connect(first.conninfo("kkbc"), autocommit=True) as superuser:
                superuser.execute("create role cabang_001 login in role branch_bi")
                superuser.execute("insert into readers.branch_reader values ('cabang_001', 'KC001', now(), 'test')")
            kept = backup.backup(str(site.store), keys_to=site.keys).manifest
            before = contents(login)
        assert kept.owner == "kkbc"
    (tmp_path / "home" / "landing").rename(tmp_path / "lost")
    with (
        as_in_containers(tmp_path / "second", UNSAFE_BUT_FAST) as (second, login),
        environment(KKBC_DATABASE_URL=login, **places),
    ):
        restored = backup.restore(str(site.store))
        assert "cabang_001" in restored.logins
        assert restored.missing == []
        assert contents(login) == before
        with psycopg.connect(second.conninfo("kkbc")) as superuser:
            superuser.execute("set session authorization cabang_001")
            assert superuser.execute("select * from bi.kpi").fetchall() == [("KC001", 1)]
        with connect() as conn:
            assert access.outstanding(conn) == []
        site.send("A", "C", revision=2)


def test_objects_of_another_owner_are_refused(site: Site, elsewhere: "object", pg: "object") -> None:
    backup.backup(str(site.store), keys_to=site.keys)
    store = backup.Store(str(site.store))
    name = store.latest()
    manifest = store.manifest(name)
    store.finish(manifest.model_copy(update={"owner": "somebody"}))
    assert json.loads((site.store / name / "manifest.json").read_text())["owner"] == "somebody"
    elsewhere()  # type: ignore[operator]
    with psycopg.connect(str(get_settings().database_url), autocommit=True) as conn:
        conn.execute("create role kkbc_plain login createrole")
        database = conn.info.dbname
        conn.execute(f"alter database {database} owner to kkbc_plain")  # type: ignore[arg-type]
    try:
        with (
            environment(KKBC_DATABASE_URL=f"{get_settings().database_url} user=kkbc_plain"),
            pytest.raises(UserError, match="objects belong to 'somebody', and the login is 'kkbc_plain'"),
        ):
            backup.restore(str(site.store), keys_from=site.keys / name)
    finally:
        with psycopg.connect(str(get_settings().database_url), autocommit=True) as conn:
            conn.execute(f"alter database {database} owner to postgres")  # type: ignore[arg-type]
            conn.execute("drop role kkbc_plain")
