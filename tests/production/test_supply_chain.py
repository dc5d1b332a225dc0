"""What `make lint` and `make audit` say of secrets and of packages, by planted ones and a stand-in of the service."""

import base64
import json
import os
import runpy
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from kkbc.core.settings import PROJECT_ROOT

CODE = PROJECT_ROOT / "supply_chain"
# Put together here, or this file would be a finding itself.
AWS_KEY = "AKIA" + "Q3EGR7XMVZ2LT4KD"
RANDOM = base64.b64encode(bytes(range(7, 255, 7))).decode()
LOCK = "".join(
    f"{package} --hash=sha256:{digest * 64}\n" for package, digest in (("idna==3.10", "a"), ("six==1.17.0", "b"))
)


def python_of(environment: str) -> str:
    """The interpreter of an environment of its own, which `make` builds where it is not there yet."""
    subprocess.run(["make", "-s", f"{environment}/.ready"], cwd=PROJECT_ROOT, check=True, capture_output=True)
    return str(PROJECT_ROOT / environment / "bin" / "python")


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A small project with an image and a home, in which there is no secret."""
    for name, text in {
        "Dockerfile": "FROM debian AS first\nCOPY config /opt/config\nCOPY --from=first /opt /opt\n",
        ".gitignore": "*.tmp\n.local/\n.lint/\n",
        "config/settings.yml": "gate: fail\n",
        ".local/keys/pii.key": "ab12" * 16,
        ".local/airflow/logs/task.log": "nothing to see\n",
        "docker/production.env": f"AIRFLOW_JWT_SECRET={RANDOM}\n",
        "supply_chain/secrets.baseline": json.dumps({"version": "1.5.0", "plugins_used": [], "results": {}}),
    }.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    subprocess.run(["git", "init", "-q"], cwd=tmp_path, check=True)
    return tmp_path


def search(project: Path, *arguments: str) -> tuple[int, list[str]]:
    """Exit status and lines of a search for secrets."""
    environment = {**os.environ, "KKBC_PROJECT": str(project), "KKBC_HOME": str(project / ".local")}
    command = [python_of(".venv-lint"), str(CODE / "scan_secrets.py"), *arguments]
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert not done.stderr, done.stderr
    assert AWS_KEY not in done.stdout
    assert RANDOM not in done.stdout
    return done.returncode, done.stdout.splitlines()


def test_a_project_without_secrets_passes(project: Path) -> None:
    assert search(project) == (0, ["secrets: none in 3 files and 1 logs"])


@pytest.mark.parametrize(
    ("place", "text", "kind"),
    [
        ("dags/new.py", f'KEY = "{AWS_KEY}"\n', "AWS Access Key"),
        ("config/branches.yml", "password: rahasia99sekali\n", "Secret Keyword"),
        ("dags/entropy.py", f'X = "{RANDOM}"\n', "Base64 High Entropy String"),
        # Of no concern to git, and copied into the image all the same.
        ("config/left.tmp", "-----BEGIN " + "RSA PRIVATE KEY-----\n", "Private Key"),
        (".local/airflow/logs/other.log", "to http://u:pa55word" + "@api.example/\n", "Basic Auth Credentials"),
    ],
)
def test_a_planted_secret_fails_and_is_not_printed(project: Path, place: str, text: str, kind: str) -> None:
    assert search(project)[0] == 0
    (project / place).parent.mkdir(exist_ok=True)
    (project / place).write_text(text)
    status, lines = search(project)
    assert status == 1
    assert lines[0] == f"{place if 'logs' not in place else project / place}:1: {kind}"


@pytest.mark.parametrize(("secret", "keeper"), [("ab12" * 16, "pii.key"), (RANDOM, "production.env")])
def test_a_secret_of_the_home_is_found_wherever_it_is_written(project: Path, secret: str, keeper: str) -> None:
    log = project / ".local" / "airflow" / "logs" / "task.log"
    log.write_text(f"key={secret}\n")
    status, lines = search(project)
    assert status == 1
    assert f"{log}: holds a secret that is kept in {keeper}" in lines


def test_of_a_connection_what_is_secret_is_searched_for(project: Path) -> None:
    """Names and addresses are in code and docs, and in those of a home that was played."""
    secret = f"{RANDOM[:24]}abc"
    extra = {"endpoint_url": "https://store.example", "host_key": "h" * 30, "aws_secret_access_key": f"{secret}d"}
    connection = {"conn_type": "aws", "host": "store.example", "login": "l" * 20, "password": secret, "extra": extra}
    keys = project / ".local" / "keys"
    (keys / "connections.json").write_text(json.dumps({"sim_s3_kc017_of_a_branch": connection}))
    (keys / "superset.json").write_text(json.dumps({"gateway_password": f"{secret}e"}))
    log = project / ".local" / "airflow" / "logs" / "task.log"
    log.write_text(
        f"sim_s3_kc017_of_a_branch endpoint_url gateway_password https://store.example {'l' * 20} {'h' * 30}\n"
    )
    assert search(project)[0] == 0
    for value, keeper in ((secret, "connections"), (f"{secret}d", "connections"), (f"{secret}e", "superset")):
        log.write_text(f"{value}\n")
        assert f"{log}: holds a secret that is kept in {keeper}.json" in search(project)[1]


def test_what_was_reviewed_passes_until_it_changes_or_goes(project: Path) -> None:
    found = project / "config" / "branches.yml"
    found.write_text("password: rahasia99sekali\n")
    assert search(project, "--to-baseline")[0] == 0
    assert "is not reviewed" in search(project)[1][0]
    baseline = project / "supply_chain" / "secrets.baseline"
    content = json.loads(baseline.read_text())
    content["results"]["config/branches.yml"][0]["is_secret"] = False
    baseline.write_text(json.dumps(content))
    assert search(project)[0] == 0
    found.write_text("\n\npassword: rahasia99sekali\n")
    assert search(project)[0] == 0
    found.write_text("password: an0ther00one\n")
    assert search(project)[0] == 1
    found.write_text("nothing: there\n")
    assert "names a finding that is gone" in search(project)[1][0]


@contextmanager
def advisories(answers: dict[str, dict[str, object]], status: int = 200) -> Iterator[str]:
    """A stand-in of the advisory service; yields its URL."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            body = json.dumps(answers.get(asked["package"]["name"], {})).encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}/v1/query"
    finally:
        server.shutdown()
        server.server_close()


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


@pytest.mark.parametrize(("file", "image"), [("sbom.cdx.json", "docker"), ("sbom-superset.cdx.json", "bi/superset")])
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
    assert locks == {"docker/requirements.lock", "bi/superset/requirements.lock", "requirements-dev.lock"}


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
