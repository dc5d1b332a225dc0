"""A real Airflow on homes of its own: up, a night, a crash, down."""

import hashlib
import json
import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from datetime import date, timedelta
from pathlib import Path
from typing import Literal

import httpx
import psutil
import psycopg
import pytest

from kkbc import nights
from kkbc.core import local_airflow
from kkbc.core.errors import GateFailed, UserError
from kkbc.core.settings import PROJECT_ROOT, get_settings
from kkbc.nights import RunRequest
from kkbc.rights import Wanted, approve_later, searching
from kkbc.upkeep.doctor import examine
from kkbc.upkeep.maintenance import maintain
from kkbc.warehouse import connect
from kkbc_play.simulator import Scale, World
from kkbc_play.stack import configuration, down, processes, states, up
from kkbc_play.stack.api import Api
from kkbc_play.stack.lifecycle import DAGS
from kkbc_play.stack.nights import builds_caused, run_in_airflow
from tests.canary import FORMATS, MANIFESTS, STEMS, grep, in_tables, plant
from tests.deliveries import deliver
from tests.play.stack.conftest import ANSWERS_IN, REGISTRY, at
from tests.play.traces import traces
from tests.rights.scene import contribution, email, name, nik, phone, registration

pytestmark = pytest.mark.airflow

FIRST = date(2023, 12, 11)
CANARIES = date(2024, 3, 4)  # which no other test plays
BRANCHES = {"HQ", "KC001", "KC002", "KC030", "KC061"}
TINY = Scale(registrations=60, contributions=150, opening=300)


@pytest.fixture(autouse=True)
def current(running: Path) -> Iterator[None]:
    with at(running):
        yield


def test_all_parts_run_and_the_doctor_agrees() -> None:
    assert [part.name for part in states() if not part.running] == []
    findings = {finding.name: finding for finding in examine()}
    assert {name: f.found for name, f in findings.items() if f.state == "fail"} == {}
    assert findings["airflow"].state == findings["dags"].state == findings["warehouse"].state == "ok"


def test_up_again_changes_nothing() -> None:
    before = states()
    up()
    assert states() == before


def test_nobody_gets_in_without_the_password() -> None:
    airflow = local_airflow.find(get_settings())
    assert airflow is not None
    assert httpx.get(f"{airflow.url}/api/v2/dags", timeout=ANSWERS_IN).status_code == 401
    wrong = httpx.post(f"{airflow.url}/auth/token", json={"username": "admin", "password": "admin"}, timeout=ANSWERS_IN)
    assert wrong.status_code == 401


def test_a_night_from_the_branches_to_bi(running: Path, tmp_path: Path) -> None:
    world = World(tmp_path, seed=3, scale=TINY, first_date=FIRST)
    night = world.play_night()
    seen: dict[str, tuple[int, int]] = {}
    outcome = run_in_airflow(
        RunRequest(night.business_date, world.branches_root, first_business_date=FIRST, gate="warn"),
        lambda stage, done, total: seen.update({stage: (done, total)}),
    )
    assert outcome["failed"] == {}
    assert outcome["branches"] == 5
    assert outcome["as_of"] == "2023-12-11"
    assert any("KC122" in note for note in outcome["notes"])
    assert seen == {"pull": (5, 5), "build": (2, 2), "audit": (2, 2), "publish": (1, 1)}
    with connect("bi") as conn:
        expected = conn.execute("select business_date, branches_expected from bi.kpi_national_daily").fetchall()
    assert expected == [(FIRST, 4)]
    again = run_in_airflow(RunRequest(night.business_date, world.branches_root))
    assert not again["news"]
    assert again["publication_id"] is None


def test_a_branch_that_fails_is_named_by_its_group_and_the_others_are_pulled(running: Path, tmp_path: Path) -> None:
    airflow = local_airflow.find(get_settings())
    assert airflow is not None
    api = Api(airflow)
    # A connection that nobody made is for a person: one try, and none by Airflow itself after it.
    asked = RunRequest(FIRST, tmp_path, {"KC001": "http:nowhere"}).as_params()
    run_id = api.post("dags/pull_branches/dagRuns", {"logical_date": None, "conf": asked})["dag_run_id"]
    assert finished(api, "pull_branches", run_id) == "success"
    path = f"dags/pull_branches/dagRuns/{run_id}/taskInstances/pull_group/listMapped"
    groups = {task["rendered_map_index"]: task["state"] for task in api.get(path)["task_instances"]}
    (failed,) = (label for label, state in groups.items() if state == "failed")
    assert failed.split()[0] == "✗KC001"
    assert {name.removeprefix("✗") for label in groups for name in label.split()} == BRANCHES
    with connect("auditor") as conn:
        visits = conn.execute("select branch_id, outcome from ops.attempt where run_id = %s", [run_id]).fetchall()
    assert sorted(visits) == [(name, "failed" if name == "KC001" else "nothing_new") for name in sorted(BRANCHES)]


