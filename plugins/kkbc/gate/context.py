"""Writes the suites as a file context of Great Expectations: what it needs of files and ids follows from them alone.

The ids are made of names, so that a suite has the same ones in every build and its Data Docs the same addresses.
"""

import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args
from uuid import NAMESPACE_URL, uuid5

import yaml

from kkbc.gate.suites import Checkpoint, Suite, load_suites

if TYPE_CHECKING:
    from great_expectations.data_context import FileDataContext

# The columns `slice` of how many rows that do not meet an expectation are kept. A slice may hold up its branch.
_PLACES_KEPT: dict[Checkpoint, int] = {"loaded_slices": 200, "built_marts": 20}
_DATASOURCE, _BATCH = "warehouse", "whole"
_URL_VARIABLE = "KKBC_AUDIT_URL"
# Where the context is opened by hand without that variable.
_DEFAULT_URL = "postgresql+psycopg:///kkbc?options=-c%20role%3Dauditor"


def open_context(folder: Path, url: str | None = None, suites: Sequence[Suite] | None = None) -> "FileDataContext":
    """Writes the context of `suites` (default: all of the project) to `folder` and opens it.

    `url`: the warehouse as SQLAlchemy names it; it is not written down. Default: the variable KKBC_AUDIT_URL. Results
    and Data Docs go to `folder` too. Raises UserError when a file of the suites is wrong.
    """
    os.environ["GX_ANALYTICS_ENABLED"] = "false"
    import great_expectations as gx  # takes 4 to 8 seconds, which no parsing of a DAG should pay

    write_context(folder, load_suites() if suites is None else suites)
    return gx.get_context(
        mode="file", context_root_dir=folder, runtime_environment={_URL_VARIABLE: url} if url is not None else {}
    )


def write_context(folder: Path, suites: Sequence[Suite]) -> None:
    """Writes to `folder` all files of a context with these suites and the two checkpoints."""
    folder.mkdir(parents=True, exist_ok=True)
    _write_yaml(folder / "great_expectations.yml", _configuration(suites))
    _write_yaml(folder / "config_variables.yml", {_URL_VARIABLE: _DEFAULT_URL})
    for suite in suites:
        _write_json(folder / "expectations" / f"{suite.name}.json", _suite(suite))
        _write_json(folder / "validation_definitions" / f"{suite.name}.json", _validation(suite))
    for checkpoint in get_args(Checkpoint):
        names = [suite.name for suite in suites if suite.checkpoint == checkpoint]
        _write_json(folder / "checkpoints" / f"{checkpoint}.json", _checkpoint(checkpoint, names))


def _configuration(suites: Sequence[Suite]) -> dict[str, Any]:
    return {
        "config_version": 4.0,
        "data_context_id": _id("context"),
        "analytics_enabled": False,
        "config_variables_file_path": "config_variables.yml",
        "plugins_directory": None,
        "stores": {
            "expectations_store": _store("ExpectationsStore", "expectations"),
            "validation_definition_store": _store("ValidationDefinitionStore", "validation_definitions"),
            "checkpoint_store": _store("CheckpointStore", "checkpoints"),
            "validation_results_store": _store("ValidationResultsStore", "validations"),
        },
        "expectations_store_name": "expectations_store",
        "validation_results_store_name": "validation_results_store",
        "checkpoint_store_name": "checkpoint_store",
        "data_docs_sites": {
            "local_site": {
                "class_name": "SiteBuilder",
                "show_how_to_buttons": False,
                "store_backend": _files("data_docs"),
                "site_index_builder": {"class_name": "DefaultSiteIndexBuilder"},
            }
        },
        "progress_bars": {"globally": False},
        "fluent_datasources": {
            _DATASOURCE: {
                "type": "sql",
                "id": _id("datasource", _DATASOURCE),
                "connection_string": f"${{{_URL_VARIABLE}}}",
                "create_temp_table": True,
                # One connection: the temporary tables live in it.
                "kwargs": {"pool_size": 1, "max_overflow": 0},
                "assets": {
                    suite.name: {
                        "type": "query",
                        "id": _id("asset", suite.name),
                        "query": suite.query,
                        "batch_definitions": {_BATCH: {"id": _id("batch", suite.name)}},
                    }
                    for suite in suites
                },
            }
        },
    }


def _store(class_name: str, folder: str) -> dict[str, Any]:
    return {"class_name": class_name, "store_backend": _files(folder)}


def _files(folder: str) -> dict[str, Any]:
    return {
        "class_name": "TupleFilesystemStoreBackend",
        "suppress_store_backend_id": True,
        "base_directory": f"{folder}/",
    }


def _suite(suite: Suite) -> dict[str, Any]:
    from great_expectations import __version__

    return {
        "id": _id("suite", suite.name),
        "name": suite.name,
        "notes": None,
        "meta": {"great_expectations_version": __version__},
        "expectations": [
            {"id": _id("expectation", suite.name, json.dumps(expectation, sort_keys=True)), **expectation}
            for expectation in suite.expectations
        ],
    }


def _validation(suite: Suite) -> dict[str, Any]:
    return {
        "id": _id("validation", suite.name),
        "name": suite.name,
        "suite": {"id": _id("suite", suite.name), "name": suite.name},
        "data": {
            "datasource": {"id": _id("datasource", _DATASOURCE), "name": _DATASOURCE},
            "asset": {"id": _id("asset", suite.name), "name": suite.name},
            "batch_definition": {"id": _id("batch", suite.name), "name": _BATCH},
        },
    }


def _checkpoint(checkpoint: Checkpoint, suites: Sequence[str]) -> dict[str, Any]:
    return {
        "id": _id("checkpoint", checkpoint),
        "name": checkpoint,
        "actions": [],
        "validation_definitions": [{"id": _id("validation", name), "name": name} for name in suites],
        "result_format": {
            "result_format": "SUMMARY",
            "unexpected_index_column_names": ["slice"],
            "partial_unexpected_count": _PLACES_KEPT[checkpoint],
        },
    }


def _id(*names: str) -> str:
    return str(uuid5(NAMESPACE_URL, "/".join(("kkbc", "expectations", *names))))


def _write_json(path: Path, content: dict[str, Any]) -> None:
    """As Great Expectations writes its files."""
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps(content, indent=2, sort_keys=True), encoding="utf-8")


def _write_yaml(path: Path, content: dict[str, Any]) -> None:
    path.write_text(yaml.dump(content, Dumper=yaml.CSafeDumper, sort_keys=False, width=1000), encoding="utf-8")
