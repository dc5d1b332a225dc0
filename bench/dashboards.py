"""Times the query of every chart of the dashboards: `KKBC_HOME=DIR python bench/dashboards.py`.

On an installation that is there, built by `bench/growth.py --home` or any other; needs `.venv-bi` (`make bi` builds it)
and chromium. Starts PostgreSQL and Superset of the home if need be, opens each dashboard in a browser, takes the
queries that its charts and filters ask for, and has Superset say their SQL. Each SQL is then asked of PostgreSQL as
Superset's gateway asks it, for a reader of all branches, of a regional office and of one branch, with another month and
branch each time. Prints p50, p95 and the slowest in milliseconds, the rows of the largest answer, and the tables that
the plan reads; one that is no mart of schema bi is marked with `!`, and the exit status is 1 then.
"""

import argparse
import json
import os
import random
import re
import secrets
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psycopg
from psycopg.conninfo import make_conninfo

from bi import percentiles

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

# Three readers for the length of a run, with what each may see.
READERS = {"bench_head_office": "all", "bench_office": "KW06", "bench_branch": "KC044"}


def main() -> None:
    """Asks each query of each reader, and prints a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeat", type=int, default=50, help="repetitions of each query (default 50)")
    parser.add_argument("--only", default="", help="charts whose name contains this")
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    with gateway() as (conninfo, key, queries):
        chosen = {name: text for name, text in queries.items() if arguments.only in name}
        measured = [row for reader in READERS for row in measure(conninfo, key, reader, chosen, arguments.repeat)]
    measured.sort(key=lambda row: (row["chart"], list(READERS).index(row["reader"])))
    if arguments.json:
        print(json.dumps(measured, indent=2))
    else:
        show(measured, arguments.repeat)
    sys.exit(1 if any("!" in row["tables"] for row in measured) else 0)


def show(measured: list[dict[str, Any]], repeat: int) -> None:
    """The table."""
    print(f"{repeat} repetitions, load {os.getloadavg()[0]:.1f}")
    print(f"{'chart':<28}{'reader':<20}{'p50':>8}{'p95':>8}{'max':>8}{'rows':>7}  tables")
    for row in measured:
        figures = "".join(f"{row[name]:>8.1f}" for name in ("p50", "p95", "max"))
        print(f"{row['chart']:<28}{row['reader']:<20}{figures}{row['rows']:>7}  {row['tables']}")
    print(f"{len(measured)} rows, slowest p95: {max(row['p95'] for row in measured):.1f} ms")


@contextmanager
def gateway() -> Iterator[tuple[str, str, dict[str, str]]]:
    """Address and key of the gateway of KKBC_HOME, and the SQL of each chart; what was not running stops again."""
    from kkbc.core.settings import get_settings
    from kkbc.upkeep import bi_logins
    from kkbc.upkeep.dashboards import users
    from kkbc.upkeep.dashboards.api import session
    from kkbc.warehouse import server
    from kkbc_play.stack import superset

    settings, passwords = get_settings(), dict[str, str]()
    was_up, had_server = superset.find(settings) is not None, server.find(settings.home) is not None
    running = superset.up()
    try:
        for reader, place in READERS.items():
            bi_logins.grant(reader, [place], who="bench/dashboards.py")
        with session(running.url, running.password) as api:
            try:
                _make_users(api, passwords)
                queries = _queries(api, running.url, passwords)
                yield superset.gateway_conninfo(settings), bi_logins.gateway_key(), queries
            finally:
                for reader in READERS:
                    bi_logins.revoke(reader, [], who="bench/dashboards.py")
                users.synchronise(api, dict.fromkeys(it.reader for it in bi_logins.mapping()), passwords.__setitem__)
    finally:
        if not was_up:
            superset.down(settings)
        if not had_server:
            server.stop(settings.home)


def _make_users(api: Any, passwords: dict[str, str]) -> None:
    """Users of the readers, with passwords of this run; users of earlier runs get a new one."""
    from kkbc.upkeep import bi_logins
    from kkbc.upkeep.dashboards import users

    users.synchronise(api, dict.fromkeys(it.reader for it in bi_logins.mapping()), lambda *_: None)
    for user in api.all("security/users/"):
        if user["username"] in READERS:
            passwords[user["username"]] = secrets.token_urlsafe(12)
            api.call("PUT", f"security/users/{user['id']}", json={"password": passwords[user["username"]]})


def _queries(api: Any, url: str, passwords: dict[str, str]) -> dict[str, str]:
    """The SQL of each chart and filter, by name, as the page of a reader of all branches asks for it."""
    from tests.bi.browser import open_dashboard, signed_in

    from kkbc.upkeep.dashboards import load_bundle

    bundle, reader = load_bundle(), next(iter(READERS))
    names = {chart.title: name for name, chart in bundle.charts.items()}
    charts = {str(it["id"]): it for it in api.all("chart/")}
    bodies: dict[str, dict[str, Any]] = {}
    for board in bundle.dashboards.values():
        with signed_in(url, reader, passwords[reader], height=3000) as (page, opened):
            open_dashboard(page, url, board.slug, len(board.shown))
        for number, asked in opened.asked.items():
            if number in charts:
                bodies[names[charts[number]["slice_name"]]] = asked[-1]
            else:
                bodies |= {f"filter {', '.join(map(str, it['queries'][0]['columns']))}": it for it in asked}
    # The map is of an older kind, which asks otherwise for the same.
    chart = next(it for it in charts.values() if it["slice_name"] == bundle.charts["peta_cakupan"].title)
    month = next(it for it in bodies["pendaftaran"]["queries"][0]["filters"] if it["col"] == "bulan")
    query = {"columns": ["iso"], "metrics": ["cakupan"], "filters": [month], "row_limit": 100}
    bodies["peta_cakupan"] = {"datasource": {"id": chart["datasource_id"], "type": "table"}, "queries": [query]}
    return {
        name: api.call("POST", "chart/data", json={**body, "result_type": "query"})["result"][0]["query"]
        for name, body in bodies.items()
    }


def measure(conninfo: str, key: str, reader: str, queries: dict[str, str], repeat: int) -> list[dict[str, Any]]:
    """Milliseconds of each query for a reader."""
    from kkbc.core import bi_tickets

    options = f"{bi_tickets.connection_options(reader, key, seconds=86_400)} {bi_tickets.PLANS}"
    with psycopg.connect(make_conninfo(conninfo, options=options), autocommit=True) as conn:
        conn.prepare_threshold = None
        months = _column(
            conn, "select distinct to_char(month, 'YYYY-MM ') || month_name_id from bi.dim_date where is_reported"
        )
        branches = _column(conn, "select branch_id || ' ' || branch_name from bi.dim_branch")
        return [_timed(conn, name, text, reader, repeat, months, branches) for name, text in queries.items()]


def _column(conn: psycopg.Connection, query: str) -> list[str]:
    return sorted(value for (value,) in conn.execute(query).fetchall())  # type: ignore[arg-type]


def _timed(
    conn: psycopg.Connection, name: str, text: str, reader: str, repeat: int, months: list[str], branches: list[str]
) -> dict[str, Any]:
    dice, spent, most = random.Random(name), [], 0
    month, branch = _named(text, months), _branch_named(text)
    for _ in range(repeat):
        asked = text.replace(month, dice.choice(months)) if month else text
        if branch:
            asked = asked.replace(branch, dice.choice(branches).replace("'", "''"))
        began = time.perf_counter()
        rows = conn.execute(asked).fetchall()  # type: ignore[arg-type]
        spent.append((time.perf_counter() - began) * 1000)
        most = max(most, len(rows))
    return {"chart": name, "reader": reader, **percentiles(spent), "rows": most, "tables": _tables(conn, text)}


def _named(text: str, months: list[str]) -> str:
    """The month that a query asks for; nothing when it asks for all."""
    return next((month for month in months if f"'{month}'" in text), "")


def _branch_named(text: str) -> str:
    """The branch that a query asks for."""
    found = re.search(r"cabang\"?\s*(?:IN\s*\(|=\s*)'(KC\d+ (?:[^']|'')+)'", text)
    return found[1] if found else ""


def _tables(conn: psycopg.Connection, text: str) -> str:
    """The tables that a plan reads; those outside of schema bi, as facts are, with `!`; without those of rights."""
    ((plan,),) = conn.execute(f"explain (verbose, format json) {text}").fetchall()  # type: ignore[arg-type]
    found = {(node["Schema"], node["Relation Name"]) for node in _nodes(plan[0]["Plan"]) if "Relation Name" in node}
    return ", ".join(
        name if schema == "bi" else f"!{schema}.{name}" for schema, name in sorted(found) if schema != "readers"
    )


def _nodes(node: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield node
    for below in node.get("Plans", []):
        yield from _nodes(below)


if __name__ == "__main__":
    main()
