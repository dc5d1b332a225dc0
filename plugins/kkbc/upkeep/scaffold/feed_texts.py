"""The files of a new feed: its contract from what was asked for, and the rest from the contract."""

from collections.abc import Iterator
from datetime import date
from typing import Any

import yaml

from kkbc.exchange.contracts import ENDING, Contract, Sender
from kkbc.upkeep.scaffold.feed_columns import NewColumn, row_rules
from kkbc.warehouse.feeds import TableColumn, raw_columns

_LINEAGE = {
    "_business_date": ("business_date_of_row", "Tanggal data"),
    "_branch_id": ("slice_branch", "Kantor pengirim"),
    "_revision": ("revision_of_row", "Revisi"),
    "_file": ("file_name", "Berkas"),
    "_line": ("line", "Nomor baris"),
    "_load_id": ("load_id", "Nomor muat"),
    "_warnings": ("warning_codes", "Kode peringatan"),
}
"""The text (dbt doc block) and the Indonesian label of each column of raw that is the row's lineage."""

_SHOWN_AS = {
    "_business_date": "business_date",
    "_revision": "revision",
    "_file": "file_name",
    "_line": "line",
    "_load_id": "load_id",
}
"""What staging calls the lineage; where several branches send, _branch_id is branch_id there."""


_SOURCE = {
    "name": "raw",
    "description": "Typed rows of the slices in force, without names, NIK and contacts, as kkbc.warehouse loads them."
    " One row of a delivery each; columns with an underscore are its lineage.",
    "loader": "kkbc",
    "config": {"meta": {"owner": "data-engineering"}},
}

_STAGING = """\
select
COLUMNS
from {{ source('raw', 'TABLE') }}
where _business_date <= {{ as_of() }}
"""

_EXAMPLE = """\
Delivered rows of {feed} up to as_of, as loading left them. One row per delivered row, key ({key}).

```sql
select business_date, count(*)
from staging.stg_{feed}
group by business_date
```
"""

_WHY_TOKENS = "A person is known by a token of 32 hex digits; anything else might be a number."


class _Dumper(yaml.SafeDumper):
    """Lists are indented below their name, long texts stand in blocks, as in the files that people wrote."""

    def increase_indent(self, flow: bool = False, indentless: bool = False) -> None:
        return super().increase_indent(flow, False)

    def ignore_aliases(self, data: Any) -> bool:
        return True


def _text(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style="|" if "\n" in text else None)


_Dumper.add_representer(str, _text)


def contract_text(feed: str, columns: list[NewColumn], sender: Sender, expected_from: date) -> str:
    """The contract, in ODCS 3.1, with what is known of the feed so far."""
    branch = [column.name for column in columns if column.kind == "branch"]
    key = (*branch, *(column.name for column in columns if column.kind == "key"))
    whose = "a branch" if sender == "branch" else "head office"
    custom = [
        ("sender", sender, "Who sends it, branch (every office) or head_office."),
        ("expected_from", expected_from.isoformat(), "The first business date that its senders owe it for."),
    ]
    document: dict[str, Any] = {
        "apiVersion": "v3.1.0",
        "kind": "DataContract",
        "id": f"kkbc:{feed}",
        "name": feed,
        "version": "1.0.0",
        "status": "draft",
        "domain": "kepesertaan-bpu",
        "dataProduct": "kerja-keras-bebas-cemas",
        "description": {
            "purpose": f"Rows of {feed} that {whose} sends.",
            "usage": "Loaded and audited; no mart reads them yet.",
            "limitations": "What is personal stays in landing and the vault.",
        },
        "team": {"name": "data-engineering"},
        "slaProperties": [
            {
                "property": "latency",
                "value": 30,
                "unit": "min",
                "description": "Due at 00:30 Asia/Jakarta after the business date; later deliveries count as late.",
            }
        ],
        "customProperties": [{"property": n, "value": v, "description": text} for n, v, text in custom],
        "schema": [
            {
                "name": feed,
                "physicalName": feed,
                "physicalType": "delivery file, page or table",
                "logicalType": "object",
                "description": f"One row for each state of {feed} that {whose} reports.",
                "dataGranularityDescription": f"one row per ({', '.join(key)})",
                "properties": [column.as_property(sender, key) for column in columns],
                "quality": row_rules(columns),
            }
        ],
    }
    return _yaml(document)


