"""SQL that PostgreSQL alone understands, or others otherwise, stands in macros/postgres and nowhere else."""

import re
from pathlib import Path

import pytest

from kkbc.marts.runner import DBT_PROJECT

SOURCES = sorted(
    path
    for folder in ("models", "macros", "tests")
    for path in (DBT_PROJECT / folder).rglob("*.sql")
    if DBT_PROJECT / "macros" / "postgres" not in path.parents
)

# What Spark does not know, and what it knows otherwise (7/2 is 3.5 there, extract(dow) counts from 1, date - date is an
# interval, regexp_replace replaces all). On the right what to write instead.
FOREIGN = {
    r"::": "cast(... as ...)",
    r"\bas text\b": "dbt.type_string()",
    r"\bdouble precision\b": "the macro as_double",
    r"\btimestamptz\b|\bwith time zone\b": "the macro jakarta_instant",
    r"\bat time zone\b": "the macro jakarta_day",
    r"\bdistinct on\b": "row_number()",
    r"\bgenerate_series\b": "the macro day_spine",
    r"\bstring_agg\b|\barray_agg\b": "dbt.listagg",
    r"\bextract\s*\(\s*(epoch|dow|isodow)\b": "the macro iso_weekday, or dbt.datediff",
    r"\b(date_part|to_char|to_date)\s*\(": "a macro in macros/postgres",
    r"\bmake_interval\b|\binterval\s*'": "the macros add_days and add_months",
    r"\bdate\s*'|\btimestamp\s*'": "cast('...' as date)",
    r"~|\bsimilar to\b|\bilike\b": "like, or a macro in macros/postgres",
    r"->|#>": "columns of their own",
    r'"': "names that need no quotes",
    r"\bregexp_\w+": "replace",
    r"\bcollate\b": "the macro by_code_points",
    r"\bunnest\b(?!\()|\bunnest\((?!')|\bany\s*\(\s*array\b": "the macros unnest and in_set",
    r"[\w)]\s*/\s*[\w(]": "the macro ratio",
    r"\b\w+_(?:on|date|start|end|day)\s*-\s*\w|\bday\s*-\s*\w": "the macros days_between and add_days",
    r"\bfilter\s*\(": "sum(case when ...)",
    r"\blateral\b": "a join",
    r"\bnow\s*\(|\bcurrent_date\b|\bcurrent_timestamp\b": "the macro as_of",
    r"\bserial\b|\bjsonb?\b|\bbytea\b": "types that all have",
}

# The macro that divides, both sides cast.
ALLOWED = {("macros/ratio.sql", r"[\w)]\s*/\s*[\w(]")}


def written(text: str) -> str:
    """The SQL of a source as it was written, without comments; of Jinja's expressions the strings in them."""
    text = re.sub(r"\{#.*?#\}|\{%.*?%\}", "", text, flags=re.S)
    text = re.sub(r"\{\{(.*?)\}\}", lambda expression: f"({', '.join(strings(expression[1]))})", text, flags=re.S)
    return re.sub(r"--[^\n]*", "", text)


def strings(expression: str) -> list[str]:
    """What the string literals of a Jinja expression hold."""
    return [single or double for single, double in re.findall(r"'([^']*)'|\"([^\"]*)\"", expression)]


def foreign(name: str, text: str) -> list[str]:
    """What of the SQL in `text` is for PostgreSQL alone, with what to write instead."""
    return [
        f"{name}: {found[0].strip()!r}: write {instead}"
        for pattern, instead in FOREIGN.items()
        if (name, pattern) not in ALLOWED
        for found in [re.search(pattern, written(text), re.I)]
        if found
    ]


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(DBT_PROJECT)))
def test_models_are_written_in_sql_of_all(path: Path) -> None:
    assert foreign(str(path.relative_to(DBT_PROJECT)), path.read_text(encoding="utf-8")) == []


@pytest.mark.parametrize(
    "sql",
    [
        "select a::date from b",
        "select cast(a as text) from b",
        "select cast(a as double precision) from b",
        "select a at time zone 'Asia/Jakarta' from b",
        "select distinct on (a) a from b",
        "select * from generate_series(1, 2)",
        "select string_agg(a, ',' order by a) from b",
        "select extract(epoch from a), 1 from b",
        "select extract(dow from a) from b",
        "select to_char(a, 'YYYY') from b",
        "select a from b where a ~ '^x'",
        "select a ->> 'x' from b",
        'select "A" from b',
        "select 7 / 2",
        "select sum(a)/count(*) from b",
        "select paid_on - registered_on from b",
        "select regexp_replace(a, 'x', '') from b",
        "select a from b order by a collate c",
        "select date '2024-01-01'",
        "select sum(a) filter (where a > 1) from b",
        "select {{ add_days('a::date', 1) }} from b",
    ],
)
def test_what_is_of_postgresql_alone_is_found(sql: str) -> None:
    assert foreign("models/some.sql", sql)


@pytest.mark.parametrize(
    "sql", ["select 'a' as b -- 7 / 2, a::text\nfrom c", "{# 7 / 2 #} select {{ ratio('a', 'b') }} from c"]
)
def test_comments_and_macros_are_left_alone(sql: str) -> None:
    assert foreign("models/some.sql", sql) == []
