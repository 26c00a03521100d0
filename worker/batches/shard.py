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

from textgen.errors import InvalidOption, TextgenError
from worker.batches.input import BatchLine
from worker.contracts import GenerateRequest
from worker.error_answers import answer_for
from worker.errors import Unavailable
from worker.generation.answer import Answer
from worker.generation.endpoints import ENDPOINTS
from worker.generation.engine_errors import to_error
from worker.generation.engine_link import Update
from worker.generation.serving import ModelNames
from worker.generation.text_policy import NO_POLICY, TextPolicy
from worker.generation.work import Asker
from worker.jobs.rows import Job
from worker.json_strings import refuse_unusable
from worker.settings import Settings
from worker.storage.artifact_staging import Staging
from worker.usage.characters import characters_in

OUTPUT_FILE = "output.jsonl"
ERROR_FILE = "errors.jsonl"


@dataclass(slots=True)
class LineRequest:
    """A line on its way through the engine."""

    line: BatchLine
    model: str
    request: GenerateRequest
    answer: Answer
    seconds: float = 0.0  # of the engine so far
    characters: int = 0  # written so far
    tries: int = 0  # that ended in a fault which may have passed

    @property
    def choices(self) -> int:
        """Texts that the engine makes for it."""
        return len(self.request.prompts) * self.request.n


@dataclass(frozen=True, slots=True)
class ShardCounts:
    """What became of a shard's lines."""

    completed: int
    failed: int
    prompt_tokens: int
    completion_tokens: int
    characters_in: int
    characters_out: int
    compute_seconds: float


class Shard:
    """Some consecutive lines of a batch."""

    def __init__(
        self, index: int, job: Job, lines: Sequence[BatchLine], policy: TextPolicy = NO_POLICY
    ) -> None:
        self.index = index
        self._policy = policy
        self._job = job
        self._lines = lines
        self._rows: dict[int, tuple[bool, str]] = {}  # line number → (completed, its result)
        self._prompt_tokens = 0
        self._completion_tokens = 0
        self._characters_in = 0
        self._characters_out = 0
        self._compute_seconds = 0.0

    @property
    def complete(self) -> bool:
        """Whether every line has its result."""
        return len(self._rows) == len(self._lines)

    def prepare(self, models: ModelNames, settings: Settings) -> list[LineRequest]:
        """The lines that can be run; the others get their error at once.

        Raises Unavailable, which is no line's fault: prepare it again.
        """
        return list(self._prepared(models, settings))

    def _prepared(self, models: ModelNames, settings: Settings) -> Iterator[LineRequest]:
        for line in self._lines:
            try:
                yield self._prepare(line, models, settings)
            except Unavailable:
                raise
            except TextgenError as error:
                self._fail(line, error)

    def add(self, item: LineRequest, update: Update) -> None:
        """Take in what the engine brought for a line."""
        item.answer.add_deltas(self._policy.labelled(update.deltas))
        item.seconds += update.seconds
        item.characters += sum(delta.characters for delta in update.deltas)
        if update.error is not None:
            self._fail(item.line, to_error(update.error))
        elif update.usage is not None:
            item.answer.usage = update.usage
            self._succeed(item)

    def restart(self, item: LineRequest) -> None:
        """Forget what a line had so far: it begins anew."""
        item.answer, item.seconds, item.characters = item.answer.fresh(), 0.0, 0

    def counts(self) -> ShardCounts:
        """What became of the lines so far."""
        completed = sum(done for done, _ in self._rows.values())
        return ShardCounts(
            completed,
            len(self._rows) - completed,
            self._prompt_tokens,
            self._completion_tokens,
            self._characters_in,
            self._characters_out,
            self._compute_seconds,
        )

    def write(self, staging: Staging) -> None:
        """Both result files, lines in the order of the input."""
        with staging.open(OUTPUT_FILE) as output, staging.open(ERROR_FILE) as errors:
            for number in sorted(self._rows):
                completed, row = self._rows[number]
                (output if completed else errors).write(row.encode())

    def _prepare(self, line: BatchLine, models: ModelNames, settings: Settings) -> LineRequest:
        endpoint = ENDPOINTS[self._job.spec["endpoint"]]
        refuse_unusable(line.body)
        body = endpoint.check(line.body)
        if getattr(body, "stream", False):
            raise _stream_in_batch()
        asker = Asker(
            models,
            self._job.tenant,
            max_characters=settings.max_prompt_characters,
            max_prompts=settings.max_prompts,
        )
        request_id = f"{endpoint.prefix}{self._derived(line, 'request').hex()[:24]}"
        seed = int.from_bytes(self._derived(line, "seed")[:7])
        work = endpoint.begin(body, asker, request_id, seed)
        request = self._policy.admitted(work.request)
        return LineRequest(line, work.model, request, work.answer)

    def _derived(self, line: BatchLine, what: str) -> bytes:
        """Bytes that depend on the job and the line's place alone."""
        return hashlib.sha256(f"{what}:{self._job.id}:{line.number}".encode()).digest()

    def _succeed(self, item: LineRequest) -> None:
        body = item.answer.body(item.request.id, item.model)
        if "created" in body:
            body["created"] = int(self._job.created_at)
        self._rows[item.line.number] = (True, self._row(item.line, 200, body))
        self._prompt_tokens += item.answer.usage.prompt_tokens
        self._completion_tokens += item.answer.usage.completion_tokens
        self._characters_in += characters_in(item.request)
        self._characters_out += item.characters
        self._compute_seconds += item.seconds

    def _fail(self, line: BatchLine, error: TextgenError) -> None:
        """With the status and type that the same request would have over HTTP."""
        answer = answer_for(error)
        body = {"error": {**error.as_dict(), "type": answer.kind}}
        self._rows[line.number] = (False, self._row(line, answer.status, body))

    def _row(self, line: BatchLine, status: int, body: dict[str, Any]) -> str:
        name = self._derived(line, "line").hex()[:24]
        row = {
            "id": f"batch_req_{name}",
            "custom_id": line.custom_id,
            "response": {"status_code": status, "request_id": f"req_{name}", "body": body},
            "error": None,
        }
        return json.dumps(row, ensure_ascii=False) + "\n"


def _stream_in_batch() -> InvalidOption:
    return InvalidOption(
        "'stream' is true: a line of a batch cannot be streamed; leave it out.",
        code="unsupported_option",
        param="stream",
    )
