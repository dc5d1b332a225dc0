-- The rows of a feed's suite: a row for each revision that the build takes in, with what is usual for the branch on
-- that weekday and what lies in raw of it if it is in force; a row for each code of a closed list that occurs, and for
-- each quarantine code. What does not look like a code is not shown, for it may be anything.
--
-- Of the contract: feed, table, key, has_token, amounts, closed_lists; own_branch, days and changed_at: the columns
-- with the delivering branch, the Jakarta days that may not lie after the business date, and the last change of a row.
-- Of the suite: `optional`, columns that may be missing; `own`, a file with columns of this feed alone, a row a slice.
with touched as materialized (
    select *
    from audit.slices
    where feed = '{{ feed }}'
),

lying as materialized (
    select
        loaded.*,
        touched.sent_at
    from audit.loaded_{{ table }} as loaded
    inner join touched
        -- The slice, in columns of which the planner knows how many values there are.
        on
            loaded._branch_id = touched.branch_id
            and loaded._business_date = touched.business_date
            and loaded.revision = touched.revision
),

counted as materialized (
    select
        slice,
        count(*) as rows_lying,
        count(*) filter (where _load_id <> load_id or _revision <> revision) as of_another_load,
        count(*) filter (
            where false{% for column in own_branch %} or {{ column }} <> _branch_id{% endfor %}

        ) as of_another_branch,
        count(*) filter (
            where false{% for column in days %} or {{ column }} > _business_date{% endfor %}

        ) as after_business_date,
        count(*) filter (
            where false{% for column in changed_at %} or {{ column }} > sent_at + interval '1 day'{% endfor %}

        ) as changed_after_sending,
        {% if has_token %}
        count(*) filter (
            where length(participant_token) <> 32
            or translate(participant_token, '0123456789abcdef', '') <> ''
        ) as tokens_malformed,
        {% endif %}
        {% for column in optional | default([]) %}
        case
            when count(*) >= 20 then cast(count(*) filter (where {{ column }} is null) as float8) / count(*)
        end as {{ column }}_missing_share,
        {% endfor %}
        {% if amounts %}
        count(*) filter (where least({{ amounts | join(', ') }}) < 0) as amounts_negative,
        {% else %}
        0 as amounts_negative,
        {% endif %}
        count(*) filter (
            where '' in (
                {% for column in key %}
                coalesce(cast({{ column }} as text), ''){% if not loop.last %},{% endif %}

                {% endfor %}
            )
        ) as keys_blank,
        count(*) - count(distinct({{ key | join(', ') }})) as keys_repeated
    from lying
    group by slice
),

{% if own is defined %}
own as materialized (
    {% include own %}
),

{% endif %}
measured as (
    select
        *,
        '' as field,
        case when status = 'loaded' then coalesce(rows_lying, 0) end as raw_rows,
        case when rows_accepted >= 20 then 1 - cast(rows_contactable as float8) / rows_accepted end
            as contact_missing_share
    from touched
    left join counted using (slice)
    {% if own is defined %}
    left join own using (slice)
    {% endif %}
),

listed as (
    select
        slice || '/' || code as slice,
        'quarantine' as field,
        code,
        case when rows_sent >= 20 then share end as code_share
    from audit.quarantine_codes
    where feed = '{{ feed }}'
    {% if closed_lists %}
    union all
    select distinct
        slice,
        field,
        audit.code(code) as code,
        cast(null as float8) as code_share
    from (
        select distinct
            slice,
            field,
            code
        from lying
        cross join
            lateral (
                values
                {% for column in closed_lists %}
                ('{{ column }}', {{ column }}){% if not loop.last %},{% endif %}

                {% endfor %}
            ) as fields (field, code)
    ) as occurring
    {% endif %}
)

-- As many columns as audit.slices has, and what is counted.
select * -- noqa: AM04
from measured
full join listed using (slice, field)