def test_nobody_else_can_look_into_the_home_of_a_night(running: Path) -> None:
    """Logs, lineage, data docs, landing, pid files and all: only PostgreSQL's own group may walk to its data."""
    found = {path: path.lstat() for path in (running, *running.rglob("*")) if not path.is_symlink()}
    wide = {str(path): oct(item.st_mode) for path, item in found.items() if item.st_mode & 0o067}
    wide |= {str(path): oct(item.st_mode) for path, item in found.items() if item.st_mode & 0o010 and item.st_gid == 0}
    # A socket is opened by whoever may enter its folder; that of the test is written by the test.
    assert {path: mode for path, mode in wide.items() if "/.s.PGSQL." not in path and "branches.yml" not in path} == {}
    assert {path.name for path, item in found.items() if item.st_mode & 0o010} <= {running.name}


def finished(api: Api, dag_id: str, run_id: str) -> str:
    """The state in which a run ends."""
    deadline = time.monotonic() + 600
    while (state := str(api.get(f"dags/{dag_id}/dagRuns/{run_id}")["state"])) not in ("success", "failed"):
        assert time.monotonic() < deadline
        time.sleep(1)
    return state


def hashes() -> list[tuple[str, str]]:
    """A hash of every published table, and of the rows that they are made of, but for by which load they came."""
    found = []
    with connect() as conn:
        tables = conn.execute(
            "select format('%I.%I', schemaname, tablename) from pg_tables where schemaname in ('bi', 'bi_detail')"
            " and tablename not like 'publication%%' union all select 'raw.registrations' union all"
            " select 'raw.contributions' union all select 'vault.registrations' order by 1"
        ).fetchall()
        for (table,) in tables:
            row = conn.execute(
                "select md5(string_agg(t, ';' order by t)) from"
                f" (select (to_jsonb(r) - '_load_id' - 'publication_id')::text as t from {table} r) as rows".encode()
            ).fetchone()
            assert row is not None
            found.append((table, str(row[0])))
    return found


def test_a_backfill_reads_landing_and_no_branch(running: Path, tmp_path: Path) -> None:
    """Rows that were lost come back by `airflow backfill create`, though no branch is there any more."""
    day = date(2020, 2, 28)
    world = World(tmp_path, seed=4, scale=TINY, first_date=day)
    world.play_night()
    run_in_airflow(RunRequest(FIRST, world.branches_root, first_business_date=FIRST, gate="warn"))
    whole = hashes()
    shutil.rmtree(tmp_path)
    with connect() as conn:
        assert conn.execute("delete from raw.registrations where _business_date = %s", [day]).rowcount > 0
    assert hashes() != whole
    airflow = local_airflow.find(get_settings())
    assert airflow is not None
    api = Api(airflow)
    created = subprocess.run(
        [
            *(sys.executable, "-m", "airflow", "backfill", "create", "--dag-id", "pull_branches"),
            *("--from-date", "2020-02-28", "--to-date", "2020-02-29", "--dag-run-conf", '{"gate": "warn"}'),
        ],
        env=dict(configuration.environment(get_settings())),
        capture_output=True,
        text=True,
    )
    assert created.returncode == 0, created.stderr
    runs = api.get("dags/pull_branches/dagRuns", run_type="backfill")["dag_runs"]
    # Three moments for one business date: the first does the work.
    assert len(runs) == 3
    assert {finished(api, "pull_branches", run["dag_run_id"]) for run in runs} == {"success"}
    with connect("auditor") as conn:
        noted = conn.execute("select run_id, as_of from ops.run where run_id like 'backfill%%'").fetchall()
    assert [as_of for _, as_of in noted] == [FIRST]
    while not (caused := builds_caused(api, "pull_branches", noted[0][0])):
        time.sleep(1)
    assert finished(api, "build_marts", caused[0]) == "success"
    assert hashes() == whole


