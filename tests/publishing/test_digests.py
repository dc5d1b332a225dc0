"""What is on record of earlier publications can be told from the rows and differences that are kept."""

import random
from contextlib import suppress

import psycopg
import pytest

from kkbc.core.errors import UserError
from kkbc.core.settings import get_settings
from kkbc.warehouse import connect

from .conftest import MODELS, change, publish, publishes, undo
from .test_changes import CHANGES, KEYED, MADE, REBUILDS


def check() -> None:
    """Of every table as of every publication that is kept, and of the one before them, as it was recorded then."""
    with connect() as conn:
        told = conn.execute("select * from ops.publication_digests() order by 1, 2, 3").fetchall()
        recorded = conn.execute(
            "select t.publication_id, table_schema, table_name, digest from ops.publication_table t"
            " where table_schema = 'bi_detail' and publication_id >= ("
            "  select coalesce(max(b.publication_id), 0) from ops.publication b"
            "  where b.publication_id < (select min(publication_id) from ops.publication where kept))"
            " order by 1, 2, 3"
        ).fetchall()
    assert told == recorded


@pytest.mark.parametrize("seed", range(4))
def test_after_any_history(marts: None, monkeypatch: pytest.MonkeyPatch, seed: int) -> None:
    monkeypatch.setenv("KKBC_PUBLICATIONS_KEPT", "6")
    get_settings.cache_clear()
    publishes(monkeypatch, *MODELS, KEYED)
    change(MADE)
    publish()
    chance = random.Random(seed)
    for _ in range(40):
        (kind,) = chance.choices(("build", "rebuild", "publish", "rollback", "other models"), (8, 1, 6, 3, 1))
        if kind in ("build", "rebuild"):
            statement = chance.choice(REBUILDS if kind == "rebuild" else CHANGES).format(n=chance.randint(0, 60))
            with suppress(psycopg.errors.UniqueViolation):
                change(statement)
        elif kind == "publish":
            publish()
        elif kind == "rollback":
            with connect() as conn:
                numbers = [row[0] for row in conn.execute("select publication_id from ops.publication").fetchall()]
            with suppress(UserError):
                undo(chance.choice(numbers))
        else:
            publishes(monkeypatch, *MODELS, *chance.choice([[], [KEYED]]))
        check()
