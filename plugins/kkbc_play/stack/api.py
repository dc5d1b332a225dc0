"""The few calls of Airflow's REST API that the stack needs."""

import time
from typing import Any

import httpx

from kkbc.core.errors import UserError
from kkbc.core.local_airflow import ADMIN, Airflow


class ServerFault(UserError):
    """Airflow's server failed over a question: an answer of 500 or above."""


class Api:
    """A client of one Airflow, logged in as its admin. Reading waits out a short absence of the server."""

    def __init__(self, airflow: Airflow) -> None:
        self.airflow = airflow
        self._client = httpx.Client(base_url=airflow.url, timeout=30, trust_env=False)
        self._token_ends = 0.0

    def health(self) -> dict[str, Any]:
        """State of metadatabase, scheduler, triggerer and dag_processor. Raises httpx.HTTPError when nobody answers."""
        answer = self._client.get("/api/v2/monitor/health")
        answer.raise_for_status()
        return dict(answer.json())

    def get(self, path: str, **query: Any) -> Any:
        """The JSON of GET /api/v2/`path`, None when there is no such thing."""
        return self._call("GET", path, params=query)

    def post(self, path: str, body: dict[str, Any]) -> Any:
        """The JSON answer to POST /api/v2/`path`."""
        return self._call("POST", path, json=body)

    def _call(self, method: str, path: str, **arguments: Any) -> Any:
        self._log_in()
        try:
            answer = self._client.request(method, f"/api/v2/{path}", **arguments)
        except httpx.TransportError as error:
            raise UserError(
                f"Airflow at {self.airflow.url} does not answer: {error}", "`kkbc doctor` tells what is down; `make up`"
            ) from error
        if answer.status_code == httpx.codes.NOT_FOUND:
            return None
        if answer.is_error:
            kind = ServerFault if answer.is_server_error else UserError
            raise kind(f"Airflow refuses {method} {path}: {answer.status_code} {answer.text[:200]}", "`kkbc doctor`")
        return answer.json() if answer.content else None

    def _log_in(self) -> None:
        if time.monotonic() < self._token_ends:
            return
        answer = self._client.post("/auth/token/cli", json={"username": ADMIN, "password": self.airflow.password})
        if answer.is_error:
            raise UserError(
                f"Airflow at {self.airflow.url} refuses the admin's password", "`make down`, then `make up`"
            )
        self._client.headers["Authorization"] = f"Bearer {answer.json()['access_token']}"
        self._token_ends = time.monotonic() + 1800
