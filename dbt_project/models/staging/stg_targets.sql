{{ kept_by_slice('target', key=['business_date']) -}}
select
    branch_id,
    month,
    target_new,
    target_active,
    target_idr,
    _business_date as business_date,
    _revision as revision,
    _file as file_name,
    _line as line,
    _load_id as load_id
from {{ source('raw', 'targets') }}
where _business_date <= {{ as_of() }}
