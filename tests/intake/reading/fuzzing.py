"""Damaged files without end: mutations of good ones, each read and judged in a process that is watched.

    python -m tests.intake.reading.fuzzing --minutes 10
    python -m tests.intake.reading.fuzzing --seed 4711 --count 1 --keep DIR     one mutation again, its bytes kept in
    DIR

Good files of every format and feed are flipped, cut, repeated and spliced, as bytes, inside their gzip, as the members
of a workbook's zip and as the XML in these. Whatever comes of it must be rows or a SliceRejected, within bounds of time
and memory. A mutation follows from its seed alone. Exit status 1 when one of them failed.
"""

import argparse
import gzip
import io
import multiprocessing
import os
import random
import re
import resource
import sys
import tempfile
import time
import traceback
import warnings
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime
from functools import cache
from itertools import count
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from pathlib import Path
from zoneinfo import ZoneInfo

import xlsxwriter

from tests.deliveries import TEMPLATE, as_csv

from .mutations_of_workbooks import damaged, good_workbooks

SECONDS = 60
"""For one file of a few kilobytes, on a machine that is busy."""
MEGABYTES = 600
DAY = date(2023, 12, 11)
ROWS = 12


@dataclass(frozen=True)
class Sample:
    """One file as it is delivered."""

    feed: str
    name: str
    content: bytes


@dataclass(frozen=True)
class Finding:
    """What became of a mutation: `outcome` is rows, the reason of a rejection, or what must not be."""

    seed: int
    outcome: str
    detail: str
    seconds: float
    megabytes: int

    @property
    def failed(self) -> bool:
        """Whether this must not happen."""
        return self.outcome in ("exception", "crash", "hang", "memory", "unstorable")


# --- good files ----------------------------------------------------------------------------------------------------


@cache
def corpus() -> tuple[Sample, ...]:
    """Good files: every feed in every format, in several fashions."""
    samples = []
    for feed in TEMPLATE:
        key = next(iter(TEMPLATE[feed]))
        rows = [TEMPLATE[feed] | {key: f"N-{number}"} for number in range(ROWS)]
        plain = as_csv(feed, rows)
        text = plain.decode()
        semicolons = "Laporan harian\r\n\r\n" + text.replace(",", ";").replace("\n", "\r\n")
        quoted = "\n".join(",".join(f'"{cell}"' for cell in line.split(",")) for line in text.splitlines())
        lines = "".join(_json_line(row) for row in rows).encode()
        samples += [
            Sample(feed, f"{feed}.csv", plain),
            Sample(feed, f"{feed}.csv", b"\xef\xbb\xbf" + semicolons.encode()),
            Sample(feed, f"{feed}.csv", quoted.replace("Contoh", "Conto\u00e9, b").encode("cp1252")),
            Sample(feed, f"{feed}.csv.gz", gzip.compress(plain, mtime=0)),
            Sample(feed, f"{feed}.jsonl", lines),
            Sample(feed, f"{feed}.jsonl.gz", gzip.compress(lines, mtime=0)),
            Sample(feed, f"{feed}.xlsx", _workbook(feed, rows, in_memory=False)),
            Sample(feed, f"{feed}.xlsx", _workbook(feed, rows, in_memory=True)),
        ]
    samples += [Sample("target", "target.xlsx", book) for book in good_workbooks()]
    return tuple(samples)


def _json_line(row: dict[str, str]) -> str:
    def value(text: str) -> str:
        return text if re.fullmatch(r"[1-9][0-9]{0,8}", text) else f'"{text}"'

    return "{" + ", ".join(f'"{key}": {value(text)}' for key, text in row.items()) + "}\n"


def _workbook(feed: str, rows: list[dict[str, str]], *, in_memory: bool) -> bytes:
    """With shared strings, numbers, dates, titles and a hidden sheet, or (`in_memory`) with strings in the cells."""
    stream = io.BytesIO()
    with xlsxwriter.Workbook(stream, {"constant_memory": in_memory}) as book:
        hidden = book.add_worksheet("Lama")
        sheet = book.add_worksheet(feed)
        sheet.activate()
        sheet.set_first_sheet()
        hidden.hide()
        moment = book.add_format({"num_format": "yyyy-mm-dd hh:mm"})
        sheet.write(0, 0, "Laporan harian")
        for column, wire in enumerate(rows[0]):
            sheet.write(2, column, wire)
        for line, row in enumerate(rows, start=3):
            for column, text in enumerate(row.values()):
                if re.fullmatch(r"\d{4}-\d\d-\d\d \d\d:\d\d", text):
                    sheet.write_datetime(line, column, datetime.fromisoformat(text), moment)
                elif re.fullmatch(r"[1-9]\d{0,8}", text):
                    sheet.write_number(line, column, int(text))
                else:
                    sheet.write_string(line, column, text)
    return stream.getvalue()


