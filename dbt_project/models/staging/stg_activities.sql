{{ kept_by_slice('kegiatan', key=['branch_id', 'business_date']) -}}
select
    branch_id,
    activity_code,
    activity_type,
    started_at,
    ended_at,
    district_code,
    target_occupation,
    contacts,
    cost,
    duration_min,
    record_status,
    updated_at,
    _business_date as business_date,
    _revision as revision,
    _file as file_name,
    _line as line,
    _load_id as load_id
from {{ source('raw', 'activities') }}
where _business_date <= {{ as_of() }}
