"""Kind sftp where it fails: OpenSSH's sshd and asyncssh's server, and a line that breaks, hangs or is far away."""

import os
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import closing
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import asyncssh
import pytest

from kkbc.core.errors import BranchRefused, BranchTimeout, BranchUnavailable, SliceRejected
from kkbc.exchange.slices import Delivery, Entry
from kkbc.intake.sources import Wanted
from kkbc.intake.sources.sftp import SftpTree
from kkbc.intake.sources.tree import TreeSource
from tests.deliveries import deliver
from tests.servers import PASSWORD, Line, SshServer, free_port, line_to

from .conftest import Way, way_of_sftp

DAY = date(2023, 12, 11)
EVER = Wanted(date(2020, 1, 1), date(2024, 2, 12))
BIG = 3_000_000


@pytest.fixture
def line(ssh: SshServer) -> Iterator[Line]:
    with line_to(ssh.port) as made:
        yield made


@pytest.fixture
def way(ssh: SshServer, branches: Path, line: Line) -> Way:
    """One delivery with a file of three megabytes, by a line."""
    folder = deliver(branches, {"iuran": [{}]})
    (folder / "besar.csv").write_bytes(os.urandom(BIG))
    return way_of_sftp(ssh, branches, line.port)


def opened(way: Way, seconds: float = 20.0, **extra: Any) -> TreeSource:
    way.fields["extra"] |= extra
    return TreeSource(way.branch, SftpTree(way.branch, way.connection, seconds, seconds))


def found(way: Way, seconds: float = 20.0, **extra: Any) -> list[str]:
    with closing(opened(way, seconds, **extra)) as source:
        return [manifest.name for manifest in source.manifests(EVER)]


def fetch_big(source: TreeSource, target: Path) -> None:
    entry = Entry("iuran", 1, "besar.csv", BIG, "ab" * 32)
    source.fetch(Delivery("KC001", DAY, 1, None, (entry,), "manifest.json", ""), entry, target)


def public(key: asyncssh.SSHKey) -> str:
    return key.export_public_key().decode().strip()


def refusal(way: Way, **extra: Any) -> BranchRefused:
    """How a visit is refused; no secret in its text."""
    with pytest.raises(BranchRefused) as caught:
        found(way, **extra)
    text = str(caught.value)
    secrets = [way.fields.get("password"), *str(way.fields["extra"].get("private_key")).splitlines()]
    assert not [secret for secret in secrets if secret and secret in text]
    assert caught.value.remedy
    return caught.value


def test_the_servers_key_must_be_the_one_of_the_connection(way: Way, line: Line, ssh: SshServer) -> None:
    assert found(way) == ["manifest.json"]
    for kind in ("ssh-ed25519", "ecdsa-sha2-nistp256", "ssh-rsa"):
        other = public(asyncssh.generate_private_key(kind))
        error = refusal(way, host_key=other)
        assert f"127.0.0.1:{line.port} of branch KC001 shows the host key ssh-ed25519 SHA256:" in error.problem
        assert asyncssh.import_public_key(ssh.host_key).get_fingerprint() in error.problem
        assert "extra.host_key" in error.remedy


def test_one_of_several_known_keys_will_do_in_the_form_of_known_hosts(way: Way, ssh: SshServer) -> None:
    other = public(asyncssh.generate_private_key("ecdsa-sha2-nistp256"))
    assert found(way, host_key=f"[cabang.example]:2222 {other} old\n\ncabang.example {ssh.host_key} new\n")


def test_without_a_host_key_there_is_no_connection(way: Way, line: Line) -> None:
    for nothing in ("", None):
        assert "has no extra.host_key" in refusal(way, host_key=nothing).problem
    for rubbish in ("SHA256:abc", "ssh-ed25519 rubbish", "ssh-ed25519 AAAA", "ssh-dss AAAAB3NzaC1kc3M=", "*"):
        assert refusal(way, host_key=rubbish).problem == "extra.host_key is no host key"
    assert line.connections == 0


