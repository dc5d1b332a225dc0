"""An office and the rules it is judged by, for each test."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from kkbc.core import tokens
from kkbc.core.settings import get_settings
from kkbc.exchange.contracts import load_contract
from kkbc.exchange.registry import load_registry
from tests.slices.quarantine.scene import Office, Rules


@pytest.fixture
def root(tmp_path: Path) -> Path:
    folder = tmp_path / "branches"
    folder.mkdir()
    return folder


@pytest.fixture
def rules(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Rules]:
    """Contracts and registry of their own for a test, which do not know channel JMO until they are corrected."""
    rules = Rules(tmp_path / "rules")
    monkeypatch.setenv("KKBC_CONTRACTS", str(rules.folder / "contracts"))
    monkeypatch.setenv("KKBC_REGISTRY", str(rules.folder / "branches.yml"))
    get_settings.cache_clear()
    rules.change("contracts/pendaftaran.odcs.yaml", " JMO,", "")
    yield rules
    load_contract.cache_clear()
    load_registry.cache_clear()


@pytest.fixture
def office(warehouse: str, home: Path, root: Path, rules: Rules) -> Office:
    tokens.ensure_key(home)
    return Office(root)
