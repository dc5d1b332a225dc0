"""`kkbc bi up`, `down`, `status` and `import`: the Superset of this home."""

import typer
from rich.markup import escape

from kkbc.cli.console import out, say
from kkbc.cli.dashboards import bi, show_users

MOST_SHOWN = 8


def register(_: typer.Typer) -> None:
    """Adds them to `kkbc bi`."""
    bi.command("up", epilog="Example: KKBC_BI_PORT=8088 kkbc bi up")(up)
    bi.command("down", epilog="Example: kkbc bi down")(down)
    bi.command("status", epilog="Example: kkbc bi status")(status)
    bi.command("import", epilog="Example: kkbc bi import")(import_)


def up() -> None:
    """Starts Superset beside PostgreSQL of this home, with the dashboards and users that there are to be."""
    from kkbc.core.settings import get_settings
    from kkbc.upkeep.bi_logins import mapping
    from kkbc_play.stack import superset

    started = superset.up(say)
    superset.make_sample_readers(say)
    show_users(started.url, started.password)
    keys = get_settings().keys
    where = f"password: admin_password in {keys / 'superset.json'}"
    out.print(f"Superset: {started.url}  user admin, who sees no rows, {where}", soft_wrap=True)
    readers = sorted({mapped.reader for mapped in mapping()})
    shown = ", ".join(readers[:MOST_SHOWN]) + (", ..." if len(readers) > MOST_SHOWN else "")
    out.print(f"Readers:  {escape(shown)}, passwords in {keys / 'superset-users.json'}", soft_wrap=True)


def down() -> None:
    """Stops Superset; PostgreSQL and Airflow go on."""
    from kkbc.core.settings import get_settings
    from kkbc_play.stack import superset

    home = get_settings().home
    out.print("stopped: superset" if superset.down(get_settings()) else f"no Superset was running in {home}")


def status() -> None:
    """Says whether Superset runs and where, and which dashboards it has; exit status 1 when it does not run."""
    from kkbc.core.settings import get_settings
    from kkbc.upkeep.dashboards.api import session
    from kkbc_play.stack import superset

    running = superset.find(get_settings())
    if running is None:
        out.print("Superset is down: `make bi` starts it")
        raise typer.Exit(1)
    with session(running.url, running.password) as api:
        boards, users = api.all("dashboard/"), api.all("security/users/")
    out.print(f"Superset runs at {running.url}, {len(users)} users")
    for board in sorted(boards, key=lambda board: str(board["dashboard_title"])):
        own = "" if board["is_managed_externally"] else "  (not of the project)"
        where = f"{running.url}/superset/dashboard/{board['slug'] or board['id']}/"
        out.print(f"{escape(board['dashboard_title']):<24} {where}{own}", soft_wrap=True)


def import_() -> None:
    """Imports the dashboards again over what is there, and removes what the project no longer has.

    What people made themselves stays.
    """
    from kkbc_play.stack import superset

    done = superset.import_bundle(say)
    out.print(f"imported; {len(done['removed'])} removed, {len(done['overwritten'])} changes of people overwritten")
