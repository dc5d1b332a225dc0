"""What a spreadsheet would run is written as text, in all three ways alike, and can be had back."""

import polars as pl
import psycopg
import pytest
from psycopg import sql

from kkbc.core import cell_text
from kkbc.warehouse import server

RUN = [
    *("=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1", "\n=1", "\tx", "\rx", " =1", "  -2+3", "\xa0=1", "\u3000@a"),
    *(
        "\u200b=1",
        "\ufeff+1",
        "\u00ad-1",
        "\uff1d1+1",
        "\uff0b1",
        "\uff0d1",
        "\uff20a",
        " \t =HYPERLINK(1)",
        "'",
        "'=1",
    ),
]
LEFT = ["", "a", "KC001", "2023-12-11", "a=b", "1-1", "x@y", "Budi's", " a", "\xa0a", "(1)", "\u2212", "\u03c0"]


@pytest.mark.parametrize("text", RUN)
def test_what_would_be_run_gets_an_apostrophe(text: str) -> None:
    assert cell_text.text_of(text) == f"'{text}"


@pytest.mark.parametrize("text", LEFT)
def test_other_text_stays_as_it_is(text: str) -> None:
    assert cell_text.text_of(text) == text


def test_numbers_stay_numbers() -> None:
    assert [cell_text.text_of(value) for value in (-5, -0.5, None, True)] == [-5, -0.5, None, True]


def test_polars_and_postgresql_see_it_the_same_way(pg: server.Server) -> None:
    texts = [*RUN, *LEFT]
    expected = [cell_text.text_of(text) for text in texts]
    frame = pl.DataFrame({"a": [*texts, None]}).select(cell_text.as_text(pl.col("a")))
    assert frame["a"].to_list() == [*expected, None]
    with psycopg.connect(pg.conninfo()) as conn:
        query = sql.SQL("select {} from unnest(%s::text[]) t(a)").format(cell_text.as_text_sql(sql.Identifier("a")))
        assert [row[0] for row in conn.execute(query, [[*texts, None]])] == [*expected, None]


def test_taking_one_apostrophe_away_gives_back_what_was_there() -> None:
    for text in [*RUN, *LEFT]:
        assert cell_text.text_of(text).removeprefix("'") == text
