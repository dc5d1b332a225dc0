"""Who may do what in a warehouse, as its catalogue has it and as docs/security.md says, in the same form.

Letters are those of PostgreSQL's `\\dp`: r select, a insert, w update, d delete, X execute, U usage, C create, T make
temporary tables, c connect. w(a, b): update of these columns, r(a, b): select of these; w(not a, b): of all but these.
"""

from pathlib import Path

import psycopg

PAGE = Path(__file__).resolve().parents[2] / "docs" / "security.md"
SCHEMAS = (
    "ops",
    "raw",
    "vault",
    "staging",
    "next",
    "audit",
    "bi",
    "bi_detail",
    "bi_kept",
    "readers",
    "locks",
    "statements",
    "public",
)
LETTERS = {
    "SELECT": "r", "INSERT": "a", "UPDATE": "w", "DELETE": "d", "EXECUTE": "X", "USAGE": "U", "CREATE": "C",
    "TEMPORARY": "T", "CONNECT": "c", "TRUNCATE": "D", "REFERENCES": "x", "TRIGGER": "t", "MAINTAIN": "m",
}  # fmt: skip
ORDER = "rawdXUCTcDxtm"
OWNER = "owner"
Rights = dict[tuple[str, str], str]

_OBJECTS = """
select 'database', d.datname, d.datdba, coalesce(d.datacl, acldefault('d', d.datdba))
from pg_database d where d.datname = current_database()
union all
select 'schema', n.nspname, n.nspowner, coalesce(n.nspacl, acldefault('n', n.nspowner))
from pg_namespace n where n.nspname = any(%(schemas)s)
union all
select case c.relkind when 'S' then 'sequence' else 'table' end, c.oid::regclass::text, c.relowner,
    coalesce(c.relacl, acldefault(case c.relkind when 'S' then 's' else 'r' end::"char", c.relowner))
from pg_class c
where c.relnamespace::regnamespace::text = any(%(schemas)s) and c.relkind in ('r', 'p', 'v', 'm', 'f', 'S')
    -- but for those of identity columns, which nobody needs a right to
    and not (c.relkind = 'S' and exists (select from pg_depend i where i.objid = c.oid and i.deptype = 'i'))
    and not c.relispartition
union all
select 'function', p.oid::regprocedure::text, p.proowner, coalesce(p.proacl, acldefault('f', p.proowner))
from pg_proc p where p.pronamespace::regnamespace::text = any(%(schemas)s)
union all
select 'language', l.lanname, l.lanowner, coalesce(l.lanacl, acldefault('l', l.lanowner)) from pg_language l
where l.lanname = 'plpgsql'
union all
select 'new tables of', d.defaclnamespace::regnamespace::text, d.defaclrole, d.defaclacl from pg_default_acl d
"""

_GRANTS = f"""
with objects (kind, name, owner, acl) as ({_OBJECTS})
select o.kind, o.name, pg_get_userbyid(o.owner),
    case a.grantee when 0 then 'public' else pg_get_userbyid(a.grantee) end, a.privilege_type
from objects o left join lateral aclexplode(o.acl) a on a.grantee <> o.owner
"""

_COLUMNS = """
select c.oid::regclass::text, pg_get_userbyid(a.grantee), a.privilege_type,
    array_agg(t.attname::text order by t.attnum),
    (select array_agg(o.attname::text order by o.attnum) from pg_attribute o
     where o.attrelid = c.oid and o.attnum > 0 and not o.attisdropped)
from pg_class c join pg_attribute t on t.attrelid = c.oid cross join lateral aclexplode(t.attacl) a
where c.relnamespace::regnamespace::text = any(%(schemas)s) and a.privilege_type in ('UPDATE', 'SELECT')
    and not c.relispartition
group by c.oid, a.grantee, a.privilege_type
"""


def in_the_database(conn: psycopg.Connection) -> tuple[Rights, dict[str, str]]:
    """Rights by object and role, for everything that is there, and whom each object belongs to."""
    parameters = {"schemas": list(SCHEMAS)}
    ((database_owner, database),) = conn.execute(
        "select pg_get_userbyid(datdba), datname from pg_database where datname = current_database()"
    ).fetchall()
    found: dict[tuple[str, str], set[str]] = {}
    owners: dict[str, str] = {}
    for kind, name, owner, role, privilege in conn.execute(_GRANTS, parameters).fetchall():
        shown = "database" if name == database and kind == "database" else f"{kind} {name}"
        owners[shown] = OWNER if owner in (database_owner, "pg_database_owner") else owner
        if role is not None and role != database_owner:
            found.setdefault((shown, role), set()).add(LETTERS[privilege])
    for name, role, privilege, columns, everything in conn.execute(_COLUMNS, parameters).fetchall():
        rest = [column for column in everything if column not in columns]
        few = len(rest) < len(columns)
        right = f"{LETTERS[privilege]}({'not ' if few else ''}{', '.join(rest if few else columns)})"
        found.setdefault((f"table {name}", role), set()).add(right)
    return {place: _sorted(letters) for place, letters in found.items()}, owners


def on_the_page() -> tuple[Rights, dict[str, str]]:
    """The same as docs/security.md says it."""
    rights: Rights = {}
    owners: dict[str, str] = {}
    for cells in table("| object | belongs to |"):
        shown, owner, *roles = cells
        owners[shown] = owner
        for part in filter(None, roles[0].split("; ")):
            role, _, letters = part.partition(" ")
            rights[shown, role] = letters
    return rights, owners


def table(head: str) -> list[list[str]]:
    """The cells of the table of docs/security.md that begins with this line, without the ticks."""
    lines = PAGE.read_text(encoding="utf-8").splitlines()
    (first,) = [number for number, line in enumerate(lines) if line.startswith(head)]
    rows = []
    for line in lines[first + 2 :]:
        if not line.startswith("|"):
            break
        rows.append([cell.strip().replace("`", "") for cell in line.strip("|").split("|")])
    return rows


def _sorted(letters: set[str]) -> str:
    return "".join(sorted(letters, key=lambda right: ORDER.index(right[0])))
