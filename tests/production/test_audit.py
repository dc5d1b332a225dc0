"""What `make audit` says of the locked packages, with a stand-in of the service of known vulnerabilities."""

import json
import os
import runpy
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from kkbc.core.settings import PROJECT_ROOT
from tests.http_server import Handler, served
from tests.production.environments import python_of

CODE = PROJECT_ROOT / "supply_chain"
LOCK = "".join(
    f"{package} --hash=sha256:{digest * 64}\n" for package, digest in (("idna==3.10", "a"), ("six==1.17.0", "b"))
)


@contextmanager
def advisories(answers: dict[str, dict[str, object]], status: int = 200) -> Iterator[str]:
    """A stand-in of the advisory service; yields its URL."""

    class Advisories(Handler):
        def do_POST(self) -> None:
            asked = json.loads(self.posted())
            self.answer(status, json.dumps(answers.get(asked["package"]["name"], {})).encode())

    with served(Advisories) as port:
        yield f"http://127.0.0.1:{port}/v1/query"


def audit(folder: Path, url: str, *contents: str) -> subprocess.CompletedProcess[str]:
    locks = []
    for number, content in enumerate(contents or [LOCK]):
        locks.append(folder / f"requirements-{number}.lock")
        locks[-1].write_text(content)
    more = {"KKBC_OSV_URL": url, "KKBC_AUDIT_LOCKS": ":".join(map(str, locks)), "KKBC_AUDIT_FOLDER": str(folder)}
    command = [python_of(".venv-audit"), str(CODE / "audit.py")]
    return subprocess.run(command, env={**os.environ, **more}, capture_output=True, text=True)


@pytest.fixture(scope="module")
def audited(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of an audit without findings."""
    folder = tmp_path_factory.mktemp("audited")
    with advisories({}) as url:
        assert audit(folder, url).returncode == 0
    return folder


@pytest.mark.parametrize(
    ("file", "image"),
    [("sbom.cdx.json", "docker"), ("sbom-superset.cdx.json", "bi/superset"), ("sbom-spark.cdx.json", "spark")],
)
def test_the_sbom_names_every_package_of_the_image(audited: Path, file: str, image: str) -> None:
    sbom = json.loads((audited / file).read_text())
    lock = (PROJECT_ROOT / image / "requirements.lock").read_text().splitlines()
    wanted = {line.split(" ")[0].partition("[")[0].partition("==")[0] for line in lock if not line.startswith(" ")}
    assert sbom["bomFormat"] == "CycloneDX"
    assert {component["name"] for component in sbom["components"]} == wanted
    assert all("==" in line or not line or line.startswith(" ") for line in lock)


def test_the_locks_of_all_images_and_of_developers_are_audited(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("KKBC_AUDIT_LOCKS", raising=False)
    runs = runpy.run_path(str(CODE / "audit.py"))["RUNS"]
    locks = {str(lock.relative_to(PROJECT_ROOT)) for run in runs for lock in run}
    of_images = {"docker/requirements.lock", "bi/superset/requirements.lock", "spark/requirements.lock"}
    assert locks == of_images | {"requirements-dev.lock"}


def test_an_audit_without_findings_says_who_was_asked(tmp_path: Path) -> None:
    with advisories({}) as url:
        done = audit(tmp_path, url)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines()[-1] == f"audit: 0 known vulnerabilities in 2 packages, by {url}"
    assert not (tmp_path / "not-audited.txt").exists()


def test_locks_that_contradict_each_other_are_both_audited(tmp_path: Path) -> None:
    with advisories({}) as url:
        done = audit(tmp_path, url, LOCK, LOCK.replace("idna==3.10", "idna==3.9"))
    assert done.stdout.splitlines()[-1] == f"audit: 0 known vulnerabilities in 3 packages, by {url}"
    found = json.loads((tmp_path / "vulnerabilities.json").read_text())["dependencies"]
    assert {(package["name"], package["version"]) for package in found} == {
        *(("idna", "3.10"), ("idna", "3.9"), ("six", "1.17.0"))
    }


def test_a_known_vulnerability_fails(tmp_path: Path) -> None:
    fixed = {"ranges": [{"type": "ECOSYSTEM", "events": [{"introduced": "0"}, {"fixed": "3.11"}]}]}
    flaw = {
        "id": "GHSA-0000-0000-0000",
        "summary": "invented",
        "affected": [{"package": {"name": "idna", "ecosystem": "PyPI"}, **fixed}],
    }
    with advisories({"idna": {"vulns": [flaw]}}) as url:
        done = audit(tmp_path, url)
    assert done.returncode == 1
    assert "idna 3.10: GHSA-0000-0000-0000, fixed in 3.11" in done.stdout
    assert (tmp_path / "vulnerabilities.json").is_file()


@pytest.mark.parametrize("reached", [True, False])
def test_a_service_that_does_not_answer_leaves_a_dated_note_and_no_result(tmp_path: Path, reached: bool) -> None:
    (tmp_path / "vulnerabilities.json").write_text("of before")
    with advisories({}, status=503) as url:
        done = audit(tmp_path, url if reached else "http://127.0.0.1:9/v1/query")
    assert done.returncode == 0
    assert "NOT DONE" in done.stderr
    assert (tmp_path / "not-audited.txt").read_text().startswith("20")
    assert not (tmp_path / "vulnerabilities.json").exists()
