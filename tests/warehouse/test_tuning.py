"""Settings that follow the size of the machine."""

import psycopg
import pytest
from typer.testing import CliRunner

from kkbc.cli.application import app
from kkbc.warehouse import server
from kkbc.warehouse.tuning import GB, MB, Machine, derive
from tests.conftest import UNSAFE_BUT_FAST


def megabytes(value: str) -> int:
    return int(value.strip("'").removesuffix("MB"))


def test_the_embedded_server_runs_with_them(pg: server.Server) -> None:
    wanted = {**derive(Machine.here()), **UNSAFE_BUT_FAST}
    with psycopg.connect(pg.conninfo()) as conn:
        for name in derive(Machine.here()):
            shown = conn.execute("select pg_size_bytes(current_setting(%s))", [name]).fetchone()
            assert shown == conn.execute("select pg_size_bytes(%s)", [wanted[name].strip("'")]).fetchone(), name


@pytest.mark.parametrize("memory", [GB // 2, 2 * GB, 24 * GB, 1024 * GB])
@pytest.mark.parametrize("cores", [1, 2, 64])
@pytest.mark.parametrize("shared", [True, False])
def test_they_fit_into_the_memory(memory: int, cores: int, shared: bool) -> None:
    settings = derive(Machine(memory, cores, shared))
    cache, work = megabytes(settings["shared_buffers"]), megabytes(settings["work_mem"])
    # The cache, and both sessions of a build with four sorts each beside 20 readers with one.
    assert (cache + (2 * 4 + 20) * work) * MB <= max(memory * 0.6, GB)
    assert cache <= megabytes(settings["effective_cache_size"])
    assert int(settings["max_parallel_workers_per_gather"]) <= int(settings["max_worker_processes"])


def test_where_containers_have_little_shared_memory_no_plan_is_parallel() -> None:
    assert derive(Machine(8 * GB, 4, parallel_memory=64 * MB))["max_parallel_workers_per_gather"] == "0"
    assert derive(Machine(8 * GB, 4))["max_parallel_workers_per_gather"] == "2"


def test_they_are_written_out_for_another_server() -> None:
    shown = CliRunner().invoke(app, ["postgres-settings", "--memory", "64", "--cores", "16"])
    assert shown.exit_code == 0
    lines = dict(line.split(" = ") for line in shown.stdout.splitlines())
    assert (lines["shared_buffers"], lines["effective_cache_size"]) == ("'16384MB'", "'49152MB'")
    assert (lines["log_min_error_statement"], lines["jit"]) == ("panic", "off")
    # Where it listens, and for whom, is that server's own affair.
    assert not {"listen_addresses", "unix_socket_permissions", "port"} & set(lines)
