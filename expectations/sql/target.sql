-- Of targets alone: those for branches that the registry lacks, which have no figure to meet them.
select
    slice,
    count(*) filter (
        where
        not exists (
            select from ops.branch
            where branch.branch_id = lying.branch_id
        )
    ) as of_unknown_branches
from lying
group by slice
