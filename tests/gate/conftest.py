"""A small warehouse by hand: two branches, two days, their raw rows and the marts that follow from them."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from kkbc.core.settings import PROJECT_ROOT
from kkbc.warehouse import connect
from tests.dbt_project.properties import PUBLISHED

TOKENS = [f"{n:032x}" for n in range(1, 9)]

BASE = """
insert into ops.branch (branch_id, kind, timezone, tier)
values ('KC001', 'file', 'Asia/Jakarta', 1), ('KC044', 'file', 'Asia/Makassar', 2);

insert into ops.build (as_of, first_business_date) values ('2023-12-11', '2023-12-10');

-- KC001 sends both days; KC044 misses kegiatan, and on the second day sends one slice that is rejected and one empty.
insert into ops.slice (feed, branch_id, business_date, revision, status, reason, sent_at, manifest_sha256,
    manifest_rows, rows_sent, rows_accepted, rows_quarantined, rows_nik_valid, rows_contactable, load_id, build_id)
values
('pendaftaran', 'KC001', '2023-12-10', 1, 'loaded', null, '2023-12-10 15:00Z', 'x', 3, 3, 2, 1, 2, 2, 1, 1),
('pendaftaran', 'KC001', '2023-12-11', 1, 'loaded', null, '2023-12-11 15:00Z', 'x', 1, 1, 1, 0, 1, 0, 2, 1),
('iuran', 'KC001', '2023-12-10', 1, 'loaded', null, '2023-12-10 15:00Z', 'x', 1, 1, 1, 0, 1, null, 3, 1),
('iuran', 'KC001', '2023-12-11', 1, 'superseded', null, '2023-12-11 15:00Z', 'x', 9, 9, 9, 0, 9, null, 4, 1),
('iuran', 'KC001', '2023-12-11', 2, 'loaded', null, '2023-12-11 15:30Z', 'x', 2, 2, 2, 0, 2, null, 5, 1),
('kegiatan', 'KC001', '2023-12-10', 1, 'loaded', null, '2023-12-10 15:00Z', 'x', 1, 1, 1, 0, null, null, 6, 1),
('kegiatan', 'KC001', '2023-12-11', 1, 'loaded', null, '2023-12-11 18:00Z', 'x', 0, 0, 0, 0, null, null, 7, 1),
('pendaftaran', 'KC044', '2023-12-10', 1, 'loaded', null, '2023-12-10 15:00Z', 'x', 1, 1, 1, 0, 1, 1, 8, 1),
('iuran', 'KC044', '2023-12-10', 1, 'loaded', null, '2023-12-10 15:00Z', 'x', 1, 1, 0, 1, 0, null, 9, 1),
('pendaftaran', 'KC044', '2023-12-11', 1, 'rejected', 'CHECKSUM', null, 'x', 5, 0, 0, 0, null, null, null, 1),
('iuran', 'KC044', '2023-12-11', 1, 'loaded', null, '2023-12-11 15:00Z', 'x', 0, 0, 0, 0, 0, null, 10, 1),
('target', 'HQ', '2023-12-10', 1, 'loaded', null, '2023-12-10 15:00Z', 'x', 1, 1, 1, 0, null, null, 11, 1);

select ops.ensure_partitions('2023-12-10');

-- Participant 1 registered and paid, 2 registered and paid what was voided, 3 registered twice, 4 paid only.
insert into raw.registrations (_business_date, _branch_id, _revision, _line, _load_id, participant_token,
    registration_no, branch_id, registered_at, birth_year, sex, occupation_code, program_code,
    months_covered, channel_code, segment_code, record_status, updated_at)
values
('2023-12-10', 'KC001', 1, 2, 1, lpad('1', 32, '0'), 'R1', 'KC001', '2023-12-10 02:00Z', 1990, 'L', '9510',
 'JKK_JKM', 1, 'PASAR', 'MANDIRI', 'BARU', '2023-12-10 02:00Z'),
('2023-12-10', 'KC001', 1, 3, 1, lpad('2', 32, '0'), 'R2', 'KC001', '2023-12-10 03:00Z', 1991, 'P', '9510',
 'JKK_JKM_JHT', 1, 'KANTOR', 'MANDIRI', 'BARU', '2023-12-10 03:00Z'),
('2023-12-11', 'KC001', 1, 2, 2, lpad('3', 32, '0'), 'R3', 'KC001', '2023-12-11 02:00Z', 1992, 'P', '9510',
 'JKK_JKM', 1, 'RADIO', 'PKL', 'BARU', '2023-12-11 02:00Z'),
('2023-12-10', 'KC044', 1, 2, 8, lpad('3', 32, '0'), 'R1', 'KC044', '2023-12-10 02:00Z', 1992, 'P', '9510',
 'JKK_JKM', 1, 'JMO', 'MANDIRI', 'BARU', '2023-12-10 02:00Z');

