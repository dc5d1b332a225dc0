select
    branch_id,
    timezone,
    tier,
    active_from,
    active_to,
    branch_name,
    kanwil_id,
    province_code,
    regency_code,
    lat,
    lng
from {{ source('ops', 'branch') }}
