with feeds as (
    select * from {{ source('ops', 'feed') }}
)

select
    feed,
    sender,
    has_nik,
    has_contact,
    expected_from
from feeds
