"""The first night of all, in a home from nothing: killed while the home is made, then two nights at once."""

from pathlib import Path
from typing import Any

from kkbc.warehouse import server
from kkbc.warehouse.connection import DATABASE

from .stage import KEY, Home, Trap, Victims, assert_killed, trap

POINTS: dict[str, tuple[Trap, ...]] = {
    "the data folder is made, not configured": (trap("kkbc.warehouse.server:_call", "after", 1, "initdb"),),
    "the server is told to start": (trap("kkbc.warehouse.server:_call", "after", 1, "pg_ctl"),),
    "the server runs, there is no database": (trap("kkbc.warehouse.schema:create_database"),),
    "the database is empty": (trap("kkbc.warehouse.schema:migrate"),),
    "migrated, not committed": (trap("alembic.command:upgrade", "after"),),
    "the key is about to be written": (trap("os:fdopen", "before", 1),),
}


def test_killed_while_it_is_made_then_two_nights_at_once(
    night_victims: Victims, tmp_path: Path, deliveries: Path, undisturbed_night: dict[str, Any]
) -> None:
    home = Home(tmp_path / "home", "", deliveries)
    (home.folder / "keys" / "pii.key").unlink()
    try:
        for traps in POINTS.values():
            assert_killed(night_victims.run(home, "prepare", traps=traps))
            assert not (home.folder / "keys" / "pii.key").exists()
        pids = [night_victims.start(home, "prepare") for _ in range(3)]
        assert [night_victims.wait(pid) for pid in pids] == [0, 0, 0], home.log.read_text()
        key = (home.folder / "keys" / "pii.key").read_text()
        version, _, secret = key.strip().partition(":")
        assert (version, len(bytes.fromhex(secret))) == ("01", 32)
        # The tokens of the undisturbed night were made with another key.
        (home.folder / "keys" / "pii.key").write_text(KEY)

        pids = [night_victims.start(home, "command", *home.run_arguments()) for _ in range(2)]
        assert [night_victims.wait(pid) for pid in pids] == [0, 0], home.log.read_text()
        running = server.find(home.folder)
        assert running is not None
        home.database = running.conninfo(DATABASE)
        assert home.published() == undisturbed_night
        slices = home.query("select distinct b.outcome from ops.slice join ops.build b using (build_id)")
        assert slices == [("published",)]
        assert home.query("select count(*) from ops.slice where build_id is null") == [(0,)]
    finally:
        server.stop(home.folder)
