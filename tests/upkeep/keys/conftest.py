"""An installation with two days of deliveries, two small marts over them, and tokens as a test itself makes them."""

import hashlib
import hmac
from collections.abc import Iterator
from pathlib import Path

import pytest

from kkbc.core import tokens
from kkbc.core.settings import get_settings
from kkbc.exchange.registry import load_registry
from kkbc.publishing import PublishedModel
from kkbc.warehouse import server
from tests.databases import database
from tests.faults.stage import Home, make_deliveries
from tests.faults.victim import pull
from tests.publishing.conftest import change, publish, publishes

PERSONS = PublishedModel("dim_p", "bi_detail", ("participant_token",))
PAYMENTS = PublishedModel("fct_p", "bi_detail", ("payment_id",))


@pytest.fixture
def installation(pg: server.Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Home]:
    """Pulled, built and published, and made the current installation."""
    make_deliveries(tmp_path / "branches")
    with database(pg) as name:
        home = Home(tmp_path / "home", pg.conninfo(name), tmp_path / "branches")
        for variable, value in home.environment.items():
            monkeypatch.setenv(variable, value)
        get_settings.cache_clear()
        load_registry.cache_clear()
        tokens.ensure_key(home.folder)
        pull(*home.pull_arguments())
        publishes(monkeypatch, PERSONS, PAYMENTS)
        change(
            "create table next.dim_p as select distinct participant_token, birth_year from raw.registrations",
            "alter table next.dim_p add primary key (participant_token)",
            "create table next.fct_p as select concat_ws(' ', branch_id, _business_date, payment_id) as payment_id,"
            " participant_token, total_amount from raw.contributions",
            "alter table next.fct_p add primary key (payment_id)",
        )
        publish()
        yield home
        get_settings.cache_clear()
        load_registry.cache_clear()


def key_of(home: Home) -> tuple[str, bytes]:
    """Version and key of the file in use."""
    version, _, key = (home.folder / "keys" / "pii.key").read_text().strip().rpartition(":")
    return version or "01", bytes.fromhex(key)


def token(nik: str, version: str, key: bytes) -> str:
    """A participant token, as docs/decisions/0004 has it."""
    return version + hmac.new(key, nik.encode(), hashlib.sha256).hexdigest()[2:32]


def wrong_tokens(home: Home, version: str, key: bytes) -> list[str]:
    """Tables of raw and vault with a token that is not that of the NIK in the same line's row of the vault."""
    wrong = []
    for table in ("registrations", "contributions"):
        rows = home.query(
            f"select v.nik, v.participant_token, r.participant_token from vault.{table} v join raw.{table} r"
            " using (_branch_id, _business_date, _line)"
        )
        assert rows
        if any(not token(nik, version, key) == in_vault == in_raw for nik, in_vault, in_raw in rows):
            wrong.append(table)
    return wrong
