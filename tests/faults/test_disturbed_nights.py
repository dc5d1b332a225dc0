"""Whole nights through the command line, disturbed at any moment; the one that is left alone publishes what is due."""

import random
import re
import time
from typing import Any

import psycopg
import pytest

from .stage import Home, Victims, assert_killed

pytestmark = pytest.mark.faults
SEEDS = range(8)


@pytest.fixture(scope="module")
def night_seconds(night_victims: Victims, shared_home: Home, undisturbed_night: dict[str, Any]) -> float:
    """How long a night takes here and now that nothing disturbs."""
    began = time.monotonic()
    assert night_victims.run(shared_home, "command", *shared_home.run_arguments()) == 0, shared_home.log.read_text()
    seconds = time.monotonic() - began
    assert shared_home.published() == undisturbed_night
    return seconds


@pytest.mark.parametrize("seed", SEEDS)
def test_killed_at_random(
    seed: int, night_victims: Victims, home: Home, undisturbed_night: dict[str, Any], night_seconds: float
) -> None:
    rng = random.Random(seed)
    for _ in range(3):
        pid = night_victims.start(home, "command", *home.run_arguments())
        time.sleep(rng.uniform(0, night_seconds))
        night_victims.kill(pid)
        status = night_victims.wait(pid)
        assert home.published() in ({}, undisturbed_night)
        if status == 0:
            break
        assert_killed(status)
    assert night_victims.run(home, "command", *home.run_arguments()) == 0, home.log.read_text()
    assert home.published() == undisturbed_night


@pytest.mark.parametrize("seed", SEEDS)
def test_connections_are_cut(
    seed: int, night_victims: Victims, home: Home, undisturbed_night: dict[str, Any], night_seconds: float
) -> None:
    """Every session of the night is ended at once: the night goes on, or says in one line why it cannot."""
    rng = random.Random(seed)
    for _ in range(2):
        pid = night_victims.start(home, "command", *home.run_arguments())
        time.sleep(rng.uniform(0, night_seconds))
        with psycopg.connect(home.database, autocommit=True) as conn:
            conn.execute(
                "select pg_terminate_backend(pid) from pg_stat_activity"
                " where datname = current_database() and pid <> pg_backend_pid() and backend_type = 'client backend'"
            )
        status = night_victims.wait(pid)
        assert home.published() in ({}, undisturbed_night)
        if status == 0:
            break
        assert status == 2, home.log.read_text()
        assert re.search(r"broke off|terminat|closed the connection|connection", home.complaint())
    assert night_victims.run(home, "command", *home.run_arguments()) == 0, home.log.read_text()
    assert home.published() == undisturbed_night
