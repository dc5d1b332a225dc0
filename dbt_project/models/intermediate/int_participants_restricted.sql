-- The participants whom this build does not count, and those whom it counts again. What the build before did not count
-- is in this very table, so that one statement decides for all models: a restriction that comes meanwhile is for the
-- next build.
with restricted as (
    select * from {{ ref('stg_restrictions') }}
)
{%- if var('built_as_of', none) %},

standing as (
    select participant_token from {{ before('int_participants_restricted') }}
    where is_restricted
)

select
    coalesce(restricted.participant_token, standing.participant_token) as participant_token,
    restricted.participant_token is not null as is_restricted,
    restricted.participant_token is null or standing.participant_token is null as is_changed
from restricted
full outer join standing on restricted.participant_token = standing.participant_token
{%- else %}

select
    participant_token,
    true as is_restricted,
    false as is_changed
from restricted
{%- endif %}
