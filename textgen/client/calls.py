"""Each request that the official client cannot make, as a value: how it is sent, how it is read.

What is None is left out, so that the service's own default counts. ``sampling`` are the options of
the service's completions, by their names.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Generic, Literal, TypeVar
from urllib.parse import quote

from textgen.client.shapes import (
    Classification,
    Evaluation,
    Examination,
    Insertion,
    Job,
    NextTokens,
    Score,
    State,
    Tokens,
)

T = TypeVar("T")
Prompt = str | Sequence[int]


@dataclass(frozen=True, slots=True)
class Call(Generic[T]):
    """One request. One that makes a job is ``once``: however often it is sent, there is one job."""

    method: Literal["GET", "POST", "DELETE"]
    path: str
    read: Callable[[Any], T]
    body: Mapping[str, Any] | None = None
    file: tuple[str, bytes] | None = None
    file_field: str = field(default="file", kw_only=True)  # of the form
    once: bool = field(default=False, kw_only=True)


def next_tokens(
    model: str, prompt: Prompt = "", *, state_id: str | None = None, top: int | None = None
) -> Call[NextTokens]:
    """The likeliest next tokens after a prompt, or after a state and what follows it.

    To take one, send its id as the prompt, ``[token]``, with the ``state_id`` of the answer.
    """
    body = given(model=model, prompt=prompt, state_id=state_id, top=top)
    return Call("POST", "/next_tokens", NextTokens.model_validate, body)


def insert(
    model: str,
    text: str,
    *,
    positions: Sequence[int] | None = None,
    max_insertions: int | None = None,
    **sampling: Any,
) -> Call[Insertion]:
    """A text made longer by a model that has learnt infill, anywhere or at ``positions``."""
    more = given(positions=positions, max_insertions=max_insertions, **sampling)
    body = {"model": model, "input": text, **more}
    return Call("POST", "/insertions", Insertion.model_validate, body)


def classify(
    model: str, texts: str | Sequence[str], *, top_k: int | None = None
) -> Call[tuple[Classification, ...]]:
    """The label of each text, by a model that has learnt labels."""
    body = given(model=model, input=texts, top_k=top_k)
    return Call("POST", "/classify", lambda a: _each(Classification, a["data"]), body)


def tokenize(model: str, text: str) -> Call[Tokens]:
    """The text as the model reads it."""
    body = {"model": model, "prompt": text, "return_token_strs": True}
    return Call("POST", "/tokenize", Tokens.model_validate, body)


def state(state_id: str) -> Call[State]:
    """Which model a state is of, and how long it stays."""
    return Call("GET", f"/states/{quote(state_id, safe='')}", State.model_validate)


def delete_state(state_id: str) -> Call[None]:
    """Nothing goes on from it any more."""
    return Call("DELETE", f"/states/{quote(state_id, safe='')}", lambda _: None)


def score(
    model: str,
    *,
    file: str | None = None,
    texts: str | Sequence[str] | None = None,
    worst: int | None = None,
    metadata: Mapping[str, str] | None = None,
    **reading: str,
) -> Call[Score]:
    """Start scoring the rows of a stored file, or of some texts; wait for its id.

    ``reading`` says how the file is read: format, column, encoding.
    """
    body = given(model=model, file=file, input=texts, worst=worst, metadata=metadata, **reading)
    return Call("POST", "/scores", Score.model_validate, body, once=True)


def get_score(score_id: str) -> Call[Score]:
    """A scoring as far as it is."""
    return Call("GET", f"/scores/{quote(score_id, safe='')}", Score.model_validate)


def evaluate(
    model: str,
    *,
    file: str | None = None,
    options: Mapping[str, Any] | None = None,
    metadata: Mapping[str, str] | None = None,
    **reading: str,
) -> Call[Evaluation]:
    """Start an evaluation on a stored file, else on what the model's training held out."""
    body = given(model=model, file=file, options=options, metadata=metadata, **reading)
    return Call("POST", "/evaluations", Evaluation.model_validate, body, once=True)


def get_evaluation(evaluation_id: str) -> Call[Evaluation]:
    """An evaluation as far as it is."""
    path = f"/evaluations/{quote(evaluation_id, safe='')}"
    return Call("GET", path, Evaluation.model_validate)


def examine(
    file: str,
    *,
    seconds: float | None = None,
    metadata: Mapping[str, str] | None = None,
    **reading: str,
) -> Call[Examination]:
    """Start looking a stored file over, with a training of ``seconds`` in mind."""
    body = given(file=file, seconds=seconds, metadata=metadata, **reading)
    return Call("POST", "/examinations", Examination.model_validate, body, once=True)


def get_examination(examination_id: str) -> Call[Examination]:
    """An examination as far as it is."""
    path = f"/examinations/{quote(examination_id, safe='')}"
    return Call("GET", path, Examination.model_validate)


def job(job_id: str) -> Call[Job]:
    """A job of any kind as far as it is."""
    return Call("GET", f"/jobs/{quote(job_id, safe='')}", Job.model_validate)


def cancel(job_id: str) -> Call[Job]:
    """End a job; what it has written so far stays."""
    return _act(job_id, "cancel")


def pause(job_id: str) -> Call[Job]:
    """Let a job rest; it keeps a checkpoint."""
    return _act(job_id, "pause")


def resume(job_id: str) -> Call[Job]:
    """Let a paused job go on where it was."""
    return _act(job_id, "resume")


def retry(job_id: str) -> Call[Job]:
    """Run a failed or cancelled job again, as a new one."""
    return _act(job_id, "retry", once=True)


def upload(name: str, content: bytes) -> Call[str]:
    """Store a text to measure on; its id."""
    return Call("POST", "/files", lambda a: str(a["id"]), {"purpose": "user_data"}, (name, content))


def begin_upload(name: str, size: int, purpose: str, mime_type: str) -> Call[str]:
    """Begin to store a file of ``size`` bytes in parts; the upload's id."""
    body = {"filename": name, "bytes": size, "purpose": purpose, "mime_type": mime_type}
    return Call("POST", "/uploads", lambda answer: str(answer["id"]), body)


def add_part(upload_id: str, content: bytes) -> Call[str]:
    """Send a part; its id. One that is sent twice does no harm: the ids in the end count."""
    path = f"/uploads/{quote(upload_id, safe='')}/parts"
    return Call(
        "POST", path, lambda answer: str(answer["id"]), {}, ("part", content), file_field="data"
    )


def complete_upload(upload_id: str, part_ids: Sequence[str]) -> Call[str]:
    """Make one file of the parts; its id."""
    path = f"/uploads/{quote(upload_id, safe='')}/complete"
    return Call(
        "POST", path, lambda answer: str(answer["file"]["id"]), {"part_ids": list(part_ids)}
    )


def content(file_id: str) -> Call[Any]:
    """What a stored JSON file says."""
    return Call("GET", f"/files/{quote(file_id, safe='')}/content", lambda answer: answer)


def given(**fields: Any) -> dict[str, Any]:
    """The fields that have a value."""
    return {name: value for name, value in fields.items() if value is not None}


def _act(job_id: str, verb: str, *, once: bool = False) -> Call[Job]:
    path = f"/jobs/{quote(job_id, safe='')}/{verb}"
    return Call("POST", path, Job.model_validate, {}, once=once)


def _each(shape: type[Classification], data: Sequence[Any]) -> tuple[Classification, ...]:
    return tuple(shape.model_validate(each) for each in data)