def test_keys_of_the_user_who_runs_this_are_not_looked_at(
    way: Way, ssh: SshServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither known_hosts nor an identity of theirs lets us in."""
    folder = tmp_path / ".ssh"
    folder.mkdir()
    (folder / "known_hosts").write_text(f"[127.0.0.1]:{way.fields['port']} {ssh.host_key}\n")
    (folder / "id_ed25519").write_text(ssh.private_key)
    (folder / "id_ed25519").chmod(0o600)
    monkeypatch.setenv("HOME", str(tmp_path))
    assert "host key" in refusal(way, host_key=public(asyncssh.generate_private_key("ssh-ed25519"))).problem
    way.fields["password"] = "wrong password"
    assert "refuses the login" in refusal(way, host_key=ssh.host_key, private_key="").problem


def test_a_login_that_is_refused_is_reported_at_once(way: Way, ssh: SshServer) -> None:
    began = time.monotonic()
    other_key = asyncssh.generate_private_key("ssh-ed25519").export_private_key().decode()
    assert "refuses the login" in refusal(way, private_key=other_key).problem
    way.fields["password"] = "wrong password"
    assert "refuses the login" in refusal(way, private_key="").problem
    del way.fields["password"]
    assert "neither password nor private key" in refusal(way).problem
    assert time.monotonic() - began < 15


@pytest.mark.filterwarnings("ignore:.*bcrypt")  # a lock that is no lock is quick to open
def test_a_password_or_a_private_key_in_any_form_lets_us_in(way: Way, ssh: SshServer, tmp_path: Path) -> None:
    key = asyncssh.import_private_key(ssh.private_key)
    (tmp_path / "key").write_bytes(key.export_private_key())
    (tmp_path / "locked").write_bytes(key.export_private_key(passphrase="rahasia", rounds=2))
    text = (tmp_path / "locked").read_text()
    assert found(way, private_key="", key_file=str(tmp_path / "key"))
    assert found(way, key_file=str(tmp_path / "locked"), private_key_passphrase="rahasia")
    assert found(way, key_file="", private_key=text)
    assert "cannot be used" in refusal(way, private_key_passphrase="wrong").problem
    assert "cannot be used" in refusal(way, private_key_passphrase="", private_key="something else").problem
    assert "cannot be used" in refusal(way, private_key="", key_file=str(tmp_path / "nowhere")).problem
    if ssh.password is not None:
        way.fields["password"] = PASSWORD
        assert found(way, key_file="")


def test_a_root_that_is_not_there_is_somebodys_mistake(way: Way) -> None:
    assert "has no folder" in refusal(way, root=f"{way.folder}/salah").problem


def test_a_server_that_is_down_may_come_back(way: Way) -> None:
    way.fields["port"] = free_port()
    with pytest.raises(BranchUnavailable, match=r"of branch KC001 cannot be reached"):
        found(way)
    way.fields["host"] = "cabang.invalid"
    with pytest.raises(BranchUnavailable, match=r"cabang\.invalid"):
        found(way)


def test_something_else_at_that_port_is_no_branch(way: Way) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def greet() -> None:
            client, _ = listener.accept()
            client.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")
            client.close()

        threading.Thread(target=greet, daemon=True).start()
        way.fields["port"] = listener.getsockname()[1]
        with pytest.raises(BranchUnavailable):
            found(way)


@pytest.mark.parametrize("after", [0, 10, 500, 1500, 2000, 2500])
def test_a_line_that_breaks_while_we_enter(way: Way, line: Line, after: int) -> None:
    line.cut_after = after
    with pytest.raises(BranchUnavailable):
        found(way)


def test_a_line_that_breaks_in_the_middle_of_a_file_leaves_no_whole_file(way: Way, line: Line, tmp_path: Path) -> None:
    for after in (BIG // 100, BIG // 2, BIG - 1):
        line.cut_after = after
        with closing(opened(way)) as source:
            (manifest,) = source.manifests(EVER)
            assert manifest.read().entries[0].rows == 1
            with pytest.raises(BranchUnavailable):
                fetch_big(source, tmp_path / "target")
        assert (tmp_path / "target").stat().st_size < BIG
    line.cut_after = None
    with closing(opened(way)) as source:
        fetch_big(source, tmp_path / "target")
    assert (tmp_path / "target").read_bytes() == (way.folder / "KC001" / DAY.isoformat() / "besar.csv").read_bytes()


@pytest.mark.parametrize("after", [0, 10, 1500, 2000, 2500])
def test_a_server_that_falls_silent_while_we_enter(way: Way, line: Line, after: int) -> None:
    line.hang_after = after
    began = time.monotonic()
    with pytest.raises(BranchTimeout, match="of branch KC001 does not answer in time"):
        found(way, seconds=0.5)
    assert time.monotonic() - began < 5


def test_a_server_that_falls_silent_in_the_middle_of_a_file(way: Way, line: Line, tmp_path: Path) -> None:
    line.hang_after = BIG // 2
    with closing(opened(way, seconds=1.5)) as source, pytest.raises(BranchTimeout):
        fetch_big(source, tmp_path / "target")


def test_days_far_away_take_few_round_trips(way: Way, line: Line) -> None:
    """Each answer is a fiftieth of a second late; asked one after the other, 300 days would take 24 s."""
    for n in range(300):
        deliver(way.folder, {"iuran": [{}]}, day=DAY - timedelta(days=n))
    line.delay = 0.02
    began = time.monotonic()
    assert len(found(way)) == 300
    assert time.monotonic() - began < 8


def test_a_folder_that_may_not_be_read_does_not_hold_up_the_others(
    python_ssh_server: SshServer, branches: Path, tmp_path: Path
) -> None:
    days = [DAY, DAY + timedelta(days=1), DAY + timedelta(days=2)]
    for day in days:
        folder = deliver(branches, {"iuran": [{}]}, day=day)
    way = way_of_sftp(python_ssh_server, branches)
    forbidden = {str(branches / "KC001" / days[1].isoformat()), str(folder / "iuran.csv")}
    python_ssh_server.forbidden.update(forbidden)
    try:
        with closing(opened(way)) as source:
            found_there = source.manifests(EVER)
            assert [next(found_there).business_date, next(found_there).business_date] == [days[0], days[2]]
            with pytest.raises(BranchRefused, match="does not let its folder of 2023-12-12 be read"):
                next(found_there)
            entry = Entry("iuran", 1, "iuran.csv", 1, "ab" * 32)
            with pytest.raises(SliceRejected, match="UNREADABLE: the file is there and may not be read"):
                source.fetch(Delivery("KC001", days[2], 1, None, (entry,), "m", ""), entry, tmp_path / "target")
        python_ssh_server.forbidden.add(str(branches / "KC001"))
        assert "does not let" in refusal(way).problem
    finally:
        python_ssh_server.forbidden.clear()
