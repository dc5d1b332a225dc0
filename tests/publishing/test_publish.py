"""Publication: all marts or none, rows that did not change stay untouched, and exports of what is live."""

import csv
from dataclasses import replace
from pathlib import Path

import polars as pl
import psycopg
import pytest
from alembic import command
from alembic.config import Config
from sqlalchemy import create_engine

from kkbc.core.errors import UserError
from kkbc.publishing import ForeignKey, PublishedModel
from kkbc.publishing.swap import keep_readers_out
from kkbc.publishing.work import Work
from kkbc.upkeep.export import export
from kkbc.warehouse import connect, schema

from .conftest import DAY, MODELS, change, publish, publishes, read, undo


def test_readers_get_what_was_built(marts: None) -> None:
    publication = publish()
    assert publication.tables == {
        "bi.kpi_x": {"deleted": 0, "inserted": 3},
        "bi_detail.fct_y": {"deleted": 0, "inserted": 2},
        "bi.publication_slice": {"deleted": 0, "inserted": 0},
    }
    assert read("bi", "select aktif from bi.kpi_x order by branch_id, business_date") == [(6,), (7,), (5,)]
    assert read("bi", "select publication_id, as_of from bi.publication") == [(publication.publication_id, DAY)]
    assert len(read("analyst", "select * from bi_detail.fct_y")) == 2
    assert read("bi", "select obj_description('bi.kpi_x'::regclass)") == [("one row a branch and day",)]


def test_the_role_of_dashboards_sees_no_facts(marts: None) -> None:
    publish()
    with pytest.raises(psycopg.errors.InsufficientPrivilege):
        read("bi", "select * from bi_detail.fct_y")


def test_rows_that_did_not_change_are_not_touched(marts: None) -> None:
    publish()
    before = dict(read("bi", "select branch_id || business_date, ctid::text || xmin::text from bi.kpi_x"))
    change("update next.kpi_x set rate = 0.5 where branch_id = 'KC002'")
    change("delete from next.kpi_x where business_date = '2023-12-10'")
    assert publish().tables["bi.kpi_x"] == {"deleted": 2, "inserted": 1}
    after = dict(read("bi", "select branch_id || business_date, ctid::text || xmin::text from bi.kpi_x"))
    assert after["KC0012023-12-11"] == before["KC0012023-12-11"]
    assert after["KC0022023-12-11"] != before["KC0022023-12-11"]
    assert read("bi", "select rate from bi.kpi_x where branch_id = 'KC002'") == [(0.5,)]


def test_publishing_the_same_again_changes_no_row(marts: None) -> None:
    publish()
    assert set(map(str, publish().tables.values())) == {str({"deleted": 0, "inserted": 0})}


def test_nothing_is_published_when_one_table_fails(marts: None) -> None:
    publish()
    change("update next.kpi_x set aktif = 99")
    change("drop table next.fct_y")
    with pytest.raises(psycopg.Error):
        publish()
    assert 99 not in [row[0] for row in read("bi", "select aktif from bi.kpi_x")]


def test_a_reader_in_a_snapshot_goes_on_seeing_the_old_and_is_not_locked_out(marts: None) -> None:
    publish()
    with connect("bi") as reader:
        reader.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
        before = reader.execute("select sum(aktif) from bi.kpi_x").fetchone()
        change("update next.kpi_x set aktif = aktif + 1")
        publish()
        assert reader.execute("select sum(aktif) from bi.kpi_x").fetchone() == before
    assert read("bi", "select sum(aktif) from bi.kpi_x") == [(before[0] + 3,)] if before else False


def test_a_changed_shape_is_taken_over(marts: None) -> None:
    publish()
    change("alter table next.kpi_x add column menunggak bigint")
    publish()
    assert read("bi", "select menunggak from bi.kpi_x limit 1") == [(None,)]


def test_checks_and_comments_reach_the_readers(marts: None) -> None:
    change("comment on column next.kpi_x.aktif is 'participants'")
    publish()
    change("comment on column next.kpi_x.aktif is 'participants on the day'")
    change("comment on table next.kpi_x is 'the campaign'")
    publish()
    assert read("bi", "select col_description('bi.kpi_x'::regclass, 3)") == [("participants on the day",)]
    assert read("bi", "select obj_description('bi.kpi_x'::regclass)") == [("the campaign",)]
    change("delete from next.kpi_x", "alter table next.kpi_x add check (aktif >= 0), alter column rate set not null")
    publish()
    with pytest.raises(psycopg.errors.CheckViolation), connect("publisher") as conn:
        conn.execute("insert into bi.kpi_x values ('KC001', '2023-12-11', -1, 0.5)")
    with pytest.raises(psycopg.errors.NotNullViolation), connect("publisher") as conn:
        conn.execute("insert into bi.kpi_x values ('KC001', '2023-12-11', 1, null)")


