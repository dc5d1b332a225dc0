-- The rows of a mart's suite that names no query: the columns that it checks, of the days from the month before on if
-- the suite names the column of the `day`. Of the properties: mart, with its key and the types of its columns. Of text
-- only what looks like a code is shown.
{% macro shown(column) %}
{% if mart.columns[column] == 'text' and column != 'branch_id' %}
audit.code({{ column }})
{%- else %}
{{ column }}
{%- endif %}
{% endmacro %}
select
    concat_ws('/'{% for column in mart.primary_key %}, {{ shown(column) }}{% endfor %}) as slice
    {% for column in columns %}
    , {{ shown(column) }} as {{ column }}
    {% endfor %}
from next.{{ mart.name }}
{% if day is defined %}
where {{ day }} >= (select since.day from audit.since)
{% endif %}
