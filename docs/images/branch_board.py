"""Photographs the branch board of the current home, which must be up: `make pictures`.

Writes branch-board.png, the picture of the README, with the Chromium that is on the machine.
"""

import shutil
import sys
from pathlib import Path

from playwright.sync_api import sync_playwright

from kkbc.core import local_airflow
from kkbc.core.settings import get_settings

ARGUMENTS = ["--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking", "--lang=id-ID"]


def main() -> None:
    """Ends with a line that says why when there is nothing to photograph or nothing to do it with."""
    airflow, chromium = local_airflow.find(get_settings()), shutil.which("chromium")
    if chromium is None:
        sys.exit("no chromium on this machine: apt-get install chromium")
    if airflow is None:
        sys.exit("no Airflow in this home: `make run` starts one and plays three nights")
    target = Path(__file__).with_name("branch-board.png")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=ARGUMENTS)
        page = browser.new_page(viewport={"width": 1440, "height": 1000}, locale="id-ID", color_scheme="light")
        page.goto(f"{airflow.url}/plugin/branch-board")
        page.fill("input[name=username]", local_airflow.ADMIN)
        page.fill("input[name=password]", airflow.password)
        page.click("button[type=submit]")
        page.frame_locator("iframe[title='Papan cabang']").locator("li.tile").last.wait_for()
        # Airflow's own parts of the page come in gradually.
        page.wait_for_load_state("networkidle")
        page.screenshot(path=target)
        browser.close()
    print(f"{target} written, {target.stat().st_size // 1024} kB")


if __name__ == "__main__":
    main()
