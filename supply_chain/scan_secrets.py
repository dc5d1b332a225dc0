"""Searches repository, images and logs for secrets. Run by `make lint` in the environment of the linters.

Repository and images: every file that git tracks or would track, and every file that `Dockerfile` and `docker/sftp`
copy in, tracked or not. What was found and reviewed is in secrets.baseline; a finding that is not there fails, and so
does an entry there that nobody reviewed. Logs: those of .local and KKBC_HOME. In all of them also the secrets of these
homes and of docker/production.env are searched for, literally.

    python supply_chain/scan_secrets.py                 exit status 1 and a line for each finding
    python supply_chain/scan_secrets.py --to-baseline   adds the findings to the baseline; review them with
                                                        `detect-secrets audit supply_chain/secrets.baseline`
"""

import hashlib
import json
import os
import re
import subprocess
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from detect_secrets.core import baseline
from detect_secrets.core.potential_secret import PotentialSecret
from detect_secrets.core.secrets_collection import SecretsCollection
from detect_secrets.settings import transient_settings

ROOT = Path(os.environ.get("KKBC_PROJECT", Path(__file__).resolve().parents[1]))
BASELINE = ROOT / "supply_chain" / "secrets.baseline"
KNOWN_CLEAN = ROOT / ".lint" / "clean-of-secrets"
# Hashes of packages look like secrets, and pictures hold no text.
SKIPPED = (".lock", ".png", ".pyc", BASELINE.name)
# Secrets that a deployment makes; they are never committed, and no image receives them.
OF_THE_DEPLOYMENT = ("docker/production.env", "docker/sftp/keys/")

Plugin = dict[str, object]
PATTERNS: list[Plugin] = [
    {"name": f"{name}Detector"}
    for name in (
        *("AWSKey", "AzureStorageKey", "BasicAuth", "GitHubToken", "GitLabToken"),
        *("JwtToken", "Npm", "PrivateKey", "PypiToken", "Slack"),
    )
]
# In logs these would report every hash and every mention of a password.
IN_TEXTS: list[Plugin] = [
    {"name": "KeywordDetector"},
    {"name": "Base64HighEntropyString", "limit": 4.5},
    {"name": "HexHighEntropyString", "limit": 3.0},
]
FILTERS = (
    *("is_indirect_reference", "is_likely_id_string", "is_not_alphanumeric_string", "is_potential_uuid"),
    *("is_prefixed_with_dollar_sign", "is_sequential_string", "is_templated_secret"),
)
# Parts of a connection that are secret; who a server is and where, and a login's name, are in docs and logs too.
SECRET_PART = re.compile(r"password|secret|token|(?<!host_)(?<!access_)key", re.IGNORECASE)
MIN_LITERAL = 12
"""Shorter values of a key file are not searched for, they would be found in any text."""


def repository() -> list[str]:
    """Files that git tracks or would track, relative to the project."""
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    listed = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True)
    return listed.stdout.split("\0")


def images() -> Iterator[str]:
    """Files that the images receive, whether git knows them or not."""
    for dockerfile in (ROOT / "Dockerfile", *ROOT.glob("docker/*/Dockerfile")):
        context = dockerfile.parent
        for line in re.findall(r"^(?:COPY|ADD) (?!--from)(.+)$", dockerfile.read_text(), re.MULTILINE):
            for source in line.split()[:-1]:
                place = context / source
                yield from (str(path.relative_to(ROOT)) for path in (place, *place.rglob("*")))


def homes() -> list[Path]:
    """The home of this project, and the one that is set."""
    return list({Path(os.environ.get("KKBC_HOME", ROOT / ".local")).resolve(), ROOT / ".local"})


def logs() -> Iterator[Path]:
    """Logs of the homes."""
    for home in homes():
        for pattern in ("**/logs/**/*", "run/*.log", "pg/*.log"):
            yield from (path for path in home.glob(pattern) if path.is_file() and not path.is_symlink())


def known_secrets() -> dict[bytes, str]:
    """The secrets of this machine's homes and of its deployment, with where each is kept."""
    found = {}
    places = [path for home in homes() for path in home.glob("keys/*") if path.is_file()]
    for path in (*places, ROOT / "docker" / "production.env"):
        if path.is_file():
            content = path.read_text(encoding="utf-8", errors="replace")
            if path.suffix == ".json":
                content = "\n".join(_values(json.loads(content)))
            for word in re.findall(rf"[\w\-=+/]{{{MIN_LITERAL},}}", content):
                value = word.partition("=")[2] if path.suffix == ".env" else word
                if len(value) >= MIN_LITERAL:
                    found[value.encode()] = path.name
    return found


def _values(content: Any) -> Iterator[str]:
    """The texts of a key file in JSON, without their names; of a connection of Airflow those that are secret."""
    if isinstance(content, str):
        yield content
    elif isinstance(content, dict):
        parts = _secret_parts(content) if "conn_type" in content else content.values()
        for part in parts:
            yield from _values(part)


