"""A feed that the project has never seen: four new files, `kkbc migrate`, and a night takes it in by every way."""

import csv
import hashlib
import io
import json
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from datetime import date
from pathlib import Path
from typing import Any

import psycopg
import pytest
from psycopg import sql

from kkbc.warehouse import schema, server
from tests.dbt_project.conftest import warehouse
from tests.intake.sources.branch_api import TOKEN, BranchApi, serving
from tests.project_copy import ProjectCopy, copy_project
from tests.servers import REGION, SSHD, asyncssh_server, openssh, s3_server

pytestmark = pytest.mark.e2e

DAY, NEXT = date(2023, 12, 11), date(2023, 12, 12)
COLUMNS = "id:key,tanggal:date,nik:nik,nama:name,telepon:phone?,jumlah:amount,jenis:code(TUNAI|BARANG)"
OF_HEAD_OFFICE = "nomor:key,kantor:branch,bulan:month,plafon:amount,diubah:updated"
WAYS = {"KC001": "file", "KC002": "sftp", "KC003": "s3", "KC004": "http", "KC005": "postgres"}
NIK = "117101120390{:04}"
FIRST = {
    "id": "B-1",
    "tanggal": "2023-12-11",
    "nik": NIK.format(1),
    "nama": "Orang Contoh",
    "telepon": "",
    "jumlah": "50000",
    "jenis": "TUNAI",
}
# What becomes of each row, by the code that quarantines it; None: accepted.
ROWS: list[tuple[dict[str, str], str | None]] = [
    ({}, "KEY_DUPLICATE"),
    ({"id": "B-2", "nik": "123"}, "NIK_FORMAT"),
    ({"id": "B-3", "tanggal": "2023-12-12"}, "DATE_FUTURE"),
    ({"id": "B-4", "jumlah": "-5"}, "NEGATIVE"),
    ({"id": "B-5", "nama": ""}, "REQUIRED_MISSING"),
    ({"id": "B-6", "jenis": "UANG"}, "CODE_UNKNOWN"),
    ({"jumlah": "60000"}, None),
    ({"id": "B-7", "nik": NIK.format(7), "nama": "Orang Lain", "telepon": "0812-3456-7890", "jenis": "BARANG"}, None),
]
SENT = [FIRST | row for row, _ in ROWS]
ACCEPTED = [row for row, (_, code) in zip(SENT, ROWS, strict=True) if code is None]
LIMITS_OF_HEAD_OFFICE = [
    {"nomor": "P-1", "kantor": "KC001", "bulan": "2023-12", "plafon": "1000000", "diubah": "2023-12-11 09:00"},
    {"nomor": "P-2", "kantor": "KC999", "bulan": "2023-12", "plafon": "1000000", "diubah": "2023-12-11 09:00"},
]


@pytest.fixture(scope="module")
def project(pg: server.Server, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ProjectCopy]:
    with warehouse(pg, tmp_path_factory) as environment:
        yield copy_project(tmp_path_factory.mktemp("copy"), environment)


def deliver(root: Path, branch_id: str, feed: str, rows: list[dict[str, str]], day: date, revision: int = 1) -> None:
    """One file and its manifest, as a branch writes them."""
    folder = root / branch_id / day.isoformat()
    folder.mkdir(parents=True, exist_ok=True)
    text = io.StringIO()
    writer = csv.DictWriter(text, list(rows[0]))
    writer.writeheader()
    writer.writerows(rows)
    content, suffix = text.getvalue().encode(), "" if revision == 1 else f".r{revision}"
    name = f"{feed}{suffix}.csv"
    (folder / name).write_bytes(content)
    said = {"feed": feed, "name": name, "rows": len(rows), "bytes": len(content)}
    manifest = announced(branch_id, day, revision) | {"files": [said | {"sha256": hashlib.sha256(content).hexdigest()}]}
    (folder / f"manifest{suffix}.json").write_text(json.dumps(manifest))


