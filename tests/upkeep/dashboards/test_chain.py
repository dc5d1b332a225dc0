"""The bundle of the dashboards: every chart ends in columns of published models, and what breaks that is named."""

import json
import zipfile
from collections.abc import Callable
from io import BytesIO
from pathlib import Path
from shutil import copytree
from typing import Any

import pytest
import yaml

from kkbc.core.errors import UserError
from kkbc.upkeep.dashboards import Bundle, files, load_bundle
from kkbc.upkeep.dashboards.bundle import FOLDER
from kkbc.upkeep.dashboards.chain import faults, models_of
from kkbc.upkeep.dashboards.exposures import FILE, exposures
from tests.dbt_project import properties

MODELS = {
    name: {column["name"]: column.get("data_type", "text") for column in model["columns"]}
    for name, model in properties.PUBLISHED.items()
    if "bi" in model["config"]["meta"]["publish"]
}


@pytest.fixture
def changed(tmp_path: Path) -> Callable[..., Bundle]:
    """The bundle with a text of one of its files replaced."""

    def change(file: str, before: str, after: str) -> Bundle:
        folder = copytree(FOLDER, tmp_path / "bundle")
        path = folder / file
        text = path.read_text(encoding="utf-8")
        assert before in text
        path.write_text(text.replace(before, after, 1), encoding="utf-8")
        return load_bundle(folder)

    return change


def test_every_chart_ends_in_columns_of_published_models() -> None:
    bundle = load_bundle()
    assert faults(bundle, MODELS) == []
    assert {board.title for board in bundle.dashboards.values()} == {"Kampanye Nasional", "Rapor Cabang", "Mutu Data"}
    used = {chart.dataset for chart in bundle.charts.values()} | {of.dataset for of in bundle.filters.values()}
    assert used == set(bundle.datasets), "a dataset without a chart or filter"


@pytest.mark.parametrize(
    ("file", "before", "after", "fault"),
    [
        (
            "datasets/retensi.yml",
            "bi.kpi_retention k",
            "bi.kpi_retentions k",
            "dataset retensi (charts retensi): no model kpi_retentions is published in schema bi",
        ),
        (
            "datasets/retensi.yml",
            "k.cohort_size, ",
            "k.cohort, ",
            "dataset retensi (charts retensi): Unknown column: cohort",
        ),
        (
            "datasets/retensi.yml",
            "sum(covered)",
            "sum(cover)",
            "dataset retensi (charts retensi): metric retensi: the dataset has no column cover",
        ),
        (
            "datasets/retensi.yml",
            "bi.kpi_retention k",
            "bi_detail.fct_acquisition k",
            "dataset retensi (charts retensi): it reads bi_detail.fct_acquisition, outside schema bi",
        ),
        (
            "datasets/retensi.yml",
            "  covered: Masih terlindungi\n",
            "  covered: Masih terlindungi\n  gone: Keluar\n",
            "dataset retensi (charts retensi): its SQL gives no column gone",
        ),
        (
            "datasets/retensi.yml",
            "select",
            "select from where",
            "dataset retensi (charts retensi): its SQL cannot be read",
        ),
        (
            "dashboards/rapor_cabang.yml",
            "groupby: kohor",
            "groupby: kohort",
            "dashboard rapor_cabang, chart retensi: dataset retensi has no column kohort",
        ),
        (
            "dashboards/rapor_cabang.yml",
            "metrics: [kontak, ",
            "metrics: [kontaks, ",
            "dashboard rapor_cabang, chart tabel_kegiatan: dataset kegiatan has no metric kontaks",
        ),
        (
            "dashboards/kampanye_nasional.yml",
            "subject: hari_terakhir",
            "subject: hari_akhir",
            "dashboard kampanye_nasional, chart cabang_melapor: dataset cabang_harian has no column hari_akhir",
        ),
        (
            "dashboards/mutu_data.yml",
            '["hari_tertinggal", false]',
            '["tertinggal", false]',
            "dashboard mutu_data, chart kedudukan: dataset kedudukan_cabang has no column tertinggal",
        ),
        (
            "dashboards/mutu_data.yml",
            "{keadaan_kiriman: 6",
            "{keadaan: 6",
            "dashboard mutu_data: there is no chart keadaan",
        ),
        (
            "filters.yml",
            "column: cabang,",
            "column: cabangs,",
            "dashboard rapor_cabang: filter satu_cabang: dataset cabang has no column cabangs",
        ),
        (
            "database.yml",
            "gateway@warehouse",
            "gateway:hunter2hunter2@warehouse",
            "database.uri: a URI with a password does not belong into the bundle",
        ),
        (
            "dashboards/mutu_data.yml",
            "params: {metric: sampai,",
            "params: {api_token: abc, metric: sampai,",
            "dashboards.mutu_data.charts.data_sampai.params.api_token: secrets do not belong into the bundle",
        ),
    ],
)
def test_what_breaks_the_chain_is_named(
    changed: Callable[..., Bundle], file: str, before: str, after: str, fault: str
) -> None:
    found = faults(changed(file, before, after), MODELS)
    assert any(line.startswith(fault) for line in found), found
    assert not any("hunter2" in line for line in found)


