"""What the board answers to a browser: pages for whoever may see the runs of `pull_branches`, and one action.

Mounted into Airflow's web server, behind its login. Nothing is loaded from another host, and no page holds a person.
"""

import time
from collections.abc import Callable
from datetime import date, timedelta
from functools import cache
from pathlib import Path as FilePath
from statistics import median
from typing import Annotated, Any
from urllib.parse import quote, urlencode, urlsplit

import jinja2
import psycopg
from airflow.api.common.trigger_dag import trigger_dag
from airflow.api_fastapi.app import get_auth_manager
from airflow.api_fastapi.auth.managers.models.resource_details import DagAccessEntity, DagDetails
from airflow.api_fastapi.common.db.common import SessionDep
from airflow.api_fastapi.core_api.security import GetUserDep, requires_access_dag
from airflow.api_fastapi.logging.decorators import action_logging
from airflow.configuration import conf
from airflow.exceptions import AirflowException
from airflow.models.dag import DagModel
from airflow.models.taskinstance import TaskInstance
from airflow.utils.types import DagRunTriggeredByType
from fastapi import APIRouter, Depends, FastAPI, HTTPException, Path, Query, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import FileResponse, HTMLResponse, JSONResponse, RedirectResponse
from sqlalchemy import select
from starlette.exceptions import HTTPException as AnyHTTPException

from kkbc.core import clock
from kkbc.core.errors import UserError
from kkbc.reporting import page_of
from kkbc.warehouse.connection import explained
from kkbc.watching.board import night
from kkbc.watching.status import Health, health

PREFIX = "/kkbc"
DAG_ID = "pull_branches"
# The tasks whose labels name the branches that they visit; earlier versions had one for each branch.
TASK_IDS = ("pull_group", "pull_branch")

FOLDER = FilePath(__file__).parent
POLICY = (
    "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self' data:; form-action 'self';"
    " frame-ancestors 'self'; base-uri 'none'"
)
# A form's request would come without its origin under a stricter policy.
HEADERS = {"Content-Security-Policy": POLICY, "Referrer-Policy": "same-origin", "X-Content-Type-Options": "nosniff"}
HEALTH_SECONDS = 10.0

# What may stand in an address. The years are those of a delivery (Exchange rule 25), the rest what names look like;
# a number fits a key of the warehouse, a run's name the column that Airflow keeps it in.
Day = Annotated[date, Query(ge=date(1900, 1, 1), le=date(2100, 12, 31))]
BranchId = Annotated[str, Path(pattern=r"^[A-Z0-9]{2,10}$")]
AttemptId = Annotated[int, Path(ge=1, le=2**63 - 1)]
ReportName = Annotated[str, Path(pattern=r"^(nasional|KW[0-9]{2}|[A-Z]{2}[0-9]{3})$")]
RunId = Annotated[str, Query(pattern=r"^[A-Za-z0-9_.~:+-]{1,250}$")]

# A report is one file with its style inside.
REPORT_POLICY = "default-src 'none'; style-src 'unsafe-inline'; img-src data:; frame-ancestors 'self'; base-uri 'none'"

UNREADABLE = "Alamat ini tidak dapat dibaca"

LABELS: dict[str, str] = {
    "on_time": "Tepat waktu",
    "late": "Terlambat",
    "missing": "Belum ada",
    "incomplete": "Belum lengkap",
    "held": "Ditahan",
    "rejected": "Ditolak",
    "not_expected": "Tidak dinanti",
    "loaded": "Dimuat",
    "superseded": "Diganti",
    "nothing_new": "Nihil",
    "failed": "Gagal",
    "killed": "Terputus",
    "running": "Berjalan",
}


def make_app() -> FastAPI:
    """The application, to be mounted under PREFIX."""
    # Its own documentation pages would be routes without a login.
    app = FastAPI(title="Papan cabang", docs_url=None, redoc_url=None, openapi_url=None)
    app.include_router(_open)
    app.include_router(_behind_login)
    app.add_exception_handler(UserError, _cannot)
    app.add_exception_handler(psycopg.Error, _cannot)
    app.add_exception_handler(AnyHTTPException, _refused)
    app.add_exception_handler(RequestValidationError, _unreadable)
    return app


def same_origin(request: Request) -> None:
    """Refuses an action that another site's page asks for with the reader's cookie (403).

    A request that brings its token itself needs no such proof.
    """
    if request.headers.get("authorization"):
        return
    asked_by = request.headers.get("origin", "").partition("://")[2]
    ours = {request.headers.get("host", ""), urlsplit(conf.get("api", "base_url", fallback="")).netloc}
    if not asked_by or asked_by not in ours:
        raise HTTPException(403, "Permintaan ini tidak datang dari papan cabang")


