"""The Python of expectations/README.md as it stands there, on a folder and a home of the test."""

import re
from pathlib import Path

import psycopg
import pytest
from sqlalchemy import make_url

from kkbc.core.settings import PROJECT_ROOT
from kkbc.gate import audit
from kkbc.gate.audit import audit_url

README = (PROJECT_ROOT / "expectations" / "README.md").read_text(encoding="utf-8")


def python_between(begin: str, end: str) -> str:
    match = re.search(f"{re.escape(begin)}(.*?){re.escape(end)}", README, re.S)
    assert match is not None
    return match.group(1)


def test_a_checkpoint_by_hand_leaves_no_trace(
    night: psycopg.Connection, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    night.execute("update raw.registrations set sex = 'X' where registration_no = 'R2'")
    monkeypatch.setenv("BUILD", "1")
    code = python_between(".venv/bin/python - <<'PY'\n", "PY\n")
    assert '"/tmp/gx"' in code

    exec(code.replace("/tmp/gx", str(tmp_path / "gx")), {})  # noqa: S102, S108 (code of the docs)

    printed = capsys.readouterr().out
    assert '"success": false' in printed
    assert '"evaluated_validations": 4' in printed
    assert "expect_column_values_to_be_in_set" in printed
    assert night.execute("select count(*) from ops.expectation_result").fetchone() == (0,)


def test_the_context_of_a_past_build_opens_alone(
    night: psycopg.Connection, home: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    audit("loaded_slices", 1)
    assert "export KKBC_AUDIT_URL=" in README
    monkeypatch.setenv("KKBC_AUDIT_URL", make_url(audit_url(1)).render_as_string(hide_password=False))
    code = python_between('.venv/bin/python -c "', '"\n')
    assert "'.local/gx/1'" in code

    exec(code.replace(".local", str(home)), {})  # noqa: S102 (code of the docs)

    printed = capsys.readouterr().out
    assert '"name": "facts"' in printed
    assert "rows_lost" in printed
