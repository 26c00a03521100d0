"""textgen.client over a service that fails in every way: what is sent again, and what is said."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from types import SimpleNamespace
from typing import Any, ClassVar

import httpx
import pyarrow as pa
import pytest
from pydantic import BaseModel

from tests.unit.cli.service import Service, running_service
from textgen.client import (
    ApiError,
    AsyncTextgen,
    Conflict,
    InvalidRequest,
    JobEnded,
    NotFound,
    NotMeasured,
    Place,
    QuotaUsedUp,
    RateLimited,
    ServiceFailed,
    ServiceUnreachable,
    Textgen,
    Unauthorised,
    following,
    shapes,
)
from textgen.client.rows import json_lines
from textgen.errors import InvalidCorpus
from web.schemas import (
    classification,
    evaluations,
    examinations,
    insertions,
    jobs,
    scores,
    states,
    tokenization,
)
from worker.scoring import summary

URL = "http://service/v1"
Answers = Callable[[httpx.Request], httpx.Response]


@pytest.fixture(autouse=True)
def no_waiting(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Each time that the client would have waited."""
    slept: list[float] = []

    async def sleep(seconds: float) -> None:
        slept.append(seconds)

    monkeypatch.setattr("textgen.client.synchronous.time.sleep", slept.append)
    monkeypatch.setattr("textgen.client.asynchronous.asyncio.sleep", sleep)
    return slept


class Both:
    """The client that waits and the one that is awaited, called alike."""

    def __init__(self, kind: str, answers: Answers) -> None:
        self._awaited = kind == "awaited"
        self._transport = httpx.MockTransport(answers)

    def __getattr__(self, name: str) -> Callable[..., Any]:
        def call(*args: Any, **kwargs: Any) -> Any:
            if not self._awaited:
                with Textgen(URL, "tg_1", transport=self._transport) as client:
                    found = getattr(client, name)(*args, **kwargs)
                    return list(found) if name == "events" else found
            return asyncio.run(self._await(name, *args, **kwargs))

        return call

    async def _await(self, name: str, *args: Any, **kwargs: Any) -> Any:
        async with AsyncTextgen(URL, "tg_1", transport=self._transport) as client:
            found = getattr(client, name)(*args, **kwargs)
            if name == "events":
                return [event async for event in found]
            return await found


@pytest.fixture(params=["waiting", "awaited"])
def client(request: pytest.FixtureRequest) -> Callable[[Answers], Both]:
    return lambda answers: Both(request.param, answers)


def answered(*answers: httpx.Response | Exception) -> tuple[Answers, list[httpx.Request]]:
    """One after the other; the requests that they answered."""
    left, asked = iter(answers), list[httpx.Request]()

    def answer(request: httpx.Request) -> httpx.Response:
        asked.append(request)
        found = next(left)
        if isinstance(found, Exception):
            raise found
        return found

    return answer, asked


def refusal(status: int, code: str, kind: str = "x", **headers: str) -> httpx.Response:
    error = {"message": f"It is {code}.", "type": kind, "param": "model", "code": code}
    more = {"x-request-id": "req_1", **{name.replace("_", "-"): v for name, v in headers.items()}}
    return httpx.Response(status, json={"error": error}, headers=more)


def job(state: str, error: dict[str, str] | None = None) -> httpx.Response:
    nothing = {"phase": None, "result": None, "started_at": None, "finished_at": None}
    fields = {"id": "j", "kind": "training", "created_at": 1.0, "progress": {}, "metadata": {}}
    return httpx.Response(
        200, json={**nothing, **fields, "spec": {}, "state": state, "error": error}
    )


def event(number: int) -> str:
    data = {"id": number, "job_id": "j", "created_at": 1.0, "level": "info", "type": "state",
            "message": f"Event {number}", "data": {}}  # fmt: skip
    return f"id: {number}\nevent: state\ndata: {json.dumps(data)}\n\n"


END = "event: end\ndata: {}\n\n"
STREAM = {"content-type": "text/event-stream; charset=utf-8"}


def stream(text: str) -> httpx.Response:
    return httpx.Response(200, text=text, headers=STREAM)


NEXT = {
    "model": "m",
    "state_id": "s",
    "data": [{"token": 1, "text": "a", "probability": 0.5, "logprob": -0.7}],
}