def test_a_retry_of_the_quarantine_is_built_and_published(running: Path, tmp_path: Path) -> None:
    """A target of an office that the registry does not know is quarantined, until it does."""
    day = date(2023, 12, 12)
    content = b"kode_kantor,bulan,target_peserta_baru,target_peserta_aktif,target_iuran\nKC003,2023-12,10,100,1000\n"
    folder = tmp_path / "HQ" / day.isoformat()
    folder.mkdir(parents=True)
    (folder / "target.csv").write_bytes(content)
    listed = {"feed": "target", "name": "target.csv", "rows": 1, "bytes": len(content)}
    manifest = {
        "schema_version": 1,
        "branch_id": "HQ",
        "business_date": day.isoformat(),
        "revision": 1,
        "sent_at": f"{day}T19:00:00+07:00",
        "files": [{**listed, "sha256": hashlib.sha256(content).hexdigest()}],
    }
    (folder / "manifest.json").write_text(json.dumps(manifest))
    run_in_airflow(RunRequest(day, tmp_path, first_business_date=FIRST, gate="warn"))
    registry = running / "branches.yml"
    known = registry.read_text()
    airflow = local_airflow.find(get_settings())
    assert airflow is not None
    api = Api(airflow)
    try:
        registry.write_text(known + "  - {branch_id: KC003}\n")
        wanted = {"logical_date": None, "conf": {"why": "KC003 was opened", "feed": "target", "gate": "warn"}}
        run_id = api.post("dags/retry_quarantine/dagRuns", wanted)["dag_run_id"]
        assert finished(api, "retry_quarantine", run_id) == "success"
        while not (caused := builds_caused(api, "retry_quarantine", run_id)):
            time.sleep(1)
        assert finished(api, "build_marts", caused[0]) == "success"
    finally:
        registry.write_text(known)
    with connect("auditor") as conn:
        targets = conn.execute("select branch_id, target_new from raw.targets where _business_date = %s", [day])
        assert targets.fetchall() == [("KC003", 10)]
        runs = conn.execute("select as_of, outcome from ops.run where run_id = %s", [f"retry__{run_id}"])
        assert runs.fetchall() == [(day, "published")]
        # The nights of the tests before have targets of KC003 too.
        said = "select event, why, done_by from ops.quarantine_event where business_date = %s"
        events = conn.execute(said, [day])
        assert events.fetchall() == [("accepted", "KC003 was opened", f"airflow {local_airflow.ADMIN}")]


def test_airflows_own_records_go_when_they_are_past_their_time() -> None:
    """Asked for as a task would be, whose environment names no database."""
    uri = local_airflow.metadata_uri(get_settings())
    assert uri is not None
    old, new = "kept for 181 days", "kept for 179 days"
    with psycopg.connect(uri) as conn:
        for event, days in ((old, 181), (new, 179)):
            conn.execute("insert into log (dttm, event) values (now() - make_interval(days => %s), %s)", [days, event])
    (foreseen,) = maintain(["airflow"], dry_run=True)
    assert foreseen.did["reachable"] == 1
    assert foreseen.did["rows"] >= 1
    (done,) = maintain(["airflow"])
    assert done.did == foreseen.did
    with psycopg.connect(uri) as conn:
        left = conn.execute("select event from log where event = any(%s)", [[old, new]]).fetchall()
    assert left == [(new,)]


def test_a_night_that_cannot_work_says_why_in_one_line(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=f"source root {tmp_path}/nowhere is no folder") as caught:
        run_in_airflow(RunRequest(FIRST, tmp_path / "nowhere"))
    assert not isinstance(caught.value, GateFailed)
    assert "Traceback" not in str(caught.value)


