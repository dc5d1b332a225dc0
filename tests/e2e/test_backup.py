"""A home that is destroyed comes back from its backup: the same figures, and the next nights as if nothing had been."""

import json
import shutil
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

import fsspec
import psycopg
import pytest
from psycopg.conninfo import make_conninfo

from kkbc.core.errors import UserError
from kkbc.core.settings import get_settings
from kkbc.nights import RunRequest, plain
from kkbc.nights.prepare import prepare
from kkbc.publishing import roll_back
from kkbc.upkeep import backup, bi_logins
from kkbc.warehouse import connect, server
from kkbc_play.simulator import Scale, World
from tests.e2e.test_truth import GRAIN, differences, rows_of
from tests.faults.stage import files
from tests.servers import landing_bucket

pytestmark = pytest.mark.e2e

FIRST = date(2023, 12, 11)
SMALL = Scale(registrations=120, contributions=300, opening=400)


@dataclass
class Place:
    """A home with two nights in it, its backup, and what it held."""

    home: Path
    store: Path
    keys: Path
    world: World
    name: str
    before: dict[str, Any]


def night(world: World) -> Path:
    """Plays and runs one night; returns the truth."""
    played = world.play_night()
    outcome = plain.run_night(
        RunRequest(played.business_date, world.branches_root, first_business_date=FIRST, gate="fail"), lambda *_: None
    )
    assert outcome["failed"] == {}
    assert outcome["publication_id"] is not None
    assert played.truth_path is not None
    return played.truth_path


def assert_truth(truth: Path) -> None:
    wanted = dict(json.loads(truth.read_text())["marts"])
    lines = [line for mart in GRAIN if mart in wanted for line in differences(mart, wanted[mart])]
    assert not lines, lines[:10]


def everything() -> dict[str, Any]:
    """Every row of every table of the warehouse but the locks, as text, and every file of landing."""
    with connect() as conn:
        names = conn.execute(
            "select format('%I.%I', n.nspname, c.relname) from pg_class c join pg_namespace n on n.oid = c.relnamespace"
            " where c.relkind in ('r', 'p', 'v') and not c.relispartition and n.nspname in"
            " ('ops', 'raw', 'vault', 'next', 'bi', 'bi_detail', 'bi_kept', 'readers') order by 1"
        ).fetchall()
        tables = {
            name: conn.execute(f'select t::text from {name} t order by t::text collate "C"').fetchall()  # type: ignore[arg-type]
            for (name,) in names
        }
        grants = conn.execute(
            "select c.oid::regclass::text, c.relowner::regrole::text, "
            " (select array_agg(a::text order by a::text) from unnest(c.relacl) a), c.relrowsecurity from pg_class c"
            " where c.relnamespace in ('ops'::regnamespace, 'bi'::regnamespace, 'bi_detail'::regnamespace) order by 1"
        ).fetchall()
        policies = conn.execute("select * from pg_policies order by schemaname, tablename, policyname").fetchall()
    return {"tables": tables, "grants": grants, "policies": policies, "landing": files(get_settings().home / "landing")}


def make_metadata(home: Path) -> None:
    """A database as Airflow's, where the home's configuration says it is."""
    running = server.find(home)
    assert running is not None
    with psycopg.connect(running.conninfo(), autocommit=True) as conn:
        conn.execute("create role airflow login")
        conn.execute("create database airflow owner airflow")
    (home / "airflow").mkdir()
    uri = f"postgresql+psycopg://airflow@/airflow?host={running.socket_dir}&port={running.port}"
    (home / "airflow" / "airflow.cfg").write_text(f"[database]\nsql_alchemy_conn = {uri}\n")
    with psycopg.connect(metadata(running)) as conn:
        conn.execute("create table dag_run (run_id text)")
        conn.execute("insert into dag_run values ('scheduled__1')")


def metadata(running: server.Server) -> str:
    return make_conninfo(running.conninfo("airflow"), user="airflow")