def test_a_request_carries_the_key_and_what_was_given(client: Callable[[Answers], Both]) -> None:
    answers, asked = answered(httpx.Response(200, json=NEXT))

    found = client(answers).next_tokens("m", [3, 4], top=5)

    assert found.data[0].probability == 0.5
    assert str(asked[0].url) == f"{URL}/next_tokens"
    assert asked[0].headers["Authorization"] == "Bearer tg_1"
    assert json.loads(asked[0].content) == {"model": "m", "prompt": [3, 4], "top": 5}


@pytest.mark.parametrize(
    ("status", "kind", "raised"),
    [
        (400, "x", InvalidRequest),
        (401, "x", Unauthorised),
        (403, "x", Unauthorised),
        (404, "x", NotFound),
        (409, "x", Conflict),
        (413, "x", InvalidRequest),
        (429, "insufficient_quota", QuotaUsedUp),
        (500, "x", ServiceFailed),
    ],
)
def test_an_error_is_an_exception_with_code_and_remedy(
    client: Callable[[Answers], Both], status: int, kind: str, raised: type[ApiError]
) -> None:
    answers, asked = answered(refusal(status, "odd", kind, x_should_retry="false"))

    with pytest.raises(raised) as found:
        client(answers).state("state_1")

    error = found.value
    assert (error.status, error.code, error.param) == (status, "odd", "model")
    assert (error.message, error.request_id) == ("It is odd.", "req_1")
    assert error.remedy
    assert len(asked) == 1


def test_what_may_be_otherwise_in_a_moment_is_sent_again(
    client: Callable[[Answers], Both], no_waiting: list[float]
) -> None:
    answers, asked = answered(
        refusal(503, "no_worker", retry_after="7"),
        httpx.ConnectError("refused"),
        httpx.Response(200, json=NEXT),
    )

    assert client(answers).next_tokens("m").state_id == "s"
    assert len(asked) == 3
    assert no_waiting[0] == 7


def test_patience_ends(client: Callable[[Answers], Both]) -> None:
    answers, _ = answered(*[refusal(429, "rate_limit_exceeded")] * 4)
    with pytest.raises(RateLimited):
        client(answers).next_tokens("m")
    answers, _ = answered(*[httpx.ConnectError("refused")] * 4)
    with pytest.raises(ServiceUnreachable, match="textgen up"):
        client(answers).next_tokens("m")


@pytest.mark.parametrize("name", ["job", "events", "wait"])
def test_a_redirect_is_an_error_that_says_where_the_service_is(
    client: Callable[[Answers], Both], name: str
) -> None:
    """As of a proxy that wants https; followed, the key would be sent wherever it says."""

    def moved(request: httpx.Request) -> httpx.Response:
        location = str(request.url.copy_with(scheme="https"))
        return httpx.Response(301, html="<h1>Moved</h1>", headers={"Location": location})

    with pytest.raises(InvalidRequest) as found:
        getattr(client(moved), name)("j")

    assert (found.value.status, found.value.code) == (301, "redirected")
    assert found.value.message == (
        "http://service/v1 redirects to https://service/v1. Give that address as base_url."
    )


@pytest.mark.parametrize("status", [301, 304])
def test_what_is_no_success_is_an_error(client: Callable[[Answers], Both], status: int) -> None:
    answers, asked = answered(httpx.Response(status), httpx.Response(status))
    for name in ("job", "events"):
        with pytest.raises(ApiError, match=f"answered with status {status}"):
            getattr(client(answers), name)("j")
    assert len(asked) == 2


@pytest.mark.parametrize("name", ["job", "events", "wait"])
def test_a_page_instead_of_an_answer_is_said_to_be_another_service_s(
    client: Callable[[Answers], Both], name: str
) -> None:
    answers, asked = answered(httpx.Response(200, html="<h1>Welcome</h1>"))

    with pytest.raises(
        ServiceFailed, match=f"What answers at {URL} is no textgen service"
    ) as found:
        getattr(client(answers), name)("j")

    assert (found.value.status, found.value.code) == (200, "foreign_answer")
    assert len(asked) == 1


def evaluation(status: str, report: str | None = None) -> httpx.Response:
    fields = {"id": "eval-1", "status": status, "model": "m", "file": None, "error": None,
              "summary": None, "report_file_id": report, "page_file_id": None}  # fmt: skip
    return httpx.Response(200, json=fields)


def test_a_job_is_asked_for_under_one_key_however_often(client: Callable[[Answers], Both]) -> None:
    answers, asked = answered(httpx.ReadError("lost"), evaluation("queued"))

    assert client(answers).evaluate("m", options={"samples": 3}).id == "eval-1"
    first, second = (request.headers["Idempotency-Key"] for request in asked)
    assert first == second
    assert json.loads(asked[1].content) == {"model": "m", "options": {"samples": 3}}


