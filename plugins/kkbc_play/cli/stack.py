"""`kkbc up`, `kkbc down` and `kkbc play`."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date
from shutil import which
from typing import Annotated

import typer

from kkbc.cli.console import out, place, say
from kkbc.cli.night import night_progress, show_status


def register(app: typer.Typer) -> None:
    """Adds the commands of this module."""
    app.command("up", epilog="Example: KKBC_AIRFLOW_PORT=8080 kkbc up")(up)
    app.command("down", epilog="Example: kkbc down")(down)
    app.command("play", epilog="Example: kkbc play --nights 7")(play)


def up() -> None:
    """Starts PostgreSQL and Airflow of this home, and waits until they are ready."""
    from kkbc_play.stack import states
    from kkbc_play.stack import up as start

    start(say)
    for part in states():
        out.print(f"{part.name:<14} {'running' if part.running else 'down':<8} {part.detail}")
    _where_to_look()


def down() -> None:
    """Stops everything of this home, whoever started it. What was loaded stays."""
    from kkbc.core.settings import get_settings
    from kkbc_play.stack import down as stop

    stopped = stop()
    home = get_settings().home
    out.print(f"stopped: {', '.join(stopped)}" if stopped else f"nothing was running in {home}")


def play(
    nights: Annotated[
        int | None, typer.Option(min=1, help="Nights to play; default: 3 in a new home, one more after that.")
    ] = None,
) -> None:
    """Plays nights of 122 invented branches through Airflow, and shows what they brought."""
    from kkbc_play.stack import nights as played

    try:
        for outcome in played.play(nights, _night):
            if outcome["alert"]:
                say(outcome["alert"])
    except KeyboardInterrupt:
        say("Stopped watching: Airflow goes on with the night. `make run` again catches up, `make down` stops all.")
        raise
    show_status(json=False)
    _where_to_look()
    out.print("Another night:   make run          Several:     .venv/bin/kkbc play --nights 7")
    out.print("Stop everything: make down         From zero:   make clean")


@contextmanager
def _night(business_date: date) -> Iterator[night_progress]:
    say(f"Night of {business_date}")
    with night_progress() as progress:
        yield progress


def _where_to_look() -> None:
    from kkbc.core import local_airflow
    from kkbc.core.settings import get_settings
    from kkbc.reporting import latest_page
    from kkbc.warehouse import server

    settings = get_settings()
    airflow, postgres = local_airflow.find(settings), server.find(settings.home)
    if airflow is None or postgres is None:
        return
    where = local_airflow.password_file(settings)
    out.print(f"\nAirflow:  {airflow.url}  user {local_airflow.ADMIN}, password in {where}", soft_wrap=True)
    report = latest_page()
    if report is not None:
        out.print(f"Report:   {place(report)}", markup=False, soft_wrap=True)
    psql = which("psql") or server.BINARIES / "psql"
    out.print(
        f"BI, SQL:  PGPASSWORD=$(cat {settings.keys / 'bi.password'})"
        f" {psql} -h 127.0.0.1 -p {postgres.port} -U bi -d kkbc  (tables in schema bi)",
        soft_wrap=True,
    )
