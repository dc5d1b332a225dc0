"""A landed file that cannot be read is passed over by neither an erasure nor a report; a folder without one is."""

from pathlib import Path

import pytest

from kkbc.core.errors import UserError
from kkbc.core.settings import get_settings
from kkbc.rights import tasks
from kkbc.warehouse import connect
from tests.rights.conftest import Kkbc
from tests.slices.quarantine.scene import Office

NIK = "1171011203909001"
WHY = ("--why", "request 12")


@pytest.fixture
def sent(office: Office, home: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A file of encrypted landing with a row of the person that was accepted, and one that was not."""
    monkeypatch.setenv("KKBC_LANDING_ENCRYPTION", "true")
    get_settings.cache_clear()
    (home / "keys" / "landing.key").write_text("ab" * 32)
    (home / "keys" / "landing.key").chmod(0o600)
    office.sends(
        {"nik": NIK, "no_pendaftaran": "A"}, {"nik": NIK, "no_pendaftaran": "B", "tgl_pendaftaran": "yesterday"}
    )
    # Of a visit that was killed before its file was there.
    (home / "landing" / "KC001" / "2023-12-11" / "iuran" / "r1-0123456789ab").mkdir(parents=True)
    (path,) = (home / "landing").rglob("sent/*")
    return path


def in_vault() -> int:
    with connect() as conn:
        ((count,),) = conn.execute("select count(*) from vault.registrations where nik = %s", [NIK]).fetchall()
    return int(count)


def test_a_damaged_file_stops_an_erasure_before_anything_is_erased(sent: Path, kkbc: Kkbc) -> None:
    good = sent.read_bytes()
    sent.write_bytes(good[:-1] + bytes([good[-1] ^ 1]))
    for command in (("subject-report",), ("erase", "--dry-run"), ("erase", "--request", "req-1")):
        done = kkbc(*command, *WHY, stdin=NIK)
        assert isinstance(done.exception, UserError), done
        assert "cannot be decrypted: it was cut off or altered: restore landing from its backup" in str(done.exception)
    assert in_vault() == 1
    sent.write_bytes(good)
    done = kkbc("erase", "--resume", "req-1")
    assert done.exit_code == 0, done
    assert in_vault() == 0
    assert NIK.encode() not in sent.read_bytes()
    assert tasks.erase({"request": "req-1"}, {})["already"]