def test_rows_are_uploaded_in_parts_as_lines_of_json(
    client: Callable[[Answers], Both], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("textgen.client.workflows.PART", 40)
    stored: list[bytes] = []

    def answer(request: httpx.Request) -> httpx.Response:
        path = request.url.path.removeprefix("/v1")
        if path == "/uploads":
            told = json.loads(request.content)
            assert (told["filename"], told["purpose"]) == ("rows.jsonl", "fine-tune")
            stored[:] = [b"%d" % told["bytes"]]
            return httpx.Response(200, json={"id": "up"})
        if path == "/uploads/up/parts":
            assert b'name="data"' in request.content
            stored.append(request.content.partition(b"\r\n\r\n")[2].rpartition(b"\r\n--")[0])
            return httpx.Response(200, json={"id": f"part-{len(stored) - 1}"})
        assert path == "/uploads/up/complete"
        names = [f"part-{number}" for number in range(1, len(stored))]
        assert json.loads(request.content) == {"part_ids": names}
        return httpx.Response(200, json={"file": {"id": "file-1"}})

    class Dataset(list[dict[str, Any]]):
        """As one of Hugging Face's says what the numbers of its labels mean."""

        features: ClassVar = {"label": SimpleNamespace(names=["sad", "glad"])}

    rows = [{"text": "春眠不覺曉", "label": 1, "id": object()}, {"text": None}, {"text": "a\nb"}]
    assert client(answer).upload_rows(Dataset(rows)) == "file-1"
    content = b"".join(stored[1:])
    assert int(stored[0]) == len(content)
    assert all(len(part) <= 40 for part in stored[1:])
    assert [json.loads(line) for line in content.splitlines()] == [
        {"text": "春眠不覺曉", "label": "glad"},
        {"text": "a\nb"},
    ]


def test_rows_of_every_kind_keep_what_is_learnt_of_them() -> None:
    reply = {"role": "assistant", "content": "ho"}
    talk = [{"role": "user", "content": "hi", "weight": None}, reply]
    kinds = [
        ({"prompt": None, "completion": "b", "n": 1}, {"completion": "b", "prompt": ""}),
        ({"messages": talk}, {"messages": [{"role": "user", "content": "hi"}, reply]}),
        ({"text": "a", "label": None}, {"text": "a"}),
        ({"messages": []}, None),
        ({"prompt": "a", "completion": ""}, None),
    ]
    for row, wanted in kinds:
        found = [json.loads(line) for line in json_lines(iter([row]))]
        assert found == ([] if wanted is None else [wanted])
    table = pa.table({"text": ["a", None, "b"], "n": [1, 2, 3]})
    rows = (row for batch in table.to_batches() for row in batch.to_pylist())
    assert list(json_lines(rows)) == [b'{"text": "a"}\n', b'{"text": "b"}\n']


@pytest.mark.parametrize(
    ("row", "words"),
    [
        ("text", "Row 2 is str, no mapping"),
        ({"body": "x"}, "its keys: 'body'); rename the column"),
        ({"text": "x", "label": object()}, "Row 2 holds what JSON cannot say"),
        ({"text": "x", "label": float("nan")}, "Row 2 holds what JSON cannot say"),
    ],
)
def test_a_row_that_is_none_is_named(row: Any, words: str) -> None:
    with pytest.raises(InvalidCorpus) as caught:
        list(json_lines([{"text": "fine"}, row]))
    assert (caught.value.code, caught.value.param) == ("invalid_row", "rows")
    assert words in caught.value.message


def test_no_rows_are_no_file(client: Callable[[Answers], Both]) -> None:
    answers, asked = answered()
    with pytest.raises(InvalidCorpus, match="no rows"):
        client(answers).upload_rows([{"text": ""}])
    assert asked == []


def test_events_come_once_each_over_broken_connections(client: Callable[[Answers], Both]) -> None:
    def broken() -> Iterator[bytes]:
        yield event(1).encode()
        yield event(2)[:30].encode()
        raise httpx.ReadError("gone")

    class Broken(httpx.SyncByteStream, httpx.AsyncByteStream):
        def __iter__(self) -> Iterator[bytes]:
            return broken()

        async def __aiter__(self) -> Any:
            for piece in broken():
                yield piece

    answers, asked = answered(
        httpx.Response(200, stream=Broken(), headers=STREAM),
        httpx.ConnectError("refused"),
        refusal(503, "unavailable", retry_after="1"),
        stream(": still here\n\n" + event(2)),  # drained: no end was told
        stream(event(3) + END),
    )

    found = client(answers).events("j")

    assert [each.id for each in found] == [1, 2, 3]
    assert [request.headers["Last-Event-ID"] for request in asked] == ["0", "1", "1", "1", "2"]


def test_a_service_that_stays_away_is_given_up(
    client: Callable[[Answers], Both], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(following, "PATIENCE", -1.0)
    answers, _ = answered(httpx.ConnectError("refused"))
    with pytest.raises(ServiceUnreachable):
        client(answers).events("j")
    answers, _ = answered(refusal(404, "job_not_found"))
    with pytest.raises(NotFound):
        client(answers).events("j")


@pytest.mark.parametrize(
    ("code", "kind", "status"),
    [
        ("key_revoked", "authentication_error", 401),
        ("project_suspended", "permission_error", 403),
        ("job_not_found", "invalid_request_error", 404),
        ("events_removed", "invalid_request_error", 410),
        ("internal_error", "server_error", 500),
    ],
)
def test_a_stream_that_ends_with_an_error_raises_as_a_refused_request(
    client: Callable[[Answers], Both], code: str, kind: str, status: int
) -> None:
    error = {"error": {"message": "No.", "type": kind, "param": None, "code": code}}
    text = f"event: error\ndata: {json.dumps(error)}\n\n"
    answers, asked = answered(stream(event(1) + text))

    with pytest.raises(ApiError) as caught:
        client(answers).events("j")

    assert (caught.value.status, caught.value.code, len(asked)) == (status, code, 1)


def test_waiting_tells_events_and_raises_for_another_end(client: Callable[[Answers], Both]) -> None:
    told: list[str] = []
    answers, _ = answered(stream(event(1) + END), job("succeeded"))
    ended = client(answers).wait("j", on_event=lambda each: told.append(each.message))
    assert (ended.state, told) == ("succeeded", ["Event 1"])

    error = {"code": "training_diverged", "message": "The loss left the finite numbers."}
    answers, _ = answered(stream(END), job("failed", error))
    with pytest.raises(JobEnded, match="finite numbers") as found:
        client(answers).wait("j")
    assert found.value.code == "training_diverged"
    assert found.value.job.state == "failed"

    answers, _ = answered(stream(END), job("cancelled"))
    with pytest.raises(JobEnded, match="cancelled"):
        client(answers).wait("j")


def test_what_an_evaluation_could_not_measure_is_an_error_with_the_reason(
    client: Callable[[Answers], Both],
) -> None:
    report = {"traces": None, "missing": {"traces": "the model has learnt classify alone"}}
    answers, _ = answered(
        httpx.Response(200, json={"id": "file-1"}),
        evaluation("queued"),
        stream(END),
        job("succeeded"),
        evaluation("succeeded", "file-2"),
        evaluation("succeeded", "file-2"),
        httpx.Response(200, json=report),
    )

    with pytest.raises(NotMeasured, match="learnt classify alone"):
        client(answers).traces("m", "A text.")


REMOVED = {"error": {"message": "They were removed.", "code": "events_removed"}}


@pytest.mark.parametrize(
    "gone",
    [
        lambda: refusal(410, "events_removed"),
        lambda: stream(f"event: error\ndata: {json.dumps(REMOVED)}\n\n"),
    ],
    ids=["before", "while they are read"],
)
def test_a_job_whose_events_were_removed_is_waited_for_like_any_other(
    client: Callable[[Answers], Both], gone: Callable[[], httpx.Response]
) -> None:
    answers, _ = answered(gone(), job("succeeded"))
    assert client(answers).wait("j").state == "succeeded"
    answers, _ = answered(gone(), job("cancelled"))
    with pytest.raises(JobEnded, match="cancelled"):
        client(answers).wait("j")
    answers, _ = answered(gone())
    with pytest.raises(ApiError) as found:
        client(answers).events("j")
    assert found.value.code == "events_removed"
    answers, _ = answered(refusal(404, "job_not_found"))
    with pytest.raises(NotFound):
        client(answers).wait("j")


@pytest.fixture
def proxy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Service]:
    """What the environment names as the proxy for everything."""
    for name in ("http_proxy", "all_proxy", "no_proxy", "ALL_PROXY", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
    with running_service(tmp_path) as service:
        monkeypatch.setenv("HTTP_PROXY", service.variables["TEXTGEN_BASE_URL"])
        yield service


def ask(kind: str, base_url: str) -> None:
    """For a job that is not there, or of a service that is not."""

    async def awaited() -> None:
        async with AsyncTextgen(base_url, "tg_1") as client:
            await client.job("j")

    with suppress(NotFound, ServiceUnreachable):
        if kind == "awaited":
            asyncio.run(awaited())
            return
        with Textgen(base_url, "tg_1") as client:
            client.job("j")


@pytest.mark.parametrize("kind", ["waiting", "awaited"])
def test_a_proxy_is_not_told_the_key_of_a_service_on_this_machine(
    proxy: Service, kind: str
) -> None:
    for host in ("127.0.0.1", "127.8.9.1", "[::1]", "localhost", "LOCALHOST"):
        ask(kind, f"http://{host}:9/v1")
    assert proxy.answers.asked == []

    ask(kind, "http://service.invalid/v1")
    assert [line for line, _ in proxy.answers.asked] == [
        "GET http://service.invalid/v1/jobs/j Bearer tg_1"
    ]


def written(text: str, state: str | None) -> httpx.Response:
    choice = {"text": text, "finish_reason": "length", "state_id": state}
    return httpx.Response(200, json={"choices": [choice]})


def test_a_text_goes_on_from_its_state_and_from_the_whole_where_that_is_forgotten(
    client: Callable[[Answers], Both],
) -> None:
    answers, asked = answered(
        written(" a", "s1"),
        written(" b", "s2"),
        refusal(404, "state_not_found"),
        refusal(400, "states_off"),
        written(" c", None),
    )
    both = client(answers)

    first = both.write(Place("m"), "It is", max_tokens=2)
    second = both.write(first, " and", max_tokens=2)
    third = both.write(second, " or", max_tokens=2)

    assert [each.text for each in (first, second, third)] == [
        "It is a", "It is a and b", "It is a and b or c",
    ]  # fmt: skip
    assert third.state_id is None
    bodies = [json.loads(request.content) for request in asked]
    base = {"model": "m", "max_tokens": 2}
    whole = {**base, "prompt": "It is a and b or"}
    assert bodies == [
        {**base, "prompt": "It is", "return_state": True},
        {**base, "prompt": " and", "state_id": "s1", "return_state": True},
        {**base, "prompt": " or", "state_id": "s2", "return_state": True},
        {**whole, "return_state": True},
        whole,
    ]


def test_another_error_of_a_workflow_is_raised(client: Callable[[Answers], Both]) -> None:
    answers, _ = answered(refusal(404, "model_not_found"))
    with pytest.raises(NotFound):
        client(answers).write(Place("m", "x", "s"), "y")


SERVER: dict[type[BaseModel], type[BaseModel]] = {
    shapes.Job: jobs.JobObject,
    shapes.Event: jobs.JobEvent,
    shapes.NextToken: states.NextToken,
    shapes.NextTokens: states.NextTokens,
    shapes.State: states.StateObject,
    shapes.InsertedSpan: insertions.InsertedSpan,
    shapes.Insertion: insertions.InsertionObject,
    shapes.LabelChance: classification.LabelChance,
    shapes.Classification: classification.Classification,
    shapes.Tokens: tokenization.Tokens,
    shapes.Score: scores.ScoreObject,
    shapes.ScoreSummary: summary.ScoreSummary,
    shapes.ScoredRow: summary.ScoredRow,
    shapes.Evaluation: evaluations.EvaluationObject,
    shapes.Examination: examinations.ExaminationObject,
}


@pytest.mark.parametrize("shape", list(SERVER), ids=lambda shape: shape.__name__)
def test_the_service_has_every_field_that_the_client_reads(shape: type[BaseModel]) -> None:
    ours, theirs = (each.model_json_schema() for each in (shape, SERVER[shape]))

    for name, wanted in ours["properties"].items():
        given = theirs["properties"][name]
        assert kinds(wanted) >= kinds(given), name


def kinds(schema: dict[str, Any]) -> set[str]:
    """Which JSON types a value may have."""
    if "anyOf" in schema:
        return set().union(*map(kinds, schema["anyOf"]))
    return {"object" if "$ref" in schema else schema.get("type", "string")}


def test_importing_it_loads_neither_torch_nor_a_servers_code() -> None:
    program = (
        "import sys, textgen.client; "
        "print(*{name.partition('.')[0] for name in sys.modules} & "
        "{'torch', 'numpy', 'tokenizers', 'web', 'worker', 'flask', 'celery', 'sqlalchemy'})"
    )
    run = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=60
    )

    assert run.returncode == 0, run.stderr
    assert run.stdout.strip() == ""
