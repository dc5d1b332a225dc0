{{ kept_by_slice('pendaftaran', key=['branch_id', 'business_date']) -}}
select
    -- Equal to the row's own branch_id, which is checked, and indexed with the key.
    _branch_id as branch_id,
    registration_no,
    participant_token,
    registered_at,
    birth_year,
    sex,
    district_code,
    occupation_code,
    program_code,
    months_covered,
    channel_code,
    activity_code,
    officer_code,
    segment_code,
    record_status,
    updated_at,
    _business_date as business_date,
    _revision as revision,
    _file as file_name,
    _line as line,
    _load_id as load_id
from {{ source('raw', 'registrations') }}
where _business_date <= {{ as_of() }}
