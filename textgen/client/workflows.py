"""What takes several requests, written once for both clients.

A workflow yields what it wants done, a call or a job to wait for, and is sent what came of it.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from textgen.client import calls
from textgen.client.calls import Call, given
from textgen.client.errors import ApiError, NotMeasured
from textgen.client.rows import json_lines
from textgen.client.shapes import Evaluation, Examination, Place, Score, Traces
from textgen.errors import InvalidCorpus

T = TypeVar("T")
FORGOTTEN = ("state_not_found", "state_of_another_model", "state_of_other_numerics")
MOST_TRACED = 2000  # tokens
PART = 16 << 20  # bytes


@dataclass(frozen=True, slots=True)
class Wait:
    """Wait for a job's end; JobEnded is raised where it did not succeed."""

    job_id: str


Steps = Generator[Call[Any] | Wait, Any, T]


class Progress(Generic[T]):
    """How far a workflow is: what is ``wanted`` next; when nothing is, its ``result``."""

    def __init__(self, steps: Steps[T]) -> None:
        self.wanted: Call[Any] | Wait | None = None
        self.result: T
        self._steps = steps
        self._advance(lambda: next(steps))

    def did(self, found: Any) -> None:
        """What was wanted is done, and this came of it."""
        self._advance(lambda: self._steps.send(found))

    def failed(self, error: Exception) -> None:
        """What was wanted failed; raises the error unless the workflow knows a way around it."""
        self._advance(lambda: self._steps.throw(error))

    def _advance(self, go: Callable[[], Call[Any] | Wait]) -> None:
        try:
            self.wanted = go()
        except StopIteration as end:
            self.wanted, self.result = None, end.value


def write(place: Place, more: str = "", **sampling: Any) -> Steps[Place]:
    """Add ``more`` to a text and let its model write on; where the text stands then.

    From the state of the place, in the same time however long the text is; where the service has
    forgotten it, the whole text is sent.
    """
    body = {"model": place.model, **given(**sampling)}
    further = {**body, "prompt": more, "state_id": place.state_id, "return_state": True}
    whole = {**body, "prompt": place.text + more}
    answer = None
    if place.state_id is not None:
        answer = yield from _unless(further, FORGOTTEN)
    if answer is None:
        answer = yield from _unless({**whole, "return_state": True}, ("states_off",))
    if answer is None:
        answer = yield _completion(whole)
    choice = answer["choices"][0]
    return Place(
        model=place.model,
        text=place.text + more + choice["text"],
        state_id=choice.get("state_id"),
        finish_reason=choice["finish_reason"],
    )


def scores(
    model: str,
    *,
    file: str | None = None,
    texts: str | Sequence[str] | None = None,
    worst: int | None = None,
    metadata: Mapping[str, str] | None = None,
    **reading: str,
) -> Steps[Score]:
    """Score rows and wait for the end; the sum of them, and the worst twenty."""
    started = yield calls.score(
        model, file=file, texts=texts, worst=worst, metadata=metadata, **reading
    )
    yield Wait(started.id)
    ended: Score = yield calls.get_score(started.id)
    return ended


def evaluation(
    model: str,
    *,
    file: str | None = None,
    options: Mapping[str, Any] | None = None,
    metadata: Mapping[str, str] | None = None,
    **reading: str,
) -> Steps[Evaluation]:
    """Evaluate and wait for the end."""
    started = yield calls.evaluate(model, file=file, options=options, metadata=metadata, **reading)
    yield Wait(started.id)
    ended: Evaluation = yield calls.get_evaluation(started.id)
    return ended


def report(evaluation_id: str) -> Steps[dict[str, Any]]:
    """The whole report of an evaluation that has succeeded."""
    ended = yield calls.get_evaluation(evaluation_id)
    found: dict[str, Any] = yield calls.content(ended.report_file_id)
    return found


def doctor(
    file: str,
    *,
    seconds: float | None = None,
    metadata: Mapping[str, str] | None = None,
    **reading: str,
) -> Steps[Examination]:
    """What is odd in a stored file, and what a training of ``seconds`` would choose for it."""
    started = yield calls.examine(file, seconds=seconds, metadata=metadata, **reading)
    yield Wait(started.id)
    ended: Examination = yield calls.get_examination(started.id)
    return ended


def upload_rows(
    rows: Iterable[Mapping[str, Any]], *, name: str = "rows.jsonl", purpose: str = "fine-tune"
) -> Steps[str]:
    """Store rows as a file of JSON lines; its id, to be trained on or measured on.

    ``rows`` are dicts, or whatever gives them one by one, such as a dataset of Hugging Face's
    ``datasets``; what they may hold says `textgen.client.rows`. They go by a file on this
    machine's disk and then in parts, so memory does not grow with them. InvalidCorpus for a row
    that is none, or where there are none.
    """
    with tempfile.TemporaryFile() as file:
        file.writelines(json_lines(rows))
        size = file.tell()
        if size == 0:
            raise InvalidCorpus(
                "There are no rows with anything in them to upload.",
                code="empty_file",
                param="rows",
            )
        upload_id = yield calls.begin_upload(name, size, purpose, "application/jsonl")
        file.seek(0)
        parts = list[str]()
        while part := file.read(PART):
            parts.append((yield calls.add_part(upload_id, part)))
    file_id: str = yield calls.complete_upload(upload_id, parts)
    return file_id


def traces(
    model: str, text: str, *, units: Sequence[str] | None = None, most: int | None = None
) -> Steps[Traces]:
    """How surprising each token of a text is to a model, and what its units do along it.

    NotMeasured where the model has not learnt to predict the next token.
    """
    file = yield calls.upload("text.txt", text.encode())
    options = given(parts=["traces"], trace_tokens=MOST_TRACED, units=units, trace_units=most)
    ended = yield from evaluation(model, file=file, options=options)
    found = yield from report(ended.id)
    if found["traces"] is None:
        raise NotMeasured(f"There are no traces: {found['missing']['traces']}.")
    return Traces.model_validate(found["traces"])


def _unless(body: Mapping[str, Any], codes: Sequence[str]) -> Steps[Any]:
    """The answer to a completion; None for an error with one of the codes."""
    try:
        return (yield _completion(body))
    except ApiError as error:
        if error.code not in codes:
            raise
        return None


def _completion(body: Mapping[str, Any]) -> Call[Any]:
    return Call("POST", "/completions", lambda answer: answer, body)
