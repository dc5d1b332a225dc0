"""Maintenance of a home's files: logs past their time, and the documents as of today."""

import os
from contextlib import suppress
from datetime import timedelta
from pathlib import Path

from kkbc.core import clock
from kkbc.core.errors import UserError
from kkbc.core.settings import get_settings
from kkbc.upkeep.maintenance.policy import Policy

EXPORTS = ("exports", "subject-reports")
"""Folders of the home for files with rows of persons or facts, which are cleared."""


def logs(policy: Policy, dry_run: bool) -> dict[str, int]:
    """Removes logs that nothing was written to for so long, and folders that are empty then.

    Those of Airflow's tasks lie where its configuration says; those of processes that run are written to.
    """
    oldest = (clock.now() - timedelta(days=policy.logs)).timestamp()
    files = size = 0
    for folder in _log_folders():
        for path in sorted(folder.rglob("*"), reverse=True):
            with suppress(FileNotFoundError):
                if path.is_file() and not path.is_symlink() and ".log" in path.name and path.stat().st_mtime < oldest:
                    files, size = files + 1, size + path.stat().st_size
                    if not dry_run:
                        path.unlink()
                elif path.is_dir() and not dry_run:
                    with suppress(OSError):  # not empty
                        path.rmdir()
    return {"files": files, "bytes": size}


def exports(policy: Policy, dry_run: bool) -> dict[str, int]:
    """Removes what was written for persons and readers into the home's own folders, and not changed for so long.

    Files written elsewhere are for whoever wrote them there.
    """
    oldest = (clock.now() - timedelta(days=policy.exports)).timestamp()
    files = size = 0
    for folder in (get_settings().home / name for name in EXPORTS):
        for path in sorted(folder.rglob("*"), reverse=True):
            if path.is_dir() and not path.is_symlink():
                if not dry_run:
                    with suppress(OSError):  # not empty
                        path.rmdir()
            elif path.lstat().st_mtime < oldest:
                files, size = files + 1, size + path.lstat().st_size
                if not dry_run:
                    path.unlink()
    return {"files": files, "bytes": size}


def documents(policy: Policy, dry_run: bool) -> dict[str, int]:
    """Writes the documents of the warehouse again. Nothing before the first publication."""
    from kkbc.upkeep.documents import write_documents
    from kkbc.warehouse import connect

    with connect("auditor") as conn:
        row = conn.execute("select exists (select from ops.publication)").fetchone()
    if dry_run or row is None or not row[0]:
        return {"pages": 0}
    return {"pages": len(write_documents())}


def _log_folders() -> list[Path]:
    home = get_settings().home
    named = os.environ.get("AIRFLOW__LOGGING__BASE_LOG_FOLDER")
    folders = [Path(named) if named else home / "airflow" / "logs", home / "dbt" / "logs", home / "run"]
    if any(folder == Path(folder.anchor) for folder in folders):
        raise UserError("the folder of Airflow's logs is the root of the file system", "name a folder of its own")
    return [folder for folder in folders if folder.is_dir()]
