"""The documents: their links lead somewhere, and their pictures are those that the scripts draw."""

import re
import runpy
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]
PAGES = sorted([ROOT / "README.md", *(ROOT / "docs").rglob("*.md")])


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page: Path) -> None:
    links = re.findall(r"\]\(([^)#\s]+)", page.read_text(encoding="utf-8"))
    broken = [link for link in links if "://" not in link and not (page.parent / link).exists()]
    assert broken == []


def test_picture_is_the_one_that_its_script_draws() -> None:
    script = ROOT / "docs" / "images" / "flow.py"
    assert runpy.run_path(str(script))["draw"]() == script.with_suffix(".svg").read_text(encoding="utf-8")


def test_rules_are_all_there_and_in_order() -> None:
    text = (ROOT / "docs" / "specification" / "rules.md").read_text(encoding="utf-8")
    exchange, kpis = text.split("## KPI rules")
    for part, last in ((exchange, 39), (kpis, 22)):
        assert [int(number) for number in re.findall(r"^(\d+)\. ", part, re.M)] == list(range(1, last + 1))


def test_rules_that_the_code_cites_exist() -> None:
    files = [*(ROOT / "plugins").rglob("*.py"), *(ROOT / "dbt_project").rglob("*.sql"), *(ROOT / "tests").rglob("*.py")]
    cited = re.findall(r"(Exchange|KPI) rules? (\d+)", " ".join(file.read_text(encoding="utf-8") for file in files))
    assert cited
    assert {(page, number) for page, number in cited if int(number) > {"Exchange": 39, "KPI": 22}[page]} == set()


def test_retention_is_the_same_in_the_policy_and_on_its_pages() -> None:
    """Every number of days stands beside its key, in docs/security.md for data of persons and in the runbook."""
    policy = yaml.safe_load((ROOT / "config" / "maintenance.yml").read_text(encoding="utf-8"))
    table = (ROOT / "docs" / "security.md").read_text(encoding="utf-8").split("## How long data of persons are kept")[1]
    stores = {}
    for row in re.findall(r"^\| (.+) \|$", table.split("\n## ")[0], re.M):
        *_, after, keys = row.split(" | ")
        stores |= {key: re.findall(r"(\d+)(?= days)", after) for key in re.findall(r"`(\w+)`", keys)}
    of_persons = {
        "in_force",
        "superseded",
        "rejected",
        "quarantined_rows",
        "quarantine",
        "vault",
        "exports",
        "logs",
        "airflow",
    }
    assert {key: found for key, found in stores.items() if key != "publications_kept"} == {
        key: [str(policy[key])] for key in of_persons
    }
    runbook = (ROOT / "docs" / "runbooks" / "maintenance.md").read_text(encoding="utf-8")
    written = {
        key: int(days)
        for names, days in re.findall(r"((?:`\w+`, )*`\w+`) (\d+)", runbook)
        for key in re.findall(r"`(\w+)`", names)
    }
    assert {key: written.get(key) for key in policy} == policy