def day_alone(request: Request) -> None:
    """Refuses an action that brings more than its day (422): Airflow's audit log reads all that comes with a request.

    It takes some parameters for its own columns, and expects them to fit.
    """
    if set(request.query_params) - {"day"} or request.headers.get("content-type", "").startswith("application/json"):
        raise HTTPException(422, UNREADABLE)


may_see = requires_access_dag("GET", DagAccessEntity.RUN, DAG_ID)
may_pull = requires_access_dag("POST", DagAccessEntity.RUN, DAG_ID)

log_action = action_logging("kkbc_pull_branch")

_open = APIRouter()
_behind_login = APIRouter(dependencies=[Depends(may_see)])

_health: dict[str, tuple[float, Health]] = {}


@_open.get("/health")
def show_health() -> JSONResponse:
    """ok, late or down, and nothing else: this one needs no login."""
    read_at, found = _health.get("", (0.0, "down"))
    if time.monotonic() > read_at + HEALTH_SECONDS:
        found = health()
        _health[""] = time.monotonic(), found
    return JSONResponse({"status": found}, 503 if found == "down" else 200, {"Cache-Control": "no-store"})


@_behind_login.get("/", name="board")
def show_board(
    request: Request,
    user: GetUserDep,
    day: Day | None = None,
    state: night.State | None = None,
    asked: RunId | None = None,
) -> HTMLResponse:
    """All branches of a night by regional office; of one `state` only when one is given."""
    found = night.branch_states(day)
    report = page_of(found.day) is not None
    return _page(request, "board.html", night=found, only=state, asked=asked, may_pull=_may_pull(user), report=report)


@_behind_login.get("/branches/{branch_id}", name="branch")
def show_branch(request: Request, user: GetUserDep, branch_id: BranchId, day: Day) -> HTMLResponse:
    """One branch of a night: revisions of its slices, visits with their logs."""
    found = night.branch_night(branch_id, day)
    if found is None:
        raise HTTPException(404, "Kantor itu tidak ada dalam daftar")
    report = page_of(day, branch_id) is not None
    return _page(request, "branch.html", found=found, night=found.night, may_pull=_may_pull(user), report=report)


@_behind_login.get("/reports/{name}", name="report")
def show_report(name: ReportName, day: Day) -> HTMLResponse:
    """The report of a night as it was written: of the nation, of an office, or of a branch."""
    page = page_of(day, name)
    if page is None:
        raise HTTPException(404, f"Laporan {name} malam {_day(day)} belum ditulis")
    headers = {**HEADERS, "Content-Security-Policy": REPORT_POLICY, "Cache-Control": "no-store"}
    return HTMLResponse(page.read_text(encoding="utf-8"), headers=headers)


@_behind_login.get("/visits/{attempt_id}/log", name="log")
def show_log(request: Request, attempt_id: AttemptId, session: SessionDep) -> RedirectResponse:
    """On to Airflow's page of the task that made a visit, whose label names the branch."""
    visit = night.visit(attempt_id)
    if visit is None:
        raise HTTPException(404, f"Kunjungan {attempt_id} tidak dibuat oleh Airflow")
    run_id, branch_id = visit
    task = session.execute(
        select(TaskInstance.task_id, TaskInstance.map_index).where(
            TaskInstance.dag_id == DAG_ID,
            TaskInstance.task_id.in_(TASK_IDS),
            TaskInstance.run_id == run_id,
            TaskInstance.rendered_map_index.contains(branch_id),
        )
    ).first()
    if task is None:
        raise HTTPException(404, f"Airflow tidak lagi menyimpan kunjungan {attempt_id}")
    return RedirectResponse(f"{_run_url(request, run_id)}/tasks/{task.task_id}/mapped/{task.map_index}", 303)


@_behind_login.post(
    "/branches/{branch_id}/pull",
    name="pull",
    dependencies=[Depends(same_origin), Depends(may_pull), Depends(day_alone), Depends(log_action)],
)
def pull_again(
    request: Request, user: GetUserDep, session: SessionDep, branch_id: BranchId, day: Day
) -> RedirectResponse:
    """Triggers `pull_branches` for one branch; a build follows by itself when something new comes."""
    request_again = night.pull_again(branch_id)
    if request_again is None:
        raise HTTPException(404, "Kantor itu belum pernah dikunjungi")
    dag = session.get(DagModel, DAG_ID)
    if dag is None or dag.is_stale or dag.is_paused:
        raise HTTPException(409, f"DAG {DAG_ID} dijeda atau tidak ada: aktifkan dahulu")
    try:
        run = trigger_dag(
            DAG_ID,
            triggered_by=DagRunTriggeredByType.UI,
            triggering_user_name=user.get_name(),
            conf=request_again,
            session=session,
        )
    except (AirflowException, ValueError) as error:
        raise HTTPException(409, f"Airflow menolak: {error}") from error
    assert run is not None
    query = urlencode({"day": day.isoformat(), "asked": run.run_id})
    return RedirectResponse(f"{_root(request)}{PREFIX}/?{query}", 303)