# --- mutations -----------------------------------------------------------------------------------------------------

_SYNTAX = (
    *(b"\0", b"\x1a", b'"', b"'", b";", b",", b"\t", b"\r", b"\n", b"\xff", b"\xef\xbb\xbf", b"\xe2\x80\x8b"),
    b"\xed\xa0\x80",
    *(b"1e9999999999999999999", b"-0", b"9" * 5000, b"NaN", b"2,02312E+17", b"0001-01-01", b"9999-12-31", b"#REF!"),
    *(b"[" * 900, b"{" * 3000, b'{"a":' * 500, b"\\u0000", b"\\ud800", b"_x0000_", b"<", b">", b"&", b"&#0;"),
    *(b"]]>", b"<!--", b"18446744073709551616"),
    *(b"=1+1", b"\x1f\x8b", b"PK\x03\x04", b"A" * 70_000, b";" * 3000, b"\n" * 3000, b"2147483648"),
)  # fmt: skip


def mutate(content: bytes, rng: random.Random, other: bytes) -> bytes:
    """One to eight changes of bytes: flips, telling bytes put in, parts cut out, repeated, moved, or of `other`."""
    changed = bytearray(content)
    for _ in range(rng.choice((1, 1, 1, 2, 3, 8))):
        size = len(changed)
        at = rng.randrange(size + 1)
        end = min(size, at + rng.choice((1, 2, 8, 64, 512, size)))
        match rng.randrange(8):
            case 0 if size:
                changed[at % size] ^= 1 << rng.randrange(8)
            case 1 if size:
                changed[at % size] = rng.randrange(256)
            case 2:
                del changed[at:end]
            case 3:
                changed[at:at] = bytes(changed[at:end])[:4096] * rng.choice((1, 2, 50, 400))
            case 4:
                begin = rng.randrange(len(other) + 1)
                changed[at:end] = other[begin : begin + rng.choice((1, 16, 256, 4096))]
            case 5:
                changed[at:at] = rng.choice(_SYNTAX)
            case 6:
                changed[at:end] = rng.choice(_SYNTAX)
            case 7:
                del changed[at:]
    return bytes(changed[: 8 << 20])


def _mutate_gzip(content: bytes, rng: random.Random, other: bytes) -> bytes:
    return gzip.compress(mutate(gzip.decompress(content), rng, other), rng.choice((1, 9)), mtime=0)


def mutation(seed: int) -> Sample:
    """The mutation of that number."""
    rng = random.Random(seed)
    sample, other = rng.choice(corpus()), rng.choice(corpus())
    if sample.name.endswith(".gz") and rng.random() < 0.8:
        content = _mutate_gzip(sample.content, rng, other.content)
    elif sample.name.endswith(".xlsx") and rng.random() < 0.9:
        _, content = damaged(rng, sample.content)
    else:
        content = mutate(sample.content, rng, other.content)
    name = rng.choice(corpus()).name if rng.random() < 0.03 else sample.name
    return Sample(sample.feed, name, content)


# --- reading and judging under watch ---------------------------------------------------------------------------------


def examine(sample: Sample, folder: Path) -> tuple[str, str]:
    """Reads and judges a file as a pull does; returns the outcome and what is to be said of it."""
    from kkbc.core.errors import SliceRejected
    from kkbc.core.tokens import Key
    from kkbc.exchange.contracts import load_contract
    from kkbc.exchange.registry import load_registry
    from kkbc.exchange.slices import Slice
    from kkbc.intake.process import judge_rows
    from kkbc.intake.reading import read
    from kkbc.intake.validation import Context

    contract = load_contract(sample.feed)
    context = Context(
        Slice(sample.feed, "KC001", DAY, 1),
        ZoneInfo("Asia/Jakarta"),
        datetime(2023, 12, 11, 13, tzinfo=UTC),
        frozenset(branch.branch_id for branch in load_registry().offices),
    )
    sent = folder / "sent"
    sent.write_bytes(sample.content)
    try:
        reading = read(sent, sample.name, contract, expected_rows=ROWS)
        parts = judge_rows(reading.batches, contract, context, Key(1, b"k" * 32), folder)
        parts.finish()
    except SliceRejected as rejected:
        return rejected.reason, ""
    except (KeyboardInterrupt, SystemExit):
        raise
    except BaseException as error:
        places = traceback.extract_tb(error.__traceback__)
        return "exception", f"{type(error).__name__} at {Path(places[-1].filename).name}:{places[-1].lineno}"
    for number in range(len(parts)):
        accepted = parts.read(number).accepted.drop("_raw")
        for name, kind in accepted.schema.items():
            if str(kind) == "String" and accepted[name].str.contains("\0", literal=True).any():
                return "unstorable", f"NUL in column {name}"
    return "rows", f"{parts.counts.accepted} accepted, {parts.counts.quarantined} quarantined"


