"""The commands, as an operator types them."""

import json
from typing import Any

import pytest
from typer.testing import CliRunner

from kkbc.cli.application import app
from kkbc.core.errors import UserError
from kkbc.publishing import PublishedModel
from kkbc.warehouse import connect

from .conftest import DAY, change, contents, open_build, publish, publishes, read

DAILY = PublishedModel("kpi_branch_daily", "bi", ("branch_id", "business_date"))


@pytest.fixture
def daily(warehouse: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A mart with totals, published and built once more with other figures."""
    publishes(monkeypatch, DAILY)
    change(
        "create table next.kpi_branch_daily (branch_id text not null, business_date date not null,"
        " registrations bigint, aktif bigint)",
        "insert into next.kpi_branch_daily values ('KC001', '2023-12-10', 2, 11), ('KC001', '2023-12-11', 3, 12),"
        " ('KC002', '2023-12-11', 4, 20)",
    )
    publish()
    change("update next.kpi_branch_daily set registrations = 5 where business_date = '2023-12-10'")


def kkbc(*arguments: str) -> Any:
    """Output of a command, as JSON where that was asked for."""
    result = CliRunner().invoke(app, arguments, catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout) if "--json" in arguments else result.stdout


def build(*, complete: bool = True) -> int:
    """A build that is not published."""
    with connect() as conn:
        build_id = open_build()
        conn.execute(
            "insert into ops.built (complete, as_of, first_business_date, project, registry, build_id)"
            " values (%s, %s, %s, '', '', %s) on conflict (single) do update set complete = excluded.complete,"
            " build_id = excluded.build_id",
            [complete, DAY, DAY, build_id],
        )
        return build_id


def test_a_dry_run_tells_and_changes_nothing(daily: None) -> None:
    build_id = build()
    before = contents()
    foreseen = kkbc("publish", "--dry-run", "--json")
    assert foreseen["build"] == {"build_id": build_id, "as_of": "2023-12-11", "outcome": "running"}
    assert foreseen["tables"]["bi.kpi_branch_daily"] == {"deleted": 1, "inserted": 1}
    assert [statement.split()[0] for statement in foreseen["statements"]] == ["delete", "insert"]
    assert foreseen["totals"] == [
        {"branch_id": "KC001", "month": "2023-12-01", "metric": "registrations", "before": 5, "after": 8}
    ]
    assert contents() == before
    assert read("bi", "select publication_id from bi.publication") == [(1,)]
    published = publish()
    assert published.tables == foreseen["tables"]
    assert kkbc("publication", "diff", "--json") == foreseen["totals"]


def test_a_dry_run_of_a_new_shape_names_it_and_keeps_no_reader_out(daily: None) -> None:
    change("alter table next.kpi_branch_daily add column menunggak bigint")
    build()
    with connect("bi") as reader:
        reader.execute("select * from bi.kpi_branch_daily")
        foreseen = kkbc("publish", "--dry-run", "--json")
    assert foreseen["shapes"] == ["bi.kpi_branch_daily"]
    assert foreseen["tables"]["bi.kpi_branch_daily"] == {"deleted": 3, "inserted": 3}
    verbs = " ".join(foreseen["statements"])
    assert "enable row level security" in verbs
    assert 'set schema "bi"' in verbs
    shown = kkbc("publish", "--dry-run")
    assert "rebuilt" in shown
    assert "Nothing was changed." in shown


def test_a_dry_run_needs_a_build_that_is_done(daily: None) -> None:
    build_id = build(complete=False)
    with pytest.raises(UserError, match=f"build {build_id} is under way, or broke off"):
        kkbc("publish", "--dry-run")
    with pytest.raises(UserError, match="nights publish by themselves"):
        kkbc("publish")


def test_a_rollback_by_hand(daily: None) -> None:
    before = contents()
    publish()
    done = kkbc("rollback", "--why", "counted twice", "--json")
    assert (done["publication_id"], done["restores"]) == (3, 1)
    assert done["totals"][0] | {"before": 8, "after": 5} == done["totals"][0]
    assert contents() == before
    listed = kkbc("publication", "list", "--json")
    state = [(row["publication_id"], row["live"], row["restorable"], row["why"]) for row in listed]
    # 1 is what readers see: there is nothing to restore.
    assert state == [(3, True, False, "counted twice"), (2, False, True, None), (1, False, False, None)]
    assert "restores 1: counted twice" in " ".join(kkbc("publication", "list").split())
    assert kkbc("publication", "show", "2", "--json")["tables"][0] == {
        "table": "bi.kpi_branch_daily",
        "rows": 3,
        "deleted": 1,
        "inserted": 1,
        "changed_in": 2,
    }
    assert "restores publication 1" in kkbc("publication", "show")
    assert kkbc("publication", "diff", "2", "--branch", "KC002", "--json") == []
    assert "registrations" in kkbc("publication", "diff", "2")
    assert "Publication 4 restores publication 2" in " ".join(
        kkbc("rollback", "--to", "2", "--why", "after all").split()
    )
    with pytest.raises(UserError, match="publication 9 is not known"):
        kkbc("publication", "diff", "9")


def test_readers_by_hand(warehouse: str) -> None:
    assert "KC044" in kkbc("reader", "grant", "cabang_044", "KC044", "KC045")
    told = CliRunner().invoke(app, ["reader", "grant", "cabang_044", "KC046"], catch_exceptions=False)
    assert "`kkbc bi users` gives cabang_044 one" in " ".join(told.stderr.split())
    kkbc("reader", "revoke", "cabang_044", "KC046")
    assert [row["branch_id"] for row in kkbc("reader", "list", "--json")] == ["KC044", "KC045"]
    kkbc("reader", "revoke", "cabang_044", "KC045")
    assert "KC045" not in kkbc("reader", "list")
    kkbc("reader", "revoke", "cabang_044")
    assert "No reader" in kkbc("reader", "list")


def test_regional_offices_and_all_are_given_by_name(warehouse: str) -> None:
    assert "KW04" in kkbc("reader", "grant", "budi", "dki jakarta")
    assert "saw them before" in kkbc("reader", "grant", "budi", "KW04")
    assert "sees KC001, all" in kkbc("reader", "grant", "budi", "ALL", "KC001")
    places = [(row["level"], row["branch_id"], row["kanwil_id"]) for row in kkbc("reader", "list", "--json")]
    assert places == [("branch", "KC001", None), ("nation", None, None), ("region", None, "KW04")]
    assert "saw them before" in kkbc("reader", "grant", "budi", "kc001")
    assert "KW04" in kkbc("reader", "revoke", "budi", "DKI Jakarta")
    assert "no longer sees all" in kkbc("reader", "revoke", "budi", "all")
    with pytest.raises(UserError, match=r"'Jakarta' is no branch and no regional office.*KW04 DKI Jakarta"):
        kkbc("reader", "grant", "budi", "Jakarta")


def test_the_key_of_the_gateways_is_made_once_and_replaced(warehouse: str) -> None:
    key = kkbc("reader", "key")
    assert kkbc("reader", "key") == key
    assert kkbc("reader", "key", "--new") != key
    given = CliRunner().invoke(app, ["reader", "key", "--stdin"], input=key)
    assert key.strip() not in given.output
    assert kkbc("reader", "key") == key
    with pytest.raises(UserError, match="64 hexadecimal digits"):
        CliRunner().invoke(app, ["reader", "key", "--stdin"], input="secret", catch_exceptions=False)


def test_the_difference_of_an_unknown_branch_is_refused(daily: None) -> None:
    assert kkbc("publication", "diff", "--branch", "KC002", "--json") != []
    for name in ("KC777", "kc001", "'; drop table", ""):
        with pytest.raises(UserError, match="is not in the registry"):
            kkbc("publication", "diff", "--branch", name)
