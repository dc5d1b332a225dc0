"""The marts that dbt really builds pass the gate: over a world of chance, whole and from month to month."""

from collections.abc import Iterator

import pytest
from psycopg.conninfo import conninfo_to_dict

from kkbc.core.settings import get_settings
from kkbc.gate import audit
from kkbc.warehouse import connect, server
from tests.databases import database
from tests.dbt_project.raw import World
from tests.dbt_project.test_all_marts import AS_OF, FIRST


@pytest.fixture
def built(
    pg: server.Server, built_by_chance: tuple[World, dict[str, str]], monkeypatch: pytest.MonkeyPatch
) -> Iterator[None]:
    """A copy of the built world in which one build took all slices in, the current warehouse."""
    environment = built_by_chance[1]
    with database(pg, template=str(conninfo_to_dict(environment["KKBC_DATABASE_URL"])["dbname"])) as name:
        monkeypatch.setenv("KKBC_HOME", environment["KKBC_HOME"])
        monkeypatch.setenv("KKBC_DATABASE_URL", pg.conninfo(name))
        get_settings.cache_clear()
        with connect() as conn:
            conn.execute(
                "insert into ops.build (as_of, first_business_date, load_id) values (%s, %s, 1)", [AS_OF, FIRST]
            )
            conn.execute("update ops.slice set build_id = 1")
        yield
        get_settings.cache_clear()


def test_marts_as_dbt_builds_them_pass(built: None) -> None:
    result = audit("built_marts", 1)
    assert [line for finding in result.failures("fail") for line in finding.lines()] == []


def test_a_person_under_restriction_is_in_no_fact(built: None) -> None:
    """A row in force whose participant is restricted must not be in the facts; anybody else's must."""
    in_force = (
        " from next.int_contributions_in_force f join next.int_participants_restricted r using (participant_token)"
        " where not f.is_void"
    )
    with connect() as conn:
        row = conn.execute(f"select count(*){in_force}").fetchone()  # type: ignore[arg-type]
        assert row is not None
        assert row[0] > 0
        facts = conn.execute(
            "select count(*) from next.fct_contribution join next.int_participants_restricted using (participant_token)"
        )
        assert facts.fetchone() == (0,)
        conn.execute("delete from next.int_participants_restricted")
    assert {finding.suite for finding in audit("built_marts", 1).failures("fail")} == {"facts"}
    with connect() as conn:
        conn.execute(
            "insert into next.int_participants_restricted"
            " select participant_token, true, false from ops.restricted_participant"
        )
        conn.execute(
            "insert into next.int_participants_restricted"
            " select participant_token, true, false from next.fct_registration order by business_date desc limit 1"
        )
    assert {finding.suite for finding in audit("built_marts", 1).failures("fail")} == {"facts"}


def test_what_comes_after_a_build_is_not_held_against_it(built: None) -> None:
    """A load between build and audit changes raw, and the build that takes it in answers for that branch."""
    with connect() as conn:
        conn.execute("update raw.contributions set updated_at = now() where _branch_id = 'KC001'")
        conn.execute(
            "update ops.slice set rows_sent = rows_sent + 1, rows_accepted = rows_accepted + 1"
            " where (feed, branch_id) = ('iuran', 'KC001') and status = 'loaded'"
        )
        conn.execute(
            "insert into ops.slice (feed, branch_id, business_date, revision, status, manifest_sha256, load_id)"
            " values ('iuran', 'KC001', %s, 9, 'superseded', 'x', 2), ('iuran', 'KC777', %s, 1, 'loaded', 'x', 3)",
            [AS_OF, AS_OF],
        )
    assert audit("built_marts", 1).failures("fail") == []
    with connect() as conn:
        conn.execute("delete from ops.slice where load_id > 1")
    failed = {finding.suite for finding in audit("built_marts", 1).failures("fail")}
    assert failed == {"facts", "kpi_data_quality_daily"}
