"""Settings: defaults in `config/settings.yml`, overridden by environment variables `KKBC_*`.

Secrets are never here: they come from key files in the home folder or from Airflow connections.
"""

import os
from datetime import date
from functools import cache
from pathlib import Path
from typing import Literal
from urllib.parse import urlsplit

from pydantic import NonNegativeInt, PositiveFloat, PositiveInt, ValidationError, field_validator
from pydantic_settings import (
    BaseSettings,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    YamlConfigSettingsSource,
)

from kkbc.core.errors import UserError

PROJECT_ROOT = Path(os.environ.get("KKBC_PROJECT", Path(__file__).resolve().parents[3]))


class Settings(BaseSettings):
    """All settings, validated. Paths are absolute; `home` is the one folder that an installation hangs on."""

    model_config = SettingsConfigDict(
        env_prefix="KKBC_", yaml_file=PROJECT_ROOT / "config" / "settings.yml", extra="forbid", frozen=True
    )

    home: Path = PROJECT_ROOT / ".local"
    database_url: str = ""
    """libpq URI of the warehouse database; empty: the embedded server in `home`."""
    landing_uri: str = ""
    """Where landing lies, a folder or an fsspec URI; empty: `home`/landing."""
    cache_folder: str = ""
    """Folder of what is made again when it is missing, which several homes may share; empty: `home`/cache."""
    source_root: str = ""
    """Root folder of branches of kind `file` whose registry entry names no folder of its own."""
    first_business_date: date | None = None
    """First day of the daily marts; None: the one kept in the warehouse, else the earliest delivery found."""
    history_days: NonNegativeInt = 31
    """Days before the first business date that a branch is asked for whose way cannot list what is there."""
    visit_seconds: PositiveFloat = 480
    """How long one visit to a branch may take, from connecting to the last byte; Airflow ends a group's task after
    2700, which four visits in a row must fit into."""
    pull_groups: PositiveInt = 4
    """Into how many groups Airflow's pull puts the branches, a task each; measured in docs/decisions/0030."""
    slice_bytes: PositiveInt = 4 << 30
    """How many bytes one slice may have; a longer one is rejected."""
    disk_reserve: NonNegativeInt = 1 << 30
    """Bytes that slices leave free on the disks of spool and landing; of a small disk a tenth."""
    gate: Literal["fail", "warn"] = "fail"
    """`fail`: a failed audit stops publication; `warn`: it is reported and the night is published."""
    publications_kept: PositiveInt = 14
    """Publications that can be taken back by `kkbc rollback`, the newest ones."""
    lock_wait_minutes: PositiveInt = 120
    """How long a step waits for another one, say a load for a build, before it tells who holds it up and ends."""
    reader_patience_seconds: PositiveInt = 60
    """How long a publication that must have a table for itself waits for its readers, before it ends their sessions."""
    reader_statement_seconds: PositiveInt = 300
    """How long a statement of a reader may take."""
    reader_transaction_seconds: PositiveInt = 1800
    """How long a reader's transaction may last; what reaches beyond is ended before a publication."""
    reader_idle_seconds: PositiveInt = 300
    """How long a reader's transaction may do nothing."""
    reader_connections: PositiveInt = 40
    """How many connections a login of readers may have at once."""
    reader_temp_mb: PositiveInt = 2048
    """How much a session of a reader may put into temporary files."""
    notify: str = "log"
    """Channels of the nightly message, with commas between: log, smtp:CONNECTION, webhook:CONNECTION; empty: none."""
    site_url: str = ""
    """Address under which readers reach Airflow, for links in messages; empty: that of this home's own stack."""
    report_pages: Literal["off", "national", "regional", "branches"] = "national"
    """Which reports a publication writes: none, the nation's, those of the regional offices too, those of all branches
    too. `kkbc report` writes any other."""
    reports_kept: PositiveInt = 35
    """Nights whose reports and figures are kept, the newest ones."""
    attach_report: bool = False
    """Whether the nightly message has the nation's report attached where it goes by SMTP."""
    metrics: str = "off"
    """Where figures of nights and of Airflow go: off, statsd://HOST:PORT, or the http(s) URL of an OTLP collector."""
    lineage: str = "file"
    """Where OpenLineage events go: `file` (`home`/lineage), `off`, or the Airflow connection of a collector."""
    backup_to: str = ""
    """Where `kkbc backup` and the DAG `backup` write to, a folder or an fsspec URI. The DAG is only scheduled where the
    environment variable is set."""
    backups_kept: PositiveInt = 14
    """How many backups the DAG `backup` keeps, the newest ones."""
    pii_key_connection: str = ""
    """Airflow connection whose password is the key of the participant tokens; empty: the file `keys`/pii.key."""
    landing_encryption: bool = False
    """Whether what is written to landing is encrypted; what is encrypted already is read either way."""
    landing_key_connection: str = ""
    """Airflow connection whose password is the key of landing; empty: the file `keys`/landing.key. The environment
    variable KKBC_LANDING_KEY, which is no setting, comes before both."""
    engine: Literal["postgres", "spark"] = "postgres"
    """What builds the marts: the warehouse itself, or a Spark cluster, from where they are brought to the warehouse."""
    spark_thrift: str = ""
    """HOST:PORT of the Thrift server of an existing cluster; empty: the one that runs beside this home."""
    spark_folder: str = ""
    """Folder of Spark's tables, which all of its workers see under the same path; empty: `home`/spark."""
    registry: Path = PROJECT_ROOT / "config" / "branches.yml"
    contracts: Path = PROJECT_ROOT / "contracts"
    gate_limits: Path = PROJECT_ROOT / "config" / "gate.yml"
    """The limits that the gate goes by."""
    maintenance: Path = PROJECT_ROOT / "config" / "maintenance.yml"
    """What is kept for how long."""

    @field_validator("home", "registry", "contracts", "gate_limits", "maintenance")
    @classmethod
    def _absolute(cls, value: Path) -> Path:
        if value == Path():
            raise ValueError("it is empty: name a path, or unset it")
        return value.expanduser().absolute()

    @field_validator("notify")
    @classmethod
    def _channels(cls, value: str) -> str:
        for way in _listed(value):
            kind, _, conn_id = way.partition(":")
            if way != "log" and not (kind in ("smtp", "webhook") and conn_id):
                raise ValueError(f"{way!r} is no channel: list log, smtp:CONNECTION, webhook:CONNECTION")
        return value

    @field_validator("spark_thrift")
    @classmethod
    def _address(cls, value: str) -> str:
        if value and not (value.rpartition(":")[0] and _port(f"//{value}")):
            raise ValueError(f"{value!r} is no HOST:PORT")
        return value

    @field_validator("metrics")
    @classmethod
    def _sink(cls, value: str) -> str:
        parts = urlsplit(value)
        statsd = parts.scheme == "statsd" and parts.hostname and _port(value) and parts.path in ("", "/")
        if value != "off" and not statsd and not (parts.scheme in ("http", "https") and parts.hostname):
            raise ValueError(f"{value!r} is neither off, statsd://HOST:PORT, nor an http(s) URL")
        return value

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        return init_settings, env_settings, YamlConfigSettingsSource(settings_cls)

    @property
    def landing(self) -> str:
        """Root of landing as an fsspec URI or absolute path, without a trailing slash."""
        return (self.landing_uri or str(self.home / "landing")).rstrip("/")

    @property
    def cache(self) -> Path:
        """Folder of what is made again when it is missing."""
        return Path(self.cache_folder).expanduser().absolute() if self.cache_folder else self.home / "cache"

    @property
    def channels(self) -> tuple[str, ...]:
        """The channels of the nightly message."""
        return _listed(self.notify)

    @property
    def keys(self) -> Path:
        """Folder of the key files, mode 0700."""
        return self.home / "keys"


def _listed(text: str) -> tuple[str, ...]:
    return tuple(dict.fromkeys(part.strip() for part in text.split(",") if part.strip()))


def _port(url: str) -> int | None:
    try:
        return urlsplit(url).port
    except ValueError:
        return None


@cache
def get_settings() -> Settings:
    """The settings of this process. Raises UserError naming the setting that is wrong."""
    try:
        return Settings()
    except ValidationError as error:
        first = error.errors()[0]
        name = ".".join(str(part) for part in first["loc"])
        raise UserError(
            f"setting {name!r} is not valid: {first['msg'].removeprefix('Value error, ')}",
            f"fix KKBC_{name.upper()} or config/settings.yml",
        ) from error