def _secret_parts(connection: dict[str, Any]) -> Iterator[Any]:
    extra = connection.get("extra")
    parts = {**connection, **(extra if isinstance(extra, dict) else {})}
    return (part for name, part in parts.items() if SECRET_PART.search(name))


def texts() -> list[str]:
    """Files of repository and images that are searched, relative to the project."""
    return sorted(
        name
        for name in {*repository(), *images()}
        if (ROOT / name).is_file() and not name.endswith(SKIPPED) and not name.startswith(OF_THE_DEPLOYMENT)
    )


def settings(plugins: list[Plugin]) -> dict[str, object]:
    """Settings of detect-secrets; nothing is verified at a service."""
    filters = [f"heuristic.{name}" for name in FILTERS] + ["allowlist.is_line_allowlisted"]
    return {
        "plugins_used": plugins,
        "filters_used": [{"path": f"detect_secrets.filters.{name}"} for name in filters],
    }


def scanned(names: list[str], plugins: list[Plugin]) -> SecretsCollection:
    """What detect-secrets finds in files."""
    secrets = SecretsCollection(root=str(ROOT))
    if names:
        with transient_settings(settings(plugins)):
            secrets.scan_files(*names, num_processors=os.cpu_count() or 1)
    return secrets


def literal_findings(names: Iterable[str]) -> Iterator[str]:
    """A line for each file that holds a secret of this machine."""
    known = known_secrets()
    for name in names if known else ():
        content = (ROOT / name).read_bytes()
        yield from (
            f"{name}: holds a secret that is kept in {place}" for value, place in known.items() if value in content
        )


def main() -> int:
    """Exit status 1 when something is found that the baseline does not explain."""
    if "--to-baseline" in sys.argv:
        return to_baseline()
    reviewed = known_findings()
    expected = baseline.load(reviewed)
    in_texts, in_logs, clean = texts(), [str(path) for path in logs()], Clean()
    found = scanned(clean.unknown(in_texts), [*PATTERNS, *IN_TEXTS])
    found_in_logs = scanned(clean.unknown(in_logs), PATTERNS)
    lines = [told(name, secret) for name, secret in [*(found - expected), *found_in_logs]]
    lines += literal_findings([*in_texts, *in_logs])
    lines += [f"{name}: {BASELINE.name} names a finding that is gone" for name, _ in expected - found]
    lines += [
        f"{name}: an entry of {BASELINE.name} is not reviewed, or is a secret"
        for name, entries in reviewed["results"].items()
        for entry in entries
        if entry.get("is_secret") is not False
    ]
    if lines:
        print(*lines, sep="\n")
        print("secrets: remove them, and change them where they are used; if they are none, see CONTRIBUTING.md")
        return 1
    clean.keep(name for name in (*in_texts, *in_logs) if name not in found.files)
    print(f"secrets: none in {len(in_texts)} files and {len(in_logs)} logs")
    return 0


def to_baseline() -> int:
    """Writes what is found into the baseline; what was reviewed there stays so."""
    found = scanned(texts(), [*PATTERNS, *IN_TEXTS])
    found.merge(baseline.load(known_findings()))
    with transient_settings(settings([*PATTERNS, *IN_TEXTS])):
        baseline.save_to_file(found, str(BASELINE))
    document = json.loads(BASELINE.read_text())
    BASELINE.write_text(json.dumps(with_places(document, Path()), indent=2) + "\n")
    return 0


def known_findings() -> dict[str, Any]:
    """The baseline, as a search of this checkout would tell it: with whole paths, which are no part of the file."""
    return with_places(json.loads(BASELINE.read_text()), ROOT)


def with_places(document: dict[str, Any], root: Path) -> dict[str, Any]:
    """A baseline whose findings lie below `root`."""
    for name, entries in document["results"].items():
        for entry in entries:
            entry["filename"] = str(root / name)
    return document


class Clean:
    """Files in which an earlier search found nothing, by their content, so that they are not searched again."""

    def __init__(self) -> None:
        self.hashes = set(KNOWN_CLEAN.read_text().split()) if KNOWN_CLEAN.is_file() else set()
        self.salt = hashlib.sha256(Path(__file__).read_bytes()).digest()

    def unknown(self, names: Iterable[str]) -> list[str]:
        """Those of the files that must be searched."""
        return [name for name in names if self._hash(name) not in self.hashes]

    def keep(self, names: Iterable[str]) -> None:
        """Notes that nothing was found in the files."""
        KNOWN_CLEAN.parent.mkdir(exist_ok=True)
        KNOWN_CLEAN.write_text("\n".join(map(self._hash, names)))

    def _hash(self, name: str) -> str:
        return hashlib.sha256(self.salt + name.encode() + (ROOT / name).read_bytes()).hexdigest()


def told(name: str, secret: PotentialSecret) -> str:
    """A finding as a line; never the secret."""
    return f"{name}:{secret.line_number}: {secret.type}"


if __name__ == "__main__":
    sys.exit(main())