BRANCHES = PublishedModel("dim_b", "bi", ("branch_id",))
WITH_FOREIGN_KEY = PublishedModel(
    "kpi_x", "bi", MODELS[0].primary_key, (ForeignKey(("branch_id",), "dim_b", ("branch_id",)),)
)


@pytest.fixture
def keyed(marts: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same marts, kpi_x before the dimension that it points to."""
    publishes(monkeypatch, WITH_FOREIGN_KEY, BRANCHES)
    change(
        "create table next.dim_b (branch_id text not null, tier int)",
        "insert into next.dim_b values ('KC001'), ('KC002')",
    )


def test_a_row_of_a_dimension_changes_under_those_that_name_it(keyed: None) -> None:
    publish()
    change("update next.dim_b set tier = 2")
    assert publish().tables["bi.dim_b"] == {"deleted": 2, "inserted": 2}
    assert read("bi", "select count(*) from pg_constraint where conrelid = 'bi.kpi_x'::regclass and contype = 'f'") == [
        (1,)
    ]


def test_rows_that_name_nothing_are_not_published(keyed: None) -> None:
    publish()
    change("insert into next.kpi_x values ('KC009', '2023-12-11', 1, null)")
    with pytest.raises(UserError, match=r"bi\.kpi_x names rows that are not there: branch_id_of_dim_b"):
        publish()
    change("delete from next.kpi_x where branch_id = 'KC009'", "delete from next.dim_b where branch_id = 'KC002'")
    with pytest.raises(UserError, match="branch_id_of_dim_b") as caught:
        publish()
    assert "KC002" not in str(caught.value)
    assert read("bi", "select count(*) from bi.dim_b") == [(2,)]


def test_a_dimension_of_a_new_shape_keeps_the_keys_that_point_to_it(keyed: None) -> None:
    publish()
    change("alter table next.dim_b add column name text")
    publish()
    with pytest.raises(psycopg.errors.ForeignKeyViolation), connect("publisher") as conn:
        conn.execute("insert into bi.kpi_x values ('KC009', '2023-12-11', 1, null)")


@pytest.mark.parametrize(("table", "joined"), [("dim_b", "bi.kpi_x"), ("kpi_x", "bi_kept.made_bi_kpi_x")])
def test_the_keys_of_a_new_shape_are_checked_before_readers_have_to_wait(
    keyed: None, monkeypatch: pytest.MonkeyPatch, table: str, joined: str
) -> None:
    publish()
    there = []

    def spy(work: Work, tables: list[tuple[str, str]]) -> None:
        there.append(
            work.rows(
                "select conname::text from pg_constraint where conrelid = to_regclass(%s)"
                " and contype = 'f' and convalidated",
                [joined],
            )
        )
        keep_readers_out(work, tables)

    monkeypatch.setattr("kkbc.publishing.publish.keep_readers_out", spy)
    change(f"alter table next.{table} add column x text")
    publish()
    assert there == [[("branch_id_of_dim_b",)]]


@pytest.mark.parametrize("table", ["dim_b", "kpi_x"])
def test_rows_and_shapes_of_what_keys_join_change_at_once(keyed: None, table: str) -> None:
    publish()
    before = constraints()
    change(
        f"alter table next.{table} add column x text",
        "delete from next.kpi_x where branch_id = 'KC002'",
        "delete from next.dim_b where branch_id = 'KC002'",
        "insert into next.dim_b (branch_id) values ('KC003')",
        "insert into next.kpi_x (branch_id, business_date, aktif) values ('KC003', '2023-12-11', 1)",
        "update next.dim_b set tier = 4",
    )
    publish()
    assert read("bi", "select distinct branch_id from bi.kpi_x order by 1") == [("KC001",), ("KC003",)]
    assert constraints() == before
    undo()
    assert read("bi", "select distinct branch_id from bi.kpi_x order by 1") == [("KC001",), ("KC002",)]
    assert constraints() == before


def test_policies_come_to_a_table_whose_keys_are_checked(keyed: None) -> None:
    """As after the upgrade of a warehouse that was published to before there were policies."""
    publish()
    with connect("publisher") as conn:
        conn.execute("drop policy branches_own_rows on bi.kpi_x")
        conn.execute("alter table bi.kpi_x disable row level security, reset (vacuum_truncate)")
    change("update next.kpi_x set aktif = 99")
    publish()
    assert read("branch_bi", "select * from bi.kpi_x") == []


def constraints() -> list[tuple[str, str]]:
    return read(
        "publisher",
        "select conrelid::regclass::text, pg_get_constraintdef(oid) from pg_constraint"
        " where connamespace = 'bi'::regnamespace and contype in ('p', 'f') order by 1, 2",
    )


def test_a_key_that_is_no_longer_declared_goes(keyed: None, monkeypatch: pytest.MonkeyPatch) -> None:
    publish()
    publishes(monkeypatch, MODELS[0], BRANCHES)
    publish()
    assert read("bi", "select 1 from pg_constraint where conrelid = 'bi.kpi_x'::regclass and contype = 'f'") == []


def test_export_writes_a_file_a_table_in_the_order_of_its_grain(marts: None, tmp_path: Path) -> None:
    publish()
    assert export("bi", "csv", tmp_path / "out") == {"kpi_x": 3}
    rows = list(csv.reader((tmp_path / "out" / "kpi_x.csv").open()))
    assert rows == [
        ["branch_id", "business_date", "aktif", "rate"],
        ["KC001", "2023-12-10", "6", "0.25"],
        ["KC001", "2023-12-11", "7", "0.1"],
        ["KC002", "2023-12-11", "5", ""],
    ]


def test_export_as_parquet_keeps_types(marts: None, tmp_path: Path) -> None:
    publish()
    assert export("bi_detail", "parquet", tmp_path)["fct_y"] == 2
    frame = pl.read_parquet(tmp_path / "fct_y.parquet")
    assert frame["amount"].to_list()[1] == 9000000000000000000000
    export("bi", "parquet", tmp_path)
    assert pl.read_parquet(tmp_path / "kpi_x.parquet").schema == {
        "branch_id": pl.String,
        "business_date": pl.Date,
        "aktif": pl.Int64,
        "rate": pl.Float64,
    }


def test_what_a_spreadsheet_would_run_is_exported_as_text(marts: None, tmp_path: Path) -> None:
    change("update next.kpi_x set branch_id = '=1+' || branch_id, aktif = -aktif, rate = -rate")
    publish()
    export("bi", "csv", tmp_path)
    rows = list(csv.reader((tmp_path / "kpi_x.csv").open()))
    assert rows[1] == ["'=1+KC001", "2023-12-10", "-6", "-0.25"]
    export("bi", "parquet", tmp_path)
    assert pl.read_parquet(tmp_path / "kpi_x.parquet")["branch_id"][0] == "=1+KC001"


def test_export_writes_through_no_link_and_facts_for_their_owner_alone(marts: None, tmp_path: Path) -> None:
    publish()
    precious = tmp_path / "precious"
    for name in ("kpi_x.csv", "kpi_x.csv.partial", "fct_y.csv", "fct_y.csv.partial"):
        (tmp_path / name).symlink_to(precious)
    precious.write_text("keep")
    export("bi", "csv", tmp_path)
    export("bi_detail", "csv", tmp_path)
    assert precious.read_text() == "keep"
    assert (tmp_path / "kpi_x.csv").read_text().startswith("branch_id,")
    assert not (tmp_path / "kpi_x.csv").is_symlink()
    assert (tmp_path / "fct_y.csv").stat().st_mode & 0o777 == 0o600


def test_export_says_what_is_wrong(warehouse: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="schema 'vault' is not exported"):
        export("vault", "csv", tmp_path)
    with pytest.raises(UserError, match="nothing is published"):
        export("bi", "csv", tmp_path)
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="cannot be made"):
        export("bi", "csv", tmp_path / "file" / "below")


def test_the_migration_goes_down_and_up_again_over_what_is_published(marts: None) -> None:
    publish()
    change("update next.kpi_x set aktif = 99")
    publish()
    undo()
    config = Config()
    config.set_main_option("script_location", str(schema.MIGRATIONS))
    engine = create_engine("postgresql+psycopg://", creator=connect)
    for direction, to in ((command.downgrade, "0008"), (command.upgrade, "head")):
        with engine.begin() as conn:
            config.attributes["connection"] = conn
            direction(config, to)
    engine.dispose()
    assert read("bi", "select distinct aktif from bi.kpi_x order by 1") == [(5,), (6,), (7,)]
    # What was published before is live, and not kept; from then on all is as in a new warehouse.
    with pytest.raises(UserError, match="publication 1 is no longer kept"):
        undo(1)
    publish()
    undo()
    assert read("bi", "select distinct aktif from bi.kpi_x order by 1") == [(5,), (6,), (7,)]


def indexed(table: str) -> set[str]:
    """The columns of each index of a table, as the server writes them."""
    rows = read(None, f"select substring(indexdef from '\\((.*)\\)$') from pg_indexes where indexname like '%{table}%'")
    return {columns for (columns,) in rows}


def test_published_tables_have_the_indexes_that_their_readers_need(
    marts: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    kpi, facts = MODELS
    publish()
    assert indexed("fct_y") == {"token"}
    publishes(monkeypatch, kpi, replace(facts, read_by=(("amount",), ("amount", "token"))))
    publish()  # a table that keeps its shape
    assert indexed("fct_y") == {"token", "amount", "amount, token"}
    change("alter table next.fct_y add column note text")
    publish()  # one that is made aside
    assert indexed("fct_y") == {"token", "amount", "amount, token"}
    assert publish().tables["bi_detail.fct_y"] == {"deleted": 0, "inserted": 0}
    assert len(read(None, "select from pg_indexes where tablename = 'fct_y' and schemaname = 'bi_detail'")) == 3
