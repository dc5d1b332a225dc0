with channels as (
    select * from {{ ref('channels') }}
)

select code as channel_code, name_id, name_en, true as is_known from channels
union all
select 'TIDAK_DIKETAHUI' as channel_code, 'Tidak diketahui' as name_id, 'Unknown' as name_en, false as is_known
