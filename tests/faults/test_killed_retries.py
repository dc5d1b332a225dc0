"""A retry of the quarantine is killed at a named point, and done again: rows come back once, with one history."""

from typing import Any

import pytest
import yaml

from .stage import BRANCHES, PULLED, Home, Trap, Victims, assert_killed, tables, trap

TRANSACTION = "kkbc.slices.quarantine.retrying:_Transaction"
POINTS: dict[str, tuple[Trap, ...]] = {
    "judged, nothing changed": (trap(f"{TRANSACTION}.run"),),
    "in the COPY of rows that passed": (
        trap("kkbc.slices.quarantine.retrying:copy_rows"),
        trap("psycopg:Copy.write", "half"),
    ),
    "verdicts are noted": (trap(f"{TRANSACTION}._note_verdicts", "after"),),
    "all done, not committed": (trap(f"{TRANSACTION}.run", "after"),),
    "just committed": (trap(f"{TRANSACTION}.run", "after"), trap("psycopg:Transaction.__exit__", "after")),
}
RETRY = ("quarantine", "retry", "--code", "CODE_UNKNOWN", "--why", "the branch was opened")


@pytest.fixture(scope="module")
def more_branches(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A registry that knows KC003, whose target was quarantined for want of it."""
    path = tmp_path_factory.mktemp("registry") / "branches.yml"
    offices = [{"branch_id": name, "kind": "file", "timezone": "Asia/Jakarta"} for name in (*BRANCHES, "KC003")]
    path.write_text(yaml.safe_dump({"branches": offices}))
    return str(path)


@pytest.fixture(scope="module")
def undisturbed_retry(victims: Victims, shared_home: Home, more_branches: str) -> dict[str, Any]:
    """What a retry leaves behind that nothing disturbs."""
    pull_with_unknown_branch(victims, shared_home, more_branches)
    assert victims.run(shared_home, "command", *RETRY) == 0, shared_home.log.read_text()
    assert shared_home.query("select branch_id from raw.targets order by 1") == [("KC001",), ("KC002",), ("KC003",)]
    return state(shared_home)


def pull_with_unknown_branch(victims: Victims, home: Home, registry: str) -> None:
    """A home with a quarantined target, and from now on the registry that knows its branch."""
    assert victims.run(home, "pull", *home.pull_arguments()) == 0, home.log.read_text()
    assert home.query("select line, errors from ops.quarantine where feed = 'target' and 'CODE_UNKNOWN' = any(errors)")
    home.more["KKBC_REGISTRY"] = registry


def state(home: Home) -> dict[str, Any]:
    """The warehouse, with the history of the quarantine."""
    hidden = ("event_id", "happened_at", "load_id", "run_id")
    events = tables(home.database, {"ops.quarantine_event": hidden})
    loads = home.query("select cardinality(retry_load_ids), count(*) from ops.slice group by 1 order by 1")
    return {**tables(home.database, PULLED), **events, "loads": loads}


@pytest.mark.parametrize("point", POINTS)
def test_killed_at(
    point: str, victims: Victims, home: Home, more_branches: str, undisturbed_retry: dict[str, Any]
) -> None:
    pull_with_unknown_branch(victims, home, more_branches)
    assert_killed(victims.run(home, "command", *RETRY, traps=POINTS[point]))
    assert victims.run(home, "command", *RETRY) == 0, home.log.read_text()
    assert state(home) == undisturbed_retry
