"""What was used, in OpenAI's shapes with characters and seconds beside the tokens."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BeforeValidator, Field

from web.schemas.base import Query, Shape

Width = Literal["1m", "1h", "1d"]
SECONDS: dict[Width, int] = {"1m": 60, "1h": 3600, "1d": 86_400}
DEFAULT_LIMIT: dict[Width, int] = {"1m": 60, "1h": 24, "1d": 7}
MOST: dict[Width, int] = {"1m": 1440, "1h": 168, "1d": 31}
END_OF_TIME = 32_503_680_000  # the year 3000
Time = Annotated[int, Field(ge=0, le=END_OF_TIME)]


def _listed(value: object) -> object:
    return [value] if isinstance(value, str) else value


Repeated = Annotated[list[str], BeforeValidator(_listed), Field(max_length=100)]
Group = Literal["project_id", "user_id", "api_key_id", "model", "batch", "service_tier"]
Groups = Annotated[list[Group], BeforeValidator(_listed), Field(max_length=6)]


class UsageQuery(Query):
    """Which usage, in which buckets of time (UTC)."""

    start_time: Time
    end_time: Time | None = None
    bucket_width: Width = "1d"
    limit: int | None = Field(None, ge=1, le=1440)
    page: str | None = Field(None, max_length=40)
    group_by: Groups | None = None
    project_ids: Repeated | None = None
    api_key_ids: Repeated | None = None
    user_ids: Repeated | None = None
    models: Repeated | None = None
    batch: bool | None = None


class UsageResult(Shape):
    """What one group used in one bucket; characters compare across tokenizers."""

    object: Literal["organization.usage.completions.result"] = (
        "organization.usage.completions.result"
    )
    input_tokens: int
    output_tokens: int
    num_model_requests: int
    input_characters: int
    output_characters: int
    compute_seconds: float = Field(description="shares of the engine")
    project_id: str | None = None
    user_id: None = None
    api_key_id: str | None = None
    model: str | None = None
    batch: bool | None = None
    service_tier: None = None


class UsageBucket(Shape):
    """A span of time."""

    object: Literal["bucket"] = "bucket"
    start_time: int
    end_time: int
    results: list[UsageResult]


class UsagePage(Shape):
    """Buckets in the order of time."""

    object: Literal["page"] = "page"
    data: list[UsageBucket]
    has_more: bool
    next_page: str | None


class ExportQuery(Query):
    """Which rows of usage, in which form."""

    start_time: Time
    end_time: Time | None = None
    project_ids: Repeated | None = None
    format: Literal["csv", "jsonl"] = "jsonl"


class SummaryQuery(Query):
    """Which usage to sum up by kind of work."""

    start_time: Time
    end_time: Time | None = None
    project_ids: Repeated | None = None


class QuotaQuery(Query):
    """Whose quotas; for the operator, everybody else has their own."""

    project_id: str | None = Field(None, max_length=100)


class QuotaShape(Shape):
    """How a monthly quota stands."""

    name: str = Field(description="as in the limits of a project")
    limit: float
    used: float
    reserved: float = Field(description="set aside for jobs that are not finished")
    remaining: float
    resets_at: int = Field(description="the first moment of the project's next month")


class QuotaList(Shape):
    """The monthly quotas that a project has; where it is not bounded there is none."""

    object: Literal["list"] = "list"
    project_id: str
    time_zone: str
    data: list[QuotaShape]


class KindSum(Shape):
    """What one kind of work has used."""

    kind: str
    requests: int
    characters_in: int
    characters_out: int
    tokens_in: int
    tokens_out: int
    compute_seconds: float
    byte_hours: float


class UsageSummary(Shape):
    """Sums by kind."""

    object: Literal["usage.summary"] = "usage.summary"
    start_time: int
    end_time: int
    data: list[KindSum]
