"""The dbt project itself: it parses without a warning, explains itself, and its unit tests and lint pass."""

import json
import os
import re
import shutil
import subprocess
import sys
from collections import Counter
from datetime import date
from pathlib import Path
from typing import Any

import pytest

from kkbc import publishing
from kkbc.core.errors import UserError
from kkbc.core.settings import PROJECT_ROOT
from kkbc.exchange.contracts import load_contract
from kkbc.exchange.reference import codes
from kkbc.marts import runner
from kkbc.marts import state as built_before
from kkbc.warehouse import connect
from tests.dbt_project.properties import DOCS, MARTS, MODELS, PUBLISHED, described, indonesian
from tests.dbt_project.raw import World
from tests.dbt_project.recompute import seed

DAYS = {"first_business_date": date(2024, 1, 1), "as_of": date(2024, 1, 31)}


def dbt(home: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """dbt as a user would call it, over the current warehouse."""
    with connect("transformer") as conn:
        environment = {**os.environ, **runner.environment(conn)}
    folders = ["--project-dir", str(runner.DBT_PROJECT), "--profiles-dir", str(runner.DBT_PROJECT)]
    outputs = ["--target-path", str(home / "target"), "--log-path", str(home / "logs")]
    days = json.dumps({name: day.isoformat() for name, day in DAYS.items()})
    command = [str(Path(sys.executable).with_name("dbt")), *arguments, *folders, *outputs, "--vars", days]
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False)


@pytest.fixture(scope="module")
def built(database: str) -> str:
    """An empty world, built."""
    with connect() as conn:
        World(["KC001"]).write(conn)
    for layer in runner.LAYERS:
        runner.build(layer, **DAYS)
    return database


def test_parses_without_a_warning(built: str, tmp_path: Path) -> None:
    parsed = dbt(tmp_path, "--warn-error", "--show-all-deprecations", "parse")
    assert parsed.returncode == 0, parsed.stdout


def test_unit_tests_pass(built: str, tmp_path: Path) -> None:
    tested = dbt(tmp_path, "--quiet", "test", "--select", "test_type:unit")
    assert tested.returncode == 0, tested.stdout
    results = json.loads((tmp_path / "target" / "run_results.json").read_text())["results"]
    assert len(results) == sum(1 for _ in described("unit_tests"))


def test_lint_is_clean() -> None:
    command = [str(Path(sys.executable).with_name("sqlfluff")), "lint", "--processes", "1", "dbt_project/models"]
    linted = subprocess.run(command, cwd=PROJECT_ROOT, capture_output=True, text=True, check=False)
    assert linted.returncode == 0, linted.stdout


def test_properties_stand_next_to_their_model() -> None:
    """A mart is a folder of its own, and its properties are the model's, with its unit tests."""
    for kind, name in (("models", "name"), ("unit_tests", "model")):
        for path, entry in described(kind):
            assert path.stem == entry[name], path
            assert path.with_suffix(".sql").is_file(), path
    assert {path.relative_to(MARTS).parts for path in MARTS.rglob("*.sql")} == {(n, f"{n}.sql") for n in PUBLISHED}


def test_texts_that_repeat_are_written_once() -> None:
    """No text of a column stands twice, in either language, and a doc block is for columns that share it."""
    columns = [column for kind in ("models", "seeds") for _, entry in described(kind) for column in entry["columns"]]
    metas = [column["config"]["meta"] for column in columns]
    written = [column["description"] for column in columns if "block" not in column] + list(DOCS.values())
    written += [meta["description_id"] for meta in metas if "description_id" in meta]
    assert [text for text, times in Counter(written).items() if times > 1] == []
    used = Counter(
        block
        for path in runner.DBT_PROJECT.rglob("*.yml")
        for block in re.findall(r"doc\('(\w+)'\)", path.read_text(encoding="utf-8"))
    )
    assert {block for block in DOCS if used[block.removesuffix("__id")] < 2} == set()
    assert used.keys() <= DOCS.keys()


def test_every_published_column_has_an_indonesian_text_that_says_when_it_is_null() -> None:
    for name, entry in PUBLISHED.items():
        assert entry["config"]["meta"]["description_id"].endswith("."), name
        for column in entry["columns"]:
            text = indonesian(column) or ""
            assert text.endswith("."), (name, column["name"])
            assert ("; kosong " in text) == (" null " in column["description"]), (name, column["name"])


def test_the_day_of_a_mart_is_a_date_of_it() -> None:
    for name, entry in PUBLISHED.items():
        day = entry["config"]["meta"].get("day")
        assert day in {None, *(c["name"] for c in entry["columns"] if c["data_type"] == "date")}, name
        # Who counts by day or month says by which.
        assert day or not name.endswith(("_daily", "_monthly")), name


