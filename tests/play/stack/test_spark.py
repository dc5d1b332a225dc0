"""A Spark cluster beside a home, without Spark: what it is told, and which of its processes are named."""

from pathlib import Path

import pytest

from kkbc.core.settings import Settings, get_settings
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


def test_it_is_told_what_every_cluster_is_told_and_where_it_is(tmp_path: Path) -> None:
    """What is common stands in one place: only for few rows is any of it said otherwise."""
    settings, ports = Settings(home=tmp_path), spark.Cluster(7077, 10000, 8080)
    spark._prepare(settings, ports, 1024, {})
    written = (tmp_path / "spark" / "conf" / "spark-defaults.conf").read_text()
    common = spark.DEFAULTS.read_text()
    assert written.startswith(common)

    def names(text: str) -> list[str]:
        return [line.split(" ")[0] for line in text.splitlines() if line and not line.startswith("#")]

    own = names(written.removeprefix(common))
    assert {"spark.master", "spark.authenticate.secret", "spark.sql.warehouse.dir"} <= set(own)
    assert not set(own) & set(names(common))
    assert len(set(names(common))) == len(names(common))
    assert (tmp_path / "spark" / "conf" / "spark-defaults.conf").stat().st_mode & 0o777 == 0o600
    assert (tmp_path / "spark" / "conf" / "log4j2.properties").read_text() == spark.LOGGING.read_text()