def staging_sql(contract: Contract) -> str:
    """The staging model: the rows of raw up to as_of, with readable names for their lineage."""
    columns = [f"    {name} as {shown}" if name != shown else f"    {name}" for name, shown in _staged(contract)]
    return _STAGING.replace("TABLE", contract.table).replace("COLUMNS", ",\n".join(columns))


def staging_properties(contract: Contract) -> str:
    """The properties of the source table and of the staging model that reads it, in one file for both."""
    whose = contract.sender == "branch"
    columns = {column.name: column for column in raw_columns(contract)}
    source = {
        "name": contract.table,
        "description": f"Feed {contract.feed}, as the contract contracts/{contract.feed}{ENDING} describes it.",
        "data_tests": [_unique(["_branch_id"] * whose + ["_business_date", "_line"])],
        "columns": [_property(contract, column, column.name, classified=True) for column in columns.values()],
    }
    key = ["branch_id"] * whose + ["business_date", "line"]
    meta = {
        "primary_key": key,
        "label_id": f"{_label(contract)} yang dikirim",
        "owner": "data-engineering",
        # Until a mart reads it.
        "dbt-bouncer": {"skip_checks": ["check_model_min_downstream_models"]},
    }
    model = {
        "name": f"stg_{contract.feed}",
        "description": _EXAMPLE.format(feed=contract.feed, key=", ".join(key)),
        "config": {"meta": meta},
        "data_tests": [_unique(key)],
        "columns": [_property(contract, columns[name], shown) for name, shown in _staged(contract)],
    }
    return _yaml({"version": 2, "sources": [{**_SOURCE, "tables": [source]}], "models": [model]})


def expectations_text(contract: Contract) -> str:
    """The suite of the gate: what holds of every feed, and of this one by its contract."""
    checks = [{"between": "tokens_malformed", "max": 0, "why": _WHY_TOKENS}] * contract.has_nik
    for column in contract.columns:
        if not column.personal and any("values" in rule.params for rule in column.checks):
            values = {"values": f"contract.{column.name}", "where": f"field == {column.name}"}
            checks.append({"one_of": "code", **values, "why": f"Codes of {column.name} as in the contract."})
    include = ["every_feed", *["branch_feed"] * (contract.sender == "branch")]
    return f"# {_label(contract)}.\n" + _yaml({"include": include, **({"expect": checks} if checks else {})})


def _yaml(document: dict[str, Any]) -> str:
    return yaml.dump(document, Dumper=_Dumper, sort_keys=False, default_flow_style=None, allow_unicode=True, width=120)


def _unique(columns: list[str]) -> dict[str, Any]:
    """What a key of the database or the loader keeps, and dbt only asks elsewhere."""
    arguments = {"arguments": {"combination_of_columns": columns}, "config": {"tags": ["guaranteed"]}}
    return {"unique_combination_of_columns": arguments}


def _staged(contract: Contract) -> Iterator[tuple[str, str]]:
    """Names in raw and in staging of the columns that staging shows."""
    if contract.sender == "branch":
        yield "_branch_id", "branch_id"
    for column in raw_columns(contract):
        if column.name not in _LINEAGE:
            yield column.name, column.name
    yield from _SHOWN_AS.items()


def _property(contract: Contract, column: TableColumn, shown: str, *, classified: bool = False) -> dict[str, Any]:
    """The properties of one column; those of sources say how personal it is."""
    classification = None
    if column.name == "participant_token":
        text, label, classification = "{{ doc('participant_token') }}", "Token peserta", "pseudonym"
    elif column.name in _LINEAGE:
        doc, label = _LINEAGE[column.name]
        text = f"{{{{ doc('{'branch_id' if shown == 'branch_id' else doc}') }}}}"
    else:
        said = contract.column(column.name)
        text, label = f"Column {said.wire} of the delivery. {said.description}", said.label_id
        classification = "internal"
    meta = {"label_id": label, **({"classification": classification} if classified and classification else {})}
    return {"name": shown, "description": text, "data_type": column.type, "config": {"meta": meta}}


def _label(contract: Contract) -> str:
    return contract.feed.replace("_", " ").capitalize()
