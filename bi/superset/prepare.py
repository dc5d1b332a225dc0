"""Prepares Superset's metadata and imports the bundle; run in Superset's own environment, with its configuration.

    python prepare.py --bundle kkbc.zip --admin-password-file FILE [--migrate]

Prints one JSON object: `removed`, what the project had made before and dropped from its bundle; `kept`, the part of
that which people's own charts still need; `overwritten`, what people had changed of the project's own. Ends with status
1 and one line when the import fails, and then has changed nothing.
"""

import argparse
import json
import logging
import secrets
import sys
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from flask_appbuilder.security.sqla.models import User
from flask_migrate import upgrade
from superset.app import create_app

OWNED = "urn:kkbc:bundle"
ADMIN = "admin"
# What the project made belongs to this user, with which nobody can sign in: so what people change of it is seen.
IMPORTER = "kkbc"
READER = "Pembaca"
MIGRATIONS = "migrations"

# What a reader may do: open dashboards, filter, drill, copy a table, and change the own password. The data are those of
# the datasets of the bundle (datasource_access), and of these the rows that PostgreSQL shows.
PERMISSIONS = (
    *(("can_read", view) for view in ("Dashboard", "Chart", "Dataset", "CurrentUserRestApi", "Theme", "CssTemplate")),
    *(("can_read", view) for view in ("DashboardFilterStateRestApi", "DashboardPermalinkRestApi", "EmbeddedDashboard")),
    *(("can_read", view) for view in ("ExploreFormDataRestApi", "SecurityRestApi", "AdvancedDataType")),
    *(("can_write", view) for view in ("DashboardFilterStateRestApi", "DashboardPermalinkRestApi")),
    *(("can_write", view) for view in ("ExploreFormDataRestApi", "CurrentUserRestApi")),
    *((name, "Superset") for name in ("can_dashboard", "can_slice", "can_explore_json", "can_dashboard_permalink")),
    *((name, "Superset") for name in ("can_csv", "can_log")),
    *((name, "Api") for name in ("can_time_range", "can_query", "can_query_form_data")),
    *((name, "Dashboard") for name in ("can_drill", "can_view_chart_as_table", "can_get_drill_info")),
    *((name, "Dataset") for name in ("can_get_drill_info", "can_drill_info")),
    *(("can_get", view) for view in ("MenuApi", "Datasource", "OpenApi")),
    *((name, "ResetMyPasswordView") for name in ("can_this_form_get", "can_this_form_post")),
    *(("resetmypassword", "UserDBModelView"), ("can_userinfo", "UserDBModelView"), ("can_recent_activity", "Log")),
    *(("menu_access", menu) for menu in ("Dashboards", "Home")),
)

# Kinds in the order in which one may be removed: nothing stands on what goes first.
KINDS = ("dashboard", "chart", "dataset", "database")


def main() -> None:
    """Does what the arguments say."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--bundle", type=Path, required=True)
    parser.add_argument("--admin-password-file", type=Path, required=True)
    parser.add_argument("--migrate", action="store_true", help="bring the metadata to this version of Superset first")
    arguments = parser.parse_args()
    logging.disable(logging.WARNING)
    with zipfile.ZipFile(arguments.bundle) as zipped:
        contents = {name.partition("/")[2]: zipped.read(name).decode() for name in zipped.namelist()}
    app = create_app()
    with app.app_context():
        if arguments.migrate:
            _migrate()
        _user(ADMIN, arguments.admin_password_file.read_text().strip(), active=True)
        importer = _user(IMPORTER, secrets.token_urlsafe(32), active=False)
        print(json.dumps(_import(importer, contents)))


def _migrate() -> None:
    """What `superset db upgrade` and `superset init` do, in one process."""
    import superset
    from superset import appbuilder, security_manager

    upgrade(directory=str(Path(superset.__file__).parent / MIGRATIONS))
    appbuilder.add_permissions(update_perms=True)
    security_manager.sync_role_definitions()


def _user(name: str, password: str, *, active: bool) -> User:
    """An administrator; the password is given at first alone, so that one who changes it keeps the change."""
    from superset import db, security_manager

    found = security_manager.find_user(username=name)
    if found is None:
        role = security_manager.find_role("Admin")
        found = security_manager.add_user(name, name, "-", f"{name}@kkbc.invalid", role, password)
        found.active = active
        db.session.commit()
    return found


def _import(importer: User, contents: Mapping[str, str]) -> dict[str, list[str]]:
    from superset import db
    from superset.commands.importers.v1.assets import ImportAssetsCommand
    from superset.utils.core import override_user

    with override_user(importer):
        overwritten = [_named(kind, it) for kind in KINDS for it in _owned(kind) if _changed_by_others(it, importer)]
        try:
            # `superset import-dashboards` leaves charts and datasets that are there as they are, and
            # `superset import-directory` ends well when it fails: both call this, as it is here.
            ImportAssetsCommand(dict(contents)).run()
        except Exception as error:
            sys.exit(f"the bundle cannot be imported: {_cause(error)}")
        removed, kept = _remove_dropped(contents)
        _give_readers_their_role(contents)
        db.session.commit()
    return {"overwritten": overwritten, "removed": removed, "kept": kept}


def _models() -> dict[str, Any]:
    from superset.connectors.sqla.models import SqlaTable
    from superset.models.core import Database
    from superset.models.dashboard import Dashboard
    from superset.models.slice import Slice

    return {"dashboard": Dashboard, "chart": Slice, "dataset": SqlaTable, "database": Database}


def _owned(kind: str) -> Iterator[Any]:
    """What the project made of that kind."""
    from superset import db

    model = _models()[kind]
    yield from db.session.query(model).filter(model.external_url.like(f"{OWNED}:%")).order_by(model.id)


def _named(kind: str, it: Any) -> str:
    title = getattr(it, "dashboard_title", None) or getattr(it, "slice_name", None) or getattr(it, "table_name", None)
    return f"{kind} {title or it.database_name}"


def _changed_by_others(it: Any, importer: User) -> bool:
    return it.changed_by_fk is not None and it.changed_by_fk != importer.id


def _cause(error: Exception) -> str:
    """What is wrong, of an error that names many."""
    causes = [str(it) for it in getattr(error, "_exceptions", ())] or [str(error.__cause__ or error)]
    return " ".join("; ".join(causes).split())


def _remove_dropped(contents: Mapping[str, str]) -> tuple[list[str], list[str]]:
    """Removes what the project made and its bundle no longer has, but for datasets that charts of people are over."""
    import yaml
    from superset import db

    stays = {yaml.safe_load(text).get("uuid") for text in contents.values()}
    removed, kept = [], []
    for kind in KINDS:
        for it in [it for it in _owned(kind) if str(it.uuid) not in stays]:
            if kind == "dataset" and it.slices:
                kept.append(
                    f"{_named(kind, it)}, which is used by {', '.join(sorted(s.slice_name for s in it.slices))}"
                )
                continue
            removed.append(_named(kind, it))
            db.session.delete(it)
            db.session.flush()
    return removed, kept


def _give_readers_their_role(contents: Mapping[str, str]) -> None:
    """The role of readers, with exactly its permissions and the datasets of the bundle."""
    from superset import security_manager

    role = security_manager.add_role(READER)
    wanted = [security_manager.find_permission_view_menu(*permission) for permission in PERMISSIONS]
    wanted += [
        security_manager.add_permission_view_menu("datasource_access", it.get_perm()) for it in _owned("dataset")
    ]
    role.permissions = [permission for permission in wanted if permission is not None]


if __name__ == "__main__":
    main()
