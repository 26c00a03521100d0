"""Batches: many requests to one endpoint, in one file."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field

from web.schemas.base import Body, Id, Metadata, Shape
from web.schemas.files import ExpiresAfter

Endpoint = Literal["/v1/completions", "/v1/chat/completions", "/v1/embeddings", "/v1/classify"]
BatchStatus = Literal[
    "validating",
    "failed",
    "in_progress",
    "finalizing",
    "completed",
    "expired",
    "cancelling",
    "cancelled",
]


class BatchBody(Body):
    """A batch to start."""

    input_file_id: Id
    endpoint: Endpoint
    completion_window: Literal["24h"] = Field(description="a label: nothing expires by itself")
    metadata: Metadata | None = None
    output_expires_after: ExpiresAfter | None = None


class BatchError(Shape):
    """What is wrong with the input; ``line`` counts from 1."""

    code: str
    line: int | None = None
    message: str
    param: str | None = None


class BatchErrors(Shape):
    """All that is wrong with the input, or the beginning of it."""

    object: Literal["list"] = "list"
    data: list[BatchError]


class RequestCounts(Shape):
    """How many lines there are, and how they went."""

    total: int = 0
    completed: int = 0
    failed: int = 0


class InputDetails(Shape):
    """There is no cache of prompts."""

    cached_tokens: int = 0


class OutputDetails(Shape):
    """There is no hidden reasoning."""

    reasoning_tokens: int = 0


class BatchUsage(Shape):
    """Tokens read and written by the whole batch."""

    input_tokens: int
    input_tokens_details: InputDetails = InputDetails()
    output_tokens: int
    output_tokens_details: OutputDetails = OutputDetails()
    total_tokens: int


class BatchObject(Shape):
    """A batch. Times are seconds since 1970."""

    id: str
    object: Literal["batch"] = "batch"
    endpoint: str
    errors: BatchErrors | None
    input_file_id: str
    completion_window: str
    status: BatchStatus
    output_file_id: str | None
    error_file_id: str | None
    created_at: int
    in_progress_at: int | None = None
    expires_at: int | None = None
    finalizing_at: int | None = None
    completed_at: int | None = None
    failed_at: int | None = None
    expired_at: int | None = None
    cancelling_at: int | None = None
    cancelled_at: int | None = None
    request_counts: RequestCounts
    usage: BatchUsage | None = None
    metadata: dict[str, Any]


class BatchList(Shape):
    """A page of batches, newest first."""

    object: Literal["list"] = "list"
    data: list[BatchObject]
    first_id: str | None
    last_id: str | None
    has_more: bool
