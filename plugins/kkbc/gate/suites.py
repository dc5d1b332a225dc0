"""What the gate expects, as the files of `expectations/` and of the marts say it: a suite a file.

A suite is found by where its file lies, and nothing else names it: `expectations/feeds/<feed>.yml` for a feed,
`expectations.yml` in the folder of a mart, `expectations/<name>.yml` for what spans several marts.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeVar, get_args

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from kkbc.core.errors import UserError
from kkbc.core.policies import UniqueKeyLoader
from kkbc.core.settings import PROJECT_ROOT
from kkbc.exchange.contracts import Contract, load_contract
from kkbc.exchange.slices import RejectionReason, RowCode
from kkbc.gate.checks import Check, Expectation, columns_of
from kkbc.gate.queries import render
from kkbc.marts.models import PublishedModel, published_models
from kkbc.warehouse.feeds import day_column

Checkpoint = Literal["loaded_slices", "built_marts"]

_CODES: dict[str, tuple[str, ...]] = {"rejection_reasons": get_args(RejectionReason), "row_codes": get_args(RowCode)}


@dataclass(frozen=True)
class Suite:
    """What must hold of the rows of one query. path: the file that says so; query: the SQL that yields the rows."""

    name: str
    checkpoint: Checkpoint
    path: Path
    query: str
    expectations: tuple[Expectation, ...]


class _Checks(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    expect: tuple[Check, ...] = ()


class _SuiteFile(_Checks):
    """include: names of files in `expectations/shared`; query: a file in `expectations/sql`; given: its variables."""

    include: tuple[str, ...] = ()
    query: str | None = None
    given: dict[str, Any] = Field({}, alias="with")


_File = TypeVar("_File", bound=_Checks)


def load_suites(project: Path | None = None) -> list[Suite]:
    """All suites of `project` (default: this one): those of feeds, those that span marts, those of single marts.

    Raises UserError naming the file and what is wrong in it.
    """
    project = project or PROJECT_ROOT
    folder = project / "expectations"
    marts = {model.name: model for model in published_models(project)}
    suites = [_feed_suite(path, project) for path in sorted(folder.glob("feeds/*.yml"))]
    for path in [
        *sorted(folder.glob("*.yml")),
        *sorted(project.glob("dbt_project/models/**/expectations.yml"), key=lambda path: path.parent.name),
    ]:
        suites.append(_mart_suite(path, project, marts))
    seen: dict[str, Path] = {}
    for suite in suites:
        if suite.name in seen:
            raise UserError(f"two suites are called {suite.name}: {seen[suite.name]} and {suite.path}", "rename one")
        seen[suite.name] = suite.path
    return suites


def _feed_suite(path: Path, project: Path) -> Suite:
    contract = load_contract(path.stem)
    file = _read(path, _SuiteFile)
    expectations = _expectations(file, path, project, contract)
    own_branch = contract.checked_by("delivering_branch")
    variables = {
        "feed": contract.feed,
        "table": contract.table,
        # A branch delivers its own rows only, so that its key is one without the branch.
        "key": [name for name in contract.key if name not in own_branch],
        "own_branch": own_branch,
        "days": [day_column(contract, name) for name in contract.days],
        "changed_at": contract.checked_by("not_after_sent"),
        "has_token": contract.has_nik,
        "amounts": [c.name for c in contract.columns if c.type in ("int", "idr") and not c.personal],
        "closed_lists": list(_closed_lists(contract)),
    }
    query = render(project, path, file.query or "feed.sql", variables | file.given)
    return Suite(contract.feed, "loaded_slices", path, query, expectations)


def _mart_suite(path: Path, project: Path, marts: dict[str, PublishedModel]) -> Suite:
    name = path.parent.name if path.name == "expectations.yml" else path.stem
    file = _read(path, _SuiteFile)
    expectations = _expectations(file, path, project, None)
    variables: dict[str, Any] = {"marts": list(marts.values())}
    if name in marts:
        wanted = sorted({column for expectation in expectations for column in columns_of(expectation)})
        if file.query is None and (unknown := [column for column in wanted if column not in marts[name].columns]):
            raise UserError(
                f"{path} checks {', '.join(unknown)}", "name columns of the mart, or say which `query` it is"
            )
        variables |= {"mart": marts[name], "columns": wanted}
    elif file.query is None:
        raise UserError(
            f"{path} is for no published model", "name its folder like the mart, or say which `query` it is"
        )
    query = render(project, path, file.query or "mart.sql", variables | file.given)
    return Suite(name, "built_marts", path, query, expectations)


def _expectations(file: _SuiteFile, path: Path, project: Path, contract: Contract | None) -> tuple[Expectation, ...]:
    """All expectations of a suite, of the files that it includes first."""
    included = [_read(project / "expectations" / "shared" / f"{name}.yml", _Checks) for name in file.include]
    found: list[Expectation] = []
    for check in [check for part in (*included, file) for check in part.expect]:
        for expectation in check.expectations(lambda name: _named_values(name, path, contract)):
            if expectation in found:
                raise UserError(f"{path} says twice: {check.why}", "remove one, also where it is included")
            found.append(expectation)
    return tuple(found)


def _named_values(name: str, path: Path, contract: Contract | None) -> Sequence[str]:
    """The values of a list that `values` names: of the exchange, or of a column's closed list in the contract."""
    lists = _CODES | {f"contract.{column}": values for column, values in _closed_lists(contract).items()}
    if name not in lists:
        raise UserError(f"{path} names values that there are not: {name}", f"name one of {', '.join(lists)}")
    return lists[name]


def _closed_lists(contract: Contract | None) -> dict[str, tuple[str, ...]]:
    """The columns whose values are a closed list: a row with another value is quarantined."""
    return {
        column.name: tuple(check.params["values"])
        for column in (contract.columns if contract else ())
        for check in column.checks
        if check.check == "one_of" and check.severity == "error" and "values" in check.params
    }


def _read(path: Path, model: type[_File]) -> _File:
    """The file as `model` has it. Raises UserError naming the file and what is wrong in it."""
    try:
        return model.model_validate(yaml.load(path.read_bytes(), UniqueKeyLoader) or {})  # noqa: S506 (a safe loader)
    except OSError as error:
        raise UserError(f"{path} cannot be read", "restore it, or include another") from error
    except yaml.YAMLError as error:
        raise UserError(f"{path} is no YAML: {' '.join(str(error).split())}", "fix the file") from error
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(map(str, first["loc"])) or "the file"
        reason = first["msg"].removeprefix("Value error, ")
        raise UserError(f"{place} of {path} is not valid: {reason}", "see expectations/README.md") from error
