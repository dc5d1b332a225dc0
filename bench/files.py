"""Long delivered files for the benchmarks, made once: a registrations slice of some size, seeded, a few rows in it bad.

Of the rows 3% have one error (a NIK cut short, a required value missing, an unknown code, a cell too many, a time to
come), 1% repeat the key of a row before them, 5% hold a line break in quotes. The others are accepted.
"""

import gzip
import hashlib
import json
import shutil
from datetime import date
from pathlib import Path
from random import Random

import numpy as np
import polars as pl

from kkbc.core.settings import PROJECT_ROOT

BRANCH_ID = "KC009"
DAY = date(2023, 12, 11)
FEED = "pendaftaran"
SENT_AT = "2023-12-12T00:05:00+07:00"

_BLOCK_ROWS = 10_000
_SEEDS = PROJECT_ROOT / "dbt_project" / "seeds"
_NEW_CELL = "@@"  # becomes a delimiter when the block is text: a cell too many
_NOTHING = pl.lit(None, pl.String)


def make(folder: Path, megabytes: int, file_format: str = "csv") -> Path:
    """A file of about `megabytes` (before gzip) under `folder`, with its manifest in a delivery folder of its own.

    Returns the root of the branches, below which the branch's folder stands. What is there already is left as it is.
    """
    root = folder / f"{megabytes}MB-{file_format}"
    delivery = root / BRANCH_ID / DAY.isoformat()
    if (delivery / "manifest.json").is_file():
        return root
    shutil.rmtree(root, ignore_errors=True)
    delivery.mkdir(parents=True)
    path = delivery / f"{FEED}.{file_format}"
    plain = path.with_suffix("") if file_format.endswith(".gz") else path
    rows = _write(plain, megabytes * 10**6, json_lines=file_format.startswith("jsonl"))
    if plain != path:
        with plain.open("rb") as source, gzip.open(path, "wb", compresslevel=5) as target:
            shutil.copyfileobj(source, target, 1 << 20)
        plain.unlink()
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    listed = {"feed": FEED, "name": path.name, "rows": rows, "bytes": path.stat().st_size, "sha256": digest}
    manifest = {"schema_version": 1, "branch_id": BRANCH_ID, "business_date": DAY.isoformat(), "revision": 1}
    manifest |= {"sent_at": SENT_AT, "files": [listed]}
    (delivery / "manifest.json").write_text(json.dumps(manifest))
    return root


def clean_registrations(count: int) -> pl.DataFrame:
    """So many registrations of which none is bad, repeats a key or breaks a line, as text."""
    blocks = [_block(first, spoiled=False) for first in range(0, count, _BLOCK_ROWS)]
    return pl.concat(blocks).head(count).fill_null("")


def _write(path: Path, size: int, *, json_lines: bool) -> int:
    rows = 0
    with path.open("wb") as file:
        while file.tell() < size:
            block = _block(rows)
            if json_lines:
                block.write_ndjson(file)
            else:
                text = block.write_csv(include_header=rows == 0, separator=";", quote_style="necessary")
                file.write(text.replace(_NEW_CELL, ";").encode())
            rows += block.height
    return rows


