"""`kkbc simulate serve` as a process: how it ends, and what it leaves behind."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from kkbc.core.errors import UserError
from kkbc.core.settings import Settings
from kkbc_play.simulator import World, servers
from kkbc_play.stack import branches
from kkbc_play.stack import processes as home_processes
from tests.play.simulator.clients import postgres
from tests.play.simulator.served import KKBC, SMALL, Served
from tests.play.traces import traces


def environment(settings: Settings) -> dict[str, str]:
    return os.environ | {"KKBC_HOME": str(settings.home)}


def listening(port: int) -> set[psutil.Process]:
    """The processes that accept connections at `port` of this machine."""
    return {
        psutil.Process(entry.pid)
        for entry in psutil.net_connections("tcp")
        if entry.status == psutil.CONN_LISTEN and entry.laddr[1] == port and entry.pid
    }


def test_ctrl_c_leaves_nothing_behind(tmp_path: Path) -> None:
    settings = Settings(home=tmp_path / "home")
    world = World(settings.home / "world", scale=SMALL, ways="mix")
    world.begin()
    command = [KKBC, "simulate", "serve", "--world", world.folder, "--misbehave", "KC010=revised"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment(settings)) as process:
        assert process.stdout is not None
        lines = []
        for line in process.stdout:
            lines.append(line)
            if "Ctrl-C" in line:
                break
        assert traces(world.folder)
        connections = json.loads((settings.keys / "connections.json").read_text())
        ports = {c["port"] for name, c in connections.items() if name.startswith(("sim_sftp", "sim_postgres"))}
        listeners = {port: listening(port) for port in ports}
        assert all(listeners.values())
        process.send_signal(signal.SIGINT)
        assert process.wait(timeout=60) == 0
    assert lines[0] == f"serving {world.folder}\n"
    counts = {line.split()[0]: int(line.split()[1]) for line in lines if " branches  " in line}
    assert counts == {"file": 41, "sftp": 30, "s3": 20, "http": 20, "postgres": 12}
    assert traces(world.folder) == []
    assert not (world.folder / "servers" / "serving.json").exists()
    assert not (world.folder / "servers" / "pg" / "postmaster.pid").exists()
    # Not "the port refuses": another server on this machine may have been given it in the meantime.
    assert not [port for port, before in listeners.items() if listening(port) & before]


def test_what_was_killed_comes_back_with_the_same_logins(tmp_path: Path) -> None:
    settings = Settings(home=tmp_path / "home")
    world = World(settings.home / "world", scale=SMALL, ways="mix")
    world.begin()
    branches.start(settings, world.folder)
    try:
        first = Served(settings, world)
        process = home_processes.find(branches.NAME, settings.home / "run")
        assert process is not None
        process.kill()
        process.wait()
        with pytest.raises(UserError, match="the servers of the branches have ended"):
            branches.ways_after(settings, world.folder, 1)
        branches.start(settings, world.folder)
        second = Served(settings, world)
        assert first.of("http")[1]["password"] == second.of("http")[1]["password"]
        with postgres(second.of("postgres")[1]) as conn:
            assert conn.execute("select count(*) from ekspor.pengiriman").fetchone() == (0,)
    finally:
        assert branches.stop(settings)
    assert traces(world.folder) == []
    assert not branches.stop(settings)


def test_a_world_of_files_needs_no_servers(tmp_path: Path) -> None:
    settings = Settings(home=tmp_path / "home")
    world = World(settings.home / "world", scale=SMALL, ways="file")
    world.begin()
    branches.start(settings, world.folder)
    assert branches.ways_after(settings, world.folder, 0) == {}
    assert home_processes.find(branches.NAME, settings.home / "run") is None


def test_a_missing_library_is_one_line_with_its_remedy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in sys.modules if name.startswith("kkbc_play.simulator.servers.")]:
        monkeypatch.delitem(sys.modules, name)
        # `from package import module` takes what the package has, before it imports.
        monkeypatch.delattr(servers, name.rpartition(".")[2], raising=False)
    monkeypatch.setitem(sys.modules, "asyncssh", None)
    with pytest.raises(UserError, match=r"need asyncssh, which is not installed here: .*requirements-dev\.lock"):
        servers.serve_here(tmp_path, lambda _: None)
