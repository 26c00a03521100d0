"""What can be said of a tenant, with its bounds; shared by HTTP and the command line."""

from __future__ import annotations

import zoneinfo
from decimal import Decimal
from typing import Annotated

from pydantic import ConfigDict, Field, field_validator

from textgen.options import Options

MICRO = 1_000_000  # money is stored in millionths of the currency's unit
ID_FORM = r"^[a-z0-9][a-z0-9_-]{0,62}$"  # it becomes part of model names
Amount = Annotated[Decimal, Field(ge=0, le=Decimal("1e9"), decimal_places=6)]
Word = Annotated[str, Field(min_length=1, max_length=100)]
BlockedWords = Annotated[tuple[Word, ...], Field(max_length=1000)]


class Limits(Options):
    """What a plan or a tenant may use; without a value there is no bound."""

    requests_per_minute: int | None = Field(None, ge=1, le=10_000_000)
    characters_per_minute: int | None = Field(None, ge=1, description="of prompts and answers")
    tokens_per_minute: int | None = Field(
        None, ge=1, le=10**12, description="of prompts and answers"
    )
    characters_per_month: int | None = Field(None, ge=1, description="of prompts and answers")
    tokens_per_month: int | None = Field(None, ge=1, description="of prompts and answers")
    compute_seconds_per_month: float | None = Field(None, gt=0, description="of all work")
    concurrent_completions: int | None = Field(None, ge=1, le=100_000)
    running_jobs: int | None = Field(None, ge=1, le=100_000, description="further ones wait")
    queued_jobs: int | None = Field(None, ge=1, le=10_000_000, description="waiting at once")
    storage_bytes: int | None = Field(
        None, ge=0, description="of files, models, and uploads that are not completed"
    )

    def with_own(self, own: Limits | None) -> Limits:
        """These limits, where a tenant has none of its own."""
        if own is None:
            return self
        given = {name: getattr(own, name) for name in own.model_fields_set}
        return self.model_copy(update=given)


class TenantOptions(Options):
    """What may be set; what is not given stays as it is."""

    model_config = ConfigDict(coerce_numbers_to_str=False)

    name: str | None = Field(None, min_length=1, max_length=200)
    weight: float | None = Field(
        None, ge=0.01, le=1000, description="share of the workers beside tenants of weight 1"
    )
    plan: str | None = Field(None, max_length=64, description="of the plans file; empty: none")
    currency: str | None = Field(None, pattern="^[A-Z]{3}$", description="ISO 4217")
    time_zone: str | None = Field(None, max_length=64, description="of days and months, IANA name")
    monthly_budget: Amount | None = Field(None, description="once spent, new work is refused")
    unlimited_budget: bool = Field(False, description="take a budget away")
    limits: Limits | None = Field(None, description="its own, before those of its plan")
    label: str | None = Field(
        None, max_length=200, description="stands behind generated text; empty: none"
    )
    blocked_words: BlockedWords | None = Field(
        None, description="prompts with one are refused, texts end before one"
    )

    @field_validator("time_zone")
    @classmethod
    def _known_zone(cls, value: str | None) -> str | None:
        if value is not None:
            try:
                zoneinfo.ZoneInfo(value)
            except (zoneinfo.ZoneInfoNotFoundError, ValueError, OSError):
                raise ValueError("no time zone has this name; one is Asia/Shanghai") from None
        return value


class NewTenant(TenantOptions):
    """A tenant to be made."""

    id: str | None = Field(None, pattern=ID_FORM, description="made up where not given")
    name: str = Field(min_length=1, max_length=200)
