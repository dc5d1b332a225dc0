"""Channels: the log, an SMTP server, a webhook. Logins are Airflow connections, named in the setting `notify`."""

import logging
import smtplib
import ssl
from dataclasses import dataclass
from email.message import EmailMessage
from typing import Protocol

import httpx

from kkbc.core.connections import Connection, get_connection
from kkbc.core.errors import UserError
from kkbc.watching.notifying.message import Message

TIMEOUT_SECONDS = 20

log = logging.getLogger("kkbc.notify")


class Channel(Protocol):
    """Takes a message. Raises whatever its library raises when it could not."""

    def send(self, message: Message) -> None:
        """Hands the message over; when it returns, the other side has it."""


class LogChannel:
    """Writes the message to the log `kkbc.notify`, which Airflow shows in the log of the task."""

    def send(self, message: Message) -> None:
        """One line for the subject, one for each line of the text."""
        log.info(message.subject)
        for line in message.body.splitlines():
            log.info("  %s", line)


@dataclass(frozen=True)
class SmtpChannel:
    """Mail by one SMTP server. Extra of the connection: from, to (list or text), security (starttls, ssl or none)."""

    connection: Connection

    def send(self, message: Message) -> None:
        """Sends one mail to all recipients. Raises UserError for an incomplete connection."""
        connection = self.connection
        connection.need("host", "extra.from", "extra.to")
        to = connection.extra["to"]
        recipients = [to] if isinstance(to, str) else list(to)
        mail = EmailMessage()
        mail["Subject"], mail["From"], mail["To"] = message.subject, connection.extra["from"], ", ".join(recipients)
        # The same for a message that is sent again because nobody knows whether it came: mail systems then show one.
        mail["Message-ID"] = f"<{message.key}@{connection.extra['from'].rpartition('@')[2]}>"
        mail.set_content(message.body)
        if message.attachment is not None:
            page = message.attachment
            mail.add_attachment(page.read_bytes(), maintype="text", subtype="html", filename=f"{message.key}.html")
        with self._server() as server:
            if connection.login:
                server.login(connection.login, connection.password)
            server.send_message(mail)

    def _server(self) -> smtplib.SMTP:
        """A session, encrypted unless the connection says `none`."""
        connection, context = self.connection, ssl.create_default_context()
        security = connection.extra.get("security", "starttls")
        if security == "ssl":
            return smtplib.SMTP_SSL(connection.host, connection.port or 465, timeout=TIMEOUT_SECONDS, context=context)
        if security not in ("starttls", "none"):
            raise UserError(f"security of Airflow connection {connection.conn_id!r}", "give starttls, ssl or none")
        server = smtplib.SMTP(connection.host, connection.port or 587, timeout=TIMEOUT_SECONDS)
        if security == "starttls":
            server.starttls(context=context)
        return server


@dataclass(frozen=True)
class WebhookChannel:
    """A POST of JSON. The connection's host is an address, or host, port, schema (https) and extra.path make one.

    `text` is what chat systems show; `subject`, `body` and `facts` are for programs. A password goes along as a bearer
    token, extra.headers as they are.
    """

    connection: Connection

    def send(self, message: Message) -> None:
        """Posts the message. Raises httpx.HTTPError when the other side does not take it."""
        self.connection.need("host")
        headers = {"Idempotency-Key": message.key, **self.connection.extra.get("headers", {})}
        if self.connection.password:
            headers["Authorization"] = f"Bearer {self.connection.password}"
        document = {
            "text": f"*{message.subject}*\n{message.body}",
            "subject": message.subject,
            "body": message.body,
            "facts": message.facts,
        }
        httpx.post(self._address(), json=document, headers=headers, timeout=TIMEOUT_SECONDS).raise_for_status()

    def _address(self) -> str:
        connection = self.connection
        if "://" in connection.host:
            return connection.host
        port = f":{connection.port}" if connection.port else ""
        return f"{connection.schema or 'https'}://{connection.host}{port}{connection.extra.get('path', '/')}"


def open_channel(way: str) -> Channel:
    """The channel `log`, `smtp:CONNECTION` or `webhook:CONNECTION`. Raises UserError when it is none of these, or its
    connection cannot be read.
    """
    kind, _, conn_id = way.partition(":")
    if way == "log":
        return LogChannel()
    if kind == "smtp" and conn_id:
        return SmtpChannel(get_connection(conn_id))
    if kind == "webhook" and conn_id:
        return WebhookChannel(get_connection(conn_id))
    raise UserError(f"{way!r} is no channel", "KKBC_NOTIFY lists log, smtp:CONNECTION, webhook:CONNECTION")


def error_line(error: Exception) -> str:
    """Why sending failed, in a line without a login, the address of a person or a secret part of a URL."""
    if isinstance(error, UserError):
        return str(error)
    if isinstance(error, httpx.HTTPStatusError):
        return f"HTTPStatusError: {error.response.status_code}"
    if isinstance(error, smtplib.SMTPResponseException):
        return f"{type(error).__name__}: {error.smtp_code}"
    if isinstance(error, OSError) and error.strerror:
        return f"{type(error).__name__}: {error.strerror}"
    return type(error).__name__
