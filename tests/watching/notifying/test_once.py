"""A night is reported once on each channel; what could not be sent is sent later; no night fails on that account."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any

import pytest

from kkbc.core.errors import UserError
from kkbc.watching.notifying import notify, notify_of_night
from tests.watching.notifying.conftest import DAY, a_build, a_run, publish, run
from tests.watching.notifying.receivers import web_hook


def outcomes(run_id: str | None = None) -> list[tuple[str, str, str]]:
    return [(notice.kind, notice.channel, notice.outcome) for notice in notify(run_id)]


def test_once_however_often_the_night_is_run(bad_night: str) -> None:
    assert outcomes() == [("night", "log", "sent")]
    assert outcomes() == outcomes("r") == []
    a_run("again")
    a_build("again")
    assert outcomes("again") == []
    a_run("next", DAY + timedelta(days=1))
    assert outcomes("next") == [("night", "log", "sent")]


def test_nothing_is_said_of_a_night_that_is_under_way(branches: None) -> None:
    a_run("r", outcome="running")
    assert outcomes() == []
    run("update ops.run set outcome = 'failed'")
    assert outcomes() == [("night", "log", "sent")]


def test_a_night_that_was_taken_back_is_reported_as_that(bad_night: str) -> None:
    earlier = run("select min(publication_id) from ops.publication")[0][0]
    run(
        "insert into ops.publication (build_id, as_of, tables, restores, why, done_by)"
        " select build_id, as_of - 1, '{}', publication_id, 'target dobel', 'x' from ops.publication"
        " where publication_id = %s",
        earlier,
    )
    (notice,) = notify(dry_run=True)
    assert f"BELUM TERBIT: dikembalikan ke publikasi {earlier}: target dobel." in notice.body


def test_a_dry_run_leaves_nothing(bad_night: str) -> None:
    notify(dry_run=True)
    assert run("select count(*) from ops.notification") == [(0,)]


def test_a_night_that_comes_through_after_all_is_reported_once_more(branches: None) -> None:
    a_run("r")
    build_id = a_build("r", outcome="failed")
    assert outcomes() == [("night", "log", "sent")]
    assert outcomes() == []
    publish(build_id)
    assert outcomes() == [("recovered", "log", "sent")]
    assert outcomes() == []
    assert run("select kind, published from ops.notification order by 1") == [("night", False), ("recovered", True)]


def test_an_earlier_day_that_is_run_again_is_no_news(bad_night: str) -> None:
    a_run("older", DAY - timedelta(days=3))
    a_build("older", DAY - timedelta(days=3))
    assert outcomes("older") == []


def test_two_that_come_at_once_tell_it_once(bad_night: str, channels: Callable[..., Any]) -> None:
    with web_hook() as hook:
        channels("webhook:chat", chat={"conn_type": "http", "host": f"http://127.0.0.1:{hook.port}/"})
        with ThreadPoolExecutor(8) as pool:
            sent = [notice for notices in pool.map(lambda _: notify(), range(8)) for notice in notices]
    assert [notice.outcome for notice in sent] == ["sent"]
    assert len(hook.posts) == 1


def test_a_channel_that_fails_is_tried_at_the_next_chance_and_hinders_no_other(
    bad_night: str, channels: Callable[..., Any]
) -> None:
    with web_hook() as hook:
        hook.status = 503
        channels("webhook:chat,log", chat={"conn_type": "http", "host": f"http://127.0.0.1:{hook.port}/"})
        assert outcomes() == [("night", "webhook:chat", "failed"), ("night", "log", "sent")]
        assert run("select attempts, last_error, sent_at is null from ops.notification where channel <> 'log'") == [
            (1, "HTTPStatusError: 503", True)
        ]
        hook.status = 200
        assert outcomes() == [("night", "webhook:chat", "sent")]
        assert outcomes() == []
    assert hook.posts[0][2] == hook.posts[1][2]


def test_old_news_is_not_sent_any_more(bad_night: str, channels: Callable[..., Any]) -> None:
    channels("webhook:gone")
    assert outcomes() == [("night", "webhook:gone", "failed")]
    run("update ops.notification set created_at = now() - interval '3 days'")
    assert outcomes() == []


def test_the_end_of_a_night_survives_whatever_goes_wrong(
    bad_night: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", "kkbc.notify")
    with pytest.raises(UserError, match="not known to the warehouse"):
        notify("unknown")
    assert notify_of_night("unknown") == []
    run("alter table ops.notification rename to elsewhere")
    assert notify_of_night("r") == []
    assert ["no message of the night could be sent" in message for message in caplog.messages] == [True, True]
