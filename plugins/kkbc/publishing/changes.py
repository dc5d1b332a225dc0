"""Where a hidden table can differ from the published one: at the keys that were noted since the last publication.

Triggers on the hidden tables note the key of every row that comes, goes or changes (`ops.follow_changes`), so that a
publication compares these rows alone. That is exact as long as the last publication left the two tables equal, and
both are still the same: a table that was made anew, rewritten or got other columns, one without its triggers, and any
after a rollback is compared whole.

The list of slices is a view of `ops.slice`, whose rows say themselves what may differ: whatever changes a slice leaves
it to the next build (`kkbc.slices.record`).
"""

from collections.abc import Iterable

from psycopg import sql

from kkbc.marts.models import SLICES, PublishedModel
from kkbc.publishing.record import Table
from kkbc.publishing.work import Work, name, names, names_of


def take_noted(work: Work, models: Iterable[PublishedModel], live: int | None) -> dict[Table, sql.Identifier]:
    """Takes what was noted since publication `live`: by table, where its keys are for the rest of the transaction.

    A table that is left out has to be compared whole. From here on what changes is noted for the next publication: what
    commits after this is noted still, and before any row is compared, so that nothing is missed in between.
    """
    made = list(models)
    for model in made:
        if model != SLICES:
            work.rows(
                "select ops.follow_changes(to_regclass(%s), %s)",
                [name(*model.source).as_string(), list(model.primary_key)],
            )
    work.conn.execute("create temporary table noted (source oid, key jsonb) on commit drop")
    work.conn.execute(
        "with taken as (delete from bi_kept.changed_key returning source, key)"
        " insert into pg_temp.noted select source, key from taken"
    )
    known = {
        (schema, table): pair
        for schema, table, pair in work.rows(
            "select table_schema, table_name, pair from ops.publication_table where publication_id = %s", [live]
        )
    }
    now = pairs(work, made)
    return {
        (model.schema, model.name): _places(work, live) if model == SLICES else _keys_of(work, model)
        for model in made
        if (pair := now[model.schema, model.name]) is not None and pair == known.get((model.schema, model.name))
    }


def pairs(work: Work, models: Iterable[PublishedModel]) -> dict[Table, str | None]:
    """Names hidden and published table of each model by all that tells whether either became another.

    That is, for both, the table, its file (which a rewrite or truncation changes) and how many columns it ever had; and
    the triggers, in the state that they are in. None where not every change is noted, or a key may be null.
    """
    return {
        (model.schema, model.name): _pair_of_slices(work) if model == SLICES else _pair(work, model) for model in models
    }


def _pair(work: Work, model: PublishedModel) -> str | None:
    rows = work.rows(
        "select concat_ws(' ', s.oid, pg_relation_filenode(s.oid), s.relnatts, g.triggers,"
        " t.oid, pg_relation_filenode(t.oid), t.relnatts)"
        " from pg_class s cross join pg_class t cross join lateral ("
        " select count(*) as n, string_agg(concat(g.oid, ':', g.xmin), ' ' order by g.oid) as triggers"
        " from pg_trigger g where g.tgrelid = s.oid and g.tgfoid = 'ops.note_changed_keys'::regproc"
        " and g.tgenabled in ('O', 'A')) g"
        " where s.oid = to_regclass(%(source)s) and t.oid = to_regclass(%(target)s)"
        " and s.relpersistence = 'p' and t.relpersistence = 'p' and g.n = 3 and %(columns)s = ("
        " select count(*) from pg_attribute a"
        " where a.attrelid = s.oid and a.attname = any(%(key)s) and a.attnotnull and not a.attisdropped)",
        {
            "source": name(*model.source).as_string(),
            "target": name(model.schema, model.name).as_string(),
            "key": list(model.primary_key),
            "columns": len(model.primary_key),
        },
    )
    return rows[0][0] if rows else None


def _pair_of_slices(work: Work) -> str | None:
    """The same for the list of slices, whose source is the text of a view."""
    rows = work.rows(
        "select concat_ws(' ', s.oid, md5(pg_get_viewdef(s.oid)), t.oid, pg_relation_filenode(t.oid), t.relnatts)"
        " from pg_class s cross join pg_class t where s.oid = to_regclass(%(source)s)"
        " and t.oid = to_regclass(%(target)s) and s.relkind = 'v' and t.relpersistence = 'p'",
        {"source": name(*SLICES.source).as_string(), "target": name(SLICES.schema, SLICES.name).as_string()},
    )
    return rows[0][0] if rows else None


def _places(work: Work, live: int | None) -> sql.Identifier:
    """Makes a table of the places in the list of slices that may differ from what publication `live` left.

    Those of slices of a later build or of none yet, and those between the days that the two builds end with.
    """
    found = sql.SQL(
        "select distinct {key} from ops.slice where build_id is null"
        " or build_id > (select build_id from ops.publication where publication_id = {live})"
        " or business_date > (select least(p.as_of, b.as_of) from ops.publication p"
        " cross join (select as_of from ops.build order by build_id desc limit 1) b where p.publication_id = {live})"
    )
    return _table_of(work, SLICES, found.format(key=names(SLICES.primary_key), live=sql.Literal(live)))


def _keys_of(work: Work, model: PublishedModel) -> sql.Identifier:
    """Makes a table of the keys that were noted of a model, in the types that its columns have."""
    found = sql.SQL(
        "select distinct {key} from pg_temp.noted n cross join lateral jsonb_populate_record(null::{source}, n.key) r"
        " where n.source = {literal}::regclass"
    ).format(
        key=names_of("r", model.primary_key),
        source=name(*model.source),
        literal=sql.Literal(name(*model.source).as_string()),
    )
    return _table_of(work, model, found)


def _table_of(work: Work, model: PublishedModel, keys: sql.Composed) -> sql.Identifier:
    """Makes a table of what the query `keys` finds of a model, to the end of the transaction."""
    relation = f"noted_{model.schema}_{model.name}"
    made = sql.Identifier("pg_temp", relation)
    work.do("create temporary table {made} on commit drop as {keys}", made=sql.Identifier(relation), keys=keys)
    work.do("analyze {made}", made=made)
    return made
