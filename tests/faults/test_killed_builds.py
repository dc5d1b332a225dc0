"""A worker is killed at a named point of a build or a publication, and does the same step again, as Airflow has it do.

Readers see all of the last publication until they see all of the next one.
"""

from dataclasses import dataclass
from typing import Any

import psycopg
import pytest

from .conftest import publish
from .stage import DAYS, Home, Trap, Victims, assert_killed, trap

DBT_QUERY = "dbt.adapters.sql.connections:SQLConnectionManager.add_query"
SWITCH = "kkbc.publishing.publish:switch"
EXIT = "psycopg:Connection.__exit__"


@dataclass(frozen=True)
class Point:
    """A step of `kkbc.nights.build`, what it gets besides the build, and the traps in it.

    seen: whether readers see the new publication. longer: left out of a usual run, for another point is much like it.
    """

    step: str
    arguments: tuple[str, ...]
    traps: tuple[Trap, ...]
    seen: bool = False
    longer: bool = False


POINTS = {
    "a build is opened, not committed": Point(
        "open_build", (), (trap("kkbc.nights.build:_first_business_date", "after"),)
    ),
    "a build is opened": Point("open_build", (), (trap("kkbc.nights.build:open_build", "after"),)),
    "seeds, at dbt's first query": Point("build_layer", ("seeds",), (trap(DBT_QUERY),), longer=True),
    "seeds, at dbt's 40th query": Point("build_layer", ("seeds",), (trap(DBT_QUERY, nth=40),)),
    "seeds are built": Point("build_layer", ("seeds",), (trap("kkbc.nights.build:build", "after"),)),
    "in the audit of slices": Point("audit_slices", (), (trap("kkbc.gate.audit:_run", "after"),), longer=True),
    "models, at dbt's first query": Point("build_layer", ("models",), (trap(DBT_QUERY),), longer=True),
    "models, at dbt's 60th query": Point("build_layer", ("models",), (trap(DBT_QUERY, nth=60),)),
    "models, at dbt's 120th query": Point("build_layer", ("models",), (trap(DBT_QUERY, nth=120),), longer=True),
    "models are built, not on record": Point(
        "build_layer", ("models",), (trap("kkbc.marts.runner:_record"),), longer=True
    ),
    "models are built": Point("build_layer", ("models",), (trap("kkbc.nights.build:build", "after"),)),
    "the audit of marts is on record": Point("audit_marts", (), (trap("kkbc.nights.build:audit", "after"),)),
    "publication, the lock is held": Point("publish", (), (trap("kkbc.nights.build:publish_marts"),)),
    "publication, some tables are switched": Point("publish", (), (trap(SWITCH, "after", 5),)),
    "publication, keys are not checked": Point("publish", (), (trap("kkbc.publishing.publish:check"),)),
    "publication, not on record": Point("publish", (), (trap("kkbc.publishing.publish:record"),), longer=True),
    "publication, all is switched, not committed": Point(
        "publish", (), (trap("kkbc.nights.build:publish_marts", "after"),)
    ),
    "publication, just committed": Point(
        "publish", (), (trap("kkbc.nights.build:publish_marts", "after"), trap(EXIT, "after")), seen=True
    ),
    "publication, done": Point("publish", (), (trap("kkbc.nights.build:publish", "after"),), seen=True),
}


# The last point of each step: after it the step is done undisturbed.
LAST = {point.step + "".join(point.arguments): name for name, point in POINTS.items()}


@pytest.fixture(scope="module")
def night(
    night_victims: Victims, shared_home: Home, undisturbed_night: dict[str, Any]
) -> tuple[Home, dict[str, Any], dict[str, Any]]:
    """A home with the first day published and the second one pulled; what BI sees before and after the build."""
    home = shared_home
    publish(night_victims, home, DAYS[0])
    before = home.published()
    assert before.keys() == undisturbed_night.keys()
    assert before != undisturbed_night
    with psycopg.connect(home.database) as conn:
        conn.execute("comment on schema next is 'seeds of another time'")  # they are built again
    pulled = night_victims.run(home, "pull", *home.pull_arguments(run_id="second"))
    assert pulled == 0, home.log.read_text()
    return home, before, undisturbed_night


def do(victims: Victims, home: Home, point: Point, traps: tuple[Trap, ...] = ()) -> int | None:
    """One step of the build, in a process of its own as a task is."""
    ((build_id,),) = home.query("select max(build_id) from ops.build")
    of = "second" if point.step == "open_build" else build_id
    return victims.run(home, "step", point.step, of, *point.arguments, traps=traps)


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=[pytest.mark.faults] * point.longer) for name, point in POINTS.items()]
)
def test_killed_at(name: str, night_victims: Victims, night: tuple[Home, dict[str, Any], dict[str, Any]]) -> None:
    home, before, after = night
    point = POINTS[name]
    assert_killed(do(night_victims, home, point, point.traps))
    assert home.published() == (after if point.seen else before)
    if name == "seeds, at dbt's 40th query":
        # Else seeds that were put back to those of before would be taken for built, and half of them are others.
        assert home.query("select obj_description('next'::regnamespace, 'pg_namespace')") == [(None,)]
    if name in LAST.values():
        assert do(night_victims, home, point) == 0, home.log.read_text()


def test_in_the_end_all_is_published_once(
    night_victims: Victims, night: tuple[Home, dict[str, Any], dict[str, Any]]
) -> None:
    home, _, after = night
    assert home.published() == after
    assert home.query("select as_of from ops.publication order by 1") == [(day,) for day in DAYS]
    assert home.query("select distinct b.outcome from ops.slice join ops.build b using (build_id)") == [("published",)]
    assert night_victims.run(home, "command", *home.run_arguments(DAYS[1]), "--json") == 0, home.log.read_text()
    assert '"news": false' in home.log.read_text()
