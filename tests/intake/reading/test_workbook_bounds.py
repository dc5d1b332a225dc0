"""Whatever a workbook holds, reading ends with rows or a rejection, within bounds, and leaves no process behind."""

import gc
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from itertools import islice
from pathlib import Path
from typing import Any

import psutil
import pytest

from kkbc.core.errors import SliceRejected
from kkbc.exchange.contracts import load_contract
from kkbc.intake.reading import read, workbook

from . import hostile_workbooks as hostile
from .conftest import Reader, Result, rejected
from .mutations_of_workbooks import good_workbooks, mutations
from .packages import ROW, book, inline, row

# The others, which take longer or more bytes, are for `make fuzz`.
QUICK = [
    hostile.strings_times_uses,
    hostile.medium_strings_times_uses,
    hostile.strings_in_other_sheets,
    hostile.declared_too_small,
    hostile.declared_too_long,
    hostile.overlapping_members,
    hostile.billion_laughs,
    hostile.quadratic_blowup,
    hostile.external_entity,
    hostile.external_document_type,
    hostile.deep_nesting,
    hostile.long_attribute,
    hostile.merged_cells,
    hostile.nested_archives,
]


@pytest.fixture
def read_book(read_bytes: Reader) -> Reader:
    def reader(content: bytes, **options: Any) -> Result:
        return read_bytes(content, **{"name": "target.xlsx", **options})

    return reader


def children() -> list[psutil.Process]:
    return [child for child in psutil.Process().children() if "kkbc.intake.spreadsheets" in " ".join(child.cmdline())]


@pytest.mark.parametrize("make", QUICK, ids=lambda make: make.__name__)
def test_hostile_workbook(read_book: Reader, make: Callable[[], bytes]) -> None:
    assert rejected(read_book, make()) == hostile.HOSTILE[make]
    assert not children()


def test_seeded_mutations_give_rows_or_a_rejection(read_book: Reader) -> None:
    assert all(rejected(read_book, content) is None for content in good_workbooks())
    for name, content in islice(mutations(20231211), 150):
        assert rejected(read_book, content) in {None, "UNREADABLE", "HEADER"}, name


def test_nothing_of_the_branch_is_reported(read_book: Reader) -> None:
    secret = "Budi Rahasia"
    contents = [
        book(row(f'<c t="s"><v>{secret}</v></c>')),
        book(row(f'<c r="{secret}"><v>1</v></c>')),
        book(row(), before=f"<{secret}"),
        book(row(), before=f'<a b="{secret * 100_000}"/>'),
    ]
    for content in contents:
        with pytest.raises(SliceRejected) as rejection:
            read_book(content)
        assert "Budi" not in str(rejection.value)
        assert rejection.value.reason == "UNREADABLE"


@pytest.mark.parametrize(
    ("death", "cause"),
    [
        ("import os; os.abort()", "it ran out of memory"),
        ("import os, signal; os.kill(os.getpid(), signal.SIGKILL)", "it was killed"),
        ("import resource; resource.setrlimit(resource.RLIMIT_CPU, (0, 1))\nwhile True: pass", "it took too long"),
        ("raise SystemExit(3)", "status 3"),
        ("print('{')", ""),
        ("print('[[1]]')", ""),
    ],
)
def test_death_of_the_process_is_the_slices_rejection(
    read_book: Reader, monkeypatch: pytest.MonkeyPatch, death: str, cause: str
) -> None:
    monkeypatch.setattr(workbook, "_PROGRAM", death)
    with pytest.raises(SliceRejected, match=f"UNREADABLE: the process that reads the workbook ended: {cause}"):
        read_book(book(row()))
    assert not children()


def test_process_that_cannot_start_is_the_slices_rejection(read_book: Reader, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(workbook.sys, "executable", "/nowhere/python")
    with pytest.raises(SliceRejected, match="UNREADABLE: no process"):
        read_book(book(row()))


def test_reading_that_is_given_up_leaves_no_process(tmp_path: Path) -> None:
    path = tmp_path / "target.xlsx"
    path.write_bytes(book(*[row()] * 20_000))
    contract = load_contract("target")
    reading = read(path, path.name, contract, expected_rows=20_000, batch_rows=10)
    assert len(children()) == 1
    assert next(reading.batches).height == 10
    del reading
    gc.collect()
    assert not children()
    reading = read(path, path.name, contract, expected_rows=20_000)
    del reading
    gc.collect()
    assert not children()


def test_process_ends_with_its_parent(tmp_path: Path) -> None:
    path = tmp_path / "target.xlsx"
    path.write_bytes(book(*[row()] * 20_000))
    program = (
        "import sys, time; from pathlib import Path\n"
        "from kkbc.exchange.contracts import load_contract; from kkbc.intake.reading import read\n"
        "reading = read(Path(sys.argv[1]), 'target.xlsx', load_contract('target'), expected_rows=1)\n"
        "print('ready', flush=True); time.sleep(600)"
    )
    parent = subprocess.Popen([sys.executable, "-c", program, str(path)], stdout=subprocess.PIPE)
    assert parent.stdout
    assert parent.stdout.readline() == b"ready\n"
    [child] = psutil.Process(parent.pid).children()
    os.kill(parent.pid, signal.SIGKILL)
    parent.communicate()
    _, alive = psutil.wait_procs([child], timeout=30)
    assert not alive


def test_a_long_table_arrives_whole_and_in_order(read_book: Reader) -> None:
    text = "x" * 3_000
    result = read_book(book(*[row(inline(f"{number}{text}")) for number in range(3_000)]), batch_rows=700)
    assert result.column("branch_id") == [f"{number}{text}" for number in range(3_000)]
    assert result.lines == list(range(2, 3_002))
    assert result.cells[0][1:] == ROW[1:]
