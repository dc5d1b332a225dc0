"""`kkbc spark up`, `down` and `status`: the Spark cluster of this home."""

from typing import Annotated

import typer

from kkbc.cli.console import out, say

spark = typer.Typer(no_args_is_help=True, help="The second engine: a Spark cluster beside this home.")


def register(app: typer.Typer) -> None:
    """Adds them."""
    app.add_typer(spark, name="spark")
    spark.command("up", epilog="Example: kkbc spark up --workers 4 --memory 4096")(up)
    spark.command("down", epilog="Example: kkbc spark down")(down)
    spark.command("status", epilog="Example: kkbc spark status")(status)


def up(
    workers: Annotated[int, typer.Option(min=1, help="Workers, each with one core.")] = 2,
    memory: Annotated[int, typer.Option(min=1024, help="MB that each of them gives to Spark.")] = 1024,
) -> None:
    """Starts a master, workers and a Thrift server, and waits until it answers."""
    from kkbc_play.stack import spark as cluster

    started = cluster.up(say, workers=workers, memory_mb=memory)
    out.print(f"Spark: {started.url}  Thrift server at 127.0.0.1:{started.thrift}", soft_wrap=True)
    out.print("A night on it: KKBC_ENGINE=spark kkbc run", soft_wrap=True)


def down() -> None:
    """Stops the cluster; what it built stays."""
    from kkbc.core.settings import get_settings
    from kkbc_play.stack import spark as cluster

    stopped = cluster.down(get_settings())
    out.print(f"stopped: {', '.join(stopped)}" if stopped else f"no cluster was running in {get_settings().home}")


def status() -> None:
    """Says whether the cluster runs and where; exit status 1 when it does not."""
    from kkbc.core.settings import get_settings
    from kkbc_play.stack import spark as cluster

    running = cluster.find(get_settings())
    if running is None:
        out.print("Spark is down: `make spark-up` starts it")
        raise typer.Exit(1)
    out.print(f"Spark runs, its page at {running.url}, its Thrift server at 127.0.0.1:{running.thrift}", soft_wrap=True)
