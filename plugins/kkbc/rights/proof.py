"""The proof of an erasure: what was done where and what was searched, as a row and a file. No person is in it."""

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psycopg

from kkbc.core.files import write_private
from kkbc.core.settings import get_settings
from kkbc.core.spool import private_folder
from kkbc.rights.requests import Request

REMAINS = (
    "facts and published marts: the rows, under a random token that no key gives",
    "the branch's own files: they are the branch's",
    "backups made before this erasure: until they are removed by their own schedule; see docs/security.md",
    "WAL that an administrator archives, replicas and base backups of a server of one's own: see docs/security.md",
)


def write_proof(conn: psycopg.Connection, request: Request, details: dict[str, Any]) -> dict[str, Any]:
    """Puts the proof together and writes it to the home, mode 0600; returns it."""
    rewritten = conn.execute(
        "select landed_uri, file_name, old_sha256, new_sha256, rows_erased from ops.landed_rewrite"
        " where erasure_id = %s order by rewrite_id",
        [request.erasure_id],
    ).fetchall()
    started = conn.execute("select started_at from ops.erasure where erasure_id = %s", [request.erasure_id]).fetchone()
    assert started is not None
    proof = {
        "request": request.request,
        "erasure_id": request.erasure_id,
        "persons": request.persons,
        "why": request.why,
        "done_by": request.done_by,
        "started_at": started[0].isoformat(),
        "finished_at": datetime.now(UTC).isoformat(),
        "steps": {step: {k: v for k, v in detail.items() if k != "branches"} for step, detail in details.items()},
        "rewritten_files": [
            {"folder": uri, "file": name, "old_sha256": old, "new_sha256": new, "rows": rows}
            for uri, name, old, new, rows in rewritten
        ],
        "remains": list(REMAINS),
    }
    write_private(proof_file(request.request), json.dumps(proof, ensure_ascii=False, indent=2) + "\n")
    return proof


def proof_file(request: str) -> Path:
    """Where the proof of a request lies."""
    return private_folder(get_settings().home / "erasures") / f"{request}.json"
