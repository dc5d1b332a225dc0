"""Configuration of Superset: what differs from its defaults.

Addresses and secrets come from the environment, which `kkbc bi up` and docker-compose.yml set; nothing secret is here
or in the bundle.
"""

import os
import re
from collections.abc import Iterator, Mapping
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from typing import Any

import yaml
from flask import Blueprint, Response, jsonify
from sqlalchemy.engine import URL, make_url
from sqlalchemy.pool import NullPool
from superset.config import TALISMAN_CONFIG as _TALISMAN
from superset.config import THEME_DARK as _DARK
from superset.config import THEME_DEFAULT as _LIGHT
from superset.errors import ErrorLevel, SupersetError, SupersetErrorType
from superset.exceptions import SupersetSecurityException
from superset.security import SupersetSecurityManager

SQLALCHEMY_DATABASE_URI = os.environ["KKBC_BI_METADATA_URL"]
SQLALCHEMY_ENGINE_OPTIONS = {"poolclass": NullPool}
SECRET_KEY = os.environ["KKBC_BI_SECRET_KEY"]

# No request leaves the machine: neither the telemetry pixel nor tiles of maps.
_POLICY = {
    "base-uri": ["'self'"],
    "default-src": ["'self'"],
    "img-src": ["'self'", "blob:", "data:"],
    "worker-src": ["'self'", "blob:"],
    "connect-src": ["'self'"],
    "object-src": "'none'",
    "style-src": ["'self'", "'unsafe-inline'"],
    "font-src": ["'self'"],
    "script-src": ["'self'", "'strict-dynamic'"],
    "frame-ancestors": ["'self'"],
}
TALISMAN_ENABLED = True
TALISMAN_CONFIG = {**_TALISMAN, "content_security_policy": _POLICY}

APP_NAME = "Kerja Keras Bebas Cemas"
D3_FORMAT = {"decimal": ",", "thousands": ".", "grouping": [3], "currency": ["Rp ", ""]}
D3_TIME_FORMAT = {
    "dateTime": "%A, %e %B %Y %X",
    "date": "%d/%m/%Y",
    "time": "%H.%M.%S",
    "periods": ["", ""],
    "days": ["Minggu", "Senin", "Selasa", "Rabu", "Kamis", "Jumat", "Sabtu"],
    "shortDays": ["Min", "Sen", "Sel", "Rab", "Kam", "Jum", "Sab"],
    "months": [
        *("Januari", "Februari", "Maret", "April", "Mei", "Juni"),
        *("Juli", "Agustus", "September", "Oktober", "November", "Desember"),
    ],
    "shortMonths": ["Jan", "Feb", "Mar", "Apr", "Mei", "Jun", "Jul", "Agu", "Sep", "Okt", "Nov", "Des"],
}
CURRENCIES = ["IDR"]

# Superset has no Indonesian: the words that readers see are beside this file, and served where its pages ask for them.
BABEL_DEFAULT_LOCALE = "id"
LANGUAGES = {"id": {"flag": "id", "name": "Bahasa Indonesia"}}


def COMMON_BOOTSTRAP_OVERRIDES_FUNC(_: Any) -> dict[str, Any]:
    """The language of every page, also for who signed in before there was this one."""
    return {"locale": "id"}


def _language_pack() -> dict[str, Any]:
    """The words in the form of Superset's own packs: for each text its plural forms, of which Indonesian has one."""
    words = yaml.safe_load(Path(__file__).with_name("indonesian.yml").read_text(encoding="utf-8"))
    head = {"domain": "superset", "lang": "id", "plural_forms": "nplurals=1; plural=0;"}
    texts = {english: own if isinstance(own, list) else [own] for english, own in words.items()}
    return {"domain": "superset", "locale_data": {"superset": {"": head, **texts}}}


_PACK = _language_pack()
_language = Blueprint("indonesian", __name__)


@_language.route("/superset/language_pack/id/")
def _indonesian() -> Response:
    return jsonify(_PACK)


BLUEPRINTS = [_language]

# From light to dark without black, so that a number on it can be read.
EXTRA_SEQUENTIAL_COLOR_SCHEMES = [
    {
        "id": "kkbc",
        "label": "Kerja Keras Bebas Cemas",
        "description": "",
        "isDiverging": False,
        "colors": ["#eaf5f3", "#bfe2dc", "#93cfc5", "#62b8ab", "#2a9d8f"],
    }
]
# No buttons "All" and "Inv" in legends, which are in no language pack; long names of bars take two lines.
_NAMES = {"axisLabel": {"width": 180, "overflow": "break", "lineHeight": 14}}
_ECHARTS = {
    "echartsOptionsOverrides": {"legend": {"selector": False}},
    "echartsOptionsOverridesByChartType": {"echarts_timeseries_bar": {"yAxis": _NAMES}},
}
THEME_DEFAULT = {**_LIGHT, **_ECHARTS}
THEME_DARK = {**_DARK, **_ECHARTS}

