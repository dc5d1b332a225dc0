"""What the tasks of DAG erase_persons do: a run names a request, whose persons lie in a private file of the home."""

from collections.abc import Mapping
from typing import Any

from kkbc.core.errors import UserError
from kkbc.exchange.masking import without_texts
from kkbc.rights import erasing, requests
from kkbc.warehouse import connect

Params = Mapping[str, Any]


@without_texts()
def count(params: Params) -> dict[str, Any]:
    """What there is of the persons in each store, for whoever approves; no person is in it."""
    known = _waiting(params["request"])
    found = erasing.foresee(requests.resume(params["request"]))
    rows = "\n".join(f"| {place} | {rows:,} |" for place, rows in found["rows"].items())
    body = (
        f"Why: {known.why}. Asked for by {known.done_by}.\n\n| store | rows |\n| --- | --- |\n"
        f"| landed files | {found['landed_files']:,} |\n{rows}\n\n"
        f"{len(found['unknown_lines'])} of the persons have no loaded row. This cannot be undone."
    )
    return {"persons": found["persons"], "body": body}


@without_texts()
def erase(params: Params, answered_by: Mapping[str, Any] | None) -> dict[str, Any]:
    """Erases the persons of a request that was approved, or goes on with that.

    Raises UserError when something of them was found afterwards.
    """
    request = params["request"]
    with connect() as conn:
        known = requests.find(conn, request)
    if known is not None and known.outcome == "done":
        return {"request": request, "persons": known.persons, "already": True}
    assert known is not None, "the task before found it"
    done = erasing.erase(requests.resume(request), why=known.why, who=_who(answered_by), request=request)
    if done.findings:
        places = ", ".join(sorted({finding["place"] for finding in done.findings}))
        raise UserError(f"something of the persons is left in {places}", "see docs/runbooks/erase-a-person.md")
    return {"request": request, "persons": done.persons, "already": done.already}


def refuse(params: Params, answered_by: Mapping[str, Any] | None) -> None:
    """Ends a request that was not approved: its file is removed, and that is on record."""
    requests.refuse(params["request"], why="not approved", who=_who(answered_by))


def _waiting(request: str) -> requests.Request:
    with connect() as conn:
        known = requests.find(conn, request)
    if known is None or known.outcome not in ("waiting", "running"):
        state = "is not known" if known is None else f"is {known.outcome}"
        raise UserError(f"request {request} {state}", "`kkbc erase --for-approval` makes one")
    return known


def _who(user: Mapping[str, Any] | None) -> str:
    """The user of Airflow who answered, as Airflow describes one."""
    return f"{(user or {}).get('name') or 'a user'} (Airflow)"
