select
    feed,
    sender,
    has_nik,
    has_contact,
    expected_from
from {{ source('ops', 'feed') }}
