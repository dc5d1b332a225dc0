"""Databases of tests on the session's server."""

from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count

from kkbc.warehouse import schema, server

TEMPLATE = "template_kkbc"
_taken: set[str] = set()


@contextmanager
def database(pg: server.Server, template: str = TEMPLATE) -> Iterator[str]:
    """A copy of a database, migrated and empty unless another is named, for as long as the block; yields its name.

    It is the lowest name that is free: dbt parses its project for each name, so few names cost few parses.
    """
    name = next(name for name in (f"t{number}" for number in count(1)) if name not in _taken)
    _taken.add(name)
    schema.create_database(pg, name, template=template)
    try:
        yield name
    finally:
        schema.drop_database(pg, name)
        _taken.discard(name)
