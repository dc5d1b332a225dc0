"""Landed files that were rewritten without persons, on record: `ops.landed_rewrite` (Exchange rule 22)."""

import psycopg

from kkbc.intake.rewrites import Rewritten


def record_rewrite(conn: psycopg.Connection, rewritten: Rewritten, erasure_id: int | None = None) -> None:
    """Puts on record that a landed file was rewritten, by an erasure or (None) because of the suppression list.

    `conn` acts as role loader. Does nothing when the newest record says the same.
    """
    newest = conn.execute(
        "select old_sha256, new_sha256 from ops.landed_rewrite where landed_uri = %s order by rewrite_id desc limit 1",
        [rewritten.uri],
    ).fetchone()
    if newest == (rewritten.old_sha256, rewritten.new_sha256):
        return
    conn.execute(
        "insert into ops.landed_rewrite"
        " (landed_uri, file_name, old_sha256, old_bytes, new_sha256, new_bytes, rows_erased, erasure_id)"
        " values (%s, %s, %s, %s, %s, %s, %s, %s)",
        [
            rewritten.uri,
            rewritten.name,
            rewritten.old_sha256,
            rewritten.old_bytes,
            rewritten.new_sha256,
            rewritten.new_bytes,
            len(rewritten.lines),
            erasure_id,
        ],
    )
