-- The rows of the new slices in raw next to the facts that were made of them, in rows and rupiah. A row is in force
-- when no later one of its key is, and counts unless its participant is under restriction; where something came after
-- the build, the next build answers for the branch.
{% set ways = [
    {'raw': 'registrations', 'fact': 'registration', 'key': 'registration_no', 'amount': none},
    {'raw': 'contributions', 'fact': 'contribution', 'key': 'payment_id', 'amount': 'total_amount'},
] %}
with {% for way in ways %}{{ way.raw }} as (
    select
        delivered.*,
        coalesce(
            (standing.updated_at, standing.business_date, standing.line)
            < (delivered.updated_at, delivered._business_date, delivered._line),
            true
        ) as is_lost,
        coalesce(
            (standing.business_date, standing.line) = (delivered._business_date, delivered._line), false
        ) as is_standing,
        delivered.participant_token in (
            select restricted.participant_token from next.int_participants_restricted as restricted
            where restricted.is_restricted
        ) as is_restricted,
        delivered.record_status <> 'BATAL' and delivered.participant_token not in (
            select restricted.participant_token from next.int_participants_restricted as restricted
            where restricted.is_restricted
        ) as is_counted
    from audit.loaded_{{ way.raw }} as delivered
    left join next.int_{{ way.raw }}_in_force as standing
        on delivered._branch_id = standing.branch_id and delivered.{{ way.key }} = standing.{{ way.key }}
    where
        delivered._branch_id not in (select branch_id from audit.branches_ahead)
        and delivered._business_date <= (select as_of from audit.build)
){% if not loop.last %},{% endif %}


{% endfor %}
{% for way in ways %}
select
    lying.slice,
    count(*) filter (where lying.is_lost) as rows_lost,
    count(*) filter (where lying.is_standing and lying.is_counted) as rows_in_force,
    count(fact.{{ way.key }}) filter (where lying.is_standing and lying.record_status <> 'BATAL') as fact_rows,
    count(fact.{{ way.key }}) filter (where lying.is_standing and lying.record_status = 'BATAL') as voids_in_facts,
    count(fact.{{ way.key }}) filter (where lying.is_standing and lying.is_restricted) as restricted_in_facts,
    {% if way.amount %}
    coalesce(sum(lying.{{ way.amount }}) filter (where lying.is_standing and lying.is_counted), 0) as idr,
    coalesce(sum(fact.{{ way.amount }}) filter (where lying.is_standing and lying.record_status <> 'BATAL'), 0)
        as fact_idr
    {% else %}
    cast(0 as numeric) as idr,
    cast(0 as numeric) as fact_idr
    {% endif %}
from {{ way.raw }} as lying
left join next.fct_{{ way.fact }} as fact
    on lying._branch_id = fact.branch_id and lying.{{ way.key }} = fact.{{ way.key }}
group by lying.slice
{% if not loop.last %}
union all
{% endif %}
{% endfor %}