def announced(branch_id: str, day: date, revision: int = 1) -> dict[str, Any]:
    sent_at = f"{day}T19:02:11+07:00"
    return {
        "schema_version": 1, "branch_id": branch_id, "business_date": f"{day}", "revision": revision, "sent_at": sent_at
    }  # fmt: skip


@pytest.fixture(scope="module")
def ways(project: ProjectCopy, pg: server.Server, tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[str]]:
    """Servers of the branches with the feed on each, and the arguments of a night that visits them."""
    with ExitStack() as stack:
        connections: dict[str, dict[str, Any]] = {}
        # Files, and the same tree by SFTP.
        deliver(project.branches, "KC001", "bantuan", SENT, DAY)
        deliver(project.branches, "HQ", "pagu", LIMITS_OF_HEAD_OFFICE, DAY)
        remote = tmp_path_factory.mktemp("sftp")
        deliver(remote, "KC002", "bantuan", SENT, DAY)
        ssh = stack.enter_context(openssh(tmp_path_factory.mktemp("sshd")) if SSHD else asyncssh_server())
        keys = {"root": str(remote), "host_key": ssh.host_key, "private_key": ssh.private_key}
        connections["sftp"] = {"host": "127.0.0.1", "port": ssh.port, "login": ssh.login, "extra": keys}
        # Objects.
        s3 = stack.enter_context(s3_server())
        s3.client.create_bucket(Bucket="kantor", CreateBucketConfiguration={"LocationConstraint": REGION})
        aside = tmp_path_factory.mktemp("s3")
        deliver(aside, "KC003", "bantuan", SENT, DAY)
        for path in filter(Path.is_file, aside.rglob("*")):
            s3.client.put_object(Bucket="kantor", Key=str(path.relative_to(aside)), Body=path.read_bytes())
        place = {"endpoint_url": s3.url, "region_name": REGION, "root": "s3://kantor/"}
        connections["s3"] = {"login": s3.key, "password": s3.secret, "extra": place}
        # An API.
        api = stack.enter_context(serving(BranchApi()))
        api.manifests[f"{DAY}"] = announced("KC004", DAY) | {"slices": [{"feed": "bantuan", "rows": len(SENT)}]}
        api.slices["bantuan", f"{DAY}", 1] = SENT
        connections["http"] = {"host": api.address, "password": TOKEN}
        # A database.
        connections["postgres"] = stack.enter_context(database_of_the_branch(pg))
        file = project.home / "keys" / "connections.json"
        file.parent.mkdir(mode=0o700, exist_ok=True)
        file.write_text(json.dumps({f"by_{kind}": {"conn_type": kind} | said for kind, said in connections.items()}))
        file.chmod(0o600)
        named = [f"{branch}={kind}:by_{kind}" for branch, kind in WAYS.items() if kind != "file"]
        yield ["--source-root", str(project.branches), *(part for way in named for part in ("--way", way))]


@contextmanager
def database_of_the_branch(pg: server.Server) -> Iterator[dict[str, Any]]:
    """A database as the exchange says, with the rows in it; yields the fields of a connection to it."""
    login, password, wire = "penarik_bantuan", "rahasia-sekali", list(FIRST)
    schema.create_database(pg, "cabang_bantuan")
    with psycopg.connect(pg.conninfo("cabang_bantuan"), autocommit=True) as conn:
        conn.execute(sql.SQL("create role {} login password {}").format(sql.Identifier(login), password))
        conn.execute("create schema ekspor")
        columns = sql.SQL(", ").join(sql.SQL("{} text").format(sql.Identifier(name)) for name in wire)
        conn.execute(sql.SQL("create table ekspor.bantuan (tgl_data date, revisi int, {})").format(columns))
        conn.execute(
            "create table ekspor.pengiriman"
            " (tgl_data date, umpan text, revisi int, jumlah_baris int, dikirim_pada timestamp)"
        )
        places = sql.SQL(", ").join([sql.SQL("%s")] * (len(wire) + 2))
        for row in SENT:
            values = [DAY, 1, *(row[name] or None for name in wire)]
            conn.execute(sql.SQL("insert into ekspor.bantuan values ({})").format(places), values)
        said = [DAY, len(SENT), f"{DAY} 19:02:11"]
        conn.execute("insert into ekspor.pengiriman values (%s, 'bantuan', 1, %s, %s)", said)
        conn.execute(sql.SQL("grant usage on schema ekspor to {}").format(sql.Identifier(login)))
        conn.execute(sql.SQL("grant select on all tables in schema ekspor to {}").format(sql.Identifier(login)))
    yield {"host": "127.0.0.1", "port": pg.port, "login": login, "password": password, "schema": "cabang_bantuan"}
    schema.drop_database(pg, "cabang_bantuan")
    with psycopg.connect(pg.conninfo(), autocommit=True) as conn:
        conn.execute(sql.SQL("drop role {}").format(sql.Identifier(login)))


