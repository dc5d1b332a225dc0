"""A reader's browser: opens dashboards, and keeps what it asked for and what went wrong."""

import json
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

from playwright.sync_api import Page, Request, Response, sync_playwright

ARGUMENTS = ["--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking", "--lang=id-ID"]
LOADED_MS = 120_000
# Superset's own pages ask for it; the content security policy stops the request before it is sent.
PIXEL = "apachesuperset.gateway.scarf.sh"


@dataclass
class Opened:
    """What a page did: addresses outside that answered, those it wanted, errors, and what it asked by chart."""

    outside: list[str] = field(default_factory=list)
    wanted: list[str] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)
    asked: dict[str, list[dict[str, Any]]] = field(default_factory=dict)

    def listen(self, page: Page) -> None:
        """Notes what the page does from now on."""
        page.on("request", self._request)
        page.on("response", self._response)
        page.on("pageerror", lambda error: self.errors.append(str(error)))

    def _request(self, request: Request) -> None:
        if _is_outside(request.url):
            self.wanted.append(request.url)
        if urlsplit(request.url).path == "/api/v1/chart/data" and request.post_data:
            body = json.loads(request.post_data)
            number = body.get("form_data", {}).get("slice_id")
            self.asked.setdefault(str(number), []).append(body)

    def _response(self, response: Response) -> None:
        if _is_outside(response.url):
            self.outside.append(response.url)


def _is_outside(url: str) -> bool:
    return url.startswith("http") and urlsplit(url).hostname != "127.0.0.1"


@contextmanager
def signed_in(
    url: str, user: str, password: str, height: int = 1000, width: int = 1440
) -> Iterator[tuple[Page, Opened]]:
    """A page of a user that has signed in."""
    opened = Opened()
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=ARGUMENTS)
        page = browser.new_page(viewport={"width": width, "height": height}, locale="id-ID", color_scheme="light")
        opened.listen(page)
        page.goto(f"{url}/login/")
        page.fill("input#username", user)
        page.fill("input#password", password)
        page.click("button[type=submit]")
        page.wait_for_url(lambda address: "/login" not in address)
        yield page, opened
        browser.close()


def open_dashboard(page: Page, url: str, slug: str, charts: int) -> None:
    """Opens a dashboard high enough that all of it is on the page, and waits until each of its charts is drawn."""
    page.goto(f"{url}/superset/dashboard/{slug}/?standalone=1&show_filters=1")
    page.locator("[data-test=chart-grid-component], .dashboard-component-chart-holder").nth(charts - 1).wait_for(
        timeout=LOADED_MS
    )
    waiting = page.locator("[data-test=loading-indicator], .loading, .slice_container .ant-spin")
    deadline = time.monotonic() + LOADED_MS / 1000
    while waiting.count() and time.monotonic() < deadline:
        page.wait_for_timeout(200)
    page.wait_for_load_state("networkidle")
    # Charts are drawn in steps, by their animation.
    page.wait_for_timeout(1500)