def _work(connection: Connection, home: str) -> None:
    """Examines the seeds that come, one after the other, and answers what came of each."""
    os.environ["KKBC_HOME"] = home
    warnings.simplefilter("ignore", UserWarning)  # of members that come twice in a zip, as they shall
    with tempfile.TemporaryDirectory(dir=home) as folder:  # which the one who started us removes in any case
        while True:
            seed = connection.recv()
            _forget_peak()
            began = time.monotonic()
            outcome, detail = examine(mutation(seed), Path(folder))
            connection.send((outcome, detail, time.monotonic() - began, _peak()))


def _forget_peak() -> None:
    Path("/proc/self/clear_refs").write_text("5")


def _peak() -> int:
    """Megabytes that this process used at most since `_forget_peak`, together with its largest child so far."""
    own = re.search(r"VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text())
    children = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
    return (int(own[1] if own else 0) + children) // 1024


def fuzz(seeds: Iterable[int]) -> Iterator[Finding]:
    """What comes of each seed. A process that dies or hangs is replaced by a new one."""
    context = multiprocessing.get_context("spawn")
    with tempfile.TemporaryDirectory() as home:
        ours, worker = None, None
        for seed in seeds:
            if ours is None or worker is None:
                ours, theirs = context.Pipe()
                worker = context.Process(target=_work, args=(theirs, home), daemon=False)
                worker.start()
                theirs.close()
            finding = _watch(ours, worker, seed)
            if finding.outcome in ("hang", "crash", "memory"):
                _end(ours, worker)
                ours = worker = None
            try:
                yield finding
            except GeneratorExit:
                break
        if ours is not None and worker is not None:
            _end(ours, worker)


def _end(connection: Connection, worker: BaseProcess) -> None:
    worker.kill()
    worker.join()
    connection.close()


def _watch(connection: Connection, worker: BaseProcess, seed: int) -> Finding:
    """Has the worker examine a seed, for as long as that may take."""
    began = time.monotonic()
    try:
        connection.send(seed)
        if not connection.poll(SECONDS):
            return Finding(seed, "hang", f"no answer in {SECONDS} s", time.monotonic() - began, 0)
        outcome, detail, seconds, megabytes = connection.recv()
    except (EOFError, ConnectionError):
        worker.join()
        return Finding(seed, "crash", f"exit {worker.exitcode}", time.monotonic() - began, 0)
    if megabytes > MEGABYTES:
        outcome, detail = "memory", f"{megabytes} MB ({outcome})"
    return Finding(seed, outcome, detail, seconds, megabytes)


def main() -> int:
    """The command line; see the head of this file."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=10)
    parser.add_argument("--seed", type=int, default=None, help="the first seed; without it one that nobody has seen")
    parser.add_argument("--count", type=int, default=None, help="so many, however long they take")
    parser.add_argument("--keep", type=Path, help="folder for the bytes of what failed, or of all with --count")
    options = parser.parse_args()
    first = options.seed if options.seed is not None else random.SystemRandom().randrange(1 << 48)
    print(f"seeds from {first} on")
    until = time.monotonic() + options.minutes * 60
    seeds = range(first, first + options.count) if options.count else count(first)
    outcomes: Counter[str] = Counter()
    failed, slowest, largest = 0, 0.0, 0
    for finding in fuzz(seeds):
        outcomes[finding.outcome] += 1
        slowest, largest = max(slowest, finding.seconds), max(largest, finding.megabytes)
        if finding.failed:
            failed += 1
            print(f"seed {finding.seed}: {finding.outcome}, {finding.detail}")
        if options.keep and (finding.failed or options.count):
            sample = mutation(finding.seed)
            options.keep.mkdir(parents=True, exist_ok=True)
            (options.keep / f"{finding.seed}-{sample.name}").write_bytes(sample.content)
        if sys.stdout.isatty():
            print(f"\r{outcomes.total()} mutations, {failed} failed ", end="", flush=True)
        if not options.count and time.monotonic() > until:
            break
    listed = ", ".join(f"{outcome} {number}" for outcome, number in outcomes.most_common())
    print(f"\n{outcomes.total()} mutations: {listed}")
    print(f"slowest {slowest:.1f} s, largest {largest} MB, {failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
