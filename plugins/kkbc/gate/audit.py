"""Runs a checkpoint of `expectations/` on one build and turns what Great Expectations found into rows and lines.

What is expected stands in the files of the suites alone (kkbc.gate.suites); here is only how it is run.
"""

import logging
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from sqlalchemy import make_url
from sqlalchemy.exc import DBAPIError

from kkbc.core.errors import GateFailed, UserError
from kkbc.core.settings import get_settings
from kkbc.gate.context import open_context
from kkbc.gate.limits import load_limits
from kkbc.gate.suites import Checkpoint
from kkbc.warehouse import connect
from kkbc.warehouse.connection import sqlalchemy_url

if TYPE_CHECKING:
    from great_expectations.checkpoint import CheckpointResult

Severity = Literal["fail", "hold", "warn"]

# Every build has a folder of context, results and Data Docs of its own: an index over all nights would cost more each
# night, and what was expected of a build stays next to what was found.
BUILDS_KEPT = 14


@dataclass(frozen=True)
class Finding:
    """One expectation and how it fared.

    severity: fail stops publication for everyone, hold keeps the new slices of the branch out of it, warn is reported.
    column: what was looked at, and of which rows. wanted: what was expected of it, in words. count: rows that do not
    meet it; places: of the first of them the slice, or row of a mart, and the value observed.
    """

    suite: str
    expectation: str
    column: str
    severity: Severity
    success: bool
    wanted: str
    count: int
    places: tuple[tuple[str, str], ...]

    def lines(self) -> list[str]:
        """A line a place: "iuran quarantined_rate on iuran/KC044/2023-12-11/r1: observed 0.83, wanted <= 0.5"."""
        return [
            f"{self.suite} {self.column} on {place}: observed {observed}, wanted {self.wanted}"
            for place, observed in self.places
        ]

    def __str__(self) -> str:
        """The line of the first place, and how many more there are."""
        return self.lines()[0] + _more(self.count) if self.places else f"{self.suite} {self.column}: met"


@dataclass(frozen=True)
class AuditResult:
    """All findings of one checkpoint on one build."""

    checkpoint: Checkpoint
    build_id: int
    findings: tuple[Finding, ...]

    def failures(self, severity: Severity) -> list[Finding]:
        """The expectations of that severity that were not met."""
        return [finding for finding in self.findings if not finding.success and finding.severity == severity]

    def summary(self) -> dict[str, Any]:
        """Counts, and a line for each expectation not met: small enough for XCom, free of personal data."""
        failed, held, warned = self.failures("fail"), self.failures("hold"), self.failures("warn")
        return {
            "checkpoint": self.checkpoint,
            "expectations": len(self.findings),
            "failed": len(failed),
            "to_hold": len(held),
            "warned": len(warned),
            "lines": [str(finding) for finding in failed + held + warned],
        }

    def to_hold(self, gate: Literal["fail", "warn"], branches: int) -> dict[str, dict[str, list[str]]]:
        """Why the new slices of which branch are to be held: lines by slice by branch; nothing with gate `warn`.

        Raises GateFailed when that would be more of the `branches` in the build than may be held at once: then it is
        not the branches that are wrong.
        """
        if gate == "warn":
            return {}
        found: dict[str, dict[str, list[str]]] = {}
        cut = 0
        for finding in self.failures("hold"):
            cut += finding.count - len(finding.places)
            for (place, _), line in zip(finding.places, finding.lines(), strict=True):
                found.setdefault(place.split("/")[1], {}).setdefault(place, []).append(line)
        limit = load_limits().held_at_once.of(branches)
        if len(found) > limit or cut:
            raise GateFailed(
                f"the audit {self.checkpoint} of build {self.build_id} would hold {len(found)} of {branches} branches,"
                f" {limit:g} at most may be: {'; '.join(map(str, self.failures('hold')))}",
                "look for a cause that they share; fix it, or the limits in config/gate.yml, and run the night again",
            )
        return found

    def raise_if_failed(self, gate: Literal["fail", "warn"]) -> None:
        """Raises GateFailed, naming what and where, when an expectation of severity fail was not met.

        With gate `warn` it never does: the findings are in ops.expectation_result and in `summary` all the same.
        """
        failed = self.failures("fail")
        if gate == "warn" or not failed:
            return
        raise GateFailed(
            f"the audit {self.checkpoint} of build {self.build_id} failed {len(failed)} of {len(self.findings)}"
            f" expectations: {'; '.join(map(str, failed))}",
            f"see {_results(self.build_id)}/data_docs/index.html; fix what is named and run the night again,"
            " or publish all the same with KKBC_GATE=warn",
        )


def audit(checkpoint: Checkpoint, build_id: int) -> AuditResult:
    """Runs `checkpoint` of the expectations on build `build_id`, as role auditor.

    A row per expectation goes to ops.expectation_result, besides those of earlier runs. The context, validation results
    and Data Docs go to `home`/gx/`build_id`, nothing into the project's folder. Whether a failure stops the night is
    for the caller: `raise_if_failed`, `to_hold`.
    Raises UserError when an expectation cannot be judged, as when a mart that it reads was not built.
    """
    _make_room(build_id)
    logging.getLogger("great_expectations").setLevel(logging.WARNING)
    try:
        findings = tuple(_findings(_run(checkpoint, build_id)))
    except DBAPIError as error:
        cause = str(error.orig).splitlines()[0]
        raise UserError(
            f"the audit {checkpoint} cannot read its data: {cause}",
            "build all layers before it, and keep the queries of expectations/sql to the marts",
        ) from error
    with connect("auditor") as conn, conn.cursor() as cursor:
        # All of one moment: ops.audit_result shows those of the last one.
        cursor.executemany(
            "insert into ops.expectation_result"
            " (build_id, checkpoint, suite, expectation, column_name, severity, success, observed, slice, told)"
            " values (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s)",
            [
                (
                    build_id,
                    checkpoint,
                    f.suite,
                    f.expectation,
                    f.column,
                    f.severity,
                    f.success,
                    *_first_place(f),
                    str(f),
                )
                for f in findings
            ],
        )
    return AuditResult(checkpoint, build_id, findings)


