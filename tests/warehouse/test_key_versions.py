"""Tokens of a warehouse of before versions become those of version 01; all that was on record of them stays true."""

import hashlib
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from alembic import command
from alembic.config import Config
from sqlalchemy import create_engine

from kkbc.publishing import PublishedModel
from kkbc.publishing.changes import pairs
from kkbc.publishing.record import live
from kkbc.publishing.work import Work
from kkbc.warehouse import connect, schema
from tests.publishing.conftest import change, publish, publishes, read, undo

PERSONS = PublishedModel("dim_p", "bi_detail", ("participant_token",))
PAYMENTS = PublishedModel("fct_p", "bi_detail", ("payment_id",))
Go = Callable[[Callable[[Config, str], None], str], None]


@pytest.fixture
def go(warehouse: str) -> Iterator[Go]:
    """Migrates up or down."""
    config = Config()
    config.set_main_option("script_location", str(schema.MIGRATIONS))
    engine = create_engine("postgresql+psycopg://", creator=connect)

    def migrate(direction: Callable[[Config, str], None], to: str) -> None:
        with engine.begin() as alembic:
            config.attributes["connection"] = alembic
            direction(config, to)

    yield migrate
    engine.dispose()


def old(number: int) -> str:
    """A token of before: 32 digits of a hash."""
    return hashlib.sha256(str(number).encode()).hexdigest()[:32]


def new(token: str) -> str:
    return "01" + token[2:]


def rows(table: str) -> list[tuple[Any, ...]]:
    return sorted(read(None, f"table {table}"))


def test_tokens_of_before_become_those_of_version_01(go: Go, monkeypatch: pytest.MonkeyPatch) -> None:
    go(command.downgrade, "0024")
    publishes(monkeypatch, PERSONS, PAYMENTS)
    with connect() as conn:
        conn.execute("insert into ops.setting (name, value) values ('pii_key_fingerprint', 'f')")
    change(
        "create table next.dim_p (participant_token text primary key, birth_year integer)",
        "create table next.fct_p (payment_id integer primary key, participant_token text, participant_before text)",
    )
    states = []
    for first in (0, 30, 60):
        with connect("transformer") as conn, conn.cursor() as cursor:
            cursor.execute("delete from next.dim_p where birth_year % 3 = 0")
            persons = [(old(number), 1900 + number) for number in range(first, first + 50)]
            cursor.executemany(
                "insert into next.dim_p values (%s, %s) on conflict (participant_token) do update set birth_year = -1",
                persons,
            )
            payments = [(number, old(number), old(number + 1)) for number in range(first, first + 50)]
            cursor.executemany(
                "insert into next.fct_p values (%s, %s, %s) on conflict (payment_id)"
                " do update set participant_token = excluded.participant_before",
                payments,
            )
        publish()
        states.append((rows("bi_detail.dim_p"), rows("bi_detail.fct_p")))
    undo(1)
    change(f"update next.dim_p set birth_year = 7 where participant_token = '{old(77)}'")
    noted = read("publisher", "select count(*) from bi_kept.changed_key")
    assert noted == [(2,)]

    go(command.upgrade, "head")
    assert read(None, "select value from ops.setting where name = 'pii_key_version'") == [("01",)]
    assert read("publisher", "select count(*) from bi_kept.changed_key") == noted
    assert read("publisher", "select distinct key from bi_kept.changed_key") == [({"participant_token": new(old(77))},)]
    told = read(None, "select * from ops.publication_digests() order by 1, 2, 3")
    assert told
    assert told == read(
        None,
        "select publication_id, table_schema, table_name, digest from ops.publication_table"
        " where table_schema = 'bi_detail' order by 1, 2, 3",
    )
    for target in (3, 2, 1):
        persons, payments = states[target - 1]
        if target != 1:
            undo(target)
        else:
            undo(1)
        assert rows("bi_detail.dim_p") == sorted((new(token), year) for token, year in persons)
        assert rows("bi_detail.fct_p") == sorted((n, new(token), new(before)) for n, token, before in payments)
    # What was noted of hidden tables holds: they are as they were but for the tokens.
    publish()
    with connect("publisher") as conn:
        work = Work(conn)
        found = pairs(work, [PERSONS, PAYMENTS])
        assert all(found.values())
        assert live(work)
    assert rows("bi_detail.dim_p") == rows("next.dim_p")

    go(command.downgrade, "0024")
    change("update next.dim_p set birth_year = 8 where birth_year = 7")
    assert read("publisher", "select count(*) from bi_kept.changed_key") == [(2,)]
    go(command.upgrade, "head")
    assert rows("bi_detail.fct_p") == rows("next.fct_p")


def test_persons_of_earlier_records_are_found_in_the_vault(go: Go) -> None:
    go(command.downgrade, "0030")
    nik = "117101120390900"
    with connect() as conn:
        conn.execute("select ops.ensure_partitions('2023-12-11')")
        for number in range(1, 6):
            for line in (1, 2):
                conn.execute(
                    "insert into vault.contributions"
                    " (_business_date, _branch_id, _revision, _line, _load_id, participant_token, nik)"
                    " values ('2023-12-11', 'KC001', 1, %s, 1, %s, %s)",
                    [10 * number + line, f"01 {number}", f"{nik}{number}"],
                )
        conn.execute(
            "insert into vault.restricted"
            " (participant_token, restricted_by, why, released_at, released_by, release_why)"
            " values ('01 1', 'sari', 'x', null, null, null), ('01 2', 'sari', 'x', now(), 'sari', 'y'),"
            " ('01 9', 'sari', 'x', null, null, null)"
        )
        ((access,),) = conn.execute("select ops.note_access('a', 'b', 'c', '{}', 1)").fetchall()
        conn.execute("insert into vault.seen values (%s, '01 2'), (%s, '01 3')", [access, access])
    go(command.upgrade, "head")
    found = read(None, "select nik, participant_token from vault.person order by 1")
    assert found == [(f"{nik}{number}", f"01 {number}") for number in (1, 2, 3)]
    # The planner keeps no values of what is personal.
    with connect() as conn:
        conn.execute("analyze vault.person")
        kept = conn.execute("select attname::text from pg_stats where schemaname = 'vault' and tablename = 'person'")
        assert ("nik",) not in kept.fetchall()
