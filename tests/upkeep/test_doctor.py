"""The doctor on homes with one thing wrong each."""

from pathlib import Path

import psycopg
import pytest

from kkbc.core import tokens
from kkbc.core.errors import UserError
from kkbc.core.settings import get_settings
from kkbc.exchange.contracts import load_contract
from kkbc.exchange.registry import load_registry
from kkbc.gate.limits import load_limits
from kkbc.upkeep import doctor
from kkbc.warehouse import schema, server


def findings() -> dict[str, doctor.Finding]:
    return {finding.name: finding for finding in doctor.examine()}


def test_a_home_that_was_never_started_is_no_failure(home: Path) -> None:
    found = findings()
    assert {name for name, finding in found.items() if finding.state == "fail"} == set()
    assert found["warehouse"].state == found["airflow"].state == found["token key"].state == "warn"
    assert all(finding.remedy for finding in found.values() if finding.state != "ok")


def test_a_warehouse_in_use_is_well(home: Path, warehouse: str) -> None:
    tokens.ensure_key(home)
    with psycopg.connect(warehouse) as conn:
        known = tokens.load_key().fingerprint
        conn.execute("insert into ops.setting (name, value) values ('pii_key_fingerprint', %s)", [known])
    found = findings()
    for name in ("python", "packages", "home", "contracts", "registry", "token key", "warehouse"):
        assert found[name].state == "ok", found[name]


def test_another_key_than_the_warehouse_knows(home: Path, warehouse: str) -> None:
    tokens.ensure_key(home)
    with psycopg.connect(warehouse) as conn:
        conn.execute("insert into ops.setting (name, value) values ('pii_key_fingerprint', 'another')")
    assert findings()["token key"].state == "fail"


def test_a_key_that_others_can_read(home: Path, warehouse: str) -> None:
    path = tokens.ensure_key(home)
    path.chmod(0o644)
    found = findings()
    assert found["token key"].state == found["home"].state == "fail"
    assert str(path) in found["home"].remedy


def test_a_lost_key(home: Path, warehouse: str) -> None:
    assert findings()["token key"].state == "fail"


def test_a_database_that_was_never_migrated(home: Path, pg: server.Server, monkeypatch: pytest.MonkeyPatch) -> None:
    schema.create_database(pg, "never_migrated")
    try:
        monkeypatch.setenv("KKBC_DATABASE_URL", pg.conninfo("never_migrated"))
        get_settings.cache_clear()
        assert findings()["warehouse"].found == "the database was never migrated"
        assert findings()["warehouse"].remedy == "`kkbc migrate`"
    finally:
        schema.drop_database(pg, "never_migrated")


def test_a_server_out_of_reach(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KKBC_DATABASE_URL", f"postgresql://nobody@127.0.0.1:{server.free_port()}/kkbc")
    get_settings.cache_clear()
    assert findings()["warehouse"].state == "fail"


def test_broken_contracts_and_registry(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    registry = home / "branches.yml"
    registry.write_text("branches:\n  - {branch_id: KC001, timezone: Europe/Berlin}\n")
    monkeypatch.setenv("KKBC_REGISTRY", str(registry))
    monkeypatch.setenv("KKBC_CONTRACTS", str(home))
    get_settings.cache_clear()
    load_contract.cache_clear()
    load_registry.cache_clear()
    found = findings()
    load_registry.cache_clear()
    assert found["contracts"].state == found["registry"].state == "fail"
    assert "KC001" in found["registry"].found


def test_a_package_other_than_locked(home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lock = tmp_path / "requirements.lock"
    lock.write_text(
        "polars==0.0.1 \\\n    --hash=sha256:00\nnot-there==1.0\nonly-elsewhere==1.0 ; sys_platform == 'plan9' \\\n"
    )
    monkeypatch.setattr(doctor, "LOCK", lock)
    found = findings()["packages"]
    assert found.state == "fail"
    assert "polars" in found.found
    assert "not-there missing" in found.found
    assert "only-elsewhere" not in found.found


@pytest.mark.parametrize("variable", ["KKBC_GATE_LIMITS", "KKBC_MAINTENANCE"])
def test_a_broken_policy(home: Path, monkeypatch: pytest.MonkeyPatch, variable: str) -> None:
    (home / "policy.yml").write_text("steps: 1\n")
    monkeypatch.setenv(variable, str(home / "policy.yml"))
    get_settings.cache_clear()
    load_limits.cache_clear()
    found = findings()["policies"]
    assert found.state == "fail"
    assert "policy.yml is not valid" in found.found
    monkeypatch.undo()
    load_limits.cache_clear()


def test_a_setting_that_is_wrong_says_so_once(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KKBC_NOTIFY", "pigeon")
    get_settings.cache_clear()
    with pytest.raises(UserError) as caught:
        get_settings()
    assert str(caught.value).startswith("setting 'notify' is not valid: 'pigeon' is no channel: list log")
