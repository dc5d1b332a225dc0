"""The API of a world's branches (branch exchange, API), served from what lies in the world's folder `api`."""

import base64
import json
import secrets
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from datetime import date
from functools import lru_cache
from pathlib import Path

import uvicorn
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.middleware.gzip import GZipMiddleware
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from kkbc_play.simulator.answers import rows_path
from kkbc_play.simulator.misbehaviour import Misbehaviour
from kkbc_play.simulator.rows import BRANCH_FEEDS
from kkbc_play.simulator.servers.links import HOST

MOST_ROWS = 1000
_REFUSE_EVERY = 5


class Api:
    """Answers for every branch under /{branch_id, lower case}/v1. `tokens` by branch; `how`: what it does just now."""

    def __init__(self, root: Path, tokens: Mapping[str, str], how: Callable[[str], Misbehaviour]) -> None:
        self.root = root
        self.tokens = tokens
        self.how = how
        self._asked: dict[str, int] = {}
        self._expired: set[Path] = set()
        self.app = Starlette(
            routes=[
                Route("/{branch}/v1/deliveries/{day}", self.delivery, methods=["GET"]),
                Route("/{branch}/v1/{feed}", self.rows, methods=["GET"]),
            ],
            middleware=[Middleware(GZipMiddleware, minimum_size=500, compresslevel=1)],
        )

    async def delivery(self, request: Request) -> Response:
        """The manifest of a day, 404 while there is none."""
        branch_id, refusal = self._enter(request)
        if refusal is not None:
            return refusal
        folder = self._folder(branch_id, request.path_params["day"])
        if folder is None:
            return _problem(400, "no such date")
        try:
            return Response((folder / "manifest.json").read_bytes(), media_type="application/json")
        except FileNotFoundError:
            return _problem(404, "not arrived")

    async def rows(self, request: Request) -> Response:
        """A page of one slice."""
        branch_id, refusal = self._enter(request)
        if refusal is not None:
            return refusal
        feed, wanted = request.path_params["feed"], request.query_params
        folder = self._folder(branch_id, wanted.get("business_date", ""))
        revision, limit = wanted.get("revision", ""), wanted.get("limit", str(MOST_ROWS))
        if folder is None or not revision.isdecimal() or not limit.isdecimal() or not int(limit):
            return _problem(400, "business_date, revision and limit are needed")
        path = rows_path(folder, feed, int(revision))
        if feed not in BRANCH_FEEDS or not path.is_file():
            return _problem(404, "no such slice")
        lines = _lines(path, path.stat().st_mtime_ns)
        size = min(int(limit), MOST_ROWS)
        begin = 0
        how = self.how(branch_id)
        if how.name == "expired":  # two pages at least, so that there is a cursor to expire
            size = max(1, min(size, (len(lines) + 1) // 2))
        else:
            self._expired.clear()
        if "cursor" in wanted:
            begin = _place(wanted["cursor"], path)
            if begin < 0:
                return _problem(400, "no such cursor")
            if how.name == "expired" and (how.always or path not in self._expired):
                self._expired.add(path)
                return _problem(410, "the cursor has expired")
        end = begin + size
        cursor = _cursor(path, end) if end < len(lines) else None
        total_path = path.with_suffix(".total")
        total = int(total_path.read_text()) if total_path.is_file() else len(lines)
        # The rows are JSON already.
        body = f'{{"data":[{",".join(lines[begin:end])}],"next_cursor":{json.dumps(cursor)},"total":{total}}}'
        return Response(body.encode(), media_type="application/json")

    def _enter(self, request: Request) -> tuple[str, Response | None]:
        branch_id = request.path_params["branch"].upper()
        token = self.tokens.get(branch_id)
        given = request.headers.get("authorization", "")
        if token is None or not secrets.compare_digest(given.encode(), f"Bearer {token}".encode()):
            return branch_id, _problem(401, "unknown token", {"WWW-Authenticate": "Bearer"})
        how = self.how(branch_id)
        if how.name == "throttled":
            asked = self._asked[branch_id] = self._asked.get(branch_id, 0) + 1
            if how.always or asked % _REFUSE_EVERY == 1:
                return branch_id, _problem(429 if asked % 2 else 503, "too many requests", {"Retry-After": "1"})
        return branch_id, None

    def _folder(self, branch_id: str, day: str) -> Path | None:
        try:
            return self.root / branch_id / date.fromisoformat(day).isoformat()
        except ValueError:
            return None


class ApiServer(uvicorn.Server):
    """uvicorn in a loop that is not its own: signals are the business of whoever started that."""

    def __init__(self, api: Api, port: int) -> None:
        super().__init__(
            uvicorn.Config(api.app, host=HOST, port=port, log_level="warning", access_log=False, lifespan="off")
        )

    def capture_signals(self) -> AbstractContextManager[None]:  # type: ignore[override]
        """See uvicorn.Server."""
        return nullcontext()


@lru_cache(maxsize=64)
def _lines(path: Path, _changed: int) -> list[str]:
    return path.read_text(encoding="utf-8").split("\n")[:-1]


def _cursor(path: Path, begin: int) -> str:
    return base64.urlsafe_b64encode(f"{path.parent.name}/{path.name}/{begin}".encode()).decode()


def _place(cursor: str, path: Path) -> int:
    """The row at which the page of `cursor` begins; -1 when it is no cursor of this slice."""
    try:
        slice_, _, begin = base64.urlsafe_b64decode(cursor).decode().rpartition("/")
        return int(begin) if slice_ == f"{path.parent.name}/{path.name}" else -1
    except ValueError:
        return -1


def _problem(status: int, detail: str, headers: Mapping[str, str] | None = None) -> Response:
    return JSONResponse({"detail": detail}, status, headers)