def test_a_feed_is_four_files(project: ProjectCopy) -> None:
    printed = project.kkbc("new", "feed", "bantuan", "--columns", COLUMNS, "--expected-from", f"{DAY}")
    of_bantuan = [
        "contracts/bantuan.odcs.yaml",
        "dbt_project/models/staging/stg_bantuan.sql",
        "dbt_project/models/staging/stg_bantuan.yml",
        "expectations/feeds/bantuan.yml",
    ]
    assert project.changed() == of_bantuan
    assert f"sample delivery: {project.home}/samples/bantuan" in printed
    project.kkbc(
        "new", "feed", "pagu", "--columns", OF_HEAD_OFFICE, "--from", "head-office", "--expected-from", f"{DAY}"
    )
    assert project.changed() == sorted(of_bantuan + [name.replace("bantuan", "pagu") for name in of_bantuan])


def test_migrating_makes_it_known_to_the_warehouse(project: ProjectCopy) -> None:
    assert project.rows("select count(*) from ops.feed where feed in ('bantuan', 'pagu')") == [(0,)]
    said = project.kkbc("migrate").partition("with tables for the feeds ")[2].rstrip(".\n").split(", ")
    assert {"bantuan", "pagu", "pendaftaran"} <= set(said)
    listed = project.rows(
        "select feed, sender, has_nik, has_contact, expected_from from ops.feed"
        " where feed in ('bantuan', 'pagu') order by 1"
    )
    assert listed == [
        ("bantuan", "branch", True, True, DAY),
        ("pagu", "head_office", False, False, DAY),
    ]  # fmt: skip


@pytest.fixture(scope="module")
def night(project: ProjectCopy, ways: list[str]) -> str:
    """A night over all ways."""
    return project.kkbc("run", "--as-of", f"{DAY}", "--first-business-date", f"{DAY}", *ways)


def test_it_is_loaded_by_every_way(project: ProjectCopy, night: str) -> None:
    assert project.rows("select branch_id, kind, outcome, rows from ops.attempt where rows > 0 order by branch_id") == [
        ("HQ", "file", "loaded", 2),
        *((branch_id, kind, "loaded", len(SENT)) for branch_id, kind in WAYS.items()),
    ]
    columns = "_branch_id, id, tanggal::text, jumlah, jenis"
    wanted = [
        (branch_id, row["id"], row["tanggal"], int(row["jumlah"]), row["jenis"])
        for branch_id in WAYS
        for row in ACCEPTED
    ]
    assert project.rows(f"select {columns} from raw.bantuan order by _branch_id, id") == wanted
    assert project.rows("select branch_id, id from staging.stg_bantuan order by 1, 2") == [row[:2] for row in wanted]
    assert project.rows("select _branch_id, nomor, kantor, bulan::text, plafon from raw.pagu") == [
        ("HQ", "P-1", "KC001", "2023-12-01", 1_000_000)
    ]
    assert project.rows("select feed, errors from ops.quarantine where feed = 'pagu'") == [("pagu", ["CODE_UNKNOWN"])]


