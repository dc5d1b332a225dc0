"""No step hands anything to the next through the environment of its process."""

import ast
from collections.abc import Iterator

from kkbc.core.settings import PROJECT_ROOT

PACKAGE = PROJECT_ROOT / "plugins" / "kkbc"

# Who may write to it, all of it for a library that reads nothing else, none of it to be read by another step.
ALLOWED = {
    "__init__.py": "the number of threads of Polars: a constant, before it is first imported",
    "core/connections.py": "where Airflow's folder is and its connections are, before Airflow is first imported",
    "gate/context.py": "Great Expectations sends no statistics: a constant, before it is first imported",
    "marts/runner.py": "the login of dbt's profile and of libpq, for the length of one invocation, then as before",
    "upkeep/documents/site.py": "the theme of the site prints no advertisement: a constant, before MkDocs imports it",
    "watching/telemetry.py": "where Airflow's client for metrics sends to, before it is first imported",
}


def writes(source: str) -> Iterator[int]:
    """Lines that change the environment of the process."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Assign | ast.Delete):
            targets = node.targets
        elif isinstance(node, ast.AugAssign | ast.AnnAssign):
            targets = [node.target]
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
            changes = node.func.attr in ("update", "setdefault", "pop", "popitem", "clear", "__setitem__")
            targets = [node.func.value] if changes else []
            if node.func.attr in ("putenv", "unsetenv"):
                yield node.lineno
        else:
            continue
        for target in targets:
            place = target.value if isinstance(target, ast.Subscript) else target
            if ast.unparse(place) in ("os.environ", "environ"):
                yield node.lineno


def test_the_environment_is_written_where_a_library_asks_for_it_and_nowhere_else() -> None:
    found = {
        path.relative_to(PACKAGE).as_posix()
        for path in PACKAGE.rglob("*.py")
        if list(writes(path.read_text(encoding="utf-8")))
    }
    assert found <= ALLOWED.keys()


def test_every_way_of_writing_it_is_seen() -> None:
    lines = [
        'os.environ["A"] = "b"',
        'os.environ |= {"A": "b"}',
        'os.environ.update({"A": "b"})',
        'os.environ.setdefault("A", "b")',
        'del os.environ["A"]',
        'os.environ.pop("A", None)',
        'os.putenv("A", "b")',
        'os.unsetenv("A")',
        'environ["A"] = "b"',
    ]
    assert sorted(writes("\n".join(lines))) == list(range(1, len(lines) + 1))
    assert list(writes('a = {**os.environ, "A": "b"}\na.update(os.environ)\nos.environ.get("A")')) == []
