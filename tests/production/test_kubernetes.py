"""The files for Kubernetes: valid by the schemas of their kinds, and pods given what workers of the compose file have.

No cluster ran them.
"""

import json
import re
from copy import deepcopy
from pathlib import Path
from typing import Any

import jsonschema
import kubernetes_validate
import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]
FOLDER = ROOT / "docker" / "kubernetes"
VERSION = "1.34"
COMPOSE: dict[str, Any] = yaml.safe_load((ROOT / "docker-compose.yml").read_text(encoding="utf-8"))
WORKER: dict[str, Any] = COMPOSE["services"]["airflow-worker"]


def read(name: str) -> dict[str, Any]:
    """A file of the folder."""
    found: dict[str, Any] = yaml.safe_load((FOLDER / name).read_text(encoding="utf-8"))
    return found


POD, MIGRATE, VALUES = read("pod-template.yaml"), read("migrate.yaml"), read("values.yaml")
PODS = {"pod-template.yaml": POD["spec"], "migrate.yaml": MIGRATE["spec"]["template"]["spec"]}


def plain(container: dict[str, Any]) -> dict[str, str]:
    """The variables of a container that are no secret."""
    return {item["name"]: item["value"] for item in container["env"] if "value" in item}


@pytest.mark.parametrize("name", ["pod-template.yaml", "migrate.yaml"])
def test_objects_keep_to_the_schema_of_kubernetes(name: str) -> None:
    """Strictly: a name that Kubernetes does not know is an error too, which a cluster would drop in silence."""
    wanted = read(name)
    assert kubernetes_validate.validate(wanted, VERSION, strict=True) == VERSION
    wrong = deepcopy(wanted)
    wrong["spec"]["restartPolice"] = "Never"
    with pytest.raises(kubernetes_validate.ValidationError, match="restartPolice"):
        kubernetes_validate.validate(wrong, VERSION, strict=True)


def test_values_keep_to_what_the_chart_takes() -> None:
    schema = json.loads((Path(__file__).parent / "airflow-chart.json").read_text(encoding="utf-8"))
    template = (FOLDER / "pod-template.yaml").read_text(encoding="utf-8")
    assert "{{" not in template, "the chart would take it for a template of its own"
    jsonschema.validate({**VALUES, "podTemplate": template}, schema)
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate({**VALUES, "podTemplates": template}, schema)
    assert VALUES["executor"] == "KubernetesExecutor"


def test_a_pod_of_a_task_is_what_the_executor_looks_for() -> None:
    """It sets image and command of the container `base`, and the name; a pod that ends must not begin again."""
    assert [container["name"] for container in POD["spec"]["containers"]] == ["base"]
    assert POD["spec"]["restartPolicy"] == "Never"
    assert "command" not in POD["spec"]["containers"][0]


def test_all_say_the_same_image_and_version() -> None:
    images = {f"{image['repository']}:{image['tag']}" for image in VALUES["images"].values()}
    images |= {container["image"] for spec in PODS.values() for container in spec["containers"]}
    assert len(images) == 1
    assert images.pop().rpartition(":")[2] == re.search(r"KKBC_VERSION:-([\d.]+)", WORKER["image"])[1]  # type: ignore[index]
    lock = (FOLDER / "requirements.lock").read_text(encoding="utf-8")
    assert f"apache-airflow=={VALUES['airflowVersion']} " in lock


def test_versions_are_those_of_the_image_that_it_builds_upon() -> None:
    def pins(path: Path) -> dict[str, str]:
        return dict(re.findall(r"^([\w.-]+)==([^ ;]+)", path.read_text(encoding="utf-8"), re.MULTILINE))

    below, above = pins(ROOT / "docker" / "requirements.lock"), pins(FOLDER / "requirements.lock")
    assert below.items() <= above.items()
    assert "apache-airflow-providers-cncf-kubernetes" in above.keys() - below.keys()


