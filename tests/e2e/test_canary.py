"""Exchange rule 39 over whole nights: persons planted wherever a branch can write are in landing and vault alone."""

import base64
import contextlib
import io
import json
import re
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from kkbc.cli.application import main
from kkbc.core.errors import GateFailed, UserError
from kkbc.exchange.registry import load_registry
from kkbc.marts import runner
from kkbc.nights import RunRequest, plain
from kkbc.nights.prepare import prepare
from kkbc.rights import searching
from kkbc.warehouse import connect, server
from kkbc.watching.board.night import branch_night, branch_states
from tests.canary import DAY, FORMATS, MANIFESTS, STEMS, Planted, grep, in_files, in_tables, plant
from tests.databases import database
from tests.dbt_project.conftest import current

pytestmark = pytest.mark.e2e


def command(*arguments: str) -> tuple[int, str]:
    """The exit status of a command, and all that it prints."""
    printed = io.StringIO()
    with (
        pytest.MonkeyPatch.context() as patch,
        contextlib.redirect_stdout(printed),
        contextlib.redirect_stderr(printed),
    ):
        patch.setattr(sys, "argv", ["kkbc", *arguments])
        patch.setenv("COLUMNS", "400")
        try:
            main()
            status: Any = 0
        except SystemExit as end:
            status = end.code or 0
    return status, printed.getvalue()


class Scene:
    """A home after good and bad nights of branches that write persons everywhere."""

    def __init__(self, home: Path, root: Path) -> None:
        self.home = home
        self.root = root
        self.planted: Planted
        self.said: list[str] = []
        self.failures: list[str] = []
        self.published = ""

    def night(self, gate: str) -> None:
        # Rebuilt, for nothing comes after the first night.
        again = bool(self.said)
        request = RunRequest(DAY, self.root, first_business_date=DAY, gate=gate, full_refresh=again)  # type: ignore[arg-type]
        try:
            self.said.append(json.dumps(plain.run_night(request, lambda *_: None, self.said.append), default=str))
        except UserError as error:
            self.failures.append(f"{type(error).__name__}: {error}")


