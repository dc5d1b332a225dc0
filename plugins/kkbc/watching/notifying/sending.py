"""Sending: each message once a channel, on record in ops.notification; what did not go out is tried again later.

A message is a row before it is sent. Whoever sends it holds that row, so that two that come at once do not both send;
a process that dies between sending and noting that it did lets the next one send it again, under the same key.
"""

import logging
from dataclasses import dataclass
from datetime import date
from typing import Any

import psycopg
from psycopg.types.json import Jsonb

from kkbc.core.errors import UserError
from kkbc.core.settings import get_settings
from kkbc.reporting import page_of
from kkbc.warehouse import connect
from kkbc.watching.notifying.channels import error_line, open_channel
from kkbc.watching.notifying.facts import night_facts
from kkbc.watching.notifying.message import Kind, Message, compose

# A message that could not be sent for so long is news to nobody.
GIVE_UP_DAYS = 2

log = logging.getLogger("kkbc.notify")


@dataclass(frozen=True)
class Notice:
    """What became of a message on one channel: sent, failed (with the cause) or, of a dry run, composed."""

    business_date: date
    kind: Kind
    channel: str
    outcome: str
    subject: str
    body: str
    error: str | None = None

    def as_json(self) -> dict[str, Any]:
        """The notice as JSON values."""
        return {**vars(self), "business_date": self.business_date.isoformat()}


def notify(run_id: str | None = None, *, dry_run: bool = False) -> list[Notice]:
    """Sends one message on the night of run `run_id` (None: of the latest), once, and what is still unsent.

    One message a night, when it is over, and a second one only when a night that was reported as not published is
    published after all. A run for an earlier business date than the latest sends nothing. With `dry_run` the message is
    composed and returned, whether or not it was sent before, and nothing is sent or noted.
    Raises UserError for a run that is not known, a setting that is wrong, and a warehouse that cannot be reached; never
    for a channel that fails, which is noted and returned.
    """
    with connect("auditor", autocommit=True) as conn:
        day = _business_date(conn, run_id)
        if day is None:
            return []
        if dry_run:
            message = compose(night_facts(conn, day), "night")
            return [
                Notice(day, "night", way, "composed", message.subject, message.body) for way in get_settings().channels
            ]
        # Asked for by hand while a night is under way, there is nothing to say of it yet.
        kind = None if run_id is None and _under_way(conn, day) else _kind_due(conn, day)
        if kind is not None:
            note(conn, day, kind)
        return send_unsent(conn)


def notify_of_night(run_id: str) -> list[Notice]:
    """`notify` for the end of a night, which must not fail on its account: what goes wrong is logged."""
    try:
        return notify(run_id)
    except (UserError, psycopg.Error) as error:
        # No warning: a night that ends because the warehouse is gone says so itself, in one line.
        log.info("no message of the night could be sent: %s", " ".join(str(error).split()))
        return []


def note(conn: psycopg.Connection, day: date, kind: Kind) -> None:
    """Composes the message of `kind` on the night of `day` for every channel; does nothing for one that is there."""
    facts = night_facts(conn, day)
    message = compose(facts, kind)
    for way in get_settings().channels:
        conn.execute(
            "insert into ops.notification (business_date, kind, channel, published, subject, body, facts)"
            " values (%s, %s, %s, %s, %s, %s, %s) on conflict (business_date, kind, channel) do nothing",
            [day, kind, way, facts.published, message.subject, message.body, Jsonb(message.facts)],
        )


def send_unsent(conn: psycopg.Connection) -> list[Notice]:
    """Sends what no channel has taken yet, of the last days; `conn` is in autocommit mode."""
    ids = conn.execute(
        "select notification_id from ops.notification where sent_at is null and channel = any(%s)"
        " and created_at > now() - make_interval(days => %s) order by notification_id",
        [list(get_settings().channels), GIVE_UP_DAYS],
    ).fetchall()
    notices = [_send(conn, notification_id) for (notification_id,) in ids]
    return [notice for notice in notices if notice is not None]


def _send(conn: psycopg.Connection, notification_id: int) -> Notice | None:
    """Sends one message; None when another process has sent it, or is about to."""
    with conn.transaction():
        row = conn.execute(
            "select business_date, kind, channel, subject, body, facts from ops.notification"
            " where notification_id = %s and sent_at is null for update skip locked",
            [notification_id],
        ).fetchone()
        if row is None:
            return None
        day, kind, way, subject, body, facts = row
        error = None
        try:
            attachment = page_of(day) if facts.get("published") and get_settings().attach_report else None
            open_channel(way).send(Message(f"kkbc-{kind}-{day}", subject, body, facts, attachment))
        except Exception as failure:  # of whatever library the channel is made of; the night goes on
            error = error_line(failure)
            log.warning("%s did not take the message of %s, it is tried again later: %s", way, day, error)
        conn.execute(
            "update ops.notification set attempts = attempts + 1, last_error = %s,"
            " sent_at = case when %s then clock_timestamp() end where notification_id = %s",
            [error, error is None, notification_id],
        )
    return Notice(day, kind, way, "failed" if error else "sent", subject, body, error)


def _business_date(conn: psycopg.Connection, run_id: str | None) -> date | None:
    """The night that the message is about; None when there is none, or it is not the latest."""
    row = conn.execute(
        "select latest_business_date, (select as_of from ops.run_summary where run_id = %s) from ops.night_span",
        [run_id],
    ).fetchone()
    assert row is not None
    latest, own = row
    if run_id is None:
        return latest  # type: ignore[no-any-return]
    if own is None:
        raise UserError(f"run {run_id!r} is not known to the warehouse", "ops.run lists them")
    return own if own == latest else None


def _under_way(conn: psycopg.Connection, day: date) -> bool:
    row = conn.execute("select is_under_way from ops.night where business_date = %s", [day]).fetchone()
    return row is not None and bool(row[0])


def _kind_due(conn: psycopg.Connection, day: date) -> Kind | None:
    """Which message is due on a night, given those there are."""
    row = conn.execute(
        "select coalesce(bool_or(published), false), count(*),"
        " coalesce((select latest_as_of from ops.publication_live) >= %(day)s, false)"
        " from ops.notification where business_date = %(day)s and kind <> 'deadline'",
        {"day": day},
    ).fetchone()
    assert row is not None
    said_published, messages, published = row
    if not messages:
        return "night"
    return "recovered" if published and not said_published else None
