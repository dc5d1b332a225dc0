"""The DAG files as Airflow reads them, without a running Airflow."""

import os
import tempfile
from pathlib import Path

import pytest

# Airflow makes its folder when it is first imported, so this cannot wait for a fixture.
_folder = tempfile.TemporaryDirectory(prefix="kkbc-airflow-")
os.environ["AIRFLOW_HOME"] = _folder.name

from airflow.dag_processing.dagbag import DagBag
from airflow.sdk import DAG

DAGS = Path(__file__).parents[2] / "dags"


@pytest.fixture(scope="session")
def dags() -> dict[str, DAG]:
    """All DAGs by their id; none may fail to import."""
    bag = DagBag(dag_folder=DAGS, bundle_path=DAGS, bundle_name="dags")
    assert bag.import_errors == {}
    return dict(bag.dags)
