"""What encryption of landing costs: `python bench/landing_encryption.py`.

MB a second of a file of `--megabytes` that is encrypted and decrypted, beside SHA-256 and a plain copy of it; files a
second that a rotation of the key takes; the peak of memory. Then pulls of 244 small slices and of 2 large files (those
of bench/load.py), without and with encryption in turn, each in a home and process of its own: seconds, CPU seconds of
the process, and the ratio of both. `--json` prints every run.
"""

import argparse
import hashlib
import io
import json
import os
import resource
import secrets
import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import load
from kkbc.core.encryption import Keyring, WrappingKey, decrypt, encrypt, rewrap

WAYS = {"off": "false", "on": "true"}
CASES = ["many", "few"]


def main() -> None:
    """Measures the files, then the pulls, and prints a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--megabytes", type=int, default=500, help="of the file")
    parser.add_argument("--files", type=int, default=2000, help="whose data keys are wrapped by another key")
    parser.add_argument("--repeat", type=int, default=3, help="runs of each; the median is shown")
    parser.add_argument("--share", type=float, default=1.0, help="of the rows of the pulls; 0 leaves these out")
    parser.add_argument("--case", nargs="+", choices=CASES, default=CASES, help="the pulls")
    parser.add_argument("--threads", type=int, default=4, help="visits at once (default 4, as `kkbc run`)")
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="kkbc-bench-", ignore_cleanup_errors=True) as folder:
        found: dict[str, Any] = {"load": os.getloadavg()}
        found |= _files(Path(folder), arguments.megabytes, arguments.repeat)
        found |= _rotation(Path(folder), arguments.files)
        if arguments.share:
            found |= _pulls(Path(folder), arguments)
    if arguments.json:
        print(json.dumps(found))
        return
    for line in _lines(found, arguments):
        print(line)


def _files(folder: Path, megabytes: int, repeat: int) -> dict[str, Any]:
    """Seconds of each run by what is done with the file."""
    keys = Keyring([WrappingKey(secrets.token_bytes(32))])
    plain, sealed, other = (folder / name for name in ("plain", "sealed", "other"))
    with plain.open("wb") as file:
        for _ in range(megabytes):
            file.write(os.urandom(10**6))

    def into(target: Path, work: Callable[[Any, Any], None], source: Path) -> Callable[[], None]:
        def done() -> None:
            with source.open("rb") as reading, target.open("wb") as writing:
                work(reading, writing)

        return done

    def digest() -> None:
        with plain.open("rb") as file:
            hashlib.file_digest(file, "sha256")

    works: dict[str, Callable[[], None]] = {
        "copy": into(other, lambda source, target: shutil.copyfileobj(source, target, 1 << 20), plain),
        "sha256": digest,
        "encrypt": into(sealed, lambda source, target: encrypt(source, target, keys.first), plain),
        "decrypt": into(other, lambda source, target: decrypt(source, target, keys), sealed),
    }
    seconds: dict[str, list[float]] = {name: [] for name in works}
    for run in range(repeat):
        for name, work in works.items():
            _say(f"{name} of {megabytes} MB, run {run + 1} of {repeat}")
            began = time.perf_counter()
            work()
            seconds[name].append(time.perf_counter() - began)
    more = sealed.stat().st_size / plain.stat().st_size - 1
    for path in (plain, sealed, other):
        path.unlink()
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return {"file_seconds": seconds, "more_bytes": more, "peak_rss_mb": peak}


def _rotation(folder: Path, count: int) -> dict[str, Any]:
    """Seconds for the headers of `count` files, until they are on the disk."""
    old, new = (WrappingKey(secrets.token_bytes(32)) for _ in range(2))
    place = folder / "files"
    place.mkdir()
    for number in range(count):
        with (place / str(number)).open("wb") as file:
            encrypt(io.BytesIO(bytes(5000)), file, old)
    _say(f"rotation of {count} files")
    began = time.perf_counter()
    for path in place.iterdir():
        rewrap(path, Keyring([new, old]))
    os.sync()
    return {"rotation_seconds": time.perf_counter() - began}


def _pulls(folder: Path, arguments: argparse.Namespace) -> dict[str, Any]:
    """Each pull by case and way, which take turns so that both see the same load of the machine."""
    rows = load.make(folder, arguments.share)
    os.environ["KKBC_LANDING_KEY"] = secrets.token_hex(32)
    runs: dict[str, dict[str, list[dict[str, float]]]]
    runs = {case: {way: [] for way in WAYS} for case in arguments.case}
    for case, ways in runs.items():
        for run in range(arguments.repeat):
            for way in list(WAYS)[:: 1 if run % 2 == 0 else -1]:
                os.environ["KKBC_LANDING_ENCRYPTION"] = WAYS[way]
                took = load._in_a_home(case, folder, arguments.threads)
                ways[way].append(took)
                what = f"{load.CASES[case][0]}, encryption {way}, run {run + 1} of {arguments.repeat}"
                _say(f"{what}: {took['seconds']:.2f} s, CPU {took['cpu']:.2f} s")
    return {"rows": rows, "pulls": runs}


def _lines(found: dict[str, Any], arguments: argparse.Namespace) -> list[str]:
    lines = [f"medians of {arguments.repeat}, load {found['load'][0]:.1f}", f"{'':<44}{'seconds':>9}{'MB/s':>8}"]
    for name, seconds in found["file_seconds"].items():
        middle = statistics.median(seconds)
        lines.append(f"{name + f' of {arguments.megabytes} MB':<44}{middle:>9.2f}{arguments.megabytes / middle:>8,.0f}")
    lines.append(f"an encrypted file is {found['more_bytes']:.3%} longer; peak of memory {found['peak_rss_mb']:.0f} MB")
    speed = arguments.files / found["rotation_seconds"]
    lines.append(f"rotation: {speed:,.0f} files a second ({arguments.files} files)")
    for case, ways in found.get("pulls", {}).items():
        lines.append(f"{load.CASES[case][0]}, {found['rows']:,} rows")
        for name, title in (("seconds", "seconds"), ("cpu", "CPU seconds")):
            off, on = (statistics.median(run[name] for run in ways[way]) for way in WAYS)
            lines.append(f"  {title:<42}{off:>9.2f} without, {on:.2f} with: {on / off:.2f} times")
    return lines


def _say(line: str) -> None:
    print(line, file=sys.stderr)


if __name__ == "__main__":
    main()
