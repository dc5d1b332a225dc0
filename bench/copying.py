"""COPY of what a pull has loaded, out of files into the same typed, indexed, partitioned tables: PostgreSQL's part."""

import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from kkbc.warehouse import connect


@contextmanager
def emptied(tables: Sequence[str]) -> Iterator[Callable[[], dict[str, float]]]:
    """Empties the tables into files; yields what copies each file back, by one connection.

    That returns the seconds by table, the commit of each included.
    """
    with tempfile.TemporaryDirectory(prefix="kkbc-bench-") as spool, connect() as conn:
        for table in tables:
            statement = f"copy (select * from {table}) to stdout (format csv)"
            with (Path(spool) / table).open("wb") as file, conn.cursor() as cursor, cursor.copy(statement) as copy:
                for block in copy:
                    file.write(block)
        conn.execute(f"truncate {', '.join(tables)} cascade")
        conn.commit()

        def copy_back() -> dict[str, float]:
            seconds = {}
            for table in tables:
                began = time.perf_counter()
                statement = f"copy {table} from stdin (format csv)"
                with (Path(spool) / table).open("rb") as file, conn.cursor() as cursor, cursor.copy(statement) as copy:
                    while block := file.read(1 << 20):
                        copy.write(block)
                conn.commit()
                seconds[table] = time.perf_counter() - began
            return seconds

        yield copy_back