@pytest.fixture(scope="module")
def destroyed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    """Two nights, a reader of one branch, a backup; then the home is gone."""
    folder = tmp_path_factory.mktemp("backup")
    home, store, keys = folder / "home", folder / "store", folder / "keys"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("KKBC_HOME", str(home))
        patch.delenv("KKBC_DATABASE_URL", raising=False)
        get_settings.cache_clear()
        try:
            prepare()
            world = World(folder / "world", seed=5, scale=SMALL, first_date=FIRST)
            for _ in range(2):
                night(world)
            with connect(autocommit=True) as conn:
                conn.execute("create role cabang_044 login in role branch_bi")
            bi_logins.grant("cabang_044", ["KC044"], who="test")
            make_metadata(home)
            taken = backup.backup(str(store), keys_to=keys)
            assert taken.missing == []
            before = everything()
            server.stop(home)
            shutil.rmtree(home)
            yield Place(home, store, keys / taken.manifest.name, world, taken.manifest.name, before)
        finally:
            server.stop(home)
    get_settings.cache_clear()


def test_the_keys_are_not_in_the_backup_and_nothing_is_open_to_others(destroyed: Place) -> None:
    key = (destroyed.keys / "pii.key").read_bytes().strip()
    for path in destroyed.store.rglob("*"):
        assert stat.S_IMODE(path.stat().st_mode) == (0o700 if path.is_dir() else 0o600), path
        assert path.is_dir() or key not in path.read_bytes()
    assert {stat.S_IMODE(path.stat().st_mode) for path in destroyed.keys.iterdir()} == {0o600}


def test_every_row_grant_policy_and_file_is_there_again(destroyed: Place) -> None:
    with pytest.raises(UserError, match=r"pii\.key is missing"):
        backup.restore(str(destroyed.store))
    assert not destroyed.home.exists()
    result = backup.restore(str(destroyed.store), keys_from=destroyed.keys)
    assert (result.missing, result.to_erase, result.logins) == ([], 0, ["cabang_044"])
    after = everything()
    for part in destroyed.before:
        assert after[part] == destroyed.before[part], part
    running = server.find(destroyed.home)
    assert running is not None
    with psycopg.connect(metadata(running)) as conn:
        assert conn.execute("select * from dag_run").fetchall() == [("scheduled__1",)]


def test_a_reader_sees_its_branch_and_no_other(destroyed: Place) -> None:
    running = server.find(destroyed.home)
    assert running is not None
    with connect(autocommit=True) as conn:
        conn.execute("alter role cabang_044 password 'baru'")
    for login, password, seen in (
        ("cabang_044", "baru", [("KC044",)]),
        ("bi", (destroyed.home / "keys" / "bi.password").read_text().strip(), None),
    ):
        where = {"host": "127.0.0.1", "port": running.port, "user": login, "password": password, "dbname": "kkbc"}
        with psycopg.connect(**where) as conn:  # type: ignore[arg-type]
            found = conn.execute("select distinct branch_id from bi.kpi_branch_daily order by 1").fetchall()
        assert found == seen if seen else len(found) > 100


def test_the_next_night_is_incremental_and_right(destroyed: Place) -> None:
    assert_truth(night(destroyed.world))
    with connect() as conn:
        assert conn.execute("select count(*) from ops.publication").fetchone() == (3,)
    assert backup.backup(str(destroyed.store)).manifest.new_objects > 0


def test_the_publication_of_before_can_be_brought_back(destroyed: Place) -> None:
    days = [row["business_date"] for row in rows_of("kpi_national_daily")[1]]
    with connect("publisher") as conn:
        roll_back(conn, why="test", who="test")
    assert len(days) - 1 == len(rows_of("kpi_national_daily")[1])


def test_a_bucket_holds_the_same_and_the_next_night_runs(destroyed: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    with landing_bucket() as environment:
        for variable, value in environment.items():
            monkeypatch.setenv(variable, value)
        fsspec.get_filesystem_class("s3").clear_instance_cache()
        store = "s3://landing/backups"
        backup.backup(store)
        taken = backup.backup(store, keep=1)
        assert (taken.missing, taken.manifest.new_objects, len(taken.removed)) == ([], 0, 1)
        assert backup.verify(backup.Store(store), taken.manifest.name, lambda *_: None) == []
        before = everything()
        server.stop(destroyed.home)
        shutil.rmtree(destroyed.home)
        result = backup.restore(store, keys_from=destroyed.keys)
        assert (result.manifest.name, result.missing, result.to_erase) == (taken.manifest.name, [], 0)
        after = everything()
        for part in before:
            assert after[part] == before[part], part
        assert list((destroyed.home / "spool").iterdir()) == []
        assert_truth(night(destroyed.world))
        assert backup.backup(store).manifest.new_objects > 0
