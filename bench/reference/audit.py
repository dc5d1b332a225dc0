"""A task of the gate: Great Expectations over whole tables, each read into a pandas frame.

python audit.py raw|marts      (REFERENCE_URL)
"""

import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import great_expectations as gx
import great_expectations.expectations as gxe
import pandas as pd
import sqlalchemy as sa
import yaml

MODELS = Path(__file__).resolve().parents[2] / "dbt_project" / "models" / "marts"
RAW = {
    "registrations": ["_branch_id", "_business_date", "registration_no"],
    "contributions": ["_branch_id", "_business_date", "payment_id"],
    "activities": ["_branch_id", "_business_date", "activity_code"],
    "targets": ["_branch_id", "_business_date", "branch_id", "month"],
}


def main() -> None:
    """Ends with 1 when an expectation is not met."""
    engine = sa.create_engine(os.environ["REFERENCE_URL"])
    context = gx.get_context(mode="ephemeral")
    source = context.data_sources.add_pandas("frames")
    failed = []
    for schema, table, key in _raw() if sys.argv[1] == "raw" else _marts():
        frame = pd.read_sql_table(table, engine, schema=schema)
        batch = source.add_dataframe_asset(table).add_batch_definition_whole_dataframe("all")
        suite = gx.ExpectationSuite(name=table, expectations=list(_expectations(frame, key)))
        result = batch.get_batch({"dataframe": frame}).validate(suite)
        failed += [f"{table}: {one.expectation_config.type}" for one in result.results if not one.success]
    if failed:
        raise SystemExit(f"not met: {', '.join(failed)}")


def _raw() -> Iterator[tuple[str, str, list[str]]]:
    for table, key in RAW.items():
        yield "raw", table, key


def _marts() -> Iterator[tuple[str, str, list[str]]]:
    for path in sorted(MODELS.glob("*/*.yml")):
        for model in yaml.load(path.read_text(encoding="utf-8"), yaml.CSafeLoader).get("models", []):
            meta = model.get("config", {}).get("meta", {})
            if "publish" in meta:
                yield "next", model["name"], meta["primary_key"]


def _expectations(frame: pd.DataFrame, key: list[str]) -> Iterator[Any]:
    """What is usual of a table: its key is there and unique, a status is of its list, counts and sums not below 0."""
    for name in key:
        yield gxe.ExpectColumnValuesToNotBeNull(column=name)
    if len(key) > 1:
        yield gxe.ExpectCompoundColumnsToBeUnique(column_list=key)
    else:
        yield gxe.ExpectColumnValuesToBeUnique(column=key[0])
    if "record_status" in frame:
        yield gxe.ExpectColumnValuesToBeInSet(column="record_status", value_set=["BARU", "KOREKSI", "BATAL"])
    for name in frame.select_dtypes("number").columns:
        if name.endswith(("_idr", "_amount", "registrations", "acquisitions", "rows_sent")):
            yield gxe.ExpectColumnValuesToBeBetween(column=name, min_value=0)


if __name__ == "__main__":
    main()
