"""Which dbt models are published, where to, and by which keys."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from kkbc.core.errors import UserError
from kkbc.core.settings import PROJECT_ROOT

HIDDEN = "next"


@dataclass(frozen=True)
class ForeignKey:
    """`columns` of a model name rows of the model `to` in the same schema, by its key `to_columns`.

    `index`: rows of `to` come and go, so that who names them has to be found fast.
    """

    columns: tuple[str, ...]
    to: str
    to_columns: tuple[str, ...]
    index: bool = False

    @property
    def name(self) -> str:
        """The constraint's name in the database."""
        return f"{'_'.join(self.columns)}_of_{self.to}"


@dataclass(frozen=True)
class PublishedModel:
    """A table that readers get: from `source` to `schema`.name, rows distinguished by `primary_key`.

    source: where its rows are made, schema and name; as a rule the dbt model in schema next.
    day: the column with the day that a row is of; None for a mart without one.
    columns: data types by name, as the properties have them.
    read_by: columns of indexes that the queries of readers need, besides those of keys.
    """

    name: str
    schema: str
    primary_key: tuple[str, ...]
    foreign_keys: tuple[ForeignKey, ...] = ()
    made_as: tuple[str, str] | None = None
    day: str | None = None
    columns: Mapping[str, str] = field(default_factory=dict, hash=False)
    read_by: tuple[tuple[str, ...], ...] = ()

    @property
    def indexes(self) -> tuple[tuple[str, ...], ...]:
        """Columns of each index of the published table, besides the primary key."""
        return (*self.read_by, *(key.columns for key in self.foreign_keys if key.index))

    @property
    def source(self) -> tuple[str, str]:
        """Schema and name of the relation that the rows come from."""
        return self.made_as or (HIDDEN, self.name)

    @property
    def table(self) -> str:
        """The published table, as a person writes it."""
        return f"{self.schema}.{self.name}"


# What is live was made from these slices. Published, and rolled back, like a mart.
SLICES = PublishedModel(
    "publication_slice", "bi", ("feed", "branch_id", "business_date"), made_as=("ops", "slices_built")
)


def published_models(project: Path | None = None) -> list[PublishedModel]:
    """The models of `project` (default: this one) that are published and where to, as the `meta` of each mart says.

    Foreign keys are those of the contract, which dbt makes too, and those of `meta.foreign_keys`, which publication
    alone makes. Raises UserError when a model names no primary key.
    """
    found = []
    for sql in sorted((project or PROJECT_ROOT).glob("dbt_project/models/marts/*/*.sql")):
        path = sql.with_suffix(".yml")
        for model in yaml.load(path.read_bytes(), yaml.CSafeLoader)["models"]:
            meta: dict[str, Any] = model.get("config", {}).get("meta", {})
            if "publish" not in meta:
                continue
            if not meta.get("primary_key"):
                raise UserError(f"model {model['name']} is published without a primary key", f"add it in {path}")
            key = tuple(meta["primary_key"])
            keys = _foreign_keys(model)
            read_by = tuple(tuple(names) for names in meta.get("indexes", []))
            columns = {column["name"]: column.get("data_type", "text") for column in model.get("columns", [])}
            found += [
                PublishedModel(model["name"], schema, key, keys, day=meta.get("day"), columns=columns, read_by=read_by)
                for schema in meta["publish"]
            ]
    return found


def _foreign_keys(model: dict[str, Any]) -> tuple[ForeignKey, ...]:
    declared = [c for c in model.get("constraints", []) if c["type"] == "foreign_key"]
    declared += model["config"]["meta"].get("foreign_keys", [])
    return tuple(
        ForeignKey(
            tuple(key["columns"]),
            re.sub(r"^ref\('(\w+)'\)$", r"\1", key["to"]),
            tuple(key["to_columns"]),
            key.get("index", False),
        )
        for key in declared
    )
