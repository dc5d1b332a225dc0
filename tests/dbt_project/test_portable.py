"""`make lint` refuses SQL that one engine alone understands, or takes otherwise; that of each is in its folder."""

import re

import pytest
from spark.travels import ENGINES, SOURCES, foreign, main

from kkbc.marts.runner import DBT_PROJECT


def test_models_are_written_in_sql_of_all(capsys: pytest.CaptureFixture[str]) -> None:
    assert main() == 0, capsys.readouterr().out
    assert len(SOURCES) > 70


def test_what_differs_has_one_macro_for_each_engine() -> None:
    def macros(folder: str) -> set[str]:
        text = "".join(path.read_text() for path in (DBT_PROJECT / "macros" / folder).glob("*.sql"))
        return set(re.findall(rf"macro {folder}__(\w+)\(", text))

    named = set(re.findall(r"macro (\w+)\(", (DBT_PROJECT / "macros" / "engines.sql").read_text()))
    assert named
    for engine in ENGINES:
        assert named <= macros(engine), engine


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
        "select concat(a, b) from c",
        "select round(a) from b",
        "select 'a\\b' from c",
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
