"""What is on record of persons by token goes along with a change of the key, though none of their rows is in force."""

import threading
import time
from typing import Any

import psycopg
import pytest

from kkbc.rights.persons import persons
from kkbc.rights.restriction import release, restrict
from kkbc.slices import AuditNote, replacing_tokens
from kkbc.upkeep.keys import destroy_old, foresee, rotate
from kkbc.warehouse import connect
from kkbc.warehouse.access_record import entries
from tests.faults.stage import Home

from .conftest import key_of, token

WHO = {"why": "a test", "who": "a tester"}
NOTE = AuditNote("a test", "a tester")
NOBODY = "1171011203909999"


def restricted() -> list[str]:
    with connect("transformer") as conn:
        return [name for (name,) in conn.execute("select participant_token from ops.restricted_participant").fetchall()]


def test_who_is_restricted_before_the_first_row_stays_so_under_the_next_keys(installation: Home) -> None:
    home = installation
    restrict(persons([NOBODY]), NOTE)
    assert foresee().unknown == 0
    for version in ("02", "03"):
        done = rotate(**WHO)
        assert done is not None
        assert done.cut == 0
        assert key_of(home)[0] == version
        assert restricted() == [token(NOBODY, *key_of(home))]
        destroy_old(**WHO)
    assert restrict(persons([NOBODY]), NOTE) == 0
    assert release(persons([NOBODY]), NOTE) == 1
    # That the person was restricted can still be told them.
    rotate(**WHO)
    assert home.query("select participant_token from vault.restricted") == [(token(NOBODY, *key_of(home)),)]


def test_who_read_somebody_whose_rows_were_revised_away_can_still_be_told(installation: Home) -> None:
    home = installation
    ((nik,),) = home.query("select min(nik) from vault.registrations")
    with connect("pii") as conn:
        conn.execute("select vault.read_registrations('a look', nik => %s)", [nik])
    with psycopg.connect(home.database) as conn:
        for schema in ("vault", "raw"):
            for table in ("registrations", "contributions"):
                statement = f"delete from {schema}.{table} where participant_token = %s"
                conn.execute(statement, [token(nik, *key_of(home))])  # type: ignore[arg-type]
    rotate(**WHO)
    (person,) = persons([nik])
    assert person.token == token(nik, *key_of(home))
    assert [entry.why for entry in entries(person=(person.subject, person.token))] == ["a look"]


@pytest.mark.parametrize("begins", ["restriction", "reading"])
def test_what_is_noted_during_a_change_of_the_key_is_of_the_key_after_it(
    installation: Home, monkeypatch: pytest.MonkeyPatch, begins: str
) -> None:
    home = installation
    ((nik,),) = home.query("select min(nik) from vault.registrations")
    (person,) = persons([nik])
    failed: list[Any] = []

    def other() -> None:
        try:
            if begins == "restriction":
                restrict([person], NOTE)
            else:
                with connect("pii") as conn:
                    conn.execute("select vault.read_registrations('a look', nik => %s)", [nik])
        except psycopg.Error as error:
            failed.append(error)

    waiting = threading.Thread(target=other)
    replace_all = replacing_tokens.replace_all

    def replace_beside(*given: Any) -> dict[str, int]:
        waiting.start()
        until = time.monotonic() + 60
        while not home.query(
            "select 1 from pg_locks where not granted"
            " and relation in ('vault.restricted'::regclass, 'vault.seen'::regclass)"
        ):
            assert waiting.is_alive(), failed
            assert time.monotonic() < until
            time.sleep(0.05)
        return replace_all(*given)

    monkeypatch.setattr(replacing_tokens, "replace_all", replace_beside)
    rotate(**WHO)
    waiting.join()
    assert failed == []
    table = "restricted" if begins == "restriction" else "seen"
    assert home.query(f"select participant_token from vault.{table}") == [(token(nik, *key_of(home)),)]
