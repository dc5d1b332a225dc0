"""The approval that a DAG waits for: Airflow's own, which also tells who said no."""

from typing import Any

from airflow.providers.standard.operators.hitl import ApprovalOperator
from airflow.sdk import Context

ANSWERED_BY = "answered_by"


class Approval(ApprovalOperator):  # type: ignore[misc]
    """Waits for a person, and hands on who answered as XCom `answered_by` (id and name).

    What Airflow's own operator returns is lost when the answer is no, for it skips what follows.
    """

    def execute_complete(self, context: Context, event: dict[str, Any]) -> Any:
        """Notes who answered, then does what Airflow does."""
        context["ti"].xcom_push(key=ANSWERED_BY, value=dict(event.get("responded_by_user") or {}))
        return super().execute_complete(context, event)