@pytest.fixture(scope="module")
def scene(pg: server.Server, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    """One night that is published, one whose marts cannot be built, and one that the gate stops."""
    folder = tmp_path_factory.mktemp("canary")
    scene = Scene(folder / "home", folder / "branches")
    scene.home.mkdir()
    registry = folder / "branches.yml"
    names = ["HQ", *FORMATS, MANIFESTS]
    registry.write_text("branches:\n" + "".join(f"  - {{branch_id: {name}}}\n" for name in names))
    with database(pg) as name:
        place = {"KKBC_HOME": str(scene.home), "KKBC_DATABASE_URL": pg.conninfo(name), "KKBC_REGISTRY": str(registry)}
        with current(place):
            load_registry.cache_clear()
            prepare()
            scene.planted = plant(scene.root)
            scene.night("warn")
            scene.published = scene.said[-1]
            with broken(folder, "int_activities_in_force.sql", r"activity_code(?=,)", "activity_code::int::text"):
                scene.night("warn")
            counted = r"[^\n]+ as registrations(?=,)"
            with broken(
                folder, "kpi_national_daily.sql", counted, "cast(sum(registrations) + 1 as bigint) as registrations"
            ):
                scene.night("fail")
            yield scene
        load_registry.cache_clear()


@contextlib.contextmanager
def broken(folder: Path, model: str, old: str, new: str) -> Iterator[None]:
    """The project with a fault in one model."""
    project = folder / model / "dbt_project"
    shutil.copytree(runner.DBT_PROJECT, project, ignore=shutil.ignore_patterns("target", "logs"))
    (path,) = project.glob(f"models/**/{model}")
    text, found = re.subn(old, new, path.read_text(), count=1)
    assert found
    path.write_text(text)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(runner, "DBT_PROJECT", project)
        yield


def test_the_nights_went_as_they_should(scene: Scene) -> None:
    assert json.loads(scene.published)["publication_id"] is not None
    assert len(scene.failures) == 2
    assert 'int_activities_in_force failed: invalid input syntax for type integer: "***"' in scene.failures[0]
    assert scene.failures[1].startswith(GateFailed.__name__)
    with connect() as conn:
        counts = conn.execute(
            "select count(*) filter (where status = 'loaded'), count(*) filter (where status = 'rejected'),"
            " sum(rows_accepted) > 100, sum(rows_quarantined) > 300 from ops.slice"
        ).fetchone()
        marks = conn.execute("select count(*) > 10 from bi_detail.fct_registration where activity_code like '?%'")
        assert marks.fetchone() == (True,)
    assert counts is not None
    assert counts[0] >= 9
    assert counts[1] >= 20
    assert counts[2:] == (True, True)


def test_persons_are_found_in_landing_and_vault_alone(scene: Scene) -> None:
    places = searching.search(list(STEMS.values()), protected=True)
    assert sorted({place.place for place in places if not place.protected}) == []
    landing, vault = (
        {place.value for place in places if place.protected and start in place.place}
        for start in (str(scene.home / "landing"), "vault.")
    )
    assert landing == vault == set(range(1, len(STEMS) + 1))


def test_another_search_finds_no_more(scene: Scene) -> None:
    landing = scene.home / "landing"
    found = dict(in_files(scene.home, landing))
    with connect(autocommit=True) as conn:
        tables = dict(in_tables(conn))
    found |= {table: texts for table, texts in tables.items() if not table.startswith("vault.")}
    assert {place: [scene.planted.origin(text) or text for text in texts] for place, texts in found.items()} == {}
    assert {table.split("_20")[0] for table in tables} == {
        "vault.registrations",
        "vault.contributions",
        "vault.activities",
    }
    assert list(in_files(landing))


def test_no_page_message_or_command_reports_persons(scene: Scene, tmp_path: Path) -> None:
    texts = [*scene.said, *scene.failures, str(branch_states(DAY))]
    for branch_id in (*FORMATS, MANIFESTS):
        texts.append(str(branch_night(branch_id, DAY)))
        texts += [command("branch", branch_id)[1], command("branch", branch_id, "--json")[1]]
    for arguments in (
        ["status"],
        ["status", "--json"],
        ["notify", "--dry-run"],
        ["gate", "list"],
        ["quarantine", "list"],
    ):
        texts.append(command(*arguments)[1])
    for feed in ("pendaftaran", "iuran", "kegiatan"):
        for branch_id in FORMATS:
            status, shown = command("quarantine", "show", f"{feed}/{branch_id}/{DAY}")
            assert status == 0
            texts.append(shown)
        path = tmp_path / f"{feed}.csv"
        assert command("quarantine", "export", "--feed", feed, "--out", str(path))[0] == 0
        assert path.read_text().count("\n") > 100
        texts.append(path.read_text())
    assert all(texts)
    assert [text for whole in texts for text in grep(whole.encode())] == []


def test_the_doctor_searches_a_live_installation(scene: Scene, tmp_path: Path) -> None:
    values = tmp_path / "values.txt"
    values.write_text("\n".join(STEMS.values()))
    status, printed = command("doctor", "--privacy", str(values))
    assert (status, "nothing found" in printed) == (0, True), printed

    log = scene.home / "airflow" / "task.log"
    log.parent.mkdir(exist_ok=True)
    log.write_bytes(b"x" * 9_000_000 + base64.b64encode(b"..CANARIA QWERTZ ABC"))
    with connect() as conn:
        conn.execute('create table public.leak as select 1 as id, \'{"a": "0812-7777-77123"}\'::jsonb as document')
        conn.execute("select lo_from_bytea(0, %s)", ["Jl. Kenari Qwertz No. 7".encode("utf-16-le")])
    try:
        status, printed = command("doctor", "--privacy", str(values), "--json")
        assert status == 1
        found = {(place["place"], place["value"]) for place in json.loads(printed)}
        assert found == {
            (str(log), 1),
            ("warehouse: public.leak.document", 3),
            ("warehouse: large objects", 5),
        }
        assert grep(printed.encode()) == []
    finally:
        log.unlink()
        with connect() as conn:
            conn.execute("drop table public.leak")
            conn.execute("select lo_unlink(oid) from pg_largeobject_metadata")


@pytest.mark.parametrize("text", ["", "abc\n"])
def test_the_doctor_says_what_it_cannot_look_for(scene: Scene, tmp_path: Path, text: str) -> None:
    values = tmp_path / "values.txt"
    values.write_text(text)
    assert command("doctor", "--privacy", str(values))[0] == 2
    assert command("doctor", "--privacy", str(tmp_path / "none"))[0] == 2
