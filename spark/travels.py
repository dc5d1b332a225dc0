"""`make lint`: nothing in a model that one engine understands and the other does not, or, worse, otherwise.

Such SQL stands in dbt_project/macros/postgres and macros/spark, behind one name (macros/engines.sql), and nowhere else.
All models travel; a model that is for one engine alone would have to say so, and there is none.
"""

import re
import sys
from pathlib import Path

DBT_PROJECT = Path(__file__).resolve().parents[1] / "dbt_project"
ENGINES = ("postgres", "spark")
SOURCES = sorted(
    path
    for folder in ("models", "macros", "tests")
    for path in (DBT_PROJECT / folder).rglob("*.sql")
    if not any(DBT_PROJECT / "macros" / engine in path.parents for engine in ENGINES)
)

# What both engines take and Spark takes otherwise, without a word: 7/2 is 3.5 there, extract(dow) counts from 1,
# date - date is an interval, regexp_replace replaces all, concat of a null is null. On the right what to write instead.
SILENT = {
    r"\bextract\s*\(\s*(epoch|dow|isodow)\b": "the macro iso_weekday, or dbt.datediff",
    r"\bregexp_\w+": "replace",
    r"\bcollate\b": "the macro by_code_points",
    r"[\w)]\s*/\s*[\w(]": "the macro ratio",
    r"\b\w+_(?:on|date|start|end|day)\s*-\s*\w|\bday\s*-\s*\w": "the macros days_between and add_days",
    r"\bconcat\s*\(": "||, for a null in concat is left out in one engine and not in the other",
    r"\bround\s*\(|\blog\s*\(": "a macro of both engines: halves and bases are taken otherwise",
    r"\\": "no backslash: it escapes in Spark's literals",
}

# What Spark does not know.
UNKNOWN = {
    r"::": "cast(... as ...)",
    r"\bas text\b": "dbt.type_string()",
    r"\bdouble precision\b": "the macro as_double",
    r"\btimestamptz\b|\bwith time zone\b": "the macro jakarta_instant",
    r"\bat time zone\b": "the macro jakarta_day",
    r"\bdistinct on\b": "row_number()",
    r"\bgenerate_series\b": "the macro day_spine",
    r"\bstring_agg\b|\barray_agg\b": "dbt.listagg",
    r"\b(date_part|to_char|to_date)\s*\(": "a macro in macros/postgres",
    r"\bmake_interval\b|\binterval\s*'": "the macros add_days and add_months",
    r"\bdate\s*'|\btimestamp\s*'": "cast('...' as date)",
    r"~|\bsimilar to\b|\bilike\b": "like, or a macro in macros/postgres",
    r"->|#>": "columns of their own",
    r'"': "names that need no quotes",
    r"\bunnest\b(?!\()|\bunnest\((?!')|\bany\s*\(\s*array\b": "the macros unnest and in_set",
    r"\bfilter\s*\(": "sum(case when ...)",
    r"\blateral\b": "a join",
    r"\bnow\s*\(|\bcurrent_date\b|\bcurrent_timestamp\b": "the macro as_of",
    r"\bserial\b|\bjsonb?\b|\bbytea\b": "types that all have",
}

FOREIGN = {**SILENT, **UNKNOWN}

# The macro that divides, both sides cast; and one whose name is PostgreSQL's word.
ALLOWED = {
    ("macros/ratio.sql", r"[\w)]\s*/\s*[\w(]"),
    ("macros/engines.sql", r"\bunnest\b(?!\()|\bunnest\((?!')|\bany\s*\(\s*array\b"),
}


def written(text: str) -> str:
    """The SQL of a source as it was written, without comments; of Jinja's expressions the strings in them."""
    text = re.sub(r"\{#.*?#\}|\{%.*?%\}", "", text, flags=re.S)
    text = re.sub(r"\{\{(.*?)\}\}", lambda expression: f"({', '.join(strings(expression[1]))})", text, flags=re.S)
    return re.sub(r"--[^\n]*", "", text)


def strings(expression: str) -> list[str]:
    """What the string literals of a Jinja expression hold."""
    return [single or double for single, double in re.findall(r"'([^']*)'|\"([^\"]*)\"", expression)]


def foreign(name: str, text: str) -> list[str]:
    """What of the SQL in `text` is for PostgreSQL alone, with what to write instead."""
    return [
        f"{name}: {found[0].strip()!r}: write {instead}"
        for pattern, instead in FOREIGN.items()
        if (name, pattern) not in ALLOWED
        for found in [re.search(pattern, written(text), re.I)]
        if found
    ]


def main() -> int:
    """Names all that does not travel; exit status 1 when there is any."""
    found = [
        line
        for path in SOURCES
        for line in foreign(str(path.relative_to(DBT_PROJECT)), path.read_text(encoding="utf-8"))
    ]
    print("\n".join(found) or f"travels: {len(SOURCES)} files of dbt_project are SQL of both engines")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
