with targets as (
    select * from {{ ref('int_targets_deduplicated') }}
),

branch_days as (
    select * from {{ ref('int_branch_days_counted') }}
),

payments as (
    select * from {{ ref('int_cells_counted') }}
    where measure = 'contributions_idr'
),

branches as (
    select * from {{ ref('dim_branch') }}
),

begun as (
    select
        *,
        {{ month_end('month') }} as last_day,
        least({{ month_end('month') }}, {{ as_of() }}) as to_date
    from targets
    where month between {{ month_start(first_business_date()) }} and {{ as_of() }}
),

-- Not from the daily figures, which leave out what was paid in the first month before the first day.
paid as (
    select
        branch_id,
        {{ month_start('day') }} as month,
        sum(amount) as contributions_idr
    from payments
    where day <= {{ as_of() }}
    group by branch_id, {{ month_start('day') }}
),

realised as (
    select
        begun.*,
        branches.kanwil_id,
        extract(day from begun.to_date) as elapsed_days,
        extract(day from begun.last_day) as days_in_month,
        coalesce(branch_days.acquisitions_mtd, 0) as realisation_new,
        coalesce(branch_days.aktif, 0) as realisation_active,
        coalesce(paid.contributions_idr, 0) as realisation_idr
    from begun
    left join branch_days
        on begun.branch_id = branch_days.branch_id and begun.to_date = branch_days.business_date
    left join paid
        on begun.branch_id = paid.branch_id and begun.month = paid.month
    left join branches
        on begun.branch_id = branches.branch_id
),

compared as (
    select
        *,
        {{ exact_ratio('realisation_new', 'target_new') }} as exact_attainment_new
    from realised
)

select
    branch_id,
    month,
    target_new,
    target_active,
    target_idr,
    cast(realisation_new as bigint) as realisation_new,
    cast(realisation_active as bigint) as realisation_active,
    cast(realisation_idr as numeric(38, 0)) as realisation_idr,
    {{ ratio('realisation_new', 'target_new') }} as attainment_new,
    {{ ratio('realisation_active', 'target_active') }} as attainment_active,
    {{ ratio('realisation_idr', 'target_idr') }} as attainment_idr,
    {{ ratio('realisation_new * days_in_month', 'elapsed_days') }} as projection_new,
    {{ as_double('realisation_active') }} as projection_active,
    {{ ratio('realisation_idr * days_in_month', 'elapsed_days') }} as projection_idr,
    case
        -- A branch that the reference table lacks is in no regional office.
        when exact_attainment_new is not null and kanwil_id is not null
            then rank() over (partition by kanwil_id, month order by exact_attainment_new desc nulls last)
    end as rank
from compared