def _block(first: int, *, spoiled: bool = True) -> pl.DataFrame:
    """The rows from number `first` on; `spoiled`: some of them as the head of this file says."""
    dice = np.random.default_rng(first)
    n = _BLOCK_ROWS
    number = np.arange(first, first + n)
    day, month, year = dice.integers(1, 29, n), dice.integers(1, 13, n), dice.integers(1965, 2004, n)
    woman = dice.random(n) < 0.5
    districts = pl.read_csv(_SEEDS / "districts.csv", schema_overrides={"code": pl.String})["code"]
    occupations = pl.read_csv(_SEEDS / "occupations.csv")["code"]
    region = districts.gather(dice.integers(0, len(districts), n))
    repeats = (dice.random(n) < 0.01 * spoiled) & (number > 0)
    key = np.where(repeats, (number * dice.random(n)).astype(np.int64), number)
    words = [f"Nama{i:03}" for i in range(500)]
    Random(first).shuffle(words)
    word = pl.Series(words)

    def some(values: list[str]) -> pl.Series:
        return pl.Series(values).gather(dice.integers(0, len(values), n))

    frame = pl.DataFrame(
        {
            "no_pendaftaran": [f"R-{k:09}" for k in key],
            "kode_kantor": [BRANCH_ID] * n,
            "minute": dice.integers(7 * 60, 17 * 60, n),
            "region": region,
            "day": day,
            "month": month,
            "year": year,
            "woman": woman,
            "serial": dice.integers(1, 9999, n),
            "first": word.gather(dice.integers(0, len(words), n)),
            "last": word.gather(dice.integers(0, len(words), n)),
            "phone": dice.integers(10_000_000, 99_999_999, n),
            "kode_pekerjaan": occupations.gather(dice.integers(0, len(occupations), n)),
            "income": dice.integers(10, 60, n) * 100_000,
            "kanal": some(["KANTOR", "KUNJUNGAN", "PASAR", "KOMUNITAS", "RADIO", "PERISAI", "JMO", "MITRA"]),
            "kode_program": some(["JKK_JKM", "JKK_JKM_JHT"]),
            "house": dice.integers(1, 200, n),
            "break": dice.random(n) < 0.05 * spoiled,
            "bad": np.where(dice.random(n) < 0.03 * spoiled, dice.integers(1, 6, n), 0),
        }
    )
    clock = pl.format("{}:{}", _two(pl.col("minute") // 60), _two(pl.col("minute") % 60))
    born = pl.format(
        "{}{}{}", _two(pl.col("day") + 40 * pl.col("woman")), _two(pl.col("month")), _two(pl.col("year") % 100)
    )
    nik = pl.format("{}{}{}", "region", born, pl.col("serial").cast(pl.String).str.zfill(4))
    is_bad = pl.col("bad")
    return frame.select(
        "no_pendaftaran",
        "kode_kantor",
        pl.when(is_bad == 5)
        .then(pl.lit("2024-06-01 09:00"))
        .otherwise(pl.format("2023-12-11 {}", clock))
        .alias("tgl_pendaftaran"),
        pl.when(is_bad == 1).then(nik.str.head(12)).otherwise(nik).alias("nik"),
        _NOTHING.alias("kpj"),
        pl.when(is_bad == 2).then(_NOTHING).otherwise(pl.format("{} {}", "first", "last")).alias("nama_lengkap"),
        pl.col("first").alias("tempat_lahir"),
        pl.format("{}/{}/{}", _two(pl.col("day")), _two(pl.col("month")), "year").alias("tgl_lahir"),
        pl.when("woman").then(pl.lit("P")).otherwise(pl.lit("L")).alias("jenis_kelamin"),
        pl.format("08{}", "phone").alias("no_hp"),
        pl.format("{}@contoh.co.id", pl.col("last").str.to_lowercase()).alias("email"),
        pl.format(
            "Jl. {} No. {}{}RT 01/RW 02", "last", "house", pl.when("break").then(pl.lit("\n")).otherwise(pl.lit(", "))
        ).alias("alamat"),
        pl.lit("24351").alias("kode_pos"),
        pl.col("region").alias("kode_wilayah"),
        "kode_pekerjaan",
        pl.lit("Pasar Inpres").alias("lokasi_pekerjaan"),
        pl.lit("06:00").alias("jam_awal"),
        pl.lit("14:00").alias("jam_akhir"),
        pl.format("Rp{}.{}00.000", pl.col("income") // 1_000_000, pl.col("income") // 100_000 % 10).alias(
            "penghasilan"
        ),
        pl.when(is_bad == 3).then(pl.lit("SEMUA")).otherwise("kode_program").alias("kode_program"),
        pl.lit("1").alias("jml_bulan"),
        "kanal",
        _NOTHING.alias("kode_kegiatan"),
        pl.lit("P-0001").alias("kode_petugas"),
        pl.lit("MANDIRI").alias("segmen"),
        pl.lit("BARU").alias("status_data"),
        pl.when(is_bad == 4)
        .then(pl.format("2023-12-11 {}" + _NEW_CELL + "lebih", clock))
        .otherwise(pl.format("2023-12-11 {}", clock))
        .alias("diubah_pada"),
    )


def _two(value: pl.Expr) -> pl.Expr:
    return value.cast(pl.String).str.zfill(2)