def test_what_the_audit_reads_is_none_of_dbt(tmp_path: Path) -> None:
    copy = tmp_path / "dbt_project"
    shutil.copytree(runner.DBT_PROJECT, copy, ignore=shutil.ignore_patterns("target", "logs"))
    digest = built_before.project_digest(copy)
    mart = next((copy / "models" / "marts").iterdir())
    # Read as properties, it would describe the mart a second time, which dbt refuses.
    (mart / built_before.EXPECTATIONS).write_text(f"models: [{{name: {mart.name}}}]\n", encoding="utf-8")
    command = [str(Path(sys.executable).with_name("dbt")), "--warn-error", "parse"]
    command += ["--project-dir", str(copy), "--profiles-dir", str(copy), "--log-path", str(tmp_path / "logs")]
    environment = {**os.environ, "DBT_HOST": "none", "DBT_USER": "none", "DBT_DBNAME": "none"}
    parsed = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert parsed.returncode == 0, parsed.stdout
    assert built_before.project_digest(copy) == digest


def test_every_model_and_seed_is_described() -> None:
    files = {path.stem for path in (runner.DBT_PROJECT / "models").rglob("*.sql")}
    assert files == set(MODELS)
    assert {path.stem for path in runner.DBT_PROJECT.glob("seeds/*.csv")} == {e["name"] for _, e in described("seeds")}
    for kind in ("models", "seeds"):
        for path, entry in described(kind):
            for thing in (entry, *entry["columns"]):
                text = thing.get("description", "").partition("\n\n")[0]
                assert text.endswith("."), (path.name, entry["name"], thing["name"])


def test_every_model_and_seed_has_an_owner_a_grain_and_labels() -> None:
    for kind in ("models", "seeds"):
        for _, entry in described(kind):
            assert entry["config"]["meta"]["owner"]
            assert "One row per" in entry["description"], entry["name"]
            assert entry["config"]["meta"]["label_id"], entry["name"]
            assert all(column["config"]["meta"]["label_id"] for column in entry["columns"]), entry["name"]
            assert all(column["data_type"] for column in entry["columns"]), entry["name"]


def test_every_model_and_seed_has_a_test_of_its_primary_key() -> None:
    for kind in ("models", "seeds"):
        for _, entry in described(kind):
            key = entry["config"]["meta"]["primary_key"]
            of_columns = [t for c in entry["columns"] if [c["name"]] == key for t in c["data_tests"]]
            tested = [key] if any("unique" in test for test in of_columns) else []
            tests = [t["unique_combination_of_columns"] for t in entry.get("data_tests", []) if keyed(t)]
            tested += [test["arguments"]["combination_of_columns"] for test in tests]
            assert key in tested, entry["name"]


def keyed(test: dict[str, Any]) -> bool:
    return "unique_combination_of_columns" in test


def test_a_column_that_may_be_null_says_when() -> None:
    for name, entry in PUBLISHED.items():
        for column in entry["columns"]:
            types = {constraint["type"] for constraint in column.get("constraints", [])}
            filled = column["name"] in entry["config"]["meta"]["primary_key"] or "not_null" in types
            assert filled != (" null " in column["description"]), (name, column["name"])


def test_units_are_reported() -> None:
    for name, entry in MODELS.items():
        for column in entry["columns"]:
            text, kind = column["description"], column["data_type"]
            if column["name"].endswith(("_idr", "_amount")) and not column["name"].startswith("attainment"):
                assert "rupiah" in text, (name, column["name"])
            if kind == "timestamp with time zone":
                assert text.startswith("Instant at which"), (name, column["name"])


def test_seeds_name_their_source_and_their_types_once() -> None:
    for _, entry in described("seeds"):
        assert entry["config"]["meta"]["source"]
        assert {c["name"]: c["data_type"] for c in entry["columns"]} == entry["config"]["column_types"]
        rows = seed(entry["name"])
        assert [column["name"] for column in entry["columns"]] == list(rows[0])
    laws = {row["province_code"]: row["source"] for row in seed("province_history")}
    assert laws == {"93": "UU 14/2022", "94": "UU 15/2022", "95": "UU 16/2022", "96": "UU 29/2022"}
    assert {(row["year"], row["source"]) for row in seed("informal_workers_by_province")} == {
        ("2022", "BPS Sakernas, Agustus"),
        ("2023", "BPS Sakernas, Agustus"),
    }


@pytest.mark.parametrize("name", PUBLISHED)
def test_published_models_are_held_to_their_contract(built: str, name: str) -> None:
    meta = PUBLISHED[name]["config"]["meta"]
    assert meta["label_id"]
    assert set(meta["publish"]) in ({"bi"}, {"bi_detail"}, {"bi", "bi_detail"})
    with connect("publisher") as conn:
        found = conn.execute(
            "select column_name, is_nullable from information_schema.columns"
            " where table_schema = 'next' and table_name = %s order by ordinal_position",
            [name],
        ).fetchall()
    assert [column for column, _ in found] == [column["name"] for column in PUBLISHED[name]["columns"]]
    required = {column for column, nullable in found if nullable == "NO"}
    assert required == set(meta["primary_key"]) | {
        column["name"] for column in PUBLISHED[name]["columns"] if {"type": "not_null"} in column.get("constraints", [])
    }
    kinds = [constraint["type"] for constraint in PUBLISHED[name]["constraints"]]
    assert constraints("next", name, "p") == {f"[{', '.join(meta['primary_key'])}]"}
    assert len(constraints("next", name, "c")) == kinds.count("check") > 0
    assert len(constraints("next", name, "f")) == kinds.count("foreign_key")