# One process serves all, so its memory is the cache. The key holds the user: no two share what row policies filter.
CACHE_CONFIG = {"CACHE_TYPE": "SimpleCache", "CACHE_DEFAULT_TIMEOUT": 300, "CACHE_KEY_PREFIX": "kkbc_"}
DATA_CACHE_CONFIG = {**CACHE_CONFIG, "CACHE_KEY_PREFIX": "kkbc_data_"}
FEATURE_FLAGS = {"CACHE_QUERY_BY_USER": True, "DRILL_TO_DETAIL": False}

# Users come from the readers of the warehouse (`kkbc bi users`); nobody registers, and nobody is served without login.
AUTH_USER_REGISTRATION = False
PUBLIC_ROLE_LIKE = None
AUTH_ROLE_PUBLIC = "Public"

# What could change settings of the session, run SQL given as a text, or reach files. Superset's own
# DISALLOWED_SQL_FUNCTIONS holds for SQL Lab, not for charts; here the text counts, however it is quoted.
_CLOSED = re.compile(
    r"\b(set_config|\w*_to_xml\w*|dblink\w*|lo_\w+|pg_read\w*|pg_ls\w*|pg_stat_file|pg_sleep\w*|pg_terminate_backend"
    r"|pg_cancel_backend|ts_stat|ts_rewrite|crosstab\w*|connectby)\b|\bu&[\"']",
    re.IGNORECASE,
)

SQL_MAX_ROW = 50_000
TALISMAN_DEV_CONFIG = TALISMAN_CONFIG


_spec = spec_from_file_location("bi_tickets", os.environ["KKBC_BI_TICKETS"])
assert _spec is not None
assert _spec.loader is not None
bi_tickets = module_from_spec(_spec)
_spec.loader.exec_module(bi_tickets)


def DB_CONNECTION_MUTATOR(
    uri: URL, params: dict[str, Any], username: str | None, security_manager: Any, source: Any
) -> tuple[URL, dict[str, Any]]:
    """Leads the bundle's database to the warehouse, as the gateway, and proves to PostgreSQL for whom it asks.

    Row policies show the rows of that reader, and none without one. The key is read anew each time: it may be replaced.
    """
    if uri.host != "warehouse":
        return uri, params
    arguments = {**params.get("connect_args", {}), "application_name": "superset", "options": bi_tickets.PLANS}
    if username:
        key = Path(os.environ["KKBC_BI_GATEWAY_KEY_FILE"]).read_text().strip()
        arguments["options"] = f"{bi_tickets.connection_options(username, key)} {bi_tickets.PLANS}"
    return make_url(os.environ["KKBC_BI_WAREHOUSE_URL"]), {**params, "connect_args": arguments, "poolclass": NullPool}


_READER = "Pembaca"
_SQL = ("sqlExpression", "where", "having")
_COLUMN = re.compile(r"\w*")


class SecurityManager(SupersetSecurityManager):
    """Readers ask for columns and metrics of the datasets and send no SQL of their own.

    A name that is not theirs would lack its ticket; with SQL of their own they could still read statements of others in
    pg_stat_activity, or hold a night up.
    """

    def raise_for_access(self, *arguments: Any, **named: Any) -> None:
        """Refuses what Superset refuses, and any query of a reader with SQL in it."""
        super().raise_for_access(*arguments, **named)
        if any(role.name == _READER for role in self.get_user_roles()):
            context, viz = named.get("query_context"), named.get("viz")
            asked = [query.to_dict() for query in context.queries] if context else []
            asked += [it.form_data for it in (context, viz) if it is not None and it.form_data]
            if any(not _COLUMN.fullmatch(sql) for sql in _sql_in(asked)):
                raise _refused("Pembaca tidak dapat memakai SQL sendiri.")


def SQL_QUERY_MUTATOR(sql: str, **_: Any) -> str:
    """Refuses SQL with a closed function, whoever sends it."""
    if _CLOSED.search(sql):
        raise _refused("Kueri memakai fungsi yang ditutup.")
    return sql


def _refused(message: str) -> SupersetSecurityException:
    kind = SupersetErrorType.DATASOURCE_SECURITY_ACCESS_ERROR
    return SupersetSecurityException(SupersetError(message=message, error_type=kind, level=ErrorLevel.ERROR))


def _sql_in(asked: Any) -> Iterator[str]:
    """Every text in a query that PostgreSQL would read as SQL; of the axis of a chart it is the column's name."""
    if isinstance(asked, Mapping):
        yield from (str(asked[key]) for key in _SQL if asked.get(key))
        for value in asked.values():
            yield from _sql_in(value)
    elif isinstance(asked, list | tuple):
        for value in asked:
            yield from _sql_in(value)


CUSTOM_SECURITY_MANAGER = SecurityManager
