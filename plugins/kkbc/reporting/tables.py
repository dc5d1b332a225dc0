"""What a report reads of schema `bi`: one statement a table, and the types of its columns.

Windows are as long as the charts show: a year and a month of days of branches, some weeks of what is shown by day.
"""

from dataclasses import dataclass
from typing import LiteralString

import polars as pl

DAY, WHOLE, SHARE, TEXT = pl.Date(), pl.Int64(), pl.Float64(), pl.String()

# How many days what is shown by day or one by one reaches back.
WINDOWS = {"quality_days": 28, "channel_days": 56, "activity_days": 90, "radio_days": 180}


@dataclass(frozen=True)
class Table:
    """One statement. `{as_of}` is the latest business date of the publication; the rest are WINDOWS."""

    query: LiteralString
    columns: dict[str, pl.DataType]


_STATUS: dict[str, pl.DataType] = {
    "branches_expected": WHOLE,
    "branches_reported": WHOLE,
    "registrations": WHOLE,
    "acquisitions": WHOLE,
    "reactivations": WHOLE,
    "aktif": WHOLE,
    "menunggak": WHOLE,
    "non_aktif": WHOLE,
    "belum_aktif": WHOLE,
    "contributions_idr": WHOLE,
    "activation_rate_30d": SHARE,
    "attainment_mtd": SHARE,
}

