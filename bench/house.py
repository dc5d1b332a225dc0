#!/usr/bin/env python3
"""The plan of the code in figures: folders, directions of imports, who writes and reads what, and what is longest.

    .venv/bin/python bench/house.py

Reads source only. What a feed, a mart or a branch costs in files is counted by tests instead, on copies of the project:
tests/e2e/test_new_feed.py, tests/upkeep/scaffold/test_new_mart.py and test_new_branch.py.
"""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import grimp

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "plugins" / "kkbc"
SLICES = r"(?:insert\s+into|update|delete\s+from|copy)\s+(?:ops\.slice|ops\.quarantine|ops\.hold|raw\.|vault\.)(?!\w*_)"


def main() -> None:
    """Prints a line a figure."""
    for what, figure in figures():
        print(f"{what:<62} {figure}")


def figures() -> Iterator[tuple[str, str]]:
    """What is counted, and how much of it there is."""
    graph = grimp.build_graph("kkbc", "kkbc_play")
    stations = sorted(graph.find_children("kkbc"))
    arrows = {
        (one, other)
        for one in stations
        for other in stations
        if one != other and graph.chain_exists(one, other, as_packages=True) and _directly(graph, one, other)
    }
    yield "modules of kkbc, of kkbc_play", f"{len(_modules(PACKAGE))}, {len(_modules(PACKAGE.parent / 'kkbc_play'))}"
    yield "folders side by side in kkbc (stations)", str(len(stations))
    yield "arrows between stations", str(len(arrows))
    yield "arrows that go both ways", str(sum((b, a) in arrows for a, b in arrows) // 2)
    yield "floors (longest way down from the command line)", str(_floors(arrows))
    yield "imports of kkbc_play by kkbc", str(len(_into_play(graph)))
    yield "stations that write ops.slice, ops.quarantine, raw or vault", ", ".join(sorted(_writers())) or "none"
    yield "modules of watching that query ops, views alone", _readers()
    yaml_lines = [_lines(path) for path in _expectations("*.yml")]
    sql_lines = [_lines(path) for path in _expectations("*.sql")]
    yield "expectations: files and lines of YAML", f"{len(yaml_lines)}, {sum(yaml_lines)}"
    yield "expectations: files and lines of SQL", f"{len(sql_lines)}, {sum(sql_lines)}"
    models = sorted((_lines(p), p.name) for p in (ROOT / "dbt_project" / "models").rglob("*.yml"))
    yield "longest properties of dbt", f"{models[-1][0]} lines ({models[-1][1]})"
    sources = [*_modules(PACKAGE), *_modules(PACKAGE.parent / "kkbc_play"), *(ROOT / "dags").glob("*.py")]
    longest = max(sources, key=_lines)
    yield "longest module", f"{_lines(longest)} lines ({longest.relative_to(ROOT)})"
    length, name, path = max(found for source in sources for found in _functions(source))
    yield "longest function", f"{length} lines ({name} in {path.relative_to(ROOT)})"


def _directly(graph: grimp.ImportGraph, one: str, other: str) -> bool:
    below = {other, *graph.find_descendants(other)}
    return any(graph.find_modules_directly_imported_by(module) & below for module in _all_of(graph, one))


def _all_of(graph: grimp.ImportGraph, package: str) -> set[str]:
    return {package, *graph.find_descendants(package)}


def _into_play(graph: grimp.ImportGraph) -> set[str]:
    play = _all_of(graph, "kkbc_play")
    return {module for module in _all_of(graph, "kkbc") if graph.find_modules_directly_imported_by(module) & play}


def _floors(arrows: set[tuple[str, str]]) -> int:
    def depth(station: str, above: frozenset[str]) -> int:
        below = {b for a, b in arrows if a == station and b not in above}
        return 1 + max((depth(b, above | {station}) for b in below), default=0)

    return depth("kkbc.cli", frozenset())


def _modules(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*.py") if "versions" not in path.parts]


def _writers() -> set[str]:
    return {
        path.relative_to(PACKAGE).parts[0]
        for path in [*_modules(PACKAGE), *PACKAGE.rglob("*.sql")]
        if "migrations" not in path.parts and re.search(SLICES, path.read_text(encoding="utf-8"), re.IGNORECASE)
    }


def _readers() -> str:
    modules = [p for p in _modules(PACKAGE / "watching") if re.search(r"\bfrom ops\.", p.read_text(encoding="utf-8"))]
    return f"{len(modules)} ({', '.join(sorted(path.stem for path in modules))})"


def _expectations(pattern: str) -> list[Path]:
    beside_marts = (ROOT / "dbt_project" / "models").rglob("expectations.yml") if pattern == "*.yml" else ()
    return [*(ROOT / "expectations").rglob(pattern), *beside_marts]


def _lines(path: Path) -> int:
    return len(path.read_text(encoding="utf-8").splitlines())


def _functions(path: Path) -> Iterator[tuple[int, str, Path]]:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield (node.end_lineno or node.lineno) - node.lineno + 1, node.name, path


if __name__ == "__main__":
    main()