def constraints(schema: str, table: str, kind: str) -> set[str]:
    """The constraints of a kind; of a primary key its columns."""
    with connect("publisher") as conn:
        rows = conn.execute(
            "select case when contype = 'p' then regexp_replace(pg_get_constraintdef(oid), '.*\\((.*)\\)', '[\\1]')"
            " else pg_get_constraintdef(oid) end from pg_constraint where conrelid = to_regclass(%s) and contype = %s",
            [f"{schema}.{table}", kind],
        ).fetchall()
    return {definition for (definition,) in rows}


def test_contracts_reach_the_readers(built: str) -> None:
    day = DAYS["as_of"]
    with connect("transformer") as conn:
        row = conn.execute(
            "insert into ops.build (as_of, first_business_date) values (%s, %s) returning build_id", [day, day]
        ).fetchone()
        assert row is not None
    with connect("publisher") as conn:
        publishing.publish_marts(conn, build_id=row[0], as_of=day)
    for model in publishing.published_models():
        properties = PUBLISHED[model.name]
        assert constraints(model.schema, model.name, "c") == constraints("next", model.name, "c")
        keys = {
            f"FOREIGN KEY ({', '.join(key.columns)}) REFERENCES {model.schema}.{key.to}({', '.join(key.to_columns)})"
            " DEFERRABLE INITIALLY DEFERRED"
            for key in model.foreign_keys
        }
        assert constraints(model.schema, model.name, "f") == keys
        with connect("publisher") as conn:
            comments = conn.execute(
                "select attname, col_description(attrelid, attnum) from pg_attribute"
                " where attrelid = to_regclass(%s) and attnum > 0 order by attnum",
                [f"{model.schema}.{model.name}"],
            ).fetchall()
        assert comments == [(column["name"], column["description"]) for column in properties["columns"]]


def test_the_database_is_what_the_documentation_says(built: str, tmp_path: Path) -> None:
    """dbt-bouncer's checks of catalog and run results, which need a warehouse."""
    generated = dbt(tmp_path, "--quiet", "docs", "generate")
    assert generated.returncode == 0, generated.stdout
    shutil.copy(runner.target_folder() / "run_results.json", tmp_path / "target")
    config = ["--config-file", str(runner.DBT_PROJECT / "dbt-bouncer.yml")]
    command = [str(Path(sys.executable).with_name("dbt-bouncer")), "run", *config]
    command += ["--only", "catalog_checks,run_results_checks"]
    environment = {**os.environ, "DBT_PROJECT_DIR": str(tmp_path)}
    checked = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert checked.returncode == 0, checked.stdout


def test_examples_run(built: str) -> None:
    for name, entry in MODELS.items():
        if "```sql" in entry["description"]:
            example = entry["description"].partition("```sql")[2].partition("```")[0]
            assert re.search(rf"\b\w+\.{name}\b", example), name
            with connect("transformer") as conn:
                conn.execute(re.sub(r"\bbi(_detail)?\.", "next.", example))


def test_no_person_reaches_the_dashboards() -> None:
    persons = {"participant_token", "birth_year", "registration_no", "officer_code", "payment_id"}
    for name, entry in PUBLISHED.items():
        if "bi" in entry["config"]["meta"]["publish"]:
            assert persons.isdisjoint(column["name"] for column in entry["columns"]), name


def test_closed_lists_are_those_of_the_contracts() -> None:
    channels = load_contract("pendaftaran").column("channel_code").checks
    assert {code for check in channels for code in check.params.get("values", [])} == codes("channels.code")


def test_seeds_are_built_only_when_they_changed(built: str) -> None:
    assert runner.build("seeds", **DAYS) == []


def test_results_are_kept(built: str) -> None:
    with connect("transformer") as conn:
        rows = conn.execute(
            "select layer, resource_type, count(*), bool_and(status in ('success', 'pass'))"
            " from ops.dbt_result group by layer, resource_type"
        ).fetchall()
    counts = {(layer, kind): count for layer, kind, count, good in rows if good}
    assert counts["models", "model"] == len(MODELS)
    assert counts["seeds", "seed"] == sum(1 for _ in described("seeds"))
    assert ("models", "test") in counts


def test_an_unknown_layer_is_refused(built: str) -> None:
    with pytest.raises(UserError, match="layers are: seeds, models"):
        runner.build("bronze", **DAYS)


def test_a_failing_test_is_named_and_nothing_after_it_is_built(built: str) -> None:
    """Last, for it spoils the database: a registration by no known channel, against every promise of the loader."""
    with connect() as conn:
        world = World([])
        world.registration("KC001", "1", "a", "2024-01-05", channel_code="BURUNG")
        world.slices.clear()
        world.write(conn)
    with pytest.raises(UserError, match="channel_code") as caught:
        runner.build("models", **DAYS)
    assert "dbt test relationships_" in caught.value.problem
    assert "1 result" in caught.value.problem
    with connect("transformer") as conn:
        kept = conn.execute("select message from ops.dbt_result where status = 'fail'").fetchall()
    assert kept