TABLES: dict[str, Table] = {
    "publication": Table(
        "select publication_id, as_of, to_char(published_at at time zone 'Asia/Jakarta', 'YYYY-MM-DD HH24:MI')"
        " as published_at, expectations, expectations_not_met from bi.publication",
        {
            "publication_id": WHOLE,
            "as_of": DAY,
            "published_at": TEXT,
            "expectations": WHOLE,
            "expectations_not_met": WHOLE,
        },
    ),
    "branches": Table(
        "select branch_id, branch_name, kanwil_id, kanwil_name, province_code_2021, active_from, active_to"
        " from bi.dim_branch where is_registered",
        {
            "branch_id": TEXT,
            "branch_name": TEXT,
            "kanwil_id": TEXT,
            "kanwil_name": TEXT,
            "province_code_2021": TEXT,
            "active_from": DAY,
            "active_to": DAY,
        },
    ),
    "national": Table(
        "select business_date, branches_expected, branches_reported, registrations, acquisitions, reactivations,"
        " aktif, menunggak, non_aktif, belum_aktif, contributions_idr::bigint, activation_rate_30d, attainment_mtd"
        " from bi.kpi_national_daily where business_date >= date_trunc('month', {as_of}::date - interval '1 year')",
        {"business_date": DAY, **_STATUS},
    ),
    "daily": Table(
        "select branch_id, business_date, branches_expected, branches_reported, registrations, acquisitions,"
        " reactivations, aktif, menunggak, non_aktif, belum_aktif, contributions_idr::bigint, activation_rate_30d,"
        " attainment_mtd, activities, contacts::bigint, activity_cost_idr::bigint, repeat_registrations, quarantined,"
        " slices_late from bi.kpi_branch_daily"
        " where business_date >= date_trunc('month', {as_of}::date - interval '1 year')",
        {
            "branch_id": TEXT,
            "business_date": DAY,
            **_STATUS,
            "activities": WHOLE,
            "contacts": WHOLE,
            "activity_cost_idr": WHOLE,
            "repeat_registrations": WHOLE,
            "quarantined": WHOLE,
            "slices_late": WHOLE,
        },
    ),
    "channel_names": Table("select channel_code, name_id from bi.dim_channel", {"channel_code": TEXT, "name_id": TEXT}),
    "channels": Table(
        "select branch_id, channel_code, business_date, registrations, acquisitions, activated_30d,"
        " registrations_30d_due from bi.kpi_channel_daily where business_date > {as_of}::date - {channel_days}",
        {
            "branch_id": TEXT,
            "channel_code": TEXT,
            "business_date": DAY,
            "registrations": WHOLE,
            "acquisitions": WHOLE,
            "activated_30d": WHOLE,
            "registrations_30d_due": WHOLE,
        },
    ),
    "targets": Table(
        "select branch_id, month, target_new, target_active, target_idr, realisation_new, realisation_active,"
        " realisation_idr::bigint, attainment_new, projection_new, projection_active, projection_idr, rank"
        " from bi.kpi_target_monthly where month = date_trunc('month', {as_of}::date)",
        {
            "branch_id": TEXT,
            "month": DAY,
            "target_new": WHOLE,
            "target_active": WHOLE,
            "target_idr": WHOLE,
            "realisation_new": WHOLE,
            "realisation_active": WHOLE,
            "realisation_idr": WHOLE,
            "attainment_new": SHARE,
            "projection_new": SHARE,
            "projection_active": SHARE,
            "projection_idr": SHARE,
            "rank": WHOLE,
        },
    ),
    "activities": Table(
        "select k.branch_id, k.activity_code, k.type, d.started_on, k.contacts, k.cost, k.registrations,"
        " k.acquisitions, k.cost_per_acquisition"
        " from bi.kpi_activity k join bi.dim_activity d using (branch_id, activity_code)"
        " where d.started_on > {as_of}::date - {activity_days} and d.started_on <= {as_of}",
        {
            "branch_id": TEXT,
            "activity_code": TEXT,
            "type": TEXT,
            "started_on": DAY,
            "contacts": WHOLE,
            "cost": WHOLE,
            "registrations": WHOLE,
            "acquisitions": WHOLE,
            "cost_per_acquisition": SHARE,
        },
    ),
    "radio": Table(
        "select branch_id, spot_date, observed, baseline, lift from bi.kpi_radio_lift"
        " where spot_date > {as_of}::date - {radio_days} and spot_date <= {as_of}",
        {"branch_id": TEXT, "spot_date": DAY, "observed": WHOLE, "baseline": SHARE, "lift": SHARE},
    ),
    "retention": Table(
        "select branch_id, cohort_month, month_n, sum(cohort_size)::bigint as cohort_size,"
        " sum(covered)::bigint as covered from bi.kpi_retention"
        " where cohort_month >= date_trunc('month', {as_of}::date - interval '13 months') group by 1, 2, 3",
        {"branch_id": TEXT, "cohort_month": DAY, "month_n": WHOLE, "cohort_size": WHOLE, "covered": WHOLE},
    ),
    "provinces": Table(
        "select province_code, month_end, aktif, informal_workers, informal_workers_year, informal_workers_source,"
        " coverage_pct from bi.kpi_coverage_province"
        " where month_end = (select max(month_end) from bi.kpi_coverage_province)",
        {
            "province_code": TEXT,
            "month_end": DAY,
            "aktif": WHOLE,
            "informal_workers": WHOLE,
            "informal_workers_year": WHOLE,
            "informal_workers_source": TEXT,
            "coverage_pct": SHARE,
        },
    ),
    "quality": Table(
        "select branch_id, feed, business_date, status, rows_sent, rows_accepted, rows_quarantined, warnings,"
        " valid_nik_rate, contactable_rate from bi.kpi_data_quality_daily"
        " where business_date > {as_of}::date - {quality_days} and business_date <= {as_of}",
        {
            "branch_id": TEXT,
            "feed": TEXT,
            "business_date": DAY,
            "status": TEXT,
            "rows_sent": WHOLE,
            "rows_accepted": WHOLE,
            "rows_quarantined": WHOLE,
            "warnings": WHOLE,
            "valid_nik_rate": SHARE,
            "contactable_rate": SHARE,
        },
    ),
    "reasons": Table(
        "select branch_id, feed, business_date, code, rows from bi.quarantine_reasons_daily"
        " where business_date > {as_of}::date - {quality_days} and business_date <= {as_of}",
        {"branch_id": TEXT, "feed": TEXT, "business_date": DAY, "code": TEXT, "rows": WHOLE},
    ),
    "standing": Table(
        "select branch_id, last_good_date, slices_held, held_since_date from bi.branch_standing",
        {"branch_id": TEXT, "last_good_date": DAY, "slices_held": WHOLE, "held_since_date": DAY},
    ),
}
