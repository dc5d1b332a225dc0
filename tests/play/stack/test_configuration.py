"""Port, secrets and airflow.cfg of a home."""

import configparser
import json
import os
import socket
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from kkbc.core import local_airflow
from kkbc.core.errors import UserError
from kkbc.core.settings import get_settings
from kkbc.warehouse import server
from kkbc.warehouse.server import Server, free_port
from kkbc_play.cli.stack import _where_to_look
from kkbc_play.stack import configuration


@pytest.fixture
def taken() -> Iterator[int]:
    """A port that somebody else listens on."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        yield listener.getsockname()[1]


def remember(home: Path, port: int) -> None:
    (home / "run").mkdir()
    (home / "run" / "airflow.port").write_text(f"{port}\n")


def test_the_port_of_the_last_start_is_taken_again(home: Path) -> None:
    port = free_port()
    remember(home, port)
    assert configuration.port_of(get_settings(), running=False) == port


def test_a_remembered_port_that_is_occupied_is_replaced(home: Path, taken: int) -> None:
    remember(home, taken)
    assert configuration.port_of(get_settings(), running=False) != taken


def test_a_running_airflow_keeps_its_port(home: Path, taken: int) -> None:
    remember(home, taken)
    assert configuration.port_of(get_settings(), running=True) == taken


def test_a_named_port_is_taken(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    port = free_port()
    monkeypatch.setenv("KKBC_AIRFLOW_PORT", str(port))
    assert configuration.port_of(get_settings(), running=False) == port


def test_a_named_port_that_is_occupied_is_one_clear_error(
    home: Path, taken: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KKBC_AIRFLOW_PORT", str(taken))
    with pytest.raises(UserError, match=f"port {taken} .KKBC_AIRFLOW_PORT. is taken"):
        configuration.port_of(get_settings(), running=False)


@pytest.mark.parametrize("wanted", ["http", "0", "65536", "-1", "80.5"])
def test_a_name_that_is_no_port_is_one_clear_error(home: Path, wanted: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KKBC_AIRFLOW_PORT", wanted)
    with pytest.raises(UserError, match="is no TCP port"):
        configuration.port_of(get_settings(), running=False)


def test_another_port_for_a_running_airflow_needs_a_restart(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    remember(home, 12345)
    monkeypatch.setenv("KKBC_AIRFLOW_PORT", "12346")
    with pytest.raises(UserError, match="Airflow runs at port 12345"):
        configuration.port_of(get_settings(), running=True)


def test_secrets_are_made_once_and_private(home: Path) -> None:
    running = Server(home / "pg", 1, 5432, home / "a folder%" / "socket")
    first = configuration.configure(get_settings(), running, 8080)
    again = configuration.configure(get_settings(), running, 8081)
    assert again.password == first.password
    assert local_airflow.find(get_settings()) == again
    assert json.loads((home / "airflow" / "passwords.json").read_text()) == {"admin": first.password}
    for path in (home / "airflow" / "airflow.cfg", home / "airflow" / "passwords.json", home / "keys" / "airflow.json"):
        assert stat.S_IMODE(path.stat().st_mode) == 0o600, path
    config = configparser.ConfigParser()
    config.read(home / "airflow" / "airflow.cfg")
    assert config["api"]["port"] == "8081"
    assert "a%20folder%25" in config["database"]["sql_alchemy_conn"]
    assert config["core"]["load_examples"] == "False"
    assert config["secrets"]["backend"].endswith(".HomeConnections")
    assert json.loads(config["secrets"]["backend_kwargs"]) == {"connections_file_path": f"{home}/keys/connections.json"}


def test_another_airflow_of_this_shell_does_not_reach_in(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW__DATABASE__SQL_ALCHEMY_CONN", "postgresql://elsewhere/airflow")
    monkeypatch.setenv("AIRFLOW_HOME", "/elsewhere")
    environment = configuration.environment(get_settings())
    assert "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN" not in environment
    assert environment["AIRFLOW_HOME"] == str(home / "airflow")


def test_the_clock_does_not_start_pulls_in_a_home_of_played_nights(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert configuration.environment(get_settings())["KKBC_PULL_SCHEDULE"] == ""
    monkeypatch.setenv("KKBC_SOURCE_ROOT", "/deliveries")
    get_settings.cache_clear()
    assert "KKBC_PULL_SCHEDULE" not in configuration.environment(get_settings())


def test_where_to_look_names_the_place_of_the_password_and_not_the_password(
    home: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    running = Server(home / "pg", 1, 5432, home / "socket")
    airflow = configuration.configure(get_settings(), running, 8080)
    monkeypatch.setattr(server, "find", lambda home: running)
    pages = [home / "reports" / day / "nasional.html" for day in ("2026-12-15", "2026-12-14")]
    for written, page in enumerate(pages):
        page.parent.mkdir(parents=True)
        page.touch()
        (page.parent / "figures.zip").touch()
        os.utime(page.parent / "figures.zip", (written, written))
    _where_to_look()
    shown = capsys.readouterr().out
    path = home / "keys" / "airflow-admin.password"
    assert str(path) in shown
    assert airflow.password not in shown
    # A rollback publishes an earlier night last.
    assert [str(page) in shown for page in pages] == [False, True]
    assert path.read_text().strip() == airflow.password
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_secrets_are_written_through_no_link(home: Path) -> None:
    (home / "airflow").mkdir()
    (home / "airflow" / "airflow.cfg").symlink_to(home / "precious")
    (home / "precious").write_text("keep")
    configuration.configure(get_settings(), Server(home / "pg", 1, 5432, home / "socket"), 8080)
    assert (home / "precious").read_text() == "keep"
    assert not (home / "airflow" / "airflow.cfg").is_symlink()


def test_airflows_logs_are_its_owners_alone(home: Path) -> None:
    configuration.configure(get_settings(), Server(home / "pg", 1, 5432, home / "socket"), 8080)
    config = configparser.ConfigParser(interpolation=None)
    config.read(home / "airflow" / "airflow.cfg")
    assert config["logging"]["file_task_handler_new_folder_permissions"] == "0o700"
    assert config["logging"]["file_task_handler_new_file_permissions"] == "0o600"