insert into raw.contributions (_business_date, _branch_id, _revision, _line, _load_id, participant_token, payment_id,
    branch_id, paid_at, payment_channel, coverage_start, months_covered, program_code, jkk_amount, jkm_amount,
    jht_amount, total_amount, record_status, updated_at)
values
('2023-12-10', 'KC001', 1, 2, 3, lpad('2', 32, '0'), 'P1', 'KC001', '2023-12-10 03:00Z', 'BRI', '2023-12-10', 1,
 'JKK_JKM', 10000, 6800, 0, 16800, 'BARU', '2023-12-10 03:00Z'),
('2023-12-11', 'KC001', 2, 2, 5, lpad('2', 32, '0'), 'P1', 'KC001', '2023-12-10 03:00Z', 'BRI', '2023-12-10', 1,
 'JKK_JKM', 10000, 6800, 0, 16800, 'BATAL', '2023-12-11 03:00Z'),
('2023-12-11', 'KC001', 2, 3, 5, lpad('4', 32, '0'), 'P2', 'KC001', '2023-12-11 04:00Z', 'JMO', '2023-12-11', 1,
 'JKK_JKM_JHT', 10000, 6800, 20000, 36800, 'BARU', '2023-12-11 04:00Z');

insert into raw.activities (_business_date, _branch_id, _revision, _line, _load_id, activity_code, branch_id,
    activity_type, started_at, ended_at, contacts, cost, record_status, updated_at)
values
('2023-12-10', 'KC001', 1, 2, 6, 'A1', 'KC001', 'PASAR', '2023-12-10 02:00Z', '2023-12-10 05:00Z', 40,
 null, 'BARU', '2023-12-10 05:00Z');

insert into raw.targets (_business_date, _branch_id, _revision, _line, _load_id, branch_id, month, target_new,
    target_active, target_idr)
values ('2023-12-10', 'HQ', 1, 2, 11, 'KC001', '2023-12-01', 10, 10, 1000000);

insert into next.kpi_branch_daily
values
('KC001', '2023-12-10', 1, 1, 2, 0, 0, 0, 0, 0, 2, 0, null, 0, 1, 40, 0, 0, 1, 0),
('KC001', '2023-12-11', 1, 1, 1, 1, 0, 1, 0, 0, 3, 36800, null, 0.1, 0, 0, 0, 1, 0, 1),
('KC044', '2023-12-10', 1, 1, 1, 0, 0, 0, 0, 0, 1, 0, null, null, 0, 0, 0, 0, 1, 0),
('KC044', '2023-12-11', 1, 1, 0, 0, 0, 0, 0, 0, 0, 0, null, null, 0, 0, 0, 0, 0, 0);

insert into next.kpi_national_daily
values
('2023-12-10', 2, 2, 3, 0, 0, 0, 0, 0, 3, 0, null, 0),
('2023-12-11', 2, 2, 1, 1, 0, 1, 0, 0, 3, 36800, null, 0.1);

insert into next.kpi_data_quality_daily
values
('KC001', 'pendaftaran', '2023-12-10', 'on_time', 1, 3, 2, 1, 0, 0.66, 1),
('KC001', 'pendaftaran', '2023-12-11', 'on_time', 1, 1, 1, 0, 0, 1, 0),
('KC001', 'iuran', '2023-12-10', 'on_time', 1, 1, 1, 0, 0, 1, null),
('KC001', 'iuran', '2023-12-11', 'on_time', 2, 2, 2, 0, 0, 1, null),
('KC001', 'kegiatan', '2023-12-10', 'on_time', 1, 1, 1, 0, 0, null, null),
('KC001', 'kegiatan', '2023-12-11', 'late', 1, 0, 0, 0, 0, null, null),
('KC044', 'pendaftaran', '2023-12-10', 'on_time', 1, 1, 1, 0, 0, 1, 1),
('KC044', 'pendaftaran', '2023-12-11', 'rejected', 1, 0, 0, 0, 0, null, null),
('KC044', 'iuran', '2023-12-10', 'on_time', 1, 1, 0, 1, 0, 0, null),
('KC044', 'iuran', '2023-12-11', 'empty', 1, 0, 0, 0, 0, null, null),
('KC044', 'kegiatan', '2023-12-10', 'missing', null, 0, 0, 0, 0, null, null),
('KC044', 'kegiatan', '2023-12-11', 'missing', null, 0, 0, 0, 0, null, null);

insert into next.int_registrations_in_force
select _branch_id, registration_no, updated_at, _business_date, _line from raw.registrations;

insert into next.int_contributions_in_force
values
('KC001', 'P1', '2023-12-11 03:00Z', '2023-12-11', 2),
('KC001', 'P2', '2023-12-11 04:00Z', '2023-12-11', 3);