def test_every_bad_row_is_in_quarantine_by_its_code(project: ProjectCopy, night: str) -> None:
    codes = [code for _, code in ROWS if code is not None]
    found = project.rows(
        "select branch_id, array_agg(array_to_string(errors, ' ') order by line) from ops.quarantine"
        " where feed = 'bantuan' group by 1 order by 1"
    )
    assert found == [(branch_id, codes) for branch_id in WAYS]
    counted = project.rows(
        "select distinct rows_sent, rows_accepted, rows_quarantined, rows_nik_valid, rows_contactable from ops.slice"
        " where feed = 'bantuan'"
    )
    assert counted == [(8, 2, 6, 7, 1)]


def test_persons_are_in_the_vault_and_nowhere_else(project: ProjectCopy, night: str) -> None:
    persons = [("B-1", NIK.format(1), "Orang Contoh", None), ("B-7", NIK.format(7), "Orang Lain", "+6281234567890")]
    found = project.rows(
        "select r.id, v.nik, v.nama, v.telepon from vault.bantuan v join raw.bantuan r"
        " using (_branch_id, _business_date, _revision, _line, participant_token) order by v._branch_id, r.id"
    )
    assert found == persons * len(WAYS)
    tables = project.rows(
        "select format('%I.%I', schemaname, tablename) from pg_tables"
        " where schemaname not in ('vault', 'pg_catalog', 'information_schema')"
    )
    assert ("raw.bantuan",) in tables
    for (table,) in tables:
        seen = project.rows(
            f"select count(*) from {table} t where t::text ~ '{NIK.format(1)}|{NIK.format(7)}|Orang|81234567890'"
        )
        assert seen == [(0,)], table


def test_the_gate_audited_it_and_the_marts_know_of_it(project: ProjectCopy, night: str) -> None:
    audited = project.rows(
        "select suite, count(*) > 10, bool_and(success) from ops.audit_result where suite in ('bantuan', 'pagu')"
        " and checkpoint = 'loaded_slices' group by 1 order by 1"
    )
    assert audited == [("bantuan", True, True), ("pagu", True, True)]
    judged = project.rows(
        "select branch_id, status, rows_accepted, valid_nik_rate, contactable_rate from bi.kpi_data_quality_daily"
        " where feed = 'bantuan' and branch_id < 'KC007' order by 1"
    )
    assert judged == [
        *((branch_id, "on_time", 2, 7 / 8, 0.5) for branch_id in WAYS),
        ("KC006", "missing", 0, None, None),
    ]
    assert project.rows("select count(*) from bi.kpi_data_quality_daily where feed = 'pagu'") == [(0,)]
    assert project.rows("select count(*) from bi.quarantine_reasons_daily where feed = 'bantuan'") == [(6 * len(WAYS),)]


def test_the_night_after_works_and_takes_a_revision(project: ProjectCopy, ways: list[str], night: str) -> None:
    deliver(project.branches, "KC001", "bantuan", ACCEPTED[:1], DAY, revision=2)
    deliver(project.branches, "KC001", "bantuan", [FIRST | {"id": "B-9"}], NEXT)
    project.kkbc("run", "--as-of", f"{NEXT}", *ways)
    assert project.rows(
        "select _business_date, _revision, id from raw.bantuan where _branch_id = 'KC001' order by 1, 3"
    ) == [(DAY, 2, "B-1"), (NEXT, 1, "B-9")]
    assert project.rows("select outcome from ops.run order by started_at") == [("published",), ("published",)]
    assert project.rows("select count(*) from raw.bantuan") == [(2 * len(WAYS),)]
    judged = project.rows(
        "select business_date, revision, status from bi.kpi_data_quality_daily"
        " where feed = 'bantuan' and branch_id = 'KC001' order by 1"
    )
    assert judged == [(DAY, 2, "on_time"), (NEXT, 1, "on_time")]
