-- The participants whom no mart may count now.
select participant_token
from {{ source('ops', 'restricted_participant') }}