insert into next.fct_registration (branch_id, registration_no, participant_token, registered_on, business_date, line)
select _branch_id, registration_no, participant_token, _business_date, _business_date, _line from raw.registrations;

insert into next.fct_contribution (branch_id, payment_id, participant_token, paid_on, total_amount, business_date, line)
values ('KC001', 'P2', lpad('4', 32, '0'), '2023-12-11', 36800, '2023-12-11', 3);

insert into next.dim_participant (participant_token, first_registered_on)
values (lpad('1', 32, '0'), '2023-12-10'), (lpad('2', 32, '0'), '2023-12-10'), (lpad('3', 32, '0'), '2023-12-10'),
(lpad('4', 32, '0'), null), (lpad('5', 32, '0'), null);

-- Participant 5 has paid for days to come only.
insert into next.fct_coverage (participant_token, interval_no, coverage_start)
values (lpad('4', 32, '0'), 1, '2023-12-11'), (lpad('5', 32, '0'), 1, '2024-01-01');

insert into next.kpi_channel_daily
values
('KC001', 'PASAR', '2023-12-10', 1, 0, 0, 0, 0, 0),
('KC001', 'KANTOR', '2023-12-10', 1, 0, 0, 0, 0, 0),
('KC001', 'RADIO', '2023-12-11', 1, 0, 0, 0, 0, 0),
('KC001', 'TIDAK_DIKETAHUI', '2023-12-11', 0, 1, 0, 0, 0, 0),
('KC044', 'JMO', '2023-12-10', 1, 0, 0, 0, 0, 0);

insert into next.kpi_activity values ('KC001', 'A1', 'PASAR', 40, null, 20, 5, 0.5, 0.25, null);
insert into next.fct_activity (branch_id, activity_code, contacts) values ('KC001', 'A1', 40);
insert into next.kpi_radio_lift values ('KC001', '2023-12-10', 6, 4, 1.5), ('KC001', '2023-12-11', null, null, null);
insert into next.kpi_retention values
('2023-10-01', 'KC001', 'PASAR', 1, 8, 5), ('2023-10-01', 'KC001', 'PASAR', 3, 8, 4);
insert into next.dim_branch (branch_id)
values ('KC001'), ('KC044');

insert into next.kpi_target_monthly (branch_id, month, target_new, realisation_new, realisation_active, realisation_idr,
    attainment_new, rank)
values ('KC001', '2023-12-01', 10, 7, 1, 99, 0.7, 1);
insert into next.kpi_coverage_province (province_code, month_end, aktif, informal_workers, coverage_pct,
    attribution_rule)
values ('31', '2023-12-31', 1, 200, 0.5, 'registering_office');
insert into next.kpi_occupation_monthly values ('KC001', 'NELAYAN', '2023-12-01', 3, 1, 1);
insert into next.branch_standing values ('KC001', '2023-12-11', 0, null), ('KC044', null, 0, null);

insert into next.quarantine_reasons_daily
values ('KC001', 'pendaftaran', '2023-12-10', 'NIK_DATE', 1), ('KC044', 'iuran', '2023-12-10', 'NIK_FORMAT', 1);
"""


def copied_project(folder: Path) -> Path:
    """A copy in `folder` of what suites are made of, to change."""
    for part in ("expectations", "dbt_project/models"):
        shutil.copytree(PROJECT_ROOT / part, folder / part)
    return folder


def make_marts(conn: psycopg.Connection) -> None:
    """The marts' tables as their dbt models declare them, with keys and nothing else that is in a test's way."""
    for name, model in PUBLISHED.items():
        columns = ", ".join(f"{c['name']} {c['data_type']}" for c in model["columns"])
        key = ", ".join(model["config"]["meta"]["primary_key"])
        conn.execute(f"create table next.{name} ({columns}, primary key ({key}))".encode())
    for table, key in (("int_registrations_in_force", "registration_no"), ("int_contributions_in_force", "payment_id")):
        conn.execute(
            f"create table next.{table} (branch_id text, {key} text, updated_at timestamptz,"
            " business_date date, line bigint)".encode()
        )
    conn.execute(
        "create table next.int_participants_restricted (participant_token text, is_restricted bool, is_changed bool)"
    )


@pytest.fixture
def night(warehouse: str) -> Iterator[psycopg.Connection]:
    """A warehouse in which both audits pass on build 1; yields the owner's connection, to break something with."""
    with connect(autocommit=True) as conn:
        # Broken on purpose below, and what the database itself forbids must not depend on the database alone.
        conn.execute("alter table ops.slice drop constraint slice_check, drop constraint slice_check1")
        with connect("transformer") as transformer:
            make_marts(transformer)
        conn.execute(BASE.encode())
        yield conn
