"""The branch board in Airflow's menu. All processes of Airflow import this file, so the pages wait until asked for."""

from functools import cached_property
from typing import Any, ClassVar

from airflow.plugins_manager import AirflowPlugin


class BranchBoard(AirflowPlugin):
    """Mounts kkbc.watching.board into the web server, and shows it in a frame of the user interface."""

    name = "branch_board"
    external_views: ClassVar[list[dict[str, Any]]] = [
        {
            "name": "Papan cabang",
            # Relative to Airflow's own address, whatever path a proxy serves it under.
            "href": "kkbc/",
            "url_route": "branch-board",
            "destination": "nav",
            "nav_top_level": True,
        }
    ]

    @cached_property
    def fastapi_apps(self) -> list[dict[str, Any]]:
        """The pages; only the web server asks for them."""
        from kkbc.watching.board.app import PREFIX, make_app

        return [{"app": make_app(), "url_prefix": PREFIX, "name": "Papan cabang"}]
