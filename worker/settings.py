"""What the operator sets, read from the environment once a process and passed down.

Names, defaults and meanings are made into the settings page of the documentation from here.
"""

from __future__ import annotations

from pathlib import Path
from typing import Literal, Self
from urllib.parse import quote

from pydantic import AliasChoices, Field, SecretStr, ValidationError, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from textgen.option_messages import reason_of
from worker.errors import InvalidSetting

MEBIBYTE = 2**20


class Settings(BaseSettings):
    """Every setting, frozen. Times are seconds, sizes bytes."""

    model_config = SettingsConfigDict(
        env_prefix="TEXTGEN_", frozen=True, extra="ignore", allow_inf_nan=False
    )

    # where things are
    home: Path = Field(
        Path(".textgen"), description="embedded data: database, artifacts, Redis file, credentials"
    )
    database_url: str = Field("", description="postgresql+psycopg://… ; empty: SQLite in the home")
    broker_url: str = Field("", description="redis:// or rediss:// ; empty: an embedded Redis")
    storage_url: str = Field("", description="s3://bucket/prefix or any fsspec URL; empty: files")
    base_url: str = Field("", description="which server the command line talks to")
    api_key: SecretStr = Field(SecretStr(""), description="the key the command line sends")
    public_url: str = Field("", description="how browsers reach the service, behind a proxy")

    # how it runs
    bind: str = Field("127.0.0.1", description="address the web process listens on")
    port: int = Field(
        8000,
        ge=0,
        le=65535,
        validation_alias=AliasChoices("PORT", "port"),
        description="port the web process listens on; 0 takes a free one",
    )
    web_threads: int = Field(
        256, ge=2, le=4096, description="requests served at once; 3 of 4 may be completions"
    )
    device: str = Field(
        "auto", pattern=r"^(auto|cpu|cuda(:\d+)?)$", description="auto, cpu, cuda or cuda:N"
    )
    train_workers: int = Field(1, ge=0, le=64, description="trainings at once on this machine")
    generate_workers: int = Field(1, ge=0, le=64, description="generation workers of the stack")
    threads: int = Field(
        0,
        ge=0,
        le=512,
        description="cores a worker computes with, in `textgen up` a training; 0: all",
    )
    admin_key: SecretStr = Field(SecretStr(""), description="the first admin key")
    admin_key_file: Path | None = Field(None, description="a file that holds the first admin key")
    cors_origins: str = Field("", description="browsers elsewhere that may call, comma separated")
    plans_file: Path | None = Field(None, description="plans and prices, a TOML file")
    webhook_allow: str = Field("", description="own hosts and networks that webhooks may reach")
    log_format: str = Field(
        "text", pattern="^(text|json)$", description="text, or json: a JSON object a line"
    )

    traces: Literal["off", "otlp"] = Field(
        "off",
        description="otlp: traces to the collector that OTEL_EXPORTER_OTLP_ENDPOINT names",
    )

    # times of the life of a job
    lease_seconds: float = Field(60, gt=0, description="a job is its worker's for this long")
    heartbeat_seconds: float = Field(10, gt=0, description="between two renewals of the lease")
    silence_seconds: float = Field(
        40, gt=0, description="a worker that could not renew for this long stops by itself"
    )
    control_seconds: float = Field(
        1, gt=0, description="between two looks at cancel and pause wishes of a running job"
    )
    reconcile_seconds: float = Field(2, gt=0, description="between two passes of the reconciler")
    hang_seconds: float = Field(600, gt=0, description="a training without progress is killed")
    cancel_grace_seconds: float = Field(30, gt=0, description="then a cancelled training is killed")
    drain_seconds: float = Field(80, gt=0, description="time to finish after SIGTERM")
    good_run_seconds: float = Field(
        30,
        gt=0,
        description="a process of `textgen up` that ends before is restarted ever later",
    )
    retry_base_seconds: float = Field(2, gt=0, description="first delay before a retry, doubling")
    max_attempts: int = Field(5, ge=0, description="retries of a job after transient errors")
    max_losses: int = Field(3, ge=1, description="lost workers without progress before giving up")
    checkpoint_min_seconds: float = Field(10, gt=0, description="least time between checkpoints")
    checkpoint_max_seconds: float = Field(300, gt=0, description="most time between checkpoints")
    broker_retry_seconds: float = Field(
        3, gt=0, description="after a failed wake-up none is tried for this long"
    )
    broker_silence_seconds: float = Field(
        30, gt=2, description="a worker that hears nothing from Redis for this long connects anew"
    )
    webhook_hold_seconds: float = Field(
        60, gt=0, description="a delivery whose sender died is sent again after this"
    )

    # how long what ended jobs leave is kept, counted from their end
    keep_events_days: float = Field(
        0, ge=0, description="events of ended jobs; 0: for ever, as for the next two"
    )
    keep_results_days: float = Field(
        0, ge=0, description="files that ended jobs have made, but no models"
    )
    keep_checkpoints_days: float = Field(
        0, ge=0, description="checkpoints of ended trainings, with the models they are"
    )

    # limits
    max_body_bytes: int = Field(8 * MEBIBYTE, gt=0, description="of a request that is no upload")
    max_upload_bytes: int = Field(2048 * MEBIBYTE, gt=0, description="of one uploaded file")
    max_prompt_characters: int = Field(262_144, gt=0, description="of one interactive prompt")
    max_prompts: int = Field(256, gt=0, description="choices one completion request may ask for")
    max_batch_lines: int = Field(1_000_000, gt=0, description="of one batch")
    max_queued_jobs: int = Field(100_000, gt=0, description="waiting at once, over all tenants")
    disk_floor_bytes: int = Field(256 * MEBIBYTE, ge=0, description="less free: no new work")
    request_seconds: float = Field(
        20,
        gt=0,
        description="for a request's head, and its body and 1 s more per 500 bytes",
    )
    interactive_timeout_seconds: float = Field(
        60, gt=0, description="an interactive request that no worker took by then is a 503"
    )
    state_seconds: int = Field(
        3600, gt=0, description="the state of a text is kept for this long after its last use"
    )
    tenant_state_bytes: int = Field(
        64 * MEBIBYTE,
        ge=0,
        description="of the states of texts that one tenant has in Redis; 0: none are given out",
    )
    storage_cache_bytes: int = Field(
        20_480 * MEBIBYTE,
        gt=0,
        description="disk of each machine for copies of models and corpora from `storage_url`; "
        "what is in use stays, and is counted",
    )
    slots: int = Field(
        128,
        ge=1,
        le=4096,
        description="texts that each loaded model advances at once",
    )
    model_cache_bytes: int = Field(
        2048 * MEBIBYTE, gt=0, description="memory for loaded models in one generation worker"
    )
    prefix_cache_bytes: int = Field(
        64 * MEBIBYTE,
        ge=0,
        description="memory for each loaded model to remember how prompts begin; 0: none",
    )

    generation_weights: Literal["float32", "int8"] = Field(
        "float32",
        description="int8 generates two to four times faster; models that lose more than 0.01 "
        "nats by it keep float32",
    )

    @field_validator("home", mode="after")
    @classmethod
    def _absolute(cls, home: Path) -> Path:
        return home.expanduser().absolute()

    @property
    def effective_database_url(self) -> str:
        """The database in use: the one given or SQLite under the home."""
        if self.database_url:
            return self.database_url
        return f"sqlite:///{self.home / 'textgen.db'}"

    @property
    def effective_storage_url(self) -> str:
        """Where artifacts lie: the URL given or a folder under the home."""
        return self.storage_url if self.storage_url else str(self.home / "artifacts")

    @property
    def work_folder(self) -> Path:
        """Scratch space of this machine; may be emptied when nothing runs."""
        return self.home / "work"

    @property
    def copies_folder(self) -> Path:
        """Copies of files from remote storage, shared by the processes of this machine."""
        return self.home / "copies"

    def with_broker(self, host: str, port: int, password: str) -> Self:
        """The same settings, pointing at an embedded Redis."""
        url = f"redis://:{quote(password)}@{host}:{port}/0"
        return self.model_copy(update={"broker_url": url})


def load_settings() -> Settings:
    """Read the environment; raise InvalidSetting naming the variable, its value, the way out."""
    try:
        return Settings()
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        name = str(first["loc"][0]) if first["loc"] else ""
        variable = "PORT" if name.lower() == "port" else f"TEXTGEN_{name.upper()}"
        raise InvalidSetting(
            f"{variable} is {first['input']!r}: {reason_of(Settings, error)}.", param=variable
        ) from None
