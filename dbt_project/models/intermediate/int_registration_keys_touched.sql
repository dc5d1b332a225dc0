-- The registrations whose row in force this build may have to change, with the participant that it was of.
{{ config(pre_hook=loops_allowed()) }}
{{ keys_touched(
    'pendaftaran',
    delivered='stg_registrations',
    in_force='int_registrations_in_force',
    key='registration_no'
) }}
