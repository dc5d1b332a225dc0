-- Provinces month by month, and their sum next to the nation's.
with provinces as (
    select
        cast(month_end as text) || '/' || province_code as slice,
        month_end,
        aktif,
        informal_workers,
        coverage_pct,
        attribution_rule,
        abs(coverage_pct - 100.0 * aktif / nullif(informal_workers, 0)) as coverage_off
    from next.kpi_coverage_province
    where month_end >= (select day from audit.since)
),

sums as (
    select
        cast(provinces.month_end as text) as slice,
        sum(provinces.aktif) as of_provinces,
        max(nation.aktif) as of_nation
    from provinces
    inner join next.kpi_national_daily as nation on provinces.month_end = nation.business_date
    group by provinces.month_end
)

select
    slice, aktif, informal_workers, coverage_pct, coverage_off, attribution_rule, of_provinces, of_nation
from provinces
full join sums using (slice)