def test_a_pod_has_the_settings_of_a_worker() -> None:
    """All but those of Celery and Spark, those that are secrets, and those of the server that hands tasks out."""
    names = set(plain(POD["spec"]["containers"][0]))
    of_spark = {"KKBC_ENGINE", "KKBC_SPARK_THRIFT"}
    worker = {name for name in WORKER["environment"] if name.startswith("KKBC_")} - {"KKBC_DATABASE_URL"} - of_spark
    assert worker <= names
    shared = plain(POD["spec"]["containers"][0]).items() & WORKER["environment"].items()
    same = {name for name, _ in shared}
    assert {name for name in names & set(WORKER["environment"]) if name.startswith("AIRFLOW__")} - same == {
        "AIRFLOW__CORE__EXECUTION_API_SERVER_URL"
    }
    settings = {item["name"]: item["value"] for item in VALUES["env"]}
    core = COMPOSE["services"]["airflow-scheduler"]["environment"]
    differing = {name for name, value in settings.items() if name in core and str(core[name]) != value}
    # Pods are waited for until there is a node for them, and backups have no volume.
    assert differing == {"AIRFLOW__SCHEDULER__TASK_QUEUED_TIMEOUT", "KKBC_BACKUP_TO"}


def test_a_pod_sees_what_a_worker_sees() -> None:
    """The same places but Spark's; landing and backups are in buckets, where many pods write."""
    mounts = {mount["mountPath"]: mount for mount in POD["spec"]["containers"][0]["volumeMounts"]}
    places = {str(volume).split(":")[1]: str(volume).endswith(":ro") for volume in WORKER["volumes"]}
    in_buckets, of_spark = {"/var/lib/kkbc/landing", "/var/backups/kkbc"}, {"/var/lib/kkbc/spark"}
    assert set(mounts) == set(places) - in_buckets - of_spark
    assert all(mounts[place].get("readOnly", False) == places[place] for place in mounts)
    variables = plain(POD["spec"]["containers"][0])
    assert variables["KKBC_LANDING_URI"].startswith("s3://")
    assert variables["KKBC_BACKUP_TO"].startswith("s3://")
    assert plain(PODS["migrate.yaml"]["containers"][0])["KKBC_LANDING_URI"] == variables["KKBC_LANDING_URI"]


def test_pods_of_tasks_do_not_reach_airflows_database_and_none_holds_a_secret() -> None:
    assert "SQL_ALCHEMY_CONN" not in (FOLDER / "pod-template.yaml").read_text(encoding="utf-8")
    words = re.compile(r"PASSWORD|SECRET|_KEY$|FERNET|TOKEN|DATABASE_URL|SQL_ALCHEMY")
    for spec in PODS.values():
        for container in spec["containers"]:
            assert not [name for name in plain(container) if words.search(name)]
    assert not [item["name"] for item in VALUES["env"] if words.search(item["name"])]
    assert VALUES["webserver"]["defaultUser"]["enabled"] is False


@pytest.mark.parametrize("name", PODS)
def test_pods_are_nobody_special_and_limited(name: str) -> None:
    spec = PODS[name]
    assert spec["securityContext"]["runAsNonRoot"] is True
    user = f"{spec['securityContext']['runAsUser']}:{spec['securityContext']['runAsGroup']}"
    assert user == WORKER["user"] == f"{VALUES['uid']}:{VALUES['gid']}"
    assert spec["automountServiceAccountToken"] is False
    for container in spec["containers"]:
        assert container["securityContext"] == {
            "allowPrivilegeEscalation": False,
            "capabilities": {"drop": ["ALL"]},
        }
        assert container["resources"]["limits"]["memory"]
        assert container["resources"]["requests"].keys() == {"cpu", "memory"}


def test_a_pod_has_the_time_to_end_that_a_worker_has() -> None:
    assert WORKER["stop_grace_period"] == f"{POD['spec']['terminationGracePeriodSeconds'] // 60}m"
