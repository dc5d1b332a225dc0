"""Messages arrive at a real SMTP server and a real HTTP server, and nothing secret is shown when they do not."""

import logging
from collections.abc import Callable
from email.header import decode_header, make_header
from pathlib import Path
from typing import Any

import pytest

from kkbc.core.connections import Connection
from kkbc.core.errors import UserError
from kkbc.core.settings import get_settings
from kkbc.reporting.places import folder_of
from kkbc.watching.notifying import notify
from kkbc.watching.notifying.channels import LogChannel, SmtpChannel, WebhookChannel, error_line, open_channel
from kkbc.watching.notifying.message import Message
from tests.watching.notifying.conftest import DAY, run
from tests.watching.notifying.receivers import mail_server, make_certificate, web_hook

MESSAGE = Message("kkbc-night-2023-12-11", "KKBC 11-12-2023: terbit – 2 ditahan", "Data per …\nBaris", {"branches": 5})
EXTRA = {"from": "kkbc@bpjs.example", "to": ["ops@bpjs.example", "dba@bpjs.example"]}


def test_mail_over_tls_with_a_login(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    certificate = make_certificate(tmp_path)
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    with mail_server(certificate) as server:
        SmtpChannel(Connection("mail", "127.0.0.1", server.port, "kkbc", "rahasia", "", EXTRA)).send(MESSAGE)
        (mail,) = server.mails
        assert server.encrypted == [True]
        assert server.logins == ["\0kkbc\0rahasia"]
    assert mail["Message-ID"] == "<kkbc-night-2023-12-11@bpjs.example>"
    assert mail["To"] == "ops@bpjs.example, dba@bpjs.example"
    assert str(make_header(decode_header(mail["Subject"]))) == MESSAGE.subject
    assert mail.get_payload(decode=True).decode().replace("\r\n", "\n").strip() == MESSAGE.body


def test_a_report_goes_along_by_mail_where_it_is_wanted(
    bad_night: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("KKBC_NOTIFY", "smtp:mail")
    folder_of(DAY).mkdir(parents=True)
    page = "<!doctype html><p>Pekerja BPU terlindungi: 1.234 ▲</p>"
    (folder_of(DAY) / "nasional.html").write_text(page, encoding="utf-8")
    with mail_server() as server:
        connection = Connection("mail", "127.0.0.1", server.port, extra={**EXTRA, "security": "none"})
        monkeypatch.setattr("kkbc.watching.notifying.channels.get_connection", lambda _: connection)
        for wanted in ("false", "true"):
            monkeypatch.setenv("KKBC_ATTACH_REPORT", wanted)
            get_settings.cache_clear()
            run("update ops.notification set sent_at = null")
            (notice,) = notify()
            assert notice.outcome == "sent"
        without, attached = server.mails
    assert not without.is_multipart()
    body, report = attached.get_payload()
    assert "Data per 11-12-2023 TERBIT" in body.get_payload(decode=True).decode()
    assert (report.get_content_type(), report.get_filename()) == ("text/html", "kkbc-night-2023-12-11.html")
    assert report.get_payload(decode=True).decode() == page


def test_a_login_is_never_sent_in_the_clear_unless_that_is_asked_for() -> None:
    with mail_server() as server:
        connection = Connection("mail", "127.0.0.1", server.port, "kkbc", "rahasia", "", EXTRA)
        with pytest.raises(Exception, match="STARTTLS"):
            SmtpChannel(connection).send(MESSAGE)
        assert server.logins == server.mails == []
        plain = Connection("mail", "127.0.0.1", server.port, extra={**EXTRA, "to": "a@b.id", "security": "none"})
        SmtpChannel(plain).send(MESSAGE)
        assert len(server.mails) == 1


def test_a_server_that_nobody_vouches_for_gets_nothing(tmp_path: Path) -> None:
    with mail_server(make_certificate(tmp_path)) as server:
        connection = Connection("mail", "127.0.0.1", server.port, "kkbc", "rahasia", "", EXTRA)
        with pytest.raises(OSError, match="certificate"):
            SmtpChannel(connection).send(MESSAGE)
        assert server.logins == server.mails == []


def test_a_webhook_gets_text_for_people_and_facts_for_programs() -> None:
    with web_hook() as hook:
        extra = {"path": "/hooks/ops", "headers": {"X-Room": "malam"}}
        WebhookChannel(Connection("chat", "127.0.0.1", hook.port, "", "token", "http", extra)).send(MESSAGE)
        WebhookChannel(Connection("chat", f"http://127.0.0.1:{hook.port}/other")).send(MESSAGE)
    (path, headers, document), (other, bare, _) = hook.posts
    assert (path, other) == ("/hooks/ops", "/other")
    assert headers["Authorization"] == "Bearer token"
    assert headers["X-Room"] == "malam"
    assert headers["Idempotency-Key"] == MESSAGE.key
    assert "Authorization" not in bare
    assert document["text"] == f"*{MESSAGE.subject}*\n{MESSAGE.body}"
    assert document["facts"] == {"branches": 5}


@pytest.mark.parametrize("missing", ["host", "extra.from", "extra.to"])
def test_an_incomplete_connection_is_named(missing: str) -> None:
    extra = {name: value for name, value in EXTRA.items() if f"extra.{name}" != missing}
    connection = Connection("mail", "" if missing == "host" else "127.0.0.1", 25, extra=extra)
    with pytest.raises(UserError, match=f"connection 'mail' has no {missing}"):
        SmtpChannel(connection).send(MESSAGE)


def test_the_log_has_every_line(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, "kkbc.notify"):
        LogChannel().send(MESSAGE)
    assert caplog.messages == [MESSAGE.subject, "  Data per …", "  Baris"]


def test_how_it_failed_is_said_without_secrets() -> None:
    with web_hook() as hook:
        hook.status = 500
        channel = WebhookChannel(Connection("chat", f"http://127.0.0.1:{hook.port}/secret-part"))
        with pytest.raises(Exception, match="secret-part") as caught:
            channel.send(MESSAGE)
    assert error_line(caught.value) == "HTTPStatusError: 500"
    with mail_server() as server:
        server.refuse = "554 no ops@bpjs.example here"
        mail = SmtpChannel(Connection("mail", "127.0.0.1", server.port, extra={**EXTRA, "security": "none"}))
        with pytest.raises(Exception, match="no ops@bpjs") as caught:
            mail.send(MESSAGE)
    assert error_line(caught.value) == "SMTPDataError: 554"


@pytest.mark.parametrize("notify", ["pigeon", "smtp:", "log,webhook"])
def test_a_channel_that_is_none_is_a_mistake_of_the_settings(
    home: Path, monkeypatch: pytest.MonkeyPatch, notify: str
) -> None:
    monkeypatch.setenv("KKBC_NOTIFY", notify)
    get_settings.cache_clear()
    with pytest.raises(UserError, match=r"setting 'notify' is not valid: .*is no channel"):
        get_settings()


def test_channels_come_from_connections(channels: Callable[..., Any]) -> None:
    channels("smtp:mail", mail={"conn_type": "smtp", "host": "mail.example", "extra": EXTRA})
    channel = open_channel("smtp:mail")
    assert isinstance(channel, SmtpChannel)
    assert channel.connection.extra == EXTRA
    with pytest.raises(UserError, match="connection 'chat' cannot be read"):
        open_channel("webhook:chat")
