"""What each chart must show, by SQL of its own over the marts: not by the datasets that Superset asks.

`branches`: those whose rows the reader may see; `month`: the first day of the month that the dashboard is set to. What
is of no branch is for whoever sees any.
"""

from kkbc.exchange.code_texts import CODES
from kkbc.reporting import words
from kkbc.reporting.content.parts import TYPES

REASONS = ", ".join(f"('{code}', '{words.sentence(text)}')" for code, text in CODES.items())
KINDS = ", ".join(f"('{code}', '{text}')" for code, text in TYPES.items())
OFFICES = "join bi.dim_branch b using (branch_id)"
OFFICE = "b.branch_id || ' ' || b.branch_name"
MINE = "branch_id = any(%(branches)s)"
LAST = "(select max(date) from bi.dim_date where is_reported and month = %(month)s)"
IN_MONTH = "date_trunc('month', business_date) = %(month)s"
ANYBODY = "cardinality(%(branches)s::text[]) > 0"
DAILY = f"from bi.kpi_branch_daily where {MINE} and {IN_MONTH}"
TARGETS = f"from bi.kpi_target_monthly where {MINE} and month = %(month)s"
QUALITY = f"from bi.kpi_data_quality_daily where {MINE} and {IN_MONTH}"
ARRIVED = """(array['Tepat waktu', 'Terlambat', 'Tidak ada', 'Kosong', 'Ditolak'])[
    array_position(array['on_time', 'late', 'missing', 'empty', 'rejected'], status)]"""
ACTIVITIES = f"""from bi.kpi_activity k join bi.dim_activity a using (branch_id, activity_code)
    join (values {KINDS}) t (type, jenis) using (type)
    where {MINE} and date_trunc('month', a.started_on) = %(month)s"""

