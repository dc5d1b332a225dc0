-- The payments whose row in force this build may have to change, with the participant that it was of.
{{ config(pre_hook=loops_allowed()) }}
{{ keys_touched(
    'iuran',
    delivered='stg_contributions',
    in_force='int_contributions_in_force',
    key='payment_id',
    restrictable=true
) }}
