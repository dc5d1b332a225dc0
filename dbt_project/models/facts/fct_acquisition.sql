with acquisitions as (
    select * from {{ ref('int_acquisitions_credited') }}
)

select
    participant_token,
    activated_on,
    branch_id,
    channel_code,
    activity_code,
    officer_code,
    occupation_code,
    known_occupation_code,
    segment_code,
    registration_no,
    registered_on,
    activation_days,
    payment_branch_id,
    payment_id
from acquisitions
