-- The rows of a feed's suite: a row for each revision that the build takes in, with what is usual for the branch on
-- that weekday and what lies in raw of it if it is in force; a row for each code of a closed list that occurs, and for
-- each quarantine code. What does not look like a code is not shown, for it may be anything.
--
-- Of the contract: feed, table, key, has_token, amounts, closed_lists; own_branch, days and changed_at: the columns
-- with the delivering branch, the Jakarta days that may not lie after the business date, and the last change of a row.
-- Of the suite: `optional`, columns that may be missing; `counts` and `shares`, conditions of this feed alone, by name.
with touched as materialized (
    select *
    from audit.slices
    where feed = '{{ feed }}'
),

lying as (
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

-- In one pass over the rows: what is counted, a row for each slice and each combination of codes that occurs in it.
-- The slice by its columns: its name would have to be written for every row.
combined as materialized (
    select
        _branch_id,
        _business_date,
        revision,
        {% for column in closed_lists %}
        {{ column }},
        {% endfor %}
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
            where octet_length(participant_token) <> 32
            or participant_token ~ '[^0-9a-f]'
        ) as tokens_malformed,
        {% endif %}
        {% for column in optional | default([]) %}
        count(*) filter (where {{ column }} is null) as {{ column }}_missing,
        {% endfor %}
        {% for named in (counts | default({}), shares | default({})) %}
        {% for name, condition in named.items() %}
        count(*) filter (where {{ condition }}) as {{ name }},
        {% endfor %}
        {% endfor %}
        {% if amounts %}
        count(*) filter (where least({{ amounts | join(', ') }}) < 0) as amounts_negative,
        {% endif %}
        count(*) filter (
            where '' in (
                {% for column in key %}
                coalesce(cast({{ column }} as text), ''){% if not loop.last %},{% endif %}

                {% endfor %}
            )
        ) as keys_blank
    from lying
    group by
        {% for column in closed_lists %}
        {{ column }},
        {% endfor %}
        _branch_id,
        _business_date,
        revision
),

combined_of_slices as (
    select
        touched.slice,
        combined.*
    from combined
    inner join touched
        on
            combined._branch_id = touched.branch_id
            and combined._business_date = touched.business_date
            and combined.revision = touched.revision
),

-- Slices in which a hash comes twice, for comparing hashes takes half the time of comparing keys ...
suspected as materialized (
    select
        _branch_id,
        _business_date,
        revision
    from audit.loaded_{{ table }}
    group by _branch_id, _business_date, revision
    having count(*) > count(distinct hash_record_extended(row({{ key | join(', ') }}), 0))
),

-- ... and how many of their keys do.
repeated as materialized (
    select
        loaded.slice,
        count(*) - count(distinct({{ key | join(', ') }})) as keys_repeated
    from audit.loaded_{{ table }} as loaded
    inner join suspected using (_branch_id, _business_date, revision)
    group by loaded.slice
),

counted as materialized (
    select
        slice,
        cast(sum(rows_lying) as bigint) as rows_lying,
        cast(sum(of_another_load) as bigint) as of_another_load,
        cast(sum(of_another_branch) as bigint) as of_another_branch,
        cast(sum(after_business_date) as bigint) as after_business_date,
        cast(sum(changed_after_sending) as bigint) as changed_after_sending,
        {% if has_token %}
        cast(sum(tokens_malformed) as bigint) as tokens_malformed,
        {% endif %}
        {% for name in counts | default({}) %}
        cast(sum({{ name }}) as bigint) as {{ name }},
        {% endfor %}
        {% for column in optional | default([]) %}
        case
            when sum(rows_lying) >= 20
                then cast(sum({{ column }}_missing) as float8) / cast(sum(rows_lying) as float8)
        end as {{ column }}_missing_share,
        {% endfor %}
        {% for name in shares | default({}) %}
        case
            when sum(rows_lying) >= 20
                then cast(sum({{ name }}) as float8) / cast(sum(rows_lying) as float8)
        end as {{ name }},
        {% endfor %}
        {% if amounts %}
        cast(sum(amounts_negative) as bigint) as amounts_negative,
        {% else %}
        cast(0 as bigint) as amounts_negative,
        {% endif %}
        cast(sum(keys_blank) as bigint) as keys_blank,
        coalesce(max(repeated.keys_repeated), 0) as keys_repeated
    from combined_of_slices
    left join repeated using (slice)
    group by slice
),

measured as (
    select
        *,
        '' as field,
        case when status = 'loaded' then coalesce(rows_lying, 0) end as raw_rows,
        case when rows_accepted >= 20 then 1 - cast(rows_contactable as float8) / rows_accepted end
            as contact_missing_share
    from touched
    left join counted using (slice)
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
            combined_of_slices.slice,
            fields.field,
            fields.code
        from combined_of_slices
        cross join
            lateral (
                values
                {% for column in closed_lists %}
                ('{{ column }}', combined_of_slices.{{ column }}){% if not loop.last %},{% endif %}

                {% endfor %}
            ) as fields (field, code)
    ) as occurring
    {% endif %}
)

-- As many columns as audit.slices has, and what is counted.
select * -- noqa: AM04
from measured
full join listed using (slice, field)