@pytest.mark.parametrize("gate", ["fail", "warn"])
def test_persons_are_in_landing_and_vault_alone(running: Path, tmp_path: Path, gate: Literal["fail", "warn"]) -> None:
    """Exchange rule 39, with task logs, XCom and all of Airflow's metadata, after a night that went well or not."""
    day = CANARIES + timedelta(days=gate == "warn")
    plant(tmp_path, day)
    try:
        printed = str(run_in_airflow(RunRequest(day, tmp_path, first_business_date=day, gate=gate), lambda *_: None))
        assert "is not listed, ignored" in printed
    except UserError as error:  # what the branches sent is so bad that the gate may stop it
        printed = str(error)
    assert grep(printed.encode()) == []
    places = searching.search(list(STEMS.values()), protected=True)
    assert sorted({place.place for place in places if not place.protected}) == []
    landing = str(running / "landing")
    assert {place.value for place in places if place.place.startswith(landing)} == set(range(1, len(STEMS) + 1))
    if gate == "warn":  # what the gate holds is in landing alone
        assert {place.value for place in places if "vault." in place.place} == set(range(1, len(STEMS) + 1))
    logs = [path.read_text(errors="replace") for path in (running / "airflow" / "logs").rglob("*.log")]
    assert any(f"{MANIFESTS} rejected" in text for text in logs), "these are the logs of the night"
    assert [text for text in logs if grep(text.encode())] == []
    uri = local_airflow.metadata_uri(get_settings())
    assert uri is not None
    with psycopg.connect(uri, autocommit=True) as conn:
        assert dict(in_tables(conn)) == {}
        assert conn.execute("select count(*) > 0 from xcom").fetchone() == (True,)
    airflow = local_airflow.find(get_settings())
    assert airflow is not None
    browser = browser_of(airflow)
    for branch_id in FORMATS:
        page = browser.get(f"/kkbc/branches/{branch_id}", params={"day": day.isoformat()})
        assert page.status_code == 200
        assert grep(page.content) == []


def browser_of(airflow: local_airflow.Airflow) -> httpx.Client:
    """The admin, logged in."""
    browser = httpx.Client(base_url=airflow.url, timeout=ANSWERS_IN)
    login = browser.post("/auth/token", json={"username": local_airflow.ADMIN, "password": airflow.password})
    browser.headers["Authorization"] = f"Bearer {login.json()['access_token']}"
    return browser


def erasure_answered(airflow: local_airflow.Airflow, request: str, answer: Literal["Approve", "Reject"]) -> str:
    """Triggers an erasure and answers as a person would; returns what that person was shown."""
    api = Api(airflow)
    wanted = {"logical_date": None, "conf": {"request": request}}
    run = f"dags/erase_persons/dagRuns/{api.post('dags/erase_persons/dagRuns', wanted)['dag_run_id']}"
    asked: dict[str, str] = {}
    deadline = time.monotonic() + 600
    while (state := api.get(run)["state"]) not in ("success", "failed"):
        assert time.monotonic() < deadline
        time.sleep(1)
        if api.get(f"{run}/taskInstances/approve")["state"] == "awaiting_input":
            # Nobody is faster, and Airflow takes the end of what asked for that of what was answered if they meet.
            time.sleep(5)
            asked = api.get(f"{run}/taskInstances/approve/-1/hitlDetails")
            answered = browser_of(airflow).patch(
                f"/api/v2/{run}/taskInstances/approve/-1/hitlDetails", json={"chosen_options": [answer]}
            )
            assert answered.status_code == 200, answered.text
    assert state == "success"
    assert "Why: requested." in asked["body"]
    assert "| vault.registrations | 1 |" in asked["body"]
    tasks = api.get(f"{run}/taskInstances")["task_instances"]
    skipped = {task["task_id"] for task in tasks if task["state"] == "skipped"}
    assert skipped == {"refuse" if answer == "Approve" else "erase"}
    return json.dumps(asked)


