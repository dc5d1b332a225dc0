"""LocalExecutor that has everything imported before it forks its workers.

Every task runs in a fork of a worker. Without this each would import its libraries again, which costs more than most
tasks do: a night of 122 branches took three times as long, and each audit begins with six seconds of imports.
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
    "airflow.secrets.local_filesystem",
    "kkbc.core.airflow_secrets",
    "dbt.adapters.postgres",
    "dbt.cli.main",
    "great_expectations",
    "jinja2.ext",
    "kkbc.nights.tasks",
    "kkbc.intake.sources.s3",
    "kkbc.intake.sources.sftp",
)


class WarmLocalExecutor(LocalExecutor):  # type: ignore[misc]
    """LocalExecutor, warmed up.

    Importing is all that may happen before the fork: Polars starts its thread pool with its first query, and a pool
    begun here would be dead in the workers.
    """

    def start(self) -> None:
        """Imports, then starts the workers."""
        for module in PRELOADED:
            importlib.import_module(module)
        super().start()
