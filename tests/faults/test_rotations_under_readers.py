"""Readers read while the key of the tokens is changed: none fails, and none sees a part of the change."""

import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import LiteralString

import psycopg
import pytest

from kkbc.warehouse import server

from .conftest import homes, publish
from .stage import DAYS, Home, Victims

READS = 10_000
READERS = 4

# Rows that find their participant in another table, rows in all, and versions of tokens, of one snapshot: n, n and 1.
FACTS: LiteralString = """
select (select count(*) from bi_detail.fct_registration join bi_detail.dim_participant using (participant_token)),
    (select count(*) from bi_detail.fct_registration),
    (select count(distinct left(participant_token, 2)) from (
        select participant_token from bi_detail.fct_registration
        union all select participant_token from bi_detail.dim_participant
        union all select participant_token from bi_detail.fct_contribution
        union all select participant_token from bi_detail.fct_coverage) t)
"""
FIGURES: LiteralString = (
    "select (select md5(string_agg(t::text, ' ' order by t::text)) from bi.kpi_branch_daily t), publication_id"
    " from bi.publication"
)


@dataclass
class Read:
    """What readers of one kind saw: how many reads, which answers, and what failed."""

    role: str
    query: LiteralString
    count: int = 0
    answers: set[tuple[object, ...]] = field(default_factory=set)
    failed: list[str] = field(default_factory=list)


def read(home: Home, kind: Read, over: threading.Event) -> None:
    """Reads until there were enough reads and the changes of the key are done."""
    with psycopg.connect(home.database, autocommit=True, options=f"-c role={kind.role}") as conn:
        while kind.count < READS // 2 or not over.is_set():
            try:
                row = conn.execute(kind.query).fetchone()
            except psycopg.Error as error:
                kind.failed.append(str(error))
                return
            assert row is not None
            kind.answers.add(tuple(row))
            kind.count += 1


@pytest.fixture
def published(
    pg: server.Server, night_victims: Victims, tmp_path_factory: pytest.TempPathFactory, deliveries: object
) -> Iterator[Home]:
    """An installation after a night."""
    with homes(pg, tmp_path_factory.mktemp("readers"), deliveries) as make:  # type: ignore[arg-type]
        home = make()
        publish(night_victims, home, DAYS[-1])
        yield home


def test_no_reader_sees_a_part_of_a_change(night_victims: Victims, published: Home) -> None:
    kinds = [Read("analyst", FACTS), Read("bi", FIGURES)]
    over = threading.Event()
    readers = [
        threading.Thread(target=read, args=(published, kind, over)) for kind in kinds for _ in range(READERS // 2)
    ]
    for reader in readers:
        reader.start()
    changes = 0
    try:
        while changes < 2 or any(kind.count < READS // 2 for kind in kinds if not kind.failed):
            arguments = ("keys", "rotate", "--why", "a test")
            assert night_victims.run(published, "command", *arguments) == 0, published.log.read_text()
            changes += 1
    finally:
        over.set()
        for reader in readers:
            reader.join()
    assert [kind.failed for kind in kinds] == [[], []]
    assert sum(kind.count for kind in kinds) >= READS
    ((found, rows, versions),) = kinds[0].answers
    assert (found, versions) == (rows, 1)
    assert rows
    assert len(kinds[1].answers) == 1
    assert changes >= 2
