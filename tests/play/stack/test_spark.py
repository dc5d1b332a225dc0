"""The processes of a Spark cluster beside a home, without Spark: those that run are named, and no others."""

from pathlib import Path

import pytest

from kkbc.core.settings import get_settings
from kkbc_play.stack import processes, spark, states


def test_processes_of_spark_are_named_while_they_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KKBC_HOME", str(tmp_path))
    get_settings.cache_clear()
    run = tmp_path / "run"
    run.mkdir()

    def named() -> list[str]:
        assert all(part.running for part in states() if part.name.startswith("spark"))
        return [part.name for part in states() if part.name.startswith("spark")]

    try:
        assert named() == []
        for name in (spark.MASTER, "spark-worker-2"):
            processes.start(name, ["sleep", "600"], run, {"PATH": "/usr/bin:/bin"})
        assert named() == ["spark-master", "spark-worker-2"]
        ended = processes.find("spark-worker-2", run)
        assert ended is not None
        ended.kill()
        ended.wait(10)
        # No part of a night by PostgreSQL: one that is gone is no lack.
        assert named() == ["spark-master"]
    finally:
        assert spark.down(get_settings()) == ["spark-master"]
        monkeypatch.undo()
        get_settings.cache_clear()
