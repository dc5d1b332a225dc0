"""What a person may do wrong in naming persons: one line says what, and names nobody."""

import io
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from kkbc.cli.application import main
from kkbc.warehouse import connect
from tests.rights.conftest import Kkbc
from tests.slices.quarantine.scene import Office

NIK, OTHER, NOBODY = "1171011203909001", "1171011203909002", "1171011203909003"
Call = Callable[..., tuple[int, str]]
COMMANDS = [
    ("erase", "--why", "x", "--file"),
    ("erase", "--why", "x", "--verify", "--file"),
    ("erase", "--why", "x", "--for-approval", "--file"),
    ("subject-report", "--why", "x", "--file"),
    ("restrict", "--why", "x", "--file"),
    ("restrict", "--why", "x", "--release", "--file"),
    ("access", "list", "--subject-from"),
]


@pytest.fixture
def call(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Call:
    """The exit status of a command, and all that it prints; without an argument for its standard input it is closed."""

    def run(*arguments: str, stdin: bytes | None = None) -> tuple[int, str]:
        monkeypatch.setattr("sys.argv", ["kkbc", *arguments])
        monkeypatch.setattr("sys.stdin", None if stdin is None else io.TextIOWrapper(io.BytesIO(stdin), "ascii"))
        monkeypatch.setenv("COLUMNS", "400")
        with pytest.raises(SystemExit) as end:
            main()
        captured = capsys.readouterr()
        return int(end.value.code or 0), captured.out + captured.err

    return run


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"117101120390900\n", "line 1 of {} does not begin with a NIK: write its 16 digits"),
        (b"11710112039090011\n", "line 1 of {} does not begin with a NIK"),
        (b"\n117101120390900X\n", "line 2 of {} does not begin with a NIK"),
        ("١١٧١٠١١٢٠٣٩٠٩٠٠١".encode(), "line 1 of {} does not begin with a NIK"),
        (NIK.encode() + b"," + OTHER.encode(), "line 1 of {} does not begin with a NIK"),
        (b"Budi\xe9 Santoso\n", "line 1 of {} is no UTF-8: save it as UTF-8"),
        (NIK.encode("utf-16"), "line 1 of {} is no UTF-8"),
        (NIK.encode("utf-16-le"), "line 1 of {} holds a NUL"),
        (b"", "{} names nobody: write a NIK a line"),
        (b"\xef\xbb\xbf\r\n# nobody\r\n \r\n", "{} names nobody"),
    ],
)
def test_a_file_that_names_nobody_or_something_else(
    warehouse: str, home: Path, tmp_path: Path, call: Call, command: tuple[str, ...], content: bytes, message: str
) -> None:
    file = tmp_path / "nik.txt"
    file.touch(mode=0o600)
    file.write_bytes(content)
    for given, place, stdin in ((str(file), str(file), None), ("-", "standard input", content)):
        status, printed = call(*command, given, stdin=stdin)
        assert status == 2
        assert message.format(place) in printed
        assert len(printed.splitlines()) == 1
        assert "1171011203" not in printed
        assert "Budi" not in printed
    with connect("auditor") as conn:
        assert conn.execute("select from ops.access").fetchall() == []


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_a_file_that_is_none_or_that_others_may_read(
    warehouse: str, home: Path, tmp_path: Path, call: Call, command: tuple[str, ...]
) -> None:
    file = tmp_path / "the request.txt"
    assert call(*command, str(file)) == (
        2,
        f"kkbc: file {file} does not exist: give NIKs, one a line, on standard input or with --file FILE\n",
    )
    file.write_text(NIK)
    file.chmod(0o644)
    assert call(*command, str(file)) == (2, f"kkbc: file {file} can be read by others: chmod 600 '{file}'\n")
    status, printed = call(*command, str(tmp_path))
    assert (status, f"file {tmp_path} cannot be read: Is a directory" in printed) == (2, True)


@pytest.mark.parametrize("command", [c[:-1] for c in COMMANDS[:-1]], ids=" ".join)
def test_a_nik_is_no_argument_and_nobody_is_named_where_nothing_is_given(
    warehouse: str, home: Path, call: Call, command: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    status, printed = call(*command, NIK)
    assert (status, "never as an argument" in printed, NIK in printed) == (2, True, False)
    assert call(*command)[0] == 2
    leader, follower = os.openpty()
    with os.fdopen(follower) as terminal:
        monkeypatch.setattr("sys.stdin", terminal)
        # What is typed into it would not be asked for.
        monkeypatch.setattr("sys.argv", ["kkbc", *command])
        with pytest.raises(SystemExit) as end:
            main()
    os.close(leader)
    assert end.value.code == 2


@pytest.mark.parametrize(
    "content",
    [f"\ufeff{NIK}\r\n{OTHER}\r\n{NIK}\r\n", f" 1171-0112-0390-9001 \r\r{OTHER}\r", f"# zwölf\n{NIK}\n\n{OTHER}"],
)
def test_any_editor_s_file_is_read_and_a_person_named_twice_counts_once(
    office: Office, kkbc: Kkbc, content: str
) -> None:
    done = kkbc("restrict", "--why", "x", stdin=content)
    assert done.stdout == "2 of 2 persons restricted\n"
    assert "2 of 2" not in kkbc("restrict", "--why", "x", stdin=content).stdout


def test_what_stands_behind_a_nik_is_for_an_erasure_alone(office: Office, kkbc: Kkbc) -> None:
    for command in ("restrict", "subject-report"):
        done = kkbc(command, "--why", "x", stdin=f"{NIK};Budi Santoso")
        assert "line 1 of standard input has more than a NIK: leave the rest out" in str(done.exception)


def test_a_restriction_tells_of_whom_nothing_is_loaded(office: Office, kkbc: Kkbc) -> None:
    office.sends({"nik": NIK})
    done = kkbc("restrict", "--why", "x", stdin=f"{NIK}\n\n{NOBODY}\n")
    assert "no row is loaded of the persons of lines 3: " in done.output


@pytest.mark.parametrize("argument", [f"--why=of {NIK}", f"--request={NIK}", NIK])
def test_no_argument_of_any_command_may_have_a_nik_in_it(call: Call, argument: str) -> None:
    status, printed = call("erase", argument)
    assert (status, len(printed.splitlines()), NIK in printed) == (2, 1, False)


def test_a_hash_of_the_record_may_have_digits_only(warehouse: str, home: Path, call: Call) -> None:
    status, printed = call("access", "verify", "--head", "1" * 16)
    assert (status, "no entry has the hash 1111111111111111" in printed) == (1, True)
