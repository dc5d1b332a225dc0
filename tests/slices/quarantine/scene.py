"""A branch that delivers and is pulled, rules that are corrected, and what lies in the warehouse then."""

import hashlib
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date
from pathlib import Path
from typing import Any

import pytest

from kkbc import nights
from kkbc.core import tokens
from kkbc.core.settings import PROJECT_ROOT, get_settings
from kkbc.exchange.contracts import load_contract
from kkbc.exchange.registry import load_registry
from kkbc.nights import RunRequest
from kkbc.slices import AuditNote
from kkbc.slices.quarantine import RetryReport, Selection, retry
from kkbc.warehouse import connect, schema, server
from tests.deliveries import deliver

DAY = date(2023, 12, 11)
NOTE = AuditNote("channel JMO was missing from the contract", "a tester")
# What the branch sends over the app is unknown to the contract that the tests begin with.
NEW = {"kanal": "JMO"}


class Rules:
    """Contracts and registry in a folder of their own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        shutil.copytree(PROJECT_ROOT / "contracts", folder / "contracts")
        shutil.copy(PROJECT_ROOT / "config" / "branches.yml", folder)

    def change(self, file: str, old: str, new: str) -> None:
        """Replaces text that is there once."""
        path = self.folder / file
        text = path.read_text()
        assert text.count(old) == 1, (file, old)
        path.write_text(text.replace(old, new))
        load_contract.cache_clear()
        load_registry.cache_clear()

    def correct(self) -> None:
        """The rules of the project."""
        shutil.copytree(PROJECT_ROOT / "contracts", self.folder / "contracts", dirs_exist_ok=True)
        shutil.copy(PROJECT_ROOT / "config" / "branches.yml", self.folder)
        load_contract.cache_clear()
        load_registry.cache_clear()


class Office:
    """KC001, delivering and being pulled."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def sends(self, *rows: dict[str, str], feed: str = "pendaftaran", **more: Any) -> None:
        """Delivers the rows (their lines are 2, 3, ...) and pulls them."""
        deliver(self.root, {feed: list(rows)}, **more)
        self.pull()

    def pull(self, branch_id: str = "KC001", as_of: date = DAY) -> None:
        nights.open_run(RunRequest(as_of, self.root), mode="plain", run_id="r")
        nights.pull_branch("r", branch_id)


def retry_now(selection: Selection = Selection(), note: AuditNote = NOTE, **more: Any) -> RetryReport:
    with connect("loader", autocommit=True) as conn:
        return retry(conn, selection, note, **more)


def sums(report: RetryReport) -> tuple[int, int, int, int]:
    """Rows judged, accepted, changed, displaced."""
    assert report.failed == {}
    summary = report.summary()
    return summary["judged"], summary["accepted"], summary["changed"], summary["displaced"]


def query(statement: str) -> list[Any]:
    with connect() as conn:
        return conn.execute(statement).fetchall()  # type: ignore[arg-type]


def accepted() -> list[Any]:
    return query("select registration_no, _line from raw.registrations order by _line")


def quarantined() -> list[Any]:
    return query("select line, errors, closed_as from ops.quarantine order by revision, line")


def events() -> list[Any]:
    return query("select line, event, errors_before, errors_after from ops.quarantine_event order by event_id")


def counts() -> list[Any]:
    return query(
        "select rows_sent, rows_accepted, rows_quarantined, warnings, rows_nik_valid, rows_contactable"
        " from ops.slice where status = 'loaded' order by feed"
    )


def state() -> dict[str, list[Any]]:
    """All that a load leaves behind, but for when and by which load."""
    lineage = "- '_load_id'"
    rows = {
        table: f"select to_jsonb(t) {lineage} from {table} t order by 1"
        for feed in ("registrations", "contributions", "activities", "targets")
        for table in (
            [f"raw.{feed}", f"vault.{feed}"] if feed in ("registrations", "contributions") else [f"raw.{feed}"]
        )
    }
    return {
        **{table: query(statement) for table, statement in rows.items()},
        "slices": query(
            "select feed, branch_id, business_date, revision, status, reason, sent_at, manifest_rows, rows_sent,"
            " rows_accepted, rows_quarantined, warnings, rows_nik_valid, rows_contactable, file_name, sha256, build_id"
            " from ops.slice order by 1, 2, 3, 4"
        ),
        "quarantine": query(
            "select feed, branch_id, business_date, revision, line, errors, warnings, fields"
            " from ops.quarantine where closed_at is null order by 1, 2, 3, 4, 5"
        ),
    }


def versions() -> list[Any]:
    """Changes when any row of these tables is written, whatever is written."""
    tables = ("raw.registrations", "vault.registrations", "ops.slice", "ops.quarantine", "ops.quarantine_event")
    return [query(f"select xmin::text, ctid::text, to_jsonb(t) from {table} t order by 2") for table in tables]


@contextmanager
def fresh_warehouse(pg: server.Server, monkeypatch: pytest.MonkeyPatch, folder: Path) -> Iterator[None]:
    """An empty warehouse with the same keys."""
    keys = {path.name: path.read_text().strip() for path in get_settings().keys.glob("*.key")}
    schema.create_database(pg, "fresh", template="template_kkbc")
    with monkeypatch.context() as patch:
        patch.setenv("KKBC_DATABASE_URL", pg.conninfo("fresh"))
        patch.setenv("KKBC_HOME", str(folder))
        get_settings.cache_clear()
        for name, text in keys.items():
            tokens.make_secret(folder / "keys" / name, text)
        yield
    get_settings.cache_clear()
    schema.drop_database(pg, "fresh")


def fingerprint(content: bytes) -> dict[str, Any]:
    return {"bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}
