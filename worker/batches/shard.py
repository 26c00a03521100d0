"""A part of a batch while it runs: its lines, what the engine answered, the two result files.

Everything here follows from the job and the lines alone, so a shard that is run again gives the
same bytes.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from textgen.errors import TextgenError
from worker.batches.input import BatchLine
from worker.contracts import GenerateRequest
from worker.errors import NotFound
from worker.generation.classification import ClassAnswer, ClassifyBody
from worker.generation.completions import Answer, CompletionBody
from worker.generation.engine_link import Update
from worker.generation.serving import find_classifier, find_writer
from worker.jobs import Job
from worker.settings import Settings
from worker.storage.artifact_staging import Staging
from worker.storage.models import Models

OUTPUT_FILE = "output.jsonl"
ERROR_FILE = "errors.jsonl"
CLASSIFY = "/v1/classify"  # the endpoint of batches of texts to classify; others write


@dataclass(slots=True)
class LineRequest:
    """A line on its way through the engine."""

    line: BatchLine
    model: str
    request: GenerateRequest
    answer: Answer


@dataclass(frozen=True, slots=True)
class ShardCounts:
    """What became of a shard's lines."""

    completed: int
    failed: int
    prompt_tokens: int
    completion_tokens: int


class Shard:
    """Some consecutive lines of a batch."""

    def __init__(self, index: int, job: Job, lines: Sequence[BatchLine]) -> None:
        self.index = index
        self._job = job
        self._lines = lines
        self._rows: dict[int, tuple[bool, str]] = {}  # line number → (completed, its result)
        self._prompt_tokens = 0
        self._completion_tokens = 0

    @property
    def complete(self) -> bool:
        """Whether every line has its result."""
        return len(self._rows) == len(self._lines)

    def prepare(self, models: Models, settings: Settings) -> Iterator[LineRequest]:
        """The lines that can be run; the others get their error at once."""
        for line in self._lines:
            try:
                yield self._prepare(line, models, settings)
            except TextgenError as error:
                self._fail(line, 404 if isinstance(error, NotFound) else 400, error.as_dict())

    def add(self, item: LineRequest, update: Update) -> None:
        """Take in what the engine brought for a line."""
        item.answer.add_deltas(update.deltas)
        if update.error is not None:
            self._fail(item.line, 400, update.error)
        elif update.usage is not None:
            item.answer.usage = update.usage
            self._succeed(item)

    def restart(self, item: LineRequest) -> None:
        """Forget what a line had so far: its engine died."""
        item.answer = item.answer.fresh()

    def counts(self) -> ShardCounts:
        """What became of the lines so far."""
        completed = sum(done for done, _ in self._rows.values())
        return ShardCounts(
            completed, len(self._rows) - completed, self._prompt_tokens, self._completion_tokens
        )

    def write(self, staging: Staging) -> None:
        """Both result files, lines in the order of the input."""
        with staging.open(OUTPUT_FILE) as output, staging.open(ERROR_FILE) as errors:
            for number in sorted(self._rows):
                completed, row = self._rows[number]
                (output if completed else errors).write(row.encode())

    def _prepare(self, line: BatchLine, models: Models, settings: Settings) -> LineRequest:
        if self._job.spec["endpoint"] == CLASSIFY:
            return self._classification(line, models, settings)
        body = CompletionBody.check(line.body)
        if body.stream:
            raise _stream_in_batch()
        body.check_limits(
            max_characters=settings.max_prompt_characters, max_choices=settings.max_prompts
        )
        model, bundle = find_writer(
            models, self._job.tenant, body.model, fills_gaps=body.suffix is not None
        )
        request_id = f"cmpl-{self._derived(line, 'completion').hex()[:24]}"
        seed = int.from_bytes(self._derived(line, "seed")[:7])
        request = body.to_request(request_id, bundle, seed)
        return LineRequest(line, model, request, Answer(len(request.prompts) * request.n))

    def _classification(self, line: BatchLine, models: Models, settings: Settings) -> LineRequest:
        body = ClassifyBody.check(line.body)
        body.check_limits(
            max_characters=settings.max_prompt_characters, max_texts=settings.max_prompts
        )
        model, bundle, labels = find_classifier(models, self._job.tenant, body.model)
        request_id = f"class-{self._derived(line, 'classification').hex()[:24]}"
        answer = ClassAnswer(len(body.input), labels, body.top_k)
        return LineRequest(line, model, body.to_request(request_id, bundle), answer)

    def _derived(self, line: BatchLine, what: str) -> bytes:
        """Bytes that depend on the job and the line's place alone."""
        return hashlib.sha256(f"{what}:{self._job.id}:{line.number}".encode()).digest()

    def _succeed(self, item: LineRequest) -> None:
        body = item.answer.body(item.request.id, item.model)
        body["created"] = int(self._job.created_at)
        self._rows[item.line.number] = (True, self._row(item.line, 200, body))
        self._prompt_tokens += item.answer.usage.prompt_tokens
        self._completion_tokens += item.answer.usage.completion_tokens

    def _fail(self, line: BatchLine, status: int, error: dict[str, Any]) -> None:
        body = {"error": {**error, "type": "invalid_request_error"}}
        self._rows[line.number] = (False, self._row(line, status, body))

    def _row(self, line: BatchLine, status: int, body: dict[str, Any]) -> str:
        name = self._derived(line, "line").hex()[:24]
        row = {
            "id": f"batch_req_{name}",
            "custom_id": line.custom_id,
            "response": {"status_code": status, "request_id": f"req_{name}", "body": body},
            "error": None,
        }
        return json.dumps(row, ensure_ascii=False) + "\n"


def _stream_in_batch() -> TextgenError:
    return TextgenError(
        "'stream' is true: a line of a batch cannot be streamed; leave it out.",
        code="unsupported_option",
        param="stream",
    )
