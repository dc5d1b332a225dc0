"""Writes SBOMs of the images, and asks an advisory service about every locked package: `make sbom`, `make audit`.

What is written lies in .audit: `sbom.cdx.json` (CycloneDX 1.6, of docker/requirements.lock), `sbom-superset.cdx.json`
(of the image of Superset), `sbom-spark.cdx.json` (of what the image of Spark has besides), `vulnerabilities.json` (the
answers for what the images and developers install), or, where the service cannot be asked, `not-audited.txt` with the
time and the cause. KKBC_OSV_URL names another service that answers as osv.dev does.

Exit status 0: no vulnerability is known, or nobody could be asked, which the last line says; 1: there are some.
"""

import json
import os
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
TARGET = Path(os.environ.get("KKBC_AUDIT_FOLDER", ROOT / ".audit"))
SERVICE = os.environ.get("KKBC_OSV_URL", "https://api.osv.dev/v1/query")
PIPELINE = ROOT / "docker" / "requirements.lock"
SUPERSET = ROOT / "bi" / "superset" / "requirements.lock"
SPARK = ROOT / "spark" / "requirements.lock"
# pip-audit takes no two versions of a package in one run, and the pins of Superset and Spark contradict the pipeline's.
RUNS = [[PIPELINE, ROOT / "requirements-dev.lock"], [SUPERSET], [SPARK]]
if "KKBC_AUDIT_LOCKS" in os.environ:
    RUNS = [[Path(lock)] for lock in os.environ["KKBC_AUDIT_LOCKS"].split(":")]


def program(name: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Runs a program of this environment."""
    path = Path(sys.executable).with_name(name)
    return subprocess.run([path, *arguments], capture_output=True, text=True)


def write_sbom(lock: Path, target: Path, *options: str) -> None:
    """The SBOM of the image that installs a lock, the same for the same lock."""
    done = program(
        *("cyclonedx-py", "requirements", str(lock), "--output-reproducible", "--sv", "1.6", *options),
        *("-o", str(target)),
    )
    if done.returncode:
        sys.exit(done.stderr)
    print(f"sbom: {len(json.loads(target.read_text())['components'])} packages in {target}")


def asked(locks: list[Path], answers: Path) -> tuple[list[dict[str, Any]], str]:
    """What the service knows of each package of locks that agree, and why not of each, in one line."""
    answers.unlink(missing_ok=True)
    done = program(
        *("pip-audit", *(argument for lock in locks for argument in ("-r", str(lock)))),
        *("--disable-pip", "--require-hashes", "--progress-spinner", "off"),
        *("--vulnerability-service", "osv", "--osv-url", SERVICE, "--format", "json", "--output", str(answers)),
    )
    # A package that the service could not be asked about is not one without vulnerabilities.
    found = json.loads(answers.read_text())["dependencies"] if answers.is_file() and answers.stat().st_size else []
    skipped = [package["name"] for package in found if "skip_reason" in package]
    if skipped:
        return found, f"no answer for {', '.join(skipped)}"
    return found, "" if found else (done.stderr.strip().splitlines() or ["?"])[-1]


def audit() -> int:
    """Asks about every package of the locks; returns the exit status."""
    answers, note = TARGET / "vulnerabilities.json", TARGET / "not-audited.txt"
    note.unlink(missing_ok=True)
    packages: dict[tuple[str, str], dict[str, Any]] = {}
    for locks in RUNS:
        of_run, cause = asked(locks, answers)
        if cause:
            answers.unlink(missing_ok=True)
            text = f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC: {SERVICE} could not be asked: {cause}"
            note.write_text(text + "\n")
            print(f"audit: NOT DONE, see {note}: {text}", file=sys.stderr)
            return 0
        packages |= {(package["name"], package["version"]): package for package in of_run}
    found = list(packages.values())
    answers.write_text(json.dumps({"dependencies": found}) + "\n")
    lines = [
        f"{package['name']} {package['version']}: {flaw['id']}, fixed in {', '.join(flaw['fix_versions']) or 'none'}"
        for package in found
        for flaw in package["vulns"]
    ]
    print(*lines, sep="\n", end="\n" if lines else "")
    print(f"audit: {len(lines)} known vulnerabilities in {len(found)} packages, by {SERVICE}")
    return 1 if lines else 0


if __name__ == "__main__":
    TARGET.mkdir(exist_ok=True)
    write_sbom(PIPELINE, TARGET / "sbom.cdx.json", "--pyproject", str(ROOT / "pyproject.toml"))
    write_sbom(SUPERSET, TARGET / "sbom-superset.cdx.json")
    write_sbom(SPARK, TARGET / "sbom-spark.cdx.json")
    sys.exit(0 if "--sbom-only" in sys.argv else audit())