def test_an_erasure_waits_for_a_person_and_does_what_they_say(running: Path, tmp_path: Path) -> None:
    """Rejected, nothing changes but that it is on record; approved, the person is gone, from Airflow's records too."""
    theirs, other = 7, 8
    both = (theirs, other)
    # A day of which the other tests of this home have delivered nothing.
    day = FIRST + timedelta(days=20)
    feeds = {"pendaftaran": [registration(n) for n in both], "iuran": [contribution(n) for n in both]}
    deliver(tmp_path, feeds, day=day)
    nights.open_run(RunRequest(day, tmp_path, first_business_date=FIRST), mode="plain", run_id="erasure")
    nights.pull_branch("erasure", "KC001")
    airflow = local_airflow.find(get_settings())
    assert airflow is not None
    values = [of(theirs) for of in (nik, name, phone, email)]
    wanted = Wanted((nik(theirs),), (1,))

    def loaded() -> tuple[object, ...]:
        with connect() as conn:
            tables = ("raw.registrations", "raw.contributions", "vault.registrations", "vault.contributions")
            found = [conn.execute(f"select t::text from {table} t order by 1".encode()).fetchall() for table in tables]
            return *found, conn.execute("select * from vault.suppressed").fetchall()

    def outcomes() -> list[tuple[str, str]]:
        with connect() as conn:
            return conn.execute("select request, outcome from ops.erasure order by 1").fetchall()

    before = loaded()
    landed = {path: path.read_bytes() for path in (running / "landing").rglob("*") if path.is_file()}
    approve_later(wanted, why="requested", who="a tester", request="a-rejected")
    shown = erasure_answered(airflow, "a-rejected", "Reject")
    assert outcomes() == [("a-rejected", "refused")]
    assert loaded() == before
    assert {path: path.read_bytes() for path in (running / "landing").rglob("*") if path.is_file()} == landed

    approve_later(wanted, why="requested", who="a tester", request="b-approved")
    shown += erasure_answered(airflow, "b-approved", "Approve")
    assert outcomes() == [("a-rejected", "refused"), ("b-approved", "done")]
    assert list((running / "requests" / "erase").iterdir()) == []
    with connect() as conn:
        in_vault = conn.execute("select nik from vault.registrations where nik = any(%s)", [[nik(n) for n in both]])
        assert in_vault.fetchall() == [(nik(other),)]
        done_by = conn.execute("select done_by from ops.erasure where request = 'b-approved'").fetchall()
        assert done_by == [(f"{local_airflow.ADMIN} (Airflow)",)]
    assert searching.search(values, protected=True) == []
    # As plainly as can be: run conf, XCom, what was asked and answered, and every log.
    uri = local_airflow.metadata_uri(get_settings())
    assert uri is not None
    with psycopg.connect(uri) as conn:
        for table in ("dag_run", "xcom", "hitl_detail", "hitl_detail_history", "rendered_task_instance_fields", "log"):
            shown += str(conn.execute(f"select t::text from {table} t".encode()).fetchall())
    assert "b-approved" in shown
    logs = {path.as_posix(): path.read_text(errors="replace") for path in (running / "airflow" / "logs").rglob("*.log")}
    assert any("erase_persons" in path for path in logs)
    assert [value for value in values for text in (shown, *logs, *logs.values()) if value in text] == []


def test_what_was_killed_comes_back(running: Path) -> None:
    scheduler = processes.find("scheduler", running / "run")
    assert scheduler is not None
    left = scheduler.children(recursive=True)
    scheduler.kill()
    scheduler.wait()
    assert {finding.name: finding.state for finding in examine()}["airflow"] == "fail"
    up()
    assert all(part.running for part in states())
    psutil.wait_procs(left, timeout=10)
    assert [process for process in left if process.is_running()] == []


def test_an_occupied_port_is_one_line_and_leaves_nothing(tmp_path: Path) -> None:
    home = tmp_path / "other"
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        port = listener.getsockname()[1]
        refused = subprocess.run(
            [Path(sys.executable).with_name("kkbc"), "up"],
            env=os.environ | {"KKBC_HOME": str(home), "KKBC_AIRFLOW_PORT": str(port)},
            capture_output=True,
            text=True,
            cwd=PROJECT_ROOT,
        )
    assert refused.returncode == 2
    assert f"port {port}" in refused.stderr
    assert len(refused.stderr.strip().splitlines()) == 1
    assert traces(home) == []


def test_a_second_home_runs_next_to_it_and_goes_without_a_trace(running: Path, tmp_path: Path) -> None:
    second = tmp_path / "second"
    second.mkdir()
    (second / "branches.yml").write_text(REGISTRY)
    with at(second):
        airflow = up()
        assert all(part.running for part in states())
        assert {dag["dag_id"] for dag in Api(airflow).get("dags")["dags"]} == set(DAGS)
        assert traces(second)
        assert down() == ["api-server", "scheduler", "dag-processor", "triggerer", "postgres"]
        assert traces(second) == []
        assert list((second / "run").glob("*.pid")) == []
        assert not (second / "socket").exists()
        assert not (second / "pg" / "postmaster.pid").exists()
        assert down() == []
    assert all(part.running for part in states())
