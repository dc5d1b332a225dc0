#!/usr/bin/env python3
"""What the ways in cost, against another checkout of the project: seconds, CPU and memory of fetching by SFTP and S3.

    .venv/bin/python bench/sources.py --against ../other-checkout [--megabytes 200] [--files 600] [--rounds 3]

Servers are real ones on this machine: OpenSSH's sshd, and moto's S3 in a process of its own. Each measurement is a
process of its own that visits one branch with the code of one checkout, both by turns; of the rounds the median
counts. Only the ratios of one run tell something, for what else the machine does is in every figure.
"""

import argparse
import hashlib
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack, closing
from datetime import date, timedelta
from importlib import import_module
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
DAY = date(2023, 12, 11)
BUCKET = "deliveries"
SMALL_BYTES = 2000


def main() -> None:
    """Prints the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--against", type=Path, help="the other checkout")
    parser.add_argument("--megabytes", type=int, default=200, help="of the one large file")
    parser.add_argument("--files", type=int, default=600, help="small ones, three a day")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--visit", help=argparse.SUPPRESS)
    parser.add_argument("--serve-s3", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.visit:
        print(json.dumps(_visit(json.loads(arguments.visit))))
        return
    sys.path.insert(0, str(ROOT))
    if arguments.serve_s3:
        _serve_s3(arguments.serve_s3)
        return
    with tempfile.TemporaryDirectory(prefix="kkbc-sources-") as name, ExitStack() as running:
        folder = Path(name)
        _deliver(folder / "large", 1, arguments.megabytes << 20)
        _deliver(folder / "small", arguments.files // 3, SMALL_BYTES)
        checkouts = {"this": ROOT} | ({"other": arguments.against.resolve()} if arguments.against else {})
        print("| way | files | code | seconds | CPU s | peak RSS MB | time, CPU, memory to the other's |")
        print("| --- | --- | --- | --- | --- | --- | --- |")
        for kind, fields in _ways(folder, running).items():
            for load in ("large", "small"):
                asked = json.dumps({"kind": kind, "fields": fields[load], "target": str(folder / "target")})
                _print(kind, load, _measure(checkouts, asked, arguments.rounds))


def _deliver(root: Path, days: int, size: int) -> None:
    """A branch that delivers three files of `size` bytes a day, or one where there is but one day."""
    for n in range(days):
        folder = root / "KC001" / str(DAY - timedelta(days=n))
        folder.mkdir(parents=True)
        files = []
        for feed in ("pendaftaran", "iuran", "kegiatan") if days > 1 else ("iuran",):
            content = os.urandom(size)
            (folder / f"{feed}.csv").write_bytes(content)
            digest = hashlib.sha256(content).hexdigest()
            files.append({"feed": feed, "name": f"{feed}.csv", "rows": 1, "bytes": size, "sha256": digest})
        said = {"schema_version": 1, "branch_id": "KC001", "business_date": folder.name, "revision": 1, "files": files}
        (folder / "manifest.json").write_text(json.dumps(said))


def _ways(folder: Path, running: ExitStack) -> dict[str, dict[str, dict[str, Any]]]:
    """The fields of the connections by kind and load, to servers that run until `running` ends."""
    from tests.servers import openssh

    (folder / "sshd").mkdir()
    ssh = running.enter_context(openssh(folder / "sshd"))
    extra = {"host_key": ssh.host_key, "private_key": ssh.private_key}
    command = [sys.executable, __file__, "--serve-s3", str(folder)]
    store = running.enter_context(subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True))
    running.callback(store.stdin.close)  # type: ignore[union-attr]
    key = json.loads(store.stdout.readline())  # type: ignore[union-attr]
    loads = ("large", "small")
    return {
        "sftp": {
            load: {
                "host": "127.0.0.1",
                "port": ssh.port,
                "login": ssh.login,
                "extra": extra | {"root": str(folder / load)},
            }
            for load in loads
        },
        "s3": {load: key | {"extra": key["extra"] | {"root": f"s3://{BUCKET}/{load}"}} for load in loads},
    }


def _serve_s3(folder: Path) -> None:
    """moto's server with the deliveries, until standard input ends."""
    from tests.servers import REGION, s3_server

    with s3_server() as server:
        server.client.create_bucket(Bucket=BUCKET, CreateBucketConfiguration={"LocationConstraint": REGION})
        for path in (path for load in ("large", "small") for path in (folder / load).rglob("*") if path.is_file()):
            server.fill(BUCKET, [str(path.relative_to(folder))], path.read_bytes())
        print(json.dumps({"login": server.key, "password": server.secret, "extra": {"endpoint_url": server.url}}))
        sys.stdout.flush()
        sys.stdin.read()


def _measure(checkouts: dict[str, Path], asked: str, rounds: int) -> dict[str, dict[str, float]]:
    """The median of each figure, by checkout."""
    found: dict[str, list[dict[str, float]]] = {name: [] for name in checkouts}
    for _ in range(rounds):
        for name, checkout in checkouts.items():
            environment = os.environ | {"PYTHONPATH": str(checkout / "plugins")}
            command = [sys.executable, __file__, "--visit", asked]
            done = subprocess.run(command, env=environment, check=True, capture_output=True, text=True)
            found[name].append(json.loads(done.stdout))
    return {name: {key: statistics.median(run[key] for run in runs) for key in runs[0]} for name, runs in found.items()}


def _print(kind: str, load: str, figures: dict[str, dict[str, float]]) -> None:
    for name, one in figures.items():
        ratios = ""
        if name == "this" and (other := figures.get("other")):
            ratios = ", ".join(f"{one[key] / other[key]:.2f}" for key in ("seconds", "cpu", "peak_mb"))
        print(
            f"| {kind} | {load} | {name} | {one['seconds']:.2f} | {one['cpu']:.2f} | {one['peak_mb']:.0f} | {ratios} |",
            flush=True,
        )


def _visit(asked: dict[str, Any]) -> dict[str, float]:
    """Lists and fetches all that a branch has, with the code that this process finds."""
    from kkbc.core.connections import Connection
    from kkbc.exchange.registry import Branch

    try:
        way = import_module("kkbc.intake.sources")
    except ModuleNotFoundError:
        way = import_module("kkbc.intake.sources")
    module = import_module(f"{way.__name__}.{asked['kind']}")
    tree = import_module(f"{way.__name__}.tree")
    branch = Branch.model_validate({"branch_id": "KC001", "kind": asked["kind"], "connection": "bench"})
    made = (module.SftpTree if asked["kind"] == "sftp" else module.S3Tree)(
        branch, Connection("bench", **asked["fields"])
    )
    before, began = time.process_time(), time.perf_counter()
    target = Path(asked["target"])
    with closing(tree.TreeSource(branch, made)) as source:
        for manifest in source.manifests(way.Wanted(date(2020, 1, 1), date(2024, 2, 12))):
            delivery = manifest.read()
            for entry in delivery.entries:
                source.fetch(delivery, entry, target)
                with target.open("rb") as file:
                    assert hashlib.file_digest(file, "sha256").hexdigest() == entry.sha256
    return {
        "seconds": time.perf_counter() - began,
        "cpu": time.process_time() - before,
        "peak_mb": _peak_mb(),
    }


def _peak_mb() -> float:
    """Of this process, as the kernel keeps it; what getrusage tells may be that of the one that started it."""
    status = Path("/proc/self/status").read_text()
    return next(int(line.split()[1]) / 1024 for line in status.splitlines() if line.startswith("VmHWM:"))


if __name__ == "__main__":
    main()
