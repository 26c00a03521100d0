"""What all request and response shapes have in common."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from textgen.options import Options

# In a field's JSON schema: the model that checks its content later. `openapi.py` makes a reference
# of it, which outside that document would lead nowhere.
OF = "x-of"


class Body(Options):
    """A request body: strict about types, unknown fields refused with the nearest known one."""

    model_config = ConfigDict(strict=True)


class Query(Options):
    """A query string; its values arrive as text."""


class Shape(BaseModel):
    """A response."""

    model_config = ConfigDict(extra="forbid")


class Extensible(BaseModel):
    """A part of a response that may carry more than is listed."""

    model_config = ConfigDict(extra="allow")


Metadata = Annotated[
    dict[Annotated[str, Field(min_length=1, max_length=64)], Annotated[str, Field(max_length=512)]],
    Field(max_length=16),
]
Id = Annotated[str, Field(min_length=1, max_length=300)]
SUFFIX_PATTERN = r"^[A-Za-z0-9._-]+$"
Suffix = Annotated[str, Field(min_length=1, max_length=64, pattern=SUFFIX_PATTERN)]


class NoQuery(Query):
    """For routes that take nothing from the query string."""


class PageQuery(Query):
    """Which page of a list: the one behind ``after``, ``limit`` long."""

    after: str | None = Field(None, max_length=300, description="the last id of the page before")
    limit: int = Field(20, ge=1, le=100)


class MetadataPageQuery(PageQuery):
    """A page of what carries this metadata, ``metadata[key]=value``."""

    metadata: Metadata | None = None


class Deleted(Shape):
    """The answer to a deletion."""

    id: str
    object: str
    deleted: Literal[True] = True


class ErrorDetail(Shape):
    """What went wrong; ``code`` is stable, ``message`` is for people."""

    message: str
    type: str
    param: str | None
    code: str | None
    doc_url: str | None = Field(None, description="where people read about the code")


class ErrorEnvelope(Shape):
    """The body of every answer that is not a success."""

    error: ErrorDetail


class JobError(Shape):
    """Why a job failed."""

    code: str
    message: str
    param: str | None = None
    request_id: str | None = Field(
        None, description="of the request that made the job, as the service's log has it"
    )