@_behind_login.get("/static/{name}", name="static")
def show_file(name: str) -> FileResponse:
    """Style and script of the pages."""
    kinds = {"board.css": "text/css", "board.js": "text/javascript"}
    if name not in kinds:
        raise HTTPException(404, "Tidak ada")
    headers = {"Cache-Control": "private, max-age=300", "X-Content-Type-Options": "nosniff"}
    return FileResponse(FOLDER / "static" / name, media_type=kinds[name], headers=headers)


def _may_pull(user: Any) -> bool:
    return bool(
        get_auth_manager().is_authorized_dag(
            method="POST", access_entity=DagAccessEntity.RUN, details=DagDetails(id=DAG_ID), user=user
        )
    )


def _root(request: Request) -> str:
    """Path of Airflow's user interface, empty unless a proxy serves it under one."""
    return str(request.scope.get("root_path", "")).removesuffix(PREFIX).rstrip("/")


def _run_url(request: Request, run_id: str) -> str:
    return f"{_root(request)}/dags/{DAG_ID}/runs/{quote(run_id)}"


def _page(request: Request, template: str, status: int = 200, **values: Any) -> HTMLResponse:
    def run_url(run_id: str) -> str:
        return _run_url(request, run_id)

    base = f"{_root(request)}{PREFIX}"
    made = _templates().get_template(template)
    text = made.render(base=base, run_url=run_url, labels=LABELS, one_day=timedelta(days=1), **values)
    return HTMLResponse(text, status, {**HEADERS, "Cache-Control": "no-store"})


def _cannot(request: Request, error: Exception) -> Response:
    """A mistake that a person can fix, in its own words; anything else is Airflow's to report."""
    known = explained(error) if isinstance(error, psycopg.Error) else error
    if known is None:
        raise error
    return _page(request, "message.html", 503, title="Papan tidak dapat dibaca", message=str(known))


def _refused(request: Request, error: Exception) -> Response:
    """A browser without a login is sent to it; all else is answered in one line."""
    assert isinstance(error, AnyHTTPException)
    reads = request.method == "GET" and "text/html" in request.headers.get("accept", "")
    if error.status_code == 401 and reads:
        # Not by request.url, which cannot be taken apart when the header Host is no host.
        query = request.scope["query_string"].decode("latin-1")
        here = request.scope["path"] + (f"?{query}" if query else "")
        return RedirectResponse(f"{_root(request)}/api/v2/auth/login?{urlencode({'next': here})}", 303)
    if error.status_code == 401 or "text/html" not in request.headers.get("accept", ""):
        return JSONResponse({"detail": error.detail}, error.status_code)
    return _page(request, "message.html", error.status_code, title="Tidak dapat", message=str(error.detail))


def _unreadable(request: Request, error: Exception) -> Response:
    """An address that fits no page: 422 in one line, which does not repeat what was typed."""
    return _refused(request, AnyHTTPException(422, UNREADABLE))


@cache
def _templates() -> jinja2.Environment:
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(FOLDER / "templates"),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )
    filters: dict[str, Callable[..., str]] = {
        "number": _number,
        "percent": _percent,
        "day": _day,
        "moment": _moment,
        "bars": bars,
        "gaps": gaps,
    }
    environment.filters.update(filters)
    return environment


def _number(value: int | None) -> str:
    return "–" if value is None else f"{value:,}".replace(",", ".")


def _percent(value: float | None) -> str:
    return "–" if value is None else f"{100 * value:.1f} %".replace(".", ",")


def _day(value: date) -> str:
    return f"{value:%d-%m-%Y}"


def _moment(value: Any) -> str:
    """An instant in Jakarta's time."""
    return "–" if value is None else f"{value.astimezone(clock.JAKARTA):%d-%m-%Y %H:%M} WIB"


def bars(history: tuple[int | None, ...], height: int = 20) -> str:
    """The SVG path of a bar a night; nothing where nothing is in force.

    The picture is twice the usual night high, and whatever is more fills it: one night of ten times the rows is plain
    to see, and leaves the others so.
    """
    usual = median([rows for rows in history if rows] or [1])
    return "".join(
        f"M{3 * place + 1.5:g} {height}v-{min(height, max(1, round(height * rows / (2 * usual))))}"
        for place, rows in enumerate(history)
        if rows is not None
    )


def gaps(history: tuple[int | None, ...], height: int = 20) -> str:
    """The SVG path of a mark for each night of which nothing is in force."""
    return "".join(f"M{3 * place + 1.5:g} {height}v-2" for place, rows in enumerate(history) if rows is None)