def _first_place(finding: Finding) -> tuple[str | None, str | None]:
    """Observed value and slice, of the one row that a finding has in the warehouse."""
    if not finding.places:
        return None, None
    place, observed = finding.places[0]
    return observed + _more(finding.count), place


def _more(count: int) -> str:
    return f" (and {count - 1} more)" if count > 1 else ""


def _results(build_id: int) -> Path:
    return get_settings().home / "gx" / str(build_id)


def _make_room(build_id: int) -> None:
    """Makes the folder of this build's results, and lets go of those of old builds."""
    folder = _results(build_id)
    folder.mkdir(parents=True, exist_ok=True)
    builds = sorted(int(path.name) for path in folder.parent.iterdir() if path.name.isdigit())
    for old in builds[:-BUILDS_KEPT]:
        shutil.rmtree(_results(old), ignore_errors=True)


def _run(checkpoint: Checkpoint, build_id: int) -> "CheckpointResult":
    context = open_context(_results(build_id), audit_url(build_id))
    from great_expectations.data_context.types.resource_identifiers import ExpectationSuiteIdentifier

    result = context.checkpoints.get(checkpoint).run(expectation_parameters=dict(load_limits().parameters))
    # Once for all suites: the action of a checkpoint would render the index again for each.
    suites = [ExpectationSuiteIdentifier(validation.suite_name) for validation in result.run_results.values()]
    context.build_data_docs(resource_identifiers=[*result.run_results, *suites])
    return result


def audit_url(build_id: int) -> str:
    """The warehouse as role auditor, for a session whose views of schema audit narrow to the build."""
    url = make_url(sqlalchemy_url("auditor"))
    options = f"{url.query['options']} -c kkbc.build_id={build_id} -c kkbc.leniency={load_limits().leniency_json}"
    return url.update_query_dict({"options": options}).render_as_string(hide_password=False)


def _findings(result: "CheckpointResult") -> Iterator[Finding]:
    for validation in result.run_results.values():
        for outcome in validation.results:
            config = outcome.expectation_config
            count, places = _unmet(validation.suite_name, outcome)
            yield Finding(
                suite=validation.suite_name,
                expectation=config.type,
                column=_column(config.kwargs),
                severity=_severity(config),
                success=bool(outcome.success),
                wanted=_wanted(config.kwargs),
                count=count,
                places=places,
            )


def _severity(config: Any) -> Severity:
    """Great Expectations knows no hold: an expectation that holds says so in its meta."""
    if (config.meta or {}).get("gate") == "hold":
        return "hold"
    return "fail" if config.severity == "critical" else "warn"


def _unmet(suite: str, outcome: Any) -> tuple[int, tuple[tuple[str, str], ...]]:
    """How many rows do not meet an expectation, and the first of them; a table as a whole counts as one row."""
    found = outcome.result
    if "unexpected_count" in found:
        count = found["unexpected_count"]
        rows = [dict(row) for row in found.get("partial_unexpected_index_list", [])]
        places = tuple((str(row.pop("slice")), _observed(row)) for row in rows)
        return count, places or (((suite, f"{count} rows"),) if count else ())
    if "observed_value" in found:
        return (0, ()) if outcome.success else (1, ((suite, _text(found["observed_value"])),))
    raise UserError(
        f"{outcome.expectation_config.type} of suite {suite} cannot be judged: {_exception(outcome.exception_info)}",
        f"fix the file of suite {suite}, or the query that it names (expectations/README.md)",
    )


def _exception(info: Mapping[str, Any]) -> str:
    """The first line of what went wrong; Great Expectations nests it by metric when a metric failed."""
    inner = info if "exception_message" in info else next(iter(info.values()), {})
    return str(inner.get("exception_message") or "no result").splitlines()[0]


def _observed(row: Mapping[str, Any]) -> str:
    if len(row) == 1:
        return _text(next(iter(row.values())))
    return ", ".join(f"{name} {_text(value)}" for name, value in row.items())


def _text(value: object) -> str:
    if value is None:
        return "nothing"
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _column(kwargs: Mapping[str, Any]) -> str:
    """The columns an expectation is about, and the condition on the rows that it is about."""
    names = [kwargs[key] for key in ("column", "column_A", "column_B") if key in kwargs]
    condition = kwargs.get("row_condition")
    if not condition:
        return ", ".join(names)
    return f"{', '.join(names)} where {_condition(condition)}"


def _condition(condition: Mapping[str, Any]) -> str:
    return f"{condition['column']['name']} {condition['operator']} {_listed(condition['parameter'])}"


def _wanted(kwargs: Mapping[str, Any]) -> str:
    low, high = _limit(kwargs.get("min_value")), _limit(kwargs.get("max_value"))
    if low is not None and high is not None:
        return f"{_text(low)} to {_text(high)}"
    if low is not None or high is not None:
        return f">= {_text(low)}" if high is None else f"<= {_text(high)}"
    if "value_set" in kwargs:
        return f"one of {_listed(kwargs['value_set'])}"
    if "column_B" in kwargs:
        return f"{kwargs['column_A']} {'>=' if kwargs.get('or_equal') else '='} {kwargs['column_B']}"
    return "a value"


def _limit(value: object) -> object:
    """A bound as given, or the limit that it names."""
    return load_limits().parameters[value["$PARAMETER"]] if isinstance(value, dict) else value


def _listed(value: object) -> str:
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)
