"""Photographs the dashboards of the current home, whose Superset must be up: `make pictures`.

Writes dashboard-*.png with the Chromium that is on the machine, as the sample reader of all branches sees them.
"""

import json
import shutil
import sys
import time
from pathlib import Path

from playwright.sync_api import sync_playwright

from kkbc.core.settings import get_settings
from kkbc.upkeep.dashboards import load_bundle
from kkbc_play.stack import superset

ARGUMENTS = ["--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking", "--lang=id-ID"]
READER = "pusat"
WAIT_SECONDS = 60
# Grid units of Superset, with what lies between rows and above them.
UNIT, GAP, TOP = 8, 16, 125


def main() -> None:
    """Ends with a line that says why when there is nothing to photograph or nothing to do it with."""
    settings, chromium = get_settings(), shutil.which("chromium")
    if chromium is None:
        sys.exit("no chromium on this machine: apt-get install chromium")
    running = superset.find(settings)
    if running is None:
        sys.exit("no Superset in this home: `make bi` starts it")
    password = json.loads((settings.keys / "superset-users.json").read_text()).get(READER)
    if password is None:
        sys.exit(f"the initial password of {READER} is not in {settings.keys / 'superset-users.json'}")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=ARGUMENTS)
        page = browser.new_page(viewport={"width": 1280, "height": 1000}, locale="id-ID", color_scheme="light")
        page.goto(f"{running.url}/login/")
        page.fill("input#username", READER)
        page.fill("input#password", password)
        page.click("button[type=submit]")
        page.wait_for_url(lambda address: "/login" not in address)
        for name, board in load_bundle().dashboards.items():
            height = TOP + sum(row.height * UNIT + GAP for row in board.layout)
            page.set_viewport_size({"width": 1280, "height": height})
            page.goto(f"{running.url}/superset/dashboard/{board.slug}/?standalone=1&show_filters=1")
            page.locator("[data-test=chart-grid-component]").nth(len(board.shown) - 1).wait_for()
            deadline = time.monotonic() + WAIT_SECONDS
            while page.locator(".loading").count() and time.monotonic() < deadline:
                page.wait_for_timeout(200)
            page.wait_for_load_state("networkidle")
            # The charts unfold.
            page.wait_for_timeout(2000)
            target = Path(__file__).with_name(f"dashboard-{name.replace('_', '-')}.png")
            page.screenshot(path=target)
            print(f"{target} written, {target.stat().st_size // 1024} kB")
        browser.close()


if __name__ == "__main__":
    main()
