-- What the touched participants counted for before this build: int_cells_counted takes it back and counts them again.
{{ waits_for('int_participants_touched') }}
{%- set payments %}
    select
        branch_id,
        {{ jakarta_day('paid_at_before') }} as paid_on,
        amount_before as total_amount
    from {{ ref('int_contribution_keys_touched') }}
    where paid_at_before is not null
{%- endset %}
{% if var('built_as_of', none) -%}
{{ participants_counted(
    payments,
    as_before=true,
    which='where ' ~ in_set('participant_token', ref('int_participants_touched'), 'participant_token')
) }}
{%- else -%}
select
    cast(null as {{ dbt.type_string() }}) as measure,
    cast(null as {{ dbt.type_string() }}) as branch_id,
    cast(null as date) as day,
    cast(null as {{ dbt.type_string() }}) as code,
    cast(null as numeric(38, 0)) as amount
where 1 = 0
{%- endif %}
