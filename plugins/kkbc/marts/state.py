"""What the marts in the hidden schema stand at: whether the next build can go on from there or must rebuild all."""

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date
from pathlib import Path

import psycopg

from kkbc.core.settings import PROJECT_ROOT, get_settings

DBT_PROJECT = PROJECT_ROOT / "dbt_project"
# Everything that decides what a model holds. Descriptions are among it: dbt writes them to the tables.
PARTS = ("models", "macros", "seeds", "tests")
# The audit's checks of a mart, next to its model.
EXPECTATIONS = "expectations.yml"
# As long as it stands, the rest does: the models on the way to it are made before it, and errors name them.
LAST = "next.int_cells_counted"


@dataclass(frozen=True)
class Built:
    """The state of the last complete build. project, registry: digests of what it was built with.

    restrictions: how often restrictions of persons had begun or ended before it.
    """

    as_of: date
    first_business_date: date
    project: str
    registry: str
    restrictions: int = 0


def standing(conn: psycopg.Connection) -> Built | None:
    """What the marts stand at; None when nothing was built yet, the last build broke off, or the tables are gone."""
    row = conn.execute(
        "select as_of, first_business_date, project, registry, restrictions from ops.built"
        " where complete and to_regclass(%s) is not null",
        [LAST],
    ).fetchone()
    return Built(*row) if row else None


def goes_on(built: Built | None, as_of: date, first_business_date: date, project: str) -> bool:
    """Whether a build up to `as_of`, by the dbt project of digest `project`, may leave alone what no slice touched.

    Not after a step back, from another first day, or with other code or seeds. With another registry it may: the build
    is told by the variable registry_changed, and makes anew what counts by branch and day.
    """
    return (
        built is not None
        and built.as_of <= as_of
        and built.first_business_date == first_business_date
        and built.project == project
    )


def begin(conn: psycopg.Connection) -> None:
    """Notes that the marts are being changed, so that a build that breaks off is not gone on from."""
    conn.execute("update ops.built set complete = false")


def refresh_due(conn: psycopg.Connection) -> bool:
    """Whether a run asked for a full refresh since the build was opened that the marts were last made by."""
    row = conn.execute(
        "select exists (select from ops.run r cross join ops.built m left join ops.build b using (build_id)"
        " where r.full_refresh and r.started_at > coalesce(b.started_at, m.built_at))"
    ).fetchone()
    return row is not None and bool(row[0])


def complete(
    conn: psycopg.Connection,
    as_of: date,
    first_business_date: date,
    project: str,
    build_id: int | None,
    registry: str | None = None,
    restrictions: int | None = None,
) -> None:
    """Notes what the marts stand at from now on. `registry` and `restrictions` None: they were built
    by those of now."""
    conn.execute(
        "insert into ops.built (complete, as_of, first_business_date, project, registry, restrictions, build_id)"
        " values (true, %s, %s, %s, %s, %s, %s)"
        " on conflict (single) do update set complete = true, as_of = excluded.as_of,"
        " first_business_date = excluded.first_business_date, project = excluded.project, registry = excluded.registry,"
        " restrictions = excluded.restrictions, build_id = excluded.build_id, built_at = excluded.built_at",
        [
            as_of,
            first_business_date,
            project,
            registry or registry_digest(conn),
            restriction_changes(conn) if restrictions is None else restrictions,
            build_id,
        ],
    )


def outdated(conn: psycopg.Connection) -> bool:
    """Whether a build is due though no slice came.

    One broke off, code, seeds, registry or first day are others, a restriction began or ended, or a run asked for a
    full refresh.
    """
    row = conn.execute(
        "select complete, project, registry, restrictions, first_business_date::text,"
        " (select value from ops.setting where name = 'first_business_date') from ops.built"
    ).fetchone()
    if row is None:
        return False
    whole, project, registry, restrictions, first, wanted = row
    same = project == made_by(project_digest()) and registry == registry_digest(conn) and wanted in (None, first)
    same = same and restrictions == restriction_changes(conn)
    return not (whole and same) or refresh_due(conn)


def project_digest(project: Path = DBT_PROJECT) -> str:
    """Digest of a dbt project: models, macros, tests, seeds and settings; what dbt does not read changes no mart."""
    found = (path for part in PARTS for path in (project / part).rglob("*"))
    return digest(project, (path for path in found if path.is_file() and path.name != EXPECTATIONS))


def made_by(project: str) -> str:
    """A digest of the project for marts of the engine that the settings name: none goes on from the other's."""
    engine = get_settings().engine
    return project if engine == "postgres" else f"{engine} {project}"


def digest(project: Path, paths: Iterable[Path]) -> str:
    """Digest of files of a dbt project and of its dbt_project.yml, by name and content."""
    made = hashlib.sha256()
    for path in [project / "dbt_project.yml", *sorted(paths)]:
        made.update(str(path.relative_to(project)).encode() + b"\0" + path.read_bytes())
    return made.hexdigest()


def restriction_changes(conn: psycopg.Connection) -> int:
    """How often restrictions of persons began or ended."""
    row = conn.execute("select changes from ops.restriction_change").fetchone()
    assert row is not None
    return int(row[0])


def registry_digest(conn: psycopg.Connection) -> str:
    """Digest of what the marts take from the branch registry, and of who owes which feed since when."""
    row = conn.execute(
        "select coalesce(md5(string_agg(concat_ws('|', branch_id, timezone, tier, coalesce(active_from::text, '-'),"
        " coalesce(active_to::text, '-'), branch_name, kanwil_id, province_code, regency_code, lat, lng),"
        " ';' order by branch_id) || coalesce((select string_agg(f::text, ';' order by feed) from ops.feed as f), '')),"
        " '') from ops.branch"
    ).fetchone()
    assert row is not None
    return str(row[0])
