"""Cutting tokens: published figures stay, hidden and published tables stay equal, and every rollback still comes."""

import pytest
from psycopg import sql

from kkbc.core.settings import get_settings
from kkbc.publishing import PublishedModel
from kkbc.publishing.cutting import cut_tokens, rows_of
from kkbc.publishing.record import alone
from kkbc.publishing.work import Work
from kkbc.slices.erasing import ERASED_TOKENS, note_tokens
from kkbc.warehouse import connect

from .conftest import change, contents, publish, publishes, read, undo

DIM = PublishedModel("dim_participant", "bi_detail", ("participant_token",))
FACT = PublishedModel("fct_z", "bi_detail", ("registration_no",))
MINE, OTHER = "1" * 32, "2" * 32


@pytest.fixture
def facts(warehouse: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KKBC_PUBLICATIONS_KEPT", "100")
    get_settings.cache_clear()
    publishes(monkeypatch, DIM, FACT)
    change(
        "create table next.dim_participant (participant_token text not null, branch_id text)",
        "create table next.fct_z (registration_no text not null, participant_token text not null, amount bigint)",
        f"insert into next.dim_participant values ('{MINE}', 'KC001'), ('{OTHER}', 'KC002')",
        f"insert into next.fct_z values ('R-1', '{MINE}', 1), ('R-2', '{OTHER}', 2), ('R-3', '{MINE}', 3)",
    )


def cut(*tokens: str) -> dict[str, int]:
    with connect() as conn:
        alone(conn)
        note_tokens(conn, tokens)
        return cut_tokens(Work(conn), ERASED_TOKENS)


def test_every_publication_comes_back_with_the_new_tokens(facts: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """Over rows that come, go and change hands, a new shape, a table that ends, and a rollback."""
    numbers = [publish().publication_id]
    change("update next.fct_z set amount = 9 where registration_no = 'R-1'", "delete from next.fct_z where amount = 3")
    numbers.append(publish().publication_id)
    change(f"update next.fct_z set participant_token = '{OTHER}' where registration_no = 'R-1'")
    numbers.append(publish().publication_id)
    change("alter table next.fct_z add column x int", f"insert into next.fct_z values ('R-4', '{MINE}', 4, 4)")
    numbers.append(publish().publication_id)
    numbers.append(undo(numbers[1]).publication_id)
    publishes(monkeypatch, DIM)
    numbers.append(publish().publication_id)
    change(f"delete from next.dim_participant where participant_token = '{MINE}'")
    numbers.append(publish().publication_id)
    change(f"insert into next.dim_participant values ('{MINE}', 'KC003')")
    before = read("publisher", "select publication_id, table_name, rows from ops.publication_table order by 1, 2")
    assert cut(MINE)
    assert (
        read("publisher", "select publication_id, table_name, rows from ops.publication_table order by 1, 2") == before
    )
    with connect() as conn:
        assert rows_of(Work(conn), [MINE]) == {}
        noted = conn.execute("select count(*) from bi_kept.changed_key where key::text like %s", [f"%{MINE}%"])
        assert noted.fetchone() == (0,)
    publishes(monkeypatch, DIM, FACT)
    for target in (numbers[5], numbers[3], numbers[0], numbers[2], numbers[1], numbers[6]):
        undo(target)  # which compares each table with its record
    new = {token for (token,) in read("publisher", "select participant_token from bi_detail.dim_participant")} - {OTHER}
    assert all(token.startswith("00") and len(token) == len(MINE) for token in new)


def test_the_next_publication_finds_nothing_to_change(facts: None) -> None:
    publish()
    change("update next.fct_z set amount = 5 where registration_no = 'R-3'")
    publish()
    cut(MINE)
    assert {tuple(counts.values()) for counts in publish().tables.values()} == {(0, 0)}
    change("update next.fct_z set amount = 6 where registration_no = 'R-3'")
    assert publish().tables["bi_detail.fct_z"] == {"deleted": 1, "inserted": 1}
    assert read("publisher", "table next.fct_z") == read("publisher", "table bi_detail.fct_z")
    assert len(contents()) == len(read("publisher", "select 1 from pg_tables where schemaname in ('bi', 'bi_detail')"))


def test_other_persons_stay_as_they_are(facts: None) -> None:
    publish()
    query = f"select * from bi_detail.fct_z where participant_token = '{OTHER}'"
    before = read("publisher", query)
    cut(MINE)
    assert read("publisher", query) == before
    ((token, rows),) = read(
        "publisher",
        f"select participant_token, count(*) from bi_detail.fct_z where participant_token <> '{OTHER}' group by 1",
    )
    assert rows == 2
    assert read("publisher", "select participant_token from next.dim_participant order by 1")[0] == (token,)
    with connect() as conn:
        assert conn.execute(sql.SQL("select to_regclass('pg_temp.erased')")).fetchone() == (None,)
