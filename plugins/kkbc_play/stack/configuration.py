"""The Airflow of a home folder: its airflow.cfg, secrets and port.

Everything is in `home`/airflow/airflow.cfg (mode 0600), so that any airflow command works with AIRFLOW_HOME alone.
"""

import base64
import configparser
import io
import json
import os
import secrets
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import quote

from kkbc.core import connections
from kkbc.core.errors import UserError
from kkbc.core.files import write_private
from kkbc.core.local_airflow import ADMIN, Airflow, password_file, passwords_file, remembered_port
from kkbc.core.settings import PROJECT_ROOT, Settings
from kkbc.marts import lineage
from kkbc.warehouse.server import Server, free_port, port_is_free
from kkbc.watching import telemetry

DATABASE = "airflow"
PULL_POOL = "branch_pulls"

# Measured on two cores with the whole network, see docs/performance.md.
PARALLELISM = 8


def port_of(settings: Settings, *, running: bool) -> int:
    """The port of Airflow's web server: KKBC_AIRFLOW_PORT, else that of the last start, else a free one.

    Raises UserError when KKBC_AIRFLOW_PORT is no port, somebody else listens there, or Airflow runs at another.
    """
    remembered = remembered_port(settings.home)
    wish = os.environ.get("KKBC_AIRFLOW_PORT", "")
    if running and remembered is not None:
        if wish and wish != str(remembered):
            raise UserError(
                f"Airflow runs at port {remembered}, KKBC_AIRFLOW_PORT says {wish}",
                "`make down` first, then start again",
            )
        return remembered
    if not wish:
        return remembered if remembered is not None and port_is_free(remembered) else free_port()
    if not wish.isdecimal() or not 0 < int(wish) < 65536:
        raise UserError(f"KKBC_AIRFLOW_PORT={wish} is no TCP port", "give a number from 1024 to 65535, or unset it")
    if not port_is_free(int(wish)):
        raise UserError(
            f"port {wish} (KKBC_AIRFLOW_PORT) is taken by another program", "free it, name another, or unset it"
        )
    return int(wish)


def configure(settings: Settings, server: Server, port: int) -> Airflow:
    """Writes airflow.cfg and the admin's password file, both mode 0600. Secrets are made once and kept."""
    home = settings.home
    folder = home / "airflow"
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    kept = _secrets(settings.keys / "airflow.json")
    parser = configparser.ConfigParser(interpolation=None)
    parser.read_dict(_options(settings, server, port, kept))
    text = io.StringIO()
    parser.write(text)
    write_private(folder / "airflow.cfg", "# Written by `make up` at each start.\n" + text.getvalue())
    write_private(passwords_file(home), json.dumps({ADMIN: kept["password"]}))
    write_private(password_file(settings), kept["password"] + "\n")
    run = home / "run"
    run.mkdir(exist_ok=True)
    (run / "airflow.port").write_text(f"{port}\n")
    return Airflow(port, kept["password"])


def environment(settings: Settings) -> Mapping[str, str]:
    """Environment of Airflow's processes: this shell's, without what would point them to another Airflow."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("AIRFLOW__")}
    return kept | {
        "AIRFLOW_HOME": str(settings.home / "airflow"),
        "KKBC_HOME": str(settings.home),
        # A home without a source root lives on played nights, and the clock must not run ahead of them.
        **({} if settings.source_root else {"KKBC_PULL_SCHEDULE": kept.get("KKBC_PULL_SCHEDULE", "")}),
        **telemetry.exporter_environment(settings.metrics),
        "GX_ANALYTICS_ENABLED": "false",
        "DBT_SEND_ANONYMOUS_USAGE_STATS": "false",
        "DO_NOT_TRACK": "1",
        "PYTHONUNBUFFERED": "1",
    }


def _options(settings: Settings, server: Server, port: int, kept: Mapping[str, str]) -> dict[str, dict[str, str]]:
    folder = settings.home / "airflow"
    database = (
        f"postgresql+psycopg://{DATABASE}@/{DATABASE}?host={quote(str(server.socket_dir), safe='')}&port={server.port}"
    )
    options: dict[str, dict[str, object]] = {
        "core": {
            "dags_folder": PROJECT_ROOT / "dags",
            "plugins_folder": PROJECT_ROOT / "plugins",
            "executor": "kkbc_play.stack.executor.WarmLocalExecutor",
            "mp_start_method": "fork",
            "parallelism": PARALLELISM,
            "max_active_tasks_per_dag": 128,
            "load_examples": False,
            "dags_are_paused_at_creation": False,
            "fernet_key": kept["fernet_key"],
            "simple_auth_manager_users": f"{ADMIN}:admin",
            "simple_auth_manager_passwords_file": passwords_file(settings.home),
            "execution_api_server_url": f"http://127.0.0.1:{port}/execution/",
            "test_connection": "Disabled",
        },
        "database": {"sql_alchemy_conn": database, "sql_alchemy_conn_async": database},
        "logging": _logging(folder / "logs"),
        "api": {
            "host": "127.0.0.1",
            "port": port,
            "base_url": f"http://127.0.0.1:{port}",
            "workers": 1,
            "secret_key": kept["secret_key"],
            "instance_name": "Kerja Keras Bebas Cemas",
        },
        "api_auth": {"jwt_secret": kept["jwt_secret"]},
        "secrets": {"backend": connections.BACKEND, "backend_kwargs": connections.backend_arguments(settings)},
        # The supervisor sleeps for as long as this after a task has ended early; 5 s by default.
        "workers": {"min_heartbeat_interval": 1},
        "scheduler": {"scheduler_idle_sleep_time": 0.2, "max_tis_per_query": 128},
        "dag_processor": {"refresh_interval": 30, "min_file_process_interval": 30},
        "openlineage": lineage.airflow_options(settings),
        "metrics": {**telemetry.airflow_options(settings.metrics)},
    }
    # ConfigParser takes a single % for the start of a reference.
    return {
        section: {name: str(value).replace("%", "%%") for name, value in values.items()}
        for section, values in options.items()
    }


def _logging(folder: Path) -> dict[str, object]:
    return {
        "base_log_folder": folder,
        "file_task_handler_new_folder_permissions": "0o700",
        "file_task_handler_new_file_permissions": "0o600",
        # What a step says is worth keeping, what Airflow says of its own doings only when it goes wrong.
        "logging_level": "INFO",
        "namespace_levels": "airflow=WARNING http=WARNING supervisor=WARNING task=WARNING task.stdout=INFO",
        "uvicorn_logging_level": "WARNING",
        "colored_console_log": False,
    }


def _secrets(path: Path) -> dict[str, str]:
    try:
        return dict(json.loads(path.read_text()))
    except FileNotFoundError:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        made = {
            "fernet_key": base64.urlsafe_b64encode(secrets.token_bytes(32)).decode(),
            "jwt_secret": secrets.token_urlsafe(48),
            "secret_key": secrets.token_urlsafe(48),
            "password": secrets.token_urlsafe(12),
        }
        write_private(path, json.dumps(made))
        return made
