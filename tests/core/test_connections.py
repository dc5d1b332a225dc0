"""Connections as Airflow keeps them, asked for outside of Airflow."""

import json
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from kkbc.core import tokens
from kkbc.core.connections import Connection, get_connection
from kkbc.core.errors import BranchRefused, UserError
from kkbc.core.settings import get_settings

SFTP = {
    "conn_type": "sftp",
    "host": "cabang.example",
    "port": 2222,
    "login": "kc044",
    "password": "rahasia sekali",
    "schema": "s",
    "extra": {"root": "/kirim", "host_key": "ssh-ed25519 AAAA", "private_key": "kunci rahasia"},
}


def write(home: Path, content: Any, mode: int = 0o600) -> Path:
    path = home / "keys" / "connections.json"
    path.parent.mkdir(exist_ok=True, mode=0o700)
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    path.chmod(mode)
    return path


def test_a_connection_of_the_homes_file(home: Path) -> None:
    write(home, {"branch_044": SFTP, "short": "http://u:pass%20word@api.example:81/x"})
    found = get_connection("branch_044")
    assert found == Connection("branch_044", "cabang.example", 2222, "kc044", "rahasia sekali", "s", SFTP["extra"])
    assert "rahasia" not in repr(found)
    assert "kc044" not in repr(found)
    assert get_connection("short").password == "pass word"


def test_the_file_is_read_again_and_belongs_to_the_home(home: Path, tmp_path: Path, monkeypatch: Any) -> None:
    write(home, {"branch_044": SFTP})
    assert get_connection("branch_044").host == "cabang.example"
    write(home, {"branch_044": SFTP | {"host": "moved.example"}})
    assert get_connection("branch_044").host == "moved.example"
    other = tmp_path / "other"
    other.mkdir()
    write(other, {"branch_044": SFTP | {"host": "other.example"}})
    monkeypatch.setenv("KKBC_HOME", str(other))
    get_settings.cache_clear()
    assert get_connection("branch_044").host == "other.example"


def test_stdout_is_left_alone_by_visits_at_the_same_time(home: Path) -> None:
    write(home, {"branch_044": SFTP})
    before = sys.stdout
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(get_connection, ["branch_044"] * 64))
    assert {connection.host for connection in found} == {"cabang.example"}
    assert sys.stdout is before


def test_a_connection_of_the_environment_needs_no_file(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_BRANCH_044", json.dumps(SFTP))
    assert get_connection("branch_044").extra["root"] == "/kirim"
    monkeypatch.setenv("AIRFLOW_CONN_BRANCH_044", json.dumps(SFTP | {"extra": "[1]"}))
    with pytest.raises(BranchRefused, match="extra of Airflow connection 'branch_044' is no JSON object"):
        get_connection("branch_044")


@pytest.mark.parametrize(
    ("content", "mode", "message"),
    [
        ({}, 0o600, "Airflow connection 'branch_044' cannot be read"),
        (None, 0o600, "Airflow connection 'branch_044' cannot be read"),
        ({"branch_044": SFTP | {"unknown_field": 1}}, 0o600, "Airflow connection 'branch_044' cannot be read"),
        ({"branch_044": SFTP, "other": {"extra": "[1]"}}, 0o600, "a connection in .* spoils them all"),
        ("{rahasia", 0o600, "connections.json cannot be read"),
        ("[]", 0o600, "connections.json holds no JSON object"),
        ({"branch_044": SFTP}, 0o640, "connections.json can be read by others"),
    ],
)
def test_what_is_wrong_with_a_connection_is_reported_without_its_secrets(
    home: Path, content: Any, mode: int, message: str
) -> None:
    if content is not None:
        write(home, content, mode)
    with pytest.raises(BranchRefused, match=message) as caught:
        get_connection("branch_044")
    assert caught.value.remedy
    assert "rahasia" not in str(caught.value)
    assert caught.value.__cause__ is None


def test_what_a_way_in_needs_is_asked_for_by_name() -> None:
    connection = Connection("branch_044", host="x", extra={"root": "/", "empty": ""})
    connection.need("host", "extra.root")
    for name in ("login", "password", "schema", "port", "extra.empty", "extra.other"):
        with pytest.raises(BranchRefused, match=f"'branch_044' has no {name}$|'branch_044' has no {name}:"):
            connection.need("host", name)


def test_the_token_key_may_be_kept_in_a_connection(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KKBC_PII_KEY_CONNECTION", "token_key")
    get_settings.cache_clear()
    with pytest.raises(UserError, match="'token_key' cannot be read") as caught:
        tokens.load_key()
    assert not isinstance(caught.value, BranchRefused)  # the night cannot go on without it
    write(home, {"token_key": {"conn_type": "generic", "password": "ab" * 32}})
    assert tokens.load_key() == tokens.Key(1, bytes.fromhex("ab" * 32))
    write(home, {"token_key": {"conn_type": "generic"}})
    with pytest.raises(UserError, match="holds no password"):
        tokens.load_key()


def test_a_plain_process_leaves_the_users_folder_stdout_and_logging_alone(tmp_path: Path) -> None:
    home, user = tmp_path / "a home", tmp_path / "user"
    home.mkdir()
    user.mkdir()
    write(home, {"branch_044": SFTP})
    script = (
        "import logging, sys\n"
        "from concurrent.futures import ThreadPoolExecutor\n"
        "from kkbc.core.connections import get_connection\n"
        "assert 'airflow' not in sys.modules\n"
        "sys.setswitchinterval(1e-6)\n"
        "with ThreadPoolExecutor(4) as pool:\n"
        "    found = list(pool.map(get_connection, ['branch_044'] * 40))\n"
        "print(found[39].host)\n"
        "print(logging.getLogger().handlers, logging.getLogger().level)\n"
    )
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("AIRFLOW", "KKBC"))}
    environment |= {"HOME": str(user), "KKBC_HOME": str(home)}
    command = [sys.executable, "-c", script]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True, cwd=tmp_path)
    assert (done.stdout, done.stderr) == ("cabang.example\n[] 30\n", "")
    assert list(user.iterdir()) == []
    # Where Airflow has a backend of its own, that is asked.
    (tmp_path / "own.json").write_text(json.dumps({"branch_044": SFTP | {"host": "own.example"}}))
    environment |= {
        "AIRFLOW_HOME": str(tmp_path / "airflow"),
        "AIRFLOW__SECRETS__BACKEND": "airflow.secrets.local_filesystem.LocalFilesystemBackend",
        "AIRFLOW__SECRETS__BACKEND_KWARGS": json.dumps({"connections_file_path": str(tmp_path / "own.json")}),
    }
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True, cwd=tmp_path)
    assert done.stdout.startswith("own.example\n")
