"""What becomes of a slice is written by `kkbc.slices` alone; a module that writes it elsewhere fails here."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from kkbc.core.settings import PROJECT_ROOT

WRITES = r"(?:insert\s+into|update|delete\s+from|copy|truncate(?:\s+table)?|merge\s+into)\s+(?:only\s+)?"
# Of the vault those with rows of slices: others are the lists of who is on record, restricted, erased or looked at.
TABLES = {
    "slice": r'"?ops"?\."?slice\b',
    "hold": r'"?ops"?\."?hold\b',
    "quarantine": r'"?ops"?\."?quarantine(?:_event)?\b',
    "rows": r'"?(?:raw|vault)"?\.(?!"?(?:person|restricted|seen|suppressed|new_token|tokens_replaced_in)\b)',
}
NAMED = re.compile(WRITES + f"(?:{'|'.join(TABLES.values())})", re.IGNORECASE)
# A table that is put in later: the module then names the schema next to the statement.
PUT_IN = re.compile(WRITES + r"\{", re.IGNORECASE)
SCHEMAS, OPS_TABLES = {"raw", "vault"}, {"slice", "hold", "quarantine", "quarantine_event"}

SLICES = PROJECT_ROOT / "plugins" / "kkbc" / "slices"
MIGRATIONS = PROJECT_ROOT / "plugins" / "kkbc" / "warehouse" / "migrations"
SOURCES = ("plugins", "dags", "dbt_project")


def texts(source: str) -> Iterator[str]:
    """The strings of a module; what an f-string puts in stands as {}."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.JoinedStr):
            yield "".join(part.value if isinstance(part, ast.Constant) else "{}" for part in node.values)  # type: ignore[misc]
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.value


def writes(source: str) -> list[str]:
    """The statements of a module that write the tables of slices, or may."""
    found = [text for text in texts(source) if NAMED.search(text)]
    names = set(texts(source))
    if names & SCHEMAS or ("ops" in names and names & OPS_TABLES):
        found += [text for text in texts(source) if PUT_IN.search(text)]
    return found


def modules() -> list[Path]:
    return sorted(path for folder in SOURCES for path in (PROJECT_ROOT / folder).rglob("*.py"))


def outside(path: Path) -> bool:
    return not path.is_relative_to(SLICES) and not path.is_relative_to(MIGRATIONS)


def test_no_other_module_writes_what_becomes_of_a_slice() -> None:
    looked_at = [path for path in modules() if outside(path)]
    assert len(looked_at) > 150
    found = {str(path.relative_to(PROJECT_ROOT)): writes(path.read_text()) for path in looked_at}
    assert {path: statements for path, statements in found.items() if statements} == {}


def test_no_sql_file_writes_what_becomes_of_a_slice() -> None:
    files = [path for folder in SOURCES for path in (PROJECT_ROOT / folder).rglob("*.sql") if outside(path)]
    assert len(files) > 20
    assert [path for path in files if NAMED.search(path.read_text())] == []


@pytest.mark.parametrize(
    "source",
    [
        'conn.execute("update ops.slice set build_id = %s", [build_id])',
        'conn.execute("insert into ops.hold (feed)" " values (%s)")',
        'conn.execute("DELETE FROM ONLY\\n  ops.quarantine where line = 2")',
        'SQL = f"with gone as (delete from raw.{table} returning *) select 1"',
        'SQL = f"update {what} set line = 1"; PLACE = ("vault", "registrations")',
        'conn.execute(sql.SQL("copy {} from stdin").format(sql.Identifier("raw", contract.table)))',
        'conn.execute(sql.SQL("insert into {} values (1)").format(sql.Identifier("ops", "quarantine_event")))',
        'cursor.copy("copy vault.registrations (nik) from stdin")',
        "conn.execute('truncate table raw.registrations')",
        'conn.execute(\'update "ops"."slice" set status = null\')',
    ],
)
def test_a_module_that_did_would_be_found(source: str) -> None:
    assert writes(source)


@pytest.mark.parametrize(
    "source",
    [
        'conn.execute("select count(*) from ops.slice where build_id is null")',
        'conn.execute("update ops.build set outcome = %s")',
        'work.do("insert into {target} table {source}", target=target, source=source)',
        'PRIVILEGES = "grant update (build_id) on ops.slice to transformer"',
    ],
)
def test_a_module_that_reads_or_writes_something_else_is_none(source: str) -> None:
    assert not writes(source)


def test_each_table_is_written_in_one_place() -> None:
    """But for `mask_stored`, which fixes what earlier versions wrote, once an installation."""

    def writers(table: str) -> set[str]:
        pattern = re.compile(WRITES + TABLES[table], re.IGNORECASE)
        return {
            str(path.relative_to(SLICES))
            for path in SLICES.rglob("*.py")
            if any(pattern.search(text) for text in texts(path.read_text()))
        }

    assert writers("slice") == {"record.py"}
    assert writers("hold") == {"holding.py", "record.py"}
    assert writers("quarantine") == {"settling.py", "quarantine/resolving.py"}
    assert {str(path.relative_to(SLICES)) for path in SLICES.rglob("*.py") if writes(path.read_text())} == {
        "erasing.py",
        "expiring.py",
        "holding.py",
        "mask_stored.py",
        "quarantine/resolving.py",
        "record.py",
        "rows.py",
        "settling.py",
    }


def test_the_locks_of_slices_are_taken_in_one_module() -> None:
    takers = {
        str(path.relative_to(PROJECT_ROOT / "plugins" / "kkbc"))
        for path in modules()
        for node in ast.walk(ast.parse(path.read_text()))
        if (isinstance(node, ast.Attribute) and node.attr in ("take_slices", "locked_branch"))
        or (isinstance(node, ast.Name) and node.id in ("take_slices", "locked_branch"))
    }
    assert takers == {"slices/locks.py"}