def test_a_column_that_leaves_its_model_breaks_the_charts_over_it() -> None:
    models = {name: dict(columns) for name, columns in MODELS.items()}
    del models["kpi_branch_daily"]["aktif"]
    (fault,) = faults(load_bundle(), models)
    assert fault.startswith("dataset cabang_bulanan (charts peserta_aktif, pendaftaran, ")
    assert "aktif" in fault


def test_a_key_that_no_part_has_is_one_line(changed: Callable[..., Bundle]) -> None:
    with pytest.raises(UserError, match=r"mutu_data\.yml: charts\.alasan\.vizz: Extra inputs are not permitted"):
        changed("dashboards/mutu_data.yml", "  alasan:\n", "  alasan:\n    vizz: bar\n")


def test_models_are_those_of_the_manifest(tmp_path: Path) -> None:
    def node(name: str, publish: list[str]) -> dict[str, Any]:
        columns = {"branch_id": {"data_type": "text"}}
        return {"name": name, "resource_type": "model", "columns": columns, "config": {"meta": {"publish": publish}}}

    path = tmp_path / "manifest.json"
    path.write_text(json.dumps({"nodes": {"a": node("a", ["bi"]), "b": node("b", ["bi_detail"])}}))
    assert models_of(path, "bi") == {"a": {"branch_id": "text"}}
    with pytest.raises(UserError, match=r"is no manifest of dbt"):
        models_of(tmp_path / "none.json", "bi")


def test_the_exposures_of_the_dbt_project_are_those_of_the_dashboards() -> None:
    assert FILE.read_text(encoding="utf-8") == exposures(load_bundle())


def test_the_archive_is_the_same_each_time_and_holds_what_superset_asks_for() -> None:
    made = files.archive(load_bundle())
    assert made == files.archive(load_bundle())
    with zipfile.ZipFile(BytesIO(made)) as zipped:
        content = {name: yaml.safe_load(zipped.read(name)) for name in zipped.namelist()}
    assert content["kkbc/metadata.yaml"]["type"] == "assets"
    objects = {name: it for name, it in content.items() if "uuid" in it}
    assert len({it["uuid"] for it in objects.values()}) == len(objects) == len(content) - 1
    # Another uuid would be another chart, and the one that people linked to would go.
    assert content["kkbc/charts/retensi.yaml"]["uuid"] == files.identifier("chart", "retensi")
    assert all(it["is_managed_externally"] and it["external_url"].startswith(files.OWNED) for it in objects.values())


def test_filters_reach_the_charts_that_have_their_column() -> None:
    bundle = load_bundle()
    board = bundle.dashboards["rapor_cabang"]
    assert set(bundle.reached(board, "satu_cabang")) == {*board.shown} - {"keterangan", "capaian_nasional"}
    assert "retensi" not in bundle.reached(board, "bulan")
    assert {"retensi", "akuisisi_kanal"} == set(bundle.reached(board, "kanal"))
