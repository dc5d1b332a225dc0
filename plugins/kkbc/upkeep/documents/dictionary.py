"""The data dictionary: every published table and column in words, as the dbt project has them."""

import re
from html import escape
from typing import Any

from kkbc.upkeep.documents.pages import paragraphs, table

HEADS = ["Nama", "Label", "Arti", "Satuan", "Kapan kosong"]
ENGLISH_HEADS = ["Name", "Label", "Meaning", "Type", "When empty"]
SCHEMAS = {
    "bi": "skema bi, untuk dasbor",
    "bi_detail": "skema bi_detail, untuk analis",
}
_RATE = re.compile(r"_rate|^attainment|^conversion$|^paid_conversion$|^lift$")
_KINDS = {
    "date": "tanggal",
    "timestamp with time zone": "waktu",
    "boolean": "ya/tidak",
    "text": "teks",
    "double precision": "bilangan",
}


def dictionary_page(manifest: dict[str, Any]) -> str:
    """The page in Indonesian, of dbt's manifest. A text that is missing in it stands in English, marked."""
    intro = paragraphs(
        "Setiap tabel yang diterbitkan dan setiap kolomnya. Token peserta menggantikan NIK; NIK, nama, dan kontak tidak"
        " ada dalam tabel mana pun.",
        "Label ialah nama untuk dasbor. Hari ialah hari kalender Asia/Jakarta, kecuali disebut lain.",
    )
    sections = (_section(model, manifest["docs"]) for model in _published(manifest))
    return "\n\n".join(["# Kamus data", intro, *sections]) + "\n"


def english_page(manifest: dict[str, Any]) -> str:
    """The page in English."""
    intro = paragraphs(
        "Every published table with every column. The participant token stands for the NIK; no table has NIKs, names or"
        " contacts.",
        "The label is the Indonesian name for dashboards."
        " Days are calendar days in Asia/Jakarta where nothing else is said.",
    )
    return "\n\n".join(["# Data dictionary", intro, *map(_english_section, _published(manifest))]) + "\n"


def _published(manifest: dict[str, Any]) -> list[dict[str, Any]]:
    models = [node for node in manifest["nodes"].values() if "publish" in node.get("meta", {})]
    return sorted(models, key=lambda model: (model["name"].startswith(("dim_", "fct_")), model["name"]))


def indonesian(column: dict[str, Any], docs: dict[str, Any]) -> str | None:
    """The Indonesian text of a column of dbt's manifest.

    It is the column's own (`description_id` in its meta), else that of the doc block which its English text comes from:
    of the block `aktif` it is the block `aktif__id`. None when it has neither. `docs`: the manifest's doc blocks.
    """
    if text := column["meta"].get("description_id"):
        return str(text)
    blocks = [docs.get(f"{block}__id") for block in column["doc_blocks"]]
    return str(blocks[0]["block_contents"]) if len(blocks) == 1 and blocks[0] else None


def _section(model: dict[str, Any], docs: dict[str, Any]) -> str:
    meta, name = model["meta"], model["name"]
    key = meta["primary_key"]
    description = escape(meta.get("description_id", "")) or _english(model["description"].partition("```")[0].strip())
    where = "; ".join(SCHEMAS[schema] for schema in meta["publish"])
    columns = model["columns"].values()
    return (
        f"{_heading(meta['label_id'], name)}\n\n<p>{description}</p>\n"
        f"<p>{where}. Satu baris per <code>{', '.join(key)}</code>. {_made_of(name, 'Asal kolom')}.</p>\n\n"
        + table(HEADS, [_row(column, key, docs) for column in columns])
    )


def _english_section(model: dict[str, Any]) -> str:
    name, key = model["name"], model["meta"]["primary_key"]
    rows = []
    for column in model["columns"].values():
        meaning, _, empty = column["description"].partition("; null ")
        when = "never" if _filled(column, key) else escape(empty or "see meaning")
        cells = [escape(text) for text in (column["meta"]["label_id"], meaning.rstrip(".") + ".", column["data_type"])]
        rows.append([f"<code>{escape(column['name'])}</code>", *cells, when])
    description = escape(model["description"].partition("```")[0].strip())
    schemas = " and ".join(f"<code>{schema}</code>" for schema in model["meta"]["publish"])
    return (
        f"{_heading(model['meta']['label_id'], name)}\n\n<p>{description}</p>\n"
        f"<p>Schema {schemas}. One row per <code>{', '.join(key)}</code>. {_made_of(name, 'Lineage')}.</p>\n\n"
        + table(ENGLISH_HEADS, rows)
    )


def _heading(label: str, name: str) -> str:
    return f"## {label} `{name}` {{#{name}}}"


def _made_of(name: str, text: str) -> str:
    return f'<a href="lineage/{name}.html">{text}</a>'


def _filled(column: dict[str, Any], key: list[str]) -> bool:
    kinds = {constraint["type"] for constraint in column["constraints"]}
    return column["name"] in key or bool(kinds & {"not_null", "primary_key"})


def _row(column: dict[str, Any], key: list[str], docs: dict[str, Any]) -> list[str]:
    name, description = column["name"], indonesian(column, docs)
    english, _, rest = column["description"].partition("; null ")
    meaning, _, empty = (description or "").rstrip(".").partition("; kosong ")
    filled = _filled(column, key)
    return [
        f"<code>{escape(name)}</code>",
        escape(column["meta"]["label_id"]),
        escape(meaning + ".") if meaning else _english(english.rstrip(".") + "."),
        unit(name, column["data_type"], column["meta"]["label_id"]),
        "tidak pernah" if filled else escape(empty) if empty else _english(f"null {rest or '?'}"),
    ]


def unit(name: str, data_type: str, label: str) -> str:
    """What a column is counted in, in Indonesian, from its name, type and label."""
    if "(Rp)" in label:
        return "rupiah"
    if "(%)" in label:
        return "persen"
    if _RATE.search(name):
        return "rasio, 1 = 100 %"
    if name in ("lat", "lng"):
        return "derajat"
    if name == "duration_min":
        return "menit"
    if name.startswith("activation_days") and not name.endswith("count"):
        return "hari"
    return _KINDS.get(data_type, "bilangan bulat")


def _english(text: str) -> str:
    return f'<span lang="en">{escape(text)}</span>'
