"""What an OpenLineage event must be, as a JSON schema.

Written after the standard's own (https://openlineage.io/spec/2-0-2/OpenLineage.json and the facets beside it, 1-2-0 of
columnLineage), as far as the project sends anything: runs, jobs, datasets, and the facets that it promises.
"""

from typing import Any

import jsonschema

URI = {"type": "string", "format": "uri", "pattern": "^[a-z][a-z0-9+.-]*:"}
UUID = {"type": "string", "pattern": "^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$"}
NAME = {"type": "string", "minLength": 1}


def _object(required: dict[str, Any], optional: dict[str, Any] | None = None) -> dict[str, Any]:
    return {"type": "object", "required": sorted(required), "properties": {**required, **(optional or {})}}


def _facets(**known: dict[str, Any]) -> dict[str, Any]:
    base = _object({"_producer": URI, "_schemaURL": URI})
    return {
        "type": "object",
        "additionalProperties": base,
        "properties": {k: {"allOf": [base, v]} for k, v in known.items()},
    }


RUN_OF_PARENT = _object({"run": _object({"runId": UUID}), "job": _object({"namespace": NAME, "name": NAME})})
COLUMNS_OF = _object(
    {"inputFields": {"type": "array", "items": _object({"namespace": NAME, "name": NAME, "field": NAME})}}
)
DATASET = _object(
    {"namespace": NAME, "name": NAME},
    {
        "facets": _facets(
            columnLineage=_object({"fields": {"type": "object", "additionalProperties": COLUMNS_OF}}),
            schema=_object({}, {"fields": {"type": "array", "items": _object({"name": NAME})}}),
        )
    },
)
EVENT = {
    "$schema": "https://json-schema.org/draft/2020-12/schema",
    **_object(
        {
            "eventTime": {"type": "string", "format": "date-time"},
            "eventType": {"enum": ["START", "RUNNING", "COMPLETE", "ABORT", "FAIL", "OTHER"]},
            "producer": URI,
            "schemaURL": URI,
            "run": _object({"runId": UUID}, {"facets": _facets(parent=RUN_OF_PARENT)}),
            "job": _object({"namespace": NAME, "name": NAME}, {"facets": _facets(sql=_object({"query": NAME}))}),
        },
        {"inputs": {"type": "array", "items": DATASET}, "outputs": {"type": "array", "items": DATASET}},
    ),
}
VALIDATOR = jsonschema.Draft202012Validator(EVENT, format_checker=jsonschema.FormatChecker())


def check(event: dict[str, Any]) -> None:
    """Raises jsonschema.ValidationError for an event that the standard would not take."""
    VALIDATOR.validate(event)
