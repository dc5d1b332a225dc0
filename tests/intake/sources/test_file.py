"""Kind file where it differs from the other trees: whose folder it is, links, pipes, permissions, mounts that fail."""

import errno
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import date
from pathlib import Path

import pytest

from kkbc.core.errors import BranchRefused, BranchTimeout, BranchUnavailable, SliceRejected
from kkbc.exchange.registry import Branch
from kkbc.exchange.slices import Delivery, Entry
from kkbc.intake.sources import Source, Wanted, open_source
from tests.deliveries import deliver

from .conftest import Way

DAY = date(2023, 12, 11)
EVER = Wanted(date(2020, 1, 1), date(2024, 2, 12))
KC001 = Branch(branch_id="KC001")
NOBODY = 65534


def found(branch: Branch, root: Path | None) -> list[date]:
    with closing(open_source(branch, root)) as source:
        return [manifest.business_date for manifest in source.manifests(EVER)]


def fetch(source: Source, name: str, target: Path, size: int = 1) -> bytes:
    entry = Entry("iuran", 1, name, size, "ab" * 32)
    source.fetch(Delivery("KC001", DAY, 1, None, (entry,), "manifest.json", ""), entry, target)
    return target.read_bytes()


def test_the_folder_of_the_connection_comes_before_that_of_the_run(branches: Path, tmp_path: Path, home: Path) -> None:
    own = tmp_path / "own"
    deliver(branches, {"iuran": [{}]})
    deliver(own, {"iuran": [{}]}, day=date(2023, 12, 12))
    way = Way("file", own, {"extra": {"root": str(own)}})
    way.connect(home)
    assert found(way.branch, branches) == found(way.branch, None) == [date(2023, 12, 12)]
    assert found(KC001, branches) == [DAY]
    Way("file", own, {"host": "x"}).connect(home)
    assert found(way.branch, branches) == [DAY]
    with pytest.raises(BranchRefused, match="KC001 is of kind file and no source root is set"):
        found(KC001, None)
    with pytest.raises(BranchRefused, match=r"source root .*/nowhere of branch KC001 is no folder"):
        found(KC001, tmp_path / "nowhere")


def test_a_connection_that_is_not_there_is_named(home: Path) -> None:
    for kind in ("s3", "sftp", "http", "postgres", "file"):
        branch = Branch.model_validate({"branch_id": "KC001", "kind": kind, "connection": "nowhere"})
        with pytest.raises(BranchRefused, match="Airflow connection 'nowhere' cannot be read"):
            open_source(branch, None)


def test_links_within_the_branchs_folder_are_followed_and_no_others(branches: Path, tmp_path: Path) -> None:
    folder = deliver(branches, {"iuran": [{}]})
    (tmp_path / "secret").write_bytes(b"of somebody else")
    (folder / "out.csv").symlink_to(tmp_path / "secret")
    (folder / "in.csv").symlink_to(folder / "iuran.csv")
    (folder / "loop.csv").symlink_to(folder / "loop.csv")
    with closing(open_source(KC001, branches)) as source:
        content = (folder / "iuran.csv").read_bytes()
        assert fetch(source, "in.csv", tmp_path / "target", len(content)) == content
        for name in ("out.csv", "loop.csv"):
            with pytest.raises(SliceRejected, match="FILE_MISSING"):
                fetch(source, name, tmp_path / "target")
    # The branch's folder itself may lie elsewhere.
    shutil.move(branches / "KC001", tmp_path / "KC001")
    (branches / "KC001").symlink_to(tmp_path / "KC001")
    with closing(open_source(KC001, branches)) as source:
        assert fetch(source, "iuran.csv", tmp_path / "target", 1) == b"id"


def test_a_pipe_or_a_device_is_no_file_and_holds_nobody_up(branches: Path, tmp_path: Path) -> None:
    folder = deliver(branches, {"iuran": [{}]})
    os.mkfifo(folder / "pipe.csv")
    os.mkfifo(folder / "manifest.r2.json")
    with closing(open_source(KC001, branches)) as source:
        assert [manifest.name for manifest in source.manifests(EVER)] == ["manifest.json"]
        with pytest.raises(SliceRejected, match="FILE_MISSING"):
            fetch(source, "pipe.csv", tmp_path / "target")


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """A folder that other users of this machine can enter."""
    with tempfile.TemporaryDirectory() as name:
        Path(name).chmod(0o755)
        yield Path(name)


