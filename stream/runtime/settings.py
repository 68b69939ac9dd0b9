"""The one configuration of the application: every ``COSTREAM_*`` variable, parsed, bounded and frozen at start."""

from __future__ import annotations

import re
from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Any, Final, Literal, Self

from pydantic import BeforeValidator, Field, SecretStr, field_validator, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from stream.budgets.zones import zone as clocks_of

RETENTION_DAYS_MAX: Final = 365  # rollups are kept a year, and no row may outlive the sum that it is in
RETENTION_DAYS_MIN: Final = 3  # the audit leaves out the two days that are just expiring


def _from_seconds(value: Any) -> Any:
    """pydantic takes a bare number for seconds, but not in text, and a variable of the environment is text."""
    return float(value) if isinstance(value, str) and re.fullmatch(r"[0-9]+(\.[0-9]+)?", value) else value


Duration = Annotated[timedelta, Field(ge=timedelta(0)), BeforeValidator(_from_seconds)]
PositiveDuration = Annotated[timedelta, Field(gt=timedelta(0)), BeforeValidator(_from_seconds)]


class Settings(BaseSettings):
    """Environment variables ``COSTREAM_<FIELD>``; durations are seconds or ISO 8601 (``PT10M``)."""

    model_config = SettingsConfigDict(env_prefix="COSTREAM_", frozen=True, extra="forbid")

    # Kafka
    kafka_bootstrap_servers: str = "127.0.0.1:9092"
    kafka_security_protocol: Literal["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"] = "PLAINTEXT"
    kafka_sasl_mechanism: Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"] = "SCRAM-SHA-512"
    kafka_sasl_username: str = ""
    kafka_sasl_password: SecretStr = SecretStr("")
    kafka_ssl_ca_location: str = Field(default="", description="CA file; empty takes the system's.")
    topic_prefix: str = Field(default="", pattern=r"^[a-zA-Z0-9._-]*$", description="Put before every topic name.")
    consumer_group: str = "costream"
    topic_settings_accepted: str = Field(
        default="",
        description="Settings of topics that a worker would refuse and you accept with what follows, by comma: "
        "`message.timestamp.type` and `retention.ms` of usage.events, `cleanup.policy`, `max.message.bytes`.",
    )
    source: str = Field(
        default="",
        description="Names the incarnation of usage.events whose offsets count; empty takes Kafka's own topic id.",
    )
    session_timeout: PositiveDuration = Field(
        default=timedelta(seconds=15), description="How long a killed worker's partitions lie idle."
    )

    stop_max: PositiveDuration = Field(
        default=timedelta(seconds=25),
        description="How long a stop may take; below the 30 s that most orchestrators grant.",
    )

    # Warehouse
    clickhouse_url: str = Field(
        default="http://127.0.0.1:8123", description="http(s)://HOST:PORT, or chdb:///FOLDER for the embedded engine."
    )
    clickhouse_database: str = Field(default="costream", pattern=r"^[a-zA-Z_][a-zA-Z0-9_]*$")
    clickhouse_user: str = "default"
    clickhouse_password: SecretStr = SecretStr("")
    clickhouse_read_password: SecretStr = Field(
        default=SecretStr(""), description="`costream clickhouse` lets who gives this one read and nothing else."
    )

    # Prices
    price_files: str = Field(
        default="",
        description="Files of your own prices (TOML), by comma: what `costream prices publish` publishes where it is "
        "given none. A worker reads no file: it prices by the revision that is published.",
    )

    # Rules
    rule_files: str = Field(
        default="",
        description="Files of your own rules (TOML), by comma: what `costream rules publish` publishes where it is "
        "given none. A worker reads no file: it judges by the revision that is published.",
    )
    zone: str = Field(
        default="UTC", description="By whose clocks the periods of budgets begin that name no zone, such as Asia/Seoul."
    )

    # Ingest
    batch_rows_max: int = Field(
        default=100_000, gt=0, le=1_000_000, description="Events in one flush: ClickHouse wants few large inserts."
    )
    batch_wait_max: PositiveDuration = Field(
        default=timedelta(milliseconds=500),
        description="How long a flush fills, and then until none before it waits to be stored.",
    )
    event_future_max: PositiveDuration = Field(
        default=timedelta(minutes=10), description="An event further ahead of its arrival is refused: a wrong clock."
    )
    retention: PositiveDuration = Field(
        default=timedelta(days=90),
        description="Whole days, 3 to 365. Older events are refused; raw rows and dead letters are kept this long. "
        "`costream migrate up` gives it to the tables, and a worker with another number refuses to start.",
    )
    dedup_window: PositiveDuration = Field(
        default=timedelta(days=7), description="How far back an id with other content is recognised as a conflict."
    )
    dedup_ids_max: int = Field(
        default=20_000_000, gt=0, description="Ids in memory; beyond it the oldest hours go and the window shrinks."
    )

    # Watch
    watch_interval: PositiveDuration = Field(
        default=timedelta(seconds=1), description="The least time between two judgements of what was spent lately."
    )

    # Channels
    secrets_dir: Path = Field(
        default=Path("/run/secrets"),
        description="Where the secrets of channels lie, a file each; COSTREAM_SECRET_<NAME> is looked at first.",
    )
    dashboard_url: str = Field(
        default="", description="Of the dashboard that messages link to; from and to are added. Empty: no link."
    )

    # Page and API
    serve_bind: str = Field(
        default="127.0.0.1", description="Where `costream serve` listens; beyond this machine only with a token."
    )
    serve_port: int = Field(default=8000, ge=0, le=65_535, description="0 takes a free port and prints it.")
    serve_tokens: SecretStr = Field(
        default=SecretStr(""),
        description="Who may read, as NAME:TOKEN by comma (a single one needs no name); a token has 16 characters or "
        "more. Empty: whoever is on this machine.",
    )
    serve_requests_a_minute: int = Field(
        default=600, gt=0, description="Of one token (or of this machine) to the HTTP API."
    )

    # Alerts about the pipeline
    pipeline_alerts_enabled: bool = Field(
        default=True, description="The audit, a stall, records that vanished, a flood of dead letters: on usage.alerts."
    )
    flood_records_max: int = Field(
        default=1_000, gt=0, description="Dead letters within the window above which it is a flood."
    )
    flood_share_max: Decimal = Field(
        default=Decimal("0.05"), gt=0, le=1, description="Or this share of all records, from 50 dead letters on."
    )
    flood_window: PositiveDuration = Field(default=timedelta(minutes=10), description="The window of both.")

    # Audit
    audit_interval: Duration = Field(
        default=timedelta(hours=6),
        description="How often one worker audits by itself; 0 leaves it to `costream audit`.",
    )

    # Health and metrics
    health_bind: str = "127.0.0.1"
    health_port: int = Field(default=9108, ge=0, le=65_535, description="0 takes a free port; it is logged.")
    metrics_users_max: int = Field(
        default=100,
        ge=0,
        le=1_000,
        description="Users with a series of their own in llm_total_cost_usd, the first of a day (UTC); the others are "
        "`(other)`. 0 leaves the label `user_id` out.",
    )
    stall_max: PositiveDuration = Field(
        default=timedelta(seconds=60), description="Lag without progress for this long makes the worker not ready."
    )

    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = "INFO"

    @field_validator("zone")
    @classmethod
    def _is_a_zone(cls, zone: str) -> str:
        clocks_of(zone)
        return zone

    @model_validator(mode="after")
    def _agrees_with_itself(self) -> Self:
        days = self.retention / timedelta(days=1)
        if not (days.is_integer() and RETENTION_DAYS_MIN <= days <= RETENTION_DAYS_MAX):
            raise ValueError(
                f"COSTREAM_RETENTION is {days:g} days; it must be {RETENTION_DAYS_MIN} to {RETENTION_DAYS_MAX} whole "
                "days. Rollups are kept a year, and no row may outlive its sum; of fewer days none could be audited"
            )
        if self.dedup_window > self.retention:
            raise ValueError("COSTREAM_DEDUP_WINDOW is above COSTREAM_RETENTION: ids are read back from raw rows")
        return self

    def topic(self, name: str) -> str:
        return self.topic_prefix + name
