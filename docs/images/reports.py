"""Photographs the night's reports of an invented campaign of all branches and thirteen months: `make pictures`.

Writes report-*.png with the Chromium that is on the machine. The marts are those of tests/reporting/invented.py,
published in a server of their own in a temporary folder, so that no home is touched and the pictures are the same.
"""

import os
import shutil
import sys
import tempfile
from datetime import date
from pathlib import Path

from playwright.sync_api import Browser, sync_playwright
from tests.reporting.invented import Campaign, publish

from kkbc.core.settings import get_settings
from kkbc.exchange.offices import rows
from kkbc.reporting import write_report
from kkbc.warehouse import migrate, schema, server

FIRST, AS_OF = date(2025, 11, 1), date(2026, 12, 15)
ARGUMENTS = ["--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking", "--lang=id-ID"]
# Name, width, colours, and how much of the page: None for all of it.
VIEWS = {
    "report-national": ({}, 1280, "light", None),
    "report-regional": ({"kanwil_id": "KW06"}, 1280, "light", None),
    "report-branch": ({"branch_id": "KC044"}, 1280, "light", None),
    "report-branch-dark": ({"branch_id": "KC044"}, 1280, "dark", 1000),
    "report-branch-phone": ({"branch_id": "KC044"}, 390, "light", 1600),
}


def main() -> None:
    """Ends with a line that says why when there is nothing to photograph with."""
    chromium = shutil.which("chromium")
    if chromium is None:
        sys.exit("no chromium on this machine: apt-get install chromium")
    with tempfile.TemporaryDirectory(prefix="kkbc-pictures-") as folder:
        os.environ |= {"KKBC_HOME": folder, "KKBC_DATABASE_URL": ""}
        get_settings.cache_clear()
        home = Path(folder)
        try:
            schema.create_database(server.start(home), "kkbc")
            migrate()
            publish(Campaign(FIRST, AS_OF, [row["branch_id"] for row in rows("branches")]).invent())
            with sync_playwright() as playwright:
                browser = playwright.chromium.launch(executable_path=chromium, args=ARGUMENTS)
                for name in VIEWS:
                    photograph(browser, name)
                browser.close()
        finally:
            server.stop(home)


def photograph(browser: Browser, name: str) -> None:
    """One picture."""
    scope, width, colours, height = VIEWS[name]
    page = browser.new_page(viewport={"width": width, "height": height or 900}, color_scheme=colours, locale="id-ID")
    page.goto(write_report(**scope).as_uri())
    target = Path(__file__).with_name(f"{name}.png")
    page.screenshot(path=target, full_page=height is None)
    page.close()
    print(f"{target} written, {target.stat().st_size // 1024} kB")


if __name__ == "__main__":
    main()
