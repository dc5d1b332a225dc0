"""The dashboards as exposures of the dbt project, generated from the bundle."""

from kkbc.core.settings import PROJECT_ROOT
from kkbc.upkeep.dashboards.bundle import Bundle, Dashboard
from kkbc.upkeep.dashboards.chain import models_behind

FILE = PROJECT_ROOT / "dbt_project" / "semantic" / "_dashboards.yml"
_HEAD = """\
# The dashboards of bi/superset/bundle as dbt knows them. Written by `kkbc bi exposures`: do not edit.
version: 2

exposures:
"""


def exposures(bundle: Bundle) -> str:
    """The text of the file."""
    return _HEAD + "\n".join(_exposure(bundle, name, dashboard) for name, dashboard in bundle.dashboards.items())


def _exposure(bundle: Bundle, name: str, dashboard: Dashboard) -> str:
    datasets = {bundle.charts[chart].dataset for chart in dashboard.shown}
    datasets |= {bundle.filters[key].dataset for key in dashboard.filters}
    models = sorted(set().union(*(models_behind(bundle.datasets[key]) for key in datasets)))
    lines = [
        f"  - name: dashboard_{name}",
        f"    label: {dashboard.title}",
        f'    description: "{dashboard.description}"',
        "    type: dashboard",
        "    maturity: high",
        "    owner: {name: data-engineering}",
        "    depends_on:",
        *(f"      - ref('{model}')" for model in models),
        f"    config: {{meta: {{label_id: {dashboard.title}, state: live}}}}",
    ]
    return "\n".join(lines) + "\n"
