-- The activities whose row in force this build may have to change.
{{ config(pre_hook=loops_allowed()) }}
{{ keys_touched(
    'kegiatan',
    delivered='stg_activities',
    in_force='int_activities_in_force',
    key='activity_code',
    also={'started_at': 'started_at_before'}
) }}
