"""The data dictionary: every published table and column in words, as the dbt project has them."""

import re
from html import escape
from pathlib import Path
from typing import Any

import yaml

from kkbc.upkeep.documents.pages import page, paragraphs, table

MEANINGS = Path(__file__).with_name("kamus-data.yml")
HEADS = ["Nama", "Label", "Arti", "Satuan", "Kapan kosong"]
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
    """The page, of dbt's manifest. Where Indonesian words are missing, the English ones stand, marked as such."""
    models = [node for node in manifest["nodes"].values() if "publish" in node.get("meta", {})]
    meanings: dict[str, Any] = yaml.safe_load(MEANINGS.read_text(encoding="utf-8"))
    intro = paragraphs(
        "Setiap tabel yang diterbitkan dan setiap kolomnya. Token peserta menggantikan NIK; NIK, nama, dan kontak tidak"
        " ada dalam tabel mana pun.",
        "Label ialah nama untuk dasbor. Hari ialah hari kalender Asia/Jakarta, kecuali disebut lain.",
    )
    ordered = sorted(models, key=lambda model: (model["path"].split("/")[0] != "kpis", model["path"]))
    return page("Kamus data", "\n".join([intro, *(_section(model, meanings) for model in ordered)]))


def _section(model: dict[str, Any], meanings: dict[str, Any]) -> str:
    meta, name = model["meta"], model["name"]
    key = meta["primary_key"]
    told = meanings["tables"].get(name) or _english(model["description"].partition("```")[0].strip())
    where = "; ".join(SCHEMAS[schema] for schema in meta["publish"])
    columns = model["columns"].values()
    return (
        f'<h2 id="{name}">{escape(meta["label_id"])} <code>{name}</code></h2>\n<p>{told}</p>\n'
        f"<p>{where}. Satu baris per <code>{', '.join(key)}</code>.</p>\n"
        + table(HEADS, [_row(name, column, key, meanings["columns"]) for column in columns])
    )


def _row(model: str, column: dict[str, Any], key: list[str], meanings: dict[str, Any]) -> list[str]:
    name, description = column["name"], column["description"]
    told = meanings.get(f"{model}.{name}") or meanings.get(name) or {}
    english, _, rest = description.partition("; null ")
    filled = name in key or any(
        constraint["type"] in ("not_null", "primary_key") for constraint in column["constraints"]
    )
    meaning = escape(told["arti"]) if "arti" in told else _english(english.rstrip(".") + ".")
    empty = escape(told["kosong"]) if "kosong" in told else _english(f"null {rest or '?'}")
    return [
        f"<code>{escape(name)}</code>",
        escape(column["meta"]["label_id"]),
        meaning,
        unit(name, column["data_type"], column["meta"]["label_id"]),
        "tidak pernah" if filled else empty,
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