def as_nobody(work: Callable[[], str]) -> str:
    """What `work` gives in a process without privileges."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            if os.geteuid() == 0:
                os.setgroups([])
                os.setgid(NOBODY)
                os.setuid(NOBODY)
            answer = work()
        except BaseException as error:
            answer = f"{type(error).__name__}: {error}"
        os.write(writing, answer.encode())
        os._exit(0)
    os.close(writing)
    with os.fdopen(reading, "rb") as pipe:
        answer = pipe.read().decode()
    os.waitpid(child, 0)
    return answer


def test_what_may_not_be_read_is_reported_and_does_not_hold_up_the_rest(open_folder: Path, tmp_path: Path) -> None:
    for day in (10, 11, 12):
        folder = deliver(open_folder, {"iuran": [{}]}, day=date(2023, 12, day))
    (open_folder / "KC001" / "2023-12-10").chmod(0)
    (folder / "iuran.csv").chmod(0)
    (folder / "manifest.json").chmod(0)
    seen: list[str] = []

    def look() -> str:
        with closing(open_source(KC001, open_folder)) as source:
            try:
                for manifest in source.manifests(EVER):
                    seen.append(str(manifest.business_date))
                    if manifest.business_date.day == 12:
                        manifest.read()
            except BranchRefused as error:
                seen.append(error.problem)
        return " | ".join(seen)

    unreadable = "2023-12-11 | 2023-12-12 | branch KC001 does not let 2023-12-12/manifest.json be read"
    assert as_nobody(look) == unreadable
    (folder / "manifest.json").chmod(0o644)
    assert as_nobody(look) == "2023-12-11 | 2023-12-12 | branch KC001 does not let its folder of 2023-12-10 be read"

    def take() -> str:
        entry = Entry("iuran", 1, "iuran.csv", 1, "ab" * 32)
        delivery = Delivery("KC001", date(2023, 12, 12), 1, None, (entry,), "manifest.json", "")
        open_source(KC001, open_folder).fetch(delivery, entry, Path("/dev/null"))
        return "taken"

    assert as_nobody(take) == "SliceRejected: UNREADABLE: the file is there and may not be read"
    for folder in (open_folder / "KC001", open_folder):
        folder.chmod(0o700)
        assert as_nobody(look).startswith("the folder of branch KC001 in ")
        folder.chmod(0o755)
    (open_folder / "KC001" / "2023-12-10").chmod(0o755)


@pytest.mark.parametrize(
    ("number", "kind"),
    [(errno.EIO, BranchUnavailable), (errno.ESTALE, BranchUnavailable), (errno.ETIMEDOUT, BranchTimeout)],
)
def test_a_mount_that_fails_may_come_back(
    branches: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int, kind: type[Exception]
) -> None:
    deliver(branches, {"iuran": [{}]})

    def fail(*_: object) -> bytes:
        raise OSError(number, os.strerror(number))

    with closing(open_source(KC001, branches)) as source:
        (manifest,) = source.manifests(EVER)
        monkeypatch.setattr("os.read", fail)
        with pytest.raises(kind, match="of branch KC001 in"):
            manifest.read()
        with pytest.raises(kind):
            fetch(source, "iuran.csv", tmp_path / "target")
        monkeypatch.setattr("os.scandir", fail)
        with pytest.raises(kind):
            list(source.manifests(EVER))


def test_a_full_disk_of_ours_is_no_fault_of_the_branch(branches: Path) -> None:
    deliver(branches, {"iuran": [{}]})
    with closing(open_source(KC001, branches)) as source, pytest.raises(OSError) as caught:
        fetch(source, "iuran.csv", Path("/dev/full"))
    assert caught.value.errno == errno.ENOSPC