FIGURES = {
    "keterangan": """select 'Anda berhak melihat data '
            || case cardinality(%(branches)s::text[]) when 1 then min(b.name)
                else cardinality(%(branches)s::text[]) || ' cabang' end
            || '. Februari 2024: data tanggal 1 sampai 2.' as keterangan
        from (select branch_id || ' ' || branch_name as name from bi.dim_branch
            where branch_id = any(%(branches)s)) b""",
    "peserta_aktif": f"""select sum(aktif) as peserta_aktif from bi.kpi_branch_daily
        where {MINE} and business_date = {LAST}""",
    "pendaftaran": f"select sum(registrations) as pendaftaran {DAILY}",
    "akuisisi": f"select sum(acquisitions) as akuisisi {DAILY}",
    "capaian": f"select sum(realisation_new)::float8 / nullif(sum(target_new), 0) as capaian {TARGETS}",
    "proyeksi_capaian": f"select sum(projection_new) / nullif(sum(target_new), 0) as capaian_proyeksi {TARGETS}",
    "cabang_melapor": f"""select avg(branches_reported)::float8 as bagian_melapor from bi.kpi_branch_daily
        where {MINE} and business_date = {LAST} and branches_expected = 1""",
    "capaian_kantor_wilayah": f"""select b.kanwil_name as kantor_wilayah,
            sum(realisation_new)::float8 / nullif(sum(target_new), 0) as capaian
        from bi.dim_branch b left join (select * {TARGETS}) t using (branch_id)
        where {MINE} and exists (select from bi.kpi_branch_daily k where k.branch_id = b.branch_id and {IN_MONTH})
        group by 1""",
    "tren_harian": f"""select business_date as hari, sum(registrations) as pendaftaran, sum(acquisitions) as akuisisi
        {DAILY} group by 1""",
    "corong": f"""select t.tahap, t.orang as orang_total from (
            select sum(contacts) as k, sum(registrations) as p, sum(acquisitions) as m, count(*) as n {ACTIVITIES}
                and k.type <> 'RADIO') s
        cross join lateral (values ('Kontak', k), ('Pendaftaran', p), ('Membayar', m)) t (tahap, orang) where n > 0""",
    "tren_kanal": f"""select business_date as hari, c.name_id as kanal, sum(registrations) as pendaftaran
        from bi.kpi_channel_daily join bi.dim_channel c using (channel_code)
        where {MINE} and {IN_MONTH} group by 1, 2""",
    "akuisisi_kanal": f"""select c.name_id as kanal, sum(acquisitions) as akuisisi
        from bi.kpi_channel_daily join bi.dim_channel c using (channel_code) where {MINE} and {IN_MONTH} group by 1""",
    "tabel_cabang": f"""select b.kanwil_name as kantor_wilayah, sum(d.aktif) as peserta_aktif,
            sum(d.registrations) as pendaftaran, sum(d.acquisitions) as akuisisi, sum(d.idr) as iuran,
            sum(target_new) as target, sum(realisation_new) as realisasi,
            sum(realisation_new)::float8 / nullif(sum(target_new), 0) as capaian,
            sum(projection_new) / nullif(sum(target_new), 0) as capaian_proyeksi
        from (select branch_id, sum(aktif) filter (where business_date = {LAST}) as aktif,
            sum(registrations) as registrations, sum(acquisitions) as acquisitions, sum(contributions_idr) as idr
            {DAILY} group by 1) d
        {OFFICES} left join (select * {TARGETS}) t using (branch_id) group by b.branch_id, b.kanwil_name""",
    "capaian_nasional": f"""select max(attainment_mtd) as capaian from bi.kpi_national_daily
        where business_date = {LAST} and {ANYBODY}""",
    "target_bulanan": f"""select to_char(month, 'YYYY-MM') as bulan_singkat, sum(target_new) as target,
            sum(realisation_new) as realisasi, sum(projection_new) as proyeksi
        from bi.kpi_target_monthly where {MINE} and month >= '2023-12-01' group by month""",
    "tabel_kegiatan": f"""select a.started_on as hari, k.activity_code, t.jenis,
            sum(k.contacts) as kontak, sum(k.registrations) as pendaftaran, sum(k.acquisitions) as akuisisi,
            sum(k.cost) as biaya,
            sum(k.cost)::float8 / nullif(sum(k.acquisitions) filter (where k.cost is not null), 0) as biaya_per_akuisisi
        {ACTIVITIES} group by 1, 2, 3""",
    "radio": f"""select spot_date as hari, sum(observed) as pendaftaran_siaran, sum(baseline) as hari_biasa
        from bi.kpi_radio_lift where {MINE} and baseline is not null group by 1""",
    "retensi": f"""select to_char(cohort_month, 'YYYY-MM') as kohor,
            month_n || ' bulan' as bulan_ke,
            sum(covered)::float8 / nullif(sum(cohort_size), 0) as retensi
        from bi.kpi_retention where {MINE} group by 1, 2""",
    "pekerjaan": f"""select sum(registrations) as pendaftaran from bi.kpi_occupation_monthly
        where {MINE} and month = %(month)s group by occupation_code order by 1 desc nulls last limit 10""",
    "keadaan_kiriman": f"""select business_date as hari, {ARRIVED} as keadaan, count(*) as kiriman
        {QUALITY} group by 1, 2""",
    "data_sampai": f"select max(date) as sampai from bi.dim_date where is_as_of and {ANYBODY}",
    "tepat_waktu": f"""select avg((status in ('on_time', 'empty'))::int)::float8 as tepat_waktu {QUALITY}""",
    "nik_sah": f"""select sum(valid_nik_rate * rows_sent) / nullif(sum(rows_sent), 0) as nik_sah {QUALITY}
        and valid_nik_rate is not null""",
    "dapat_dihubungi": f"""select
            sum(contactable_rate * rows_accepted) / nullif(sum(rows_accepted), 0) as dapat_dihubungi
        {QUALITY} and contactable_rate is not null""",
    "baris_dikarantina": f"select sum(rows_quarantined) as dikarantina {QUALITY}",
    "kiriman_ditahan": f"select sum(slices_held) as ditahan from bi.branch_standing where {MINE}",
    "alasan": f"""select alasan, sum(rows) as baris from bi.quarantine_reasons_daily
        join (values {REASONS}) t (code, alasan) using (code) where {MINE} and {IN_MONTH} group by 1""",
    "kiriman_cabang": f"""select {OFFICE} as cabang, count(*) as kiriman,
            avg((status in ('on_time', 'empty'))::int)::float8 as tepat_waktu,
            count(*) filter (where status = 'late') as terlambat,
            count(*) filter (where status = 'missing') as tidak_ada,
            count(*) filter (where status = 'rejected') as ditolak, sum(rows_quarantined) as dikarantina,
            sum(valid_nik_rate * rows_sent)
                / nullif(sum(rows_sent) filter (where valid_nik_rate is not null), 0) as nik_sah
        from bi.kpi_data_quality_daily {OFFICES} where {MINE} and {IN_MONTH} group by 1""",
    "kedudukan": f"""select {OFFICE} as cabang, last_good_date, slices_held, held_since_date,
            (select date from bi.dim_date where is_as_of) - last_good_date as hari_tertinggal
        from bi.branch_standing {OFFICES} where {MINE}""",
    "peta_cakupan": f"""select case province_code when '65' then '64' else province_code end as provinsi,
            100.0 * sum(aktif) / nullif(sum(informal_workers), 0) as cakupan
        from bi.kpi_coverage_province where {ANYBODY} and month_end = (select max(month_end)
            from bi.kpi_coverage_province where month_end <= {LAST}) group by 1""",
}

# Charts that come back with a column for each series: the column of the series, and the metric.
SERIES = {"tren_kanal": ("kanal", "pendaftaran"), "keadaan_kiriman": ("keadaan", "kiriman")}
# What Superset returns besides, or names in a way of its own.
BESIDES = {"retensi": ("rank",), "tabel_cabang": ("tautan_cabang",), "pekerjaan": ("pekerjaan", "akuisisi")}
