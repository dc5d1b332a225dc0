"""`kkbc keys` as a person types it."""

import json
import re
import shlex
from pathlib import Path
from typing import Any

import psycopg
import pytest
from typer.testing import CliRunner

from kkbc.cli.application import app
from kkbc.core.errors import UserError
from kkbc.warehouse import connect, kept
from tests.faults.stage import Home

from .conftest import key_of, wrong_tokens


def kkbc(*arguments: str) -> Any:
    """What the command prints as JSON. Raises what it raises."""
    done = CliRunner().invoke(app, ["keys", *arguments, "--json"])
    if done.exception is not None and not isinstance(done.exception, SystemExit):
        raise done.exception
    return json.loads(done.stdout)


def test_from_one_key_to_the_next(installation: Home) -> None:
    keys = installation.folder / "keys"
    before = kkbc("status")
    assert (before["version"], before["rotation"], before["old"]) == ("01", False, [])
    assert set(before["keys"]) == {"tokens", "marks", "suppression list"}
    assert set(before["rows"]) == {"01"}
    counts = {name: sum(count.values()) for name, count in before["tables"].items()}
    foreseen = kkbc("rotate", "--why", "a test", "--dry-run")
    assert (foreseen["version"], foreseen["next_version"], foreseen["unknown"]) == (1, 2, 0)
    assert kkbc("status") == before
    assert not (keys / "pii.next.key").exists()

    done = kkbc("rotate", "--why", "a test")
    assert done["persons"] == foreseen["persons"]
    after = kkbc("status")
    assert (after["version"], after["rotation"], after["old"]) == ("02", False, [str(keys / "pii.01.key")])
    assert {name: count["02"] for name, count in after["tables"].items()} == counts
    assert set(after["rows"]) == {"02"}
    assert {name: rows for name, rows in done["rows"].items() if rows} == counts
    for name in ("marks", "suppression list"):
        assert after["keys"][name] == before["keys"][name]
    assert after["keys"]["tokens"] != before["keys"]["tokens"]

    with psycopg.connect(installation.database) as conn:
        conn.execute(
            "update next.dim_p set participant_token = '01' || substr(participant_token, 3) where birth_year = 1990"
        )
    with pytest.raises(UserError, match=r"pii.01.key cannot go: tokens of it are left in next.dim_p"):
        kkbc("destroy-old", "--why", "a test")
    with psycopg.connect(installation.database) as conn:
        conn.execute("update next.dim_p set participant_token = '02' || substr(participant_token, 3)")
        conn.execute("truncate bi_kept.changed_key")
    old = str(keys / "pii.01.key")
    assert kkbc("destroy-old", "--why", "a test", "--dry-run") == {"removed": [old], "dry_run": True}
    assert (keys / "pii.01.key").exists()
    assert kkbc("destroy-old", "--why", "a test") == {"removed": [old], "dry_run": False}
    assert not (keys / "pii.01.key").exists()
    with pytest.raises(UserError, match="there is no old key here"):
        kkbc("destroy-old", "--why", "a test")
    accesses = installation.query("select action, why from ops.access order by access_id")
    assert accesses == [("keys rotate", "a test"), ("keys destroy-old", "a test")]


def test_what_a_person_reads(installation: Home) -> None:
    status = CliRunner().invoke(app, ["keys", "status"])
    assert "version 01" in status.stdout
    assert installation.query("select value from ops.setting where name = 'pii_key_fingerprint'")[0][0] in status.stdout
    said = CliRunner().invoke(app, ["keys", "rotate", "--why", "a test", "--dry-run"])
    assert "Would be:" in said.stdout
    said = CliRunner().invoke(app, ["keys", "rotate", "--why", "a test"])
    assert "are now of version 02 (0 cut)" in said.stdout
    assert "back the new keys up" in said.stderr
    key = (installation.folder / "keys" / "pii.key").read_text().strip().partition(":")[2]
    assert key not in said.output
    assert "cut" not in CliRunner().invoke(app, ["keys", "status"]).stdout


def test_before_anything_is_loaded(warehouse: str) -> None:
    assert "Nothing is loaded yet" in CliRunner().invoke(app, ["keys", "status"]).stdout


def test_a_lost_key_is_done_without_by_the_command_of_the_runbook(installation: Home) -> None:
    text = (Path(__file__).parents[3] / "docs" / "runbooks" / "a-key-is-lost.md").read_text()
    (command,) = re.findall(r"`kkbc (keys rotate --lost --why[^`]*)`", text)
    (installation.folder / "keys" / "pii.key").unlink()
    refused = CliRunner().invoke(app, ["keys", "rotate", "--why", "a test"])
    assert "`kkbc keys rotate --lost`" in str(refused.exception)
    with connect("loader") as conn, pytest.raises(UserError, match=r"is gone.*a-key-is-lost\.md"):
        kept.check_present(conn)
    done = CliRunner().invoke(app, shlex.split(command))
    assert done.exit_code == 0, done
    assert "are now of version 02 (0 cut)" in done.stdout
    # There is no old key that could be removed.
    assert "destroy-old" not in done.stderr
    assert wrong_tokens(installation, *key_of(installation)) == []
