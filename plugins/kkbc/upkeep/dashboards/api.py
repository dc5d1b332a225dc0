"""What is asked of a running Superset, over its REST API."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import httpx

from kkbc.core.errors import UserError

ADMIN = "admin"
TIMEOUT_SECONDS = 60.0
PAGE = 100


class Api:
    """A session of a user in Superset."""

    def __init__(self, client: httpx.Client) -> None:
        self._client = client

    def all(self, path: str) -> list[dict[str, Any]]:
        """All objects of a listing, page by page."""
        found: list[dict[str, Any]] = []
        while True:
            query = f"(page:{len(found) // PAGE},page_size:{PAGE})"
            page = self.call("GET", path, params={"q": query})["result"]
            found += page
            if len(page) < PAGE:
                return found

    def call(self, method: str, path: str, **arguments: Any) -> Any:
        """The answer to a request. Raises UserError with what Superset says when it refuses."""
        try:
            response = self._client.request(method, f"/api/v1/{path}", **arguments)
        except httpx.HTTPError as error:
            raise _unreachable(str(self._client.base_url), error) from error
        if response.is_error:
            raise UserError(f"Superset refuses {method} {path}: {_said(response)}", "its log says more")
        return response.json()


@contextmanager
def session(url: str, password: str, user: str = ADMIN) -> Iterator[Api]:
    """A session at the Superset of `url`. Raises UserError when nothing answers there or the password is wrong."""
    with httpx.Client(base_url=url, timeout=TIMEOUT_SECONDS, headers={"Referer": url}) as client:
        try:
            answer = client.post(
                "/api/v1/security/login", json={"username": user, "password": password, "provider": "db"}
            )
        except httpx.HTTPError as error:
            raise _unreachable(url, error) from error
        if answer.status_code == httpx.codes.UNAUTHORIZED:
            raise UserError(
                f"Superset at {url} does not let {user!r} in",
                "was the password changed there?",
            )
        if answer.is_error:
            raise UserError(f"what answers at {url} is no Superset: {answer.status_code}", "name its address: --url")
        client.headers["Authorization"] = f"Bearer {answer.json()['access_token']}"
        api = Api(client)
        client.headers["X-CSRFToken"] = api.call("GET", "security/csrf_token/")["result"]
        yield api


def _unreachable(url: str, error: httpx.HTTPError) -> UserError:
    return UserError(f"no Superset answers at {url}: {type(error).__name__}", "`make bi` starts it")


def _said(response: httpx.Response) -> str:
    try:
        answer = response.json()
        message = answer["message"] if "message" in answer else answer["errors"][0]["message"]
    except (ValueError, LookupError, TypeError):
        message = response.reason_phrase
    return " ".join(str(message).split())[:300]
