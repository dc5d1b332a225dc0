"""Lineage of columns, on SQL whose answers are plain: CTEs, unions, windows, counts and values."""

from typing import Any

import pytest

from kkbc.marts.columns import Column, Origin, column_lineage

SQL = """
with payments as (select * from w.raw.payments),
offices as (select * from w.next.offices),
ranked as (
    select branch_id, amount, row_number() over (partition by token order by paid_at desc) as place from payments
),
both_kinds as (
    select branch_id, amount as value from ranked where place = 1
    union all
    select branch_id, fee from payments
)
select
    both_kinds.branch_id,
    offices.name as office,
    sum(both_kinds.value) filter (where both_kinds.value > 0) as total,
    count(*) as payments,
    'by office' as rule,
    max(ranked.place) as place
from both_kinds
left join offices on both_kinds.branch_id = offices.branch_id
left join ranked on both_kinds.branch_id = ranked.branch_id
group by 1, 2
"""
WANTED = {
    "branch_id": Origin((Column("payments", "branch_id"),)),
    "office": Origin((Column("offices", "name"),)),
    "total": Origin((Column("payments", "amount"), Column("payments", "fee"))),
    "payments": Origin(rows_of=("offices", "payments")),
    "rule": Origin(values=("'by office'",)),
    "place": Origin((Column("payments", "paid_at"), Column("payments", "token"))),
}


def node(kind: str, schema: str, name: str, columns: list[str], **more: Any) -> dict[str, Any]:
    described = {column: {"name": column, "data_type": None} for column in columns}
    return {"resource_type": kind, "schema": schema, "name": name, "columns": described, **more}


@pytest.fixture(scope="module")
def found() -> dict[str, Origin]:
    sources = {"s.payments": node("source", "raw", "payments", ["branch_id", "token", "amount", "fee", "paid_at"])}
    nodes = {
        "seed.offices": node("seed", "next", "offices", ["branch_id", "name"]),
        "model.m": node(
            "model", "next", "m", list(WANTED), compiled_code=SQL, depends_on={"nodes": ["s.payments", "seed.offices"]}
        ),
    }
    return column_lineage({"nodes": nodes, "sources": sources})["m"]


@pytest.mark.parametrize("column", WANTED)
def test_a_column_is_made_of(found: dict[str, Origin], column: str) -> None:
    assert found[column] == WANTED[column]
