"""What `kkbc doctor` finds of the Airflow of a home."""

from collections.abc import Iterator

import httpx

from kkbc.core import local_airflow
from kkbc.core.settings import get_settings
from kkbc.upkeep.doctor import START, Finding
from kkbc_play.stack import configuration, states
from kkbc_play.stack.api import Api
from kkbc_play.stack.lifecycle import COMPONENTS, DAGS


def examine_airflow() -> Iterator[Finding]:
    """Its processes, its own word on their health, and whether both DAGs are there, awake and free of errors."""
    settings = get_settings()
    port = configuration.port_of(settings, running=any(part.running for part in states() if part.name == "api-server"))
    down = [part.name for part in states() if part.name in COMPONENTS and not part.running]
    airflow = local_airflow.find(settings)
    if airflow is None or len(down) == len(COMPONENTS):
        yield Finding("airflow", "warn", f"not running; port {port} is free for it", START)
        return
    if down:
        yield Finding("airflow", "fail", f"down: {', '.join(down)}", f"read {settings.home}/run/*.log; {START}")
        return
    api = Api(airflow)
    try:
        health = api.health()
    except httpx.HTTPError as error:
        yield Finding("airflow", "fail", f"{airflow.url} does not answer: {error}", "`make down`, then `make up`")
        return
    ill = [name for name, part in health.items() if part["status"] not in ("healthy", None)]
    if ill:
        yield Finding("airflow", "fail", f"unhealthy: {', '.join(ill)}", f"read {settings.home}/run/*.log")
    else:
        yield Finding("airflow", "ok", f"{airflow.url}, all parts healthy")
    yield _dags(api)


def _dags(api: Api) -> Finding:
    broken = api.get("importErrors")["import_errors"]
    if broken:
        files = ", ".join(sorted(error["filename"] for error in broken))
        return Finding("dags", "fail", f"cannot be parsed: {files}", f"see {api.airflow.url}/dags")
    found = {dag_id: api.get(f"dags/{dag_id}") for dag_id in DAGS}
    if missing := [dag_id for dag_id, dag in found.items() if dag is None]:
        return Finding("dags", "fail", f"not there: {', '.join(missing)}", "`make down`, then `make up`")
    if paused := [dag_id for dag_id, dag in found.items() if dag["is_paused"]]:
        return Finding("dags", "warn", f"paused: {', '.join(paused)}", f"unpause them at {api.airflow.url}/dags")
    return Finding("dags", "ok", ", ".join(DAGS))
