"""One real Spark cluster for all tests: a master, two workers and a Thrift server, in a home of its own."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from kkbc.core.settings import get_settings
from kkbc.marts.spark import place
from kkbc_play.stack import spark
from tests.dbt_project.conftest import current


class Cluster:
    """The cluster, for tests that end parts of it."""

    def __init__(self, home: Path) -> None:
        self.home = home

    def up(self) -> dict[str, str]:
        """Starts what is not running; returns the settings of a home that builds on it."""
        with current({"KKBC_HOME": str(self.home)}):
            running = spark.up(small=True)
            folder = place.folder(get_settings())
        address = {"KKBC_SPARK_THRIFT": f"127.0.0.1:{running.thrift}", "KKBC_SPARK_FOLDER": str(folder)}
        return {"KKBC_ENGINE": "spark", **address}

    def down(self) -> None:
        """Stops all of it."""
        with current({"KKBC_HOME": str(self.home)}):
            spark.down(get_settings())


@pytest.fixture(scope="session")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """The cluster of the session."""
    made = Cluster(tmp_path_factory.mktemp("spark"))
    made.up()
    yield made
    made.down()
