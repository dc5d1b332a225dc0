"""LocalExecutor that has everything imported before it forks its workers.

Every task runs in a fork of a worker. Without this each of them would import the package and the DAG's libraries again,
which costs more than most tasks do.
"""

import importlib

from airflow.executors.local_executor import LocalExecutor

PRELOADED = (
    "airflow.dag_processing.bundles.local",
    "airflow.providers.standard.decorators.python",
    "airflow.sdk.definitions.decorators",
    "airflow.sdk.definitions.retry_policy",
    "airflow.sdk.execution_time.supervisor",
    "airflow.sdk.execution_time.task_runner",
    "jinja2.ext",
    "kkbc.night",
)


class WarmLocalExecutor(LocalExecutor):  # type: ignore[misc]
    """LocalExecutor, warmed up. Nothing imported here may start threads: a fork would lose them."""

    def start(self) -> None:
        """Imports, then starts the workers."""
        for module in PRELOADED:
            importlib.import_module(module)
        super().start()
