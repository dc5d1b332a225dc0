"""Two builds at the same time: the newest one alone may write what is published, and nights wait for each other."""

import threading
from collections.abc import Callable

import pytest

from kkbc import nights
from kkbc.core.errors import UserError
from kkbc.warehouse import connect

from .stage import DAYS, Home


@pytest.fixture
def builds(here: Home) -> tuple[int, int]:
    """Two builds that were opened one after the other, both under way."""
    for day in DAYS:
        nights.open_run(nights.RunRequest(day, here.root), mode="airflow", run_id=str(day))
    older, newer = (nights.open_build(str(day)) for day in DAYS)
    return older, newer


STEPS: dict[str, Callable[[int], object]] = {
    "build_layer": lambda build_id: nights.build_layer(build_id, "models"),
    "publish": nights.publish,
}


@pytest.mark.parametrize("step", STEPS)
def test_the_older_build_is_overtaken(step: str, builds: tuple[int, int]) -> None:
    """It would publish the marts of another day, or half of them, under its own date."""
    older, newer = builds
    with pytest.raises(UserError, match=f"build {newer} was opened after build {older}"):
        STEPS[step](older)
    with connect() as conn:
        assert conn.execute("select from ops.publication").fetchall() == []


def test_publication_waits_for_the_layer_of_another_build(builds: tuple[int, int]) -> None:
    """It looks which build is the newest when that one has let go of the hidden schemas, not before."""
    problems: list[str] = []

    def publish() -> None:
        with pytest.raises(UserError) as caught:
            nights.publish(builds[0])
        problems.append(caught.value.problem)

    with connect() as layer:
        layer.execute("lock table locks.publish in exclusive mode")
        thread = threading.Thread(target=publish)
        thread.start()
        thread.join(0.5)
        assert thread.is_alive()
    thread.join(30)
    assert problems == [f"build {builds[1]} was opened after build {builds[0]}"]


def test_nights_wait_for_each_other(here: Home) -> None:
    waits: list[str] = []
    inside = threading.Event()

    def second() -> None:
        with nights.one_build(lambda: waits.append("second")):
            inside.set()

    with nights.one_build(lambda: waits.append("first")):
        thread = threading.Thread(target=second)
        thread.start()
        assert not inside.wait(0.5)
    thread.join(30)
    assert inside.is_set()
    assert waits == ["second"]
