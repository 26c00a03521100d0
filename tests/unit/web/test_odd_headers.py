"""Whatever stands in a header: the answer is right, or a refusal that is declared; never a 500."""

from __future__ import annotations

import os
import re
from collections.abc import Callable

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from tests.unit.web.conftest import Caller
from tests.unit.web.test_jobs import blocks
from web.services import Services

FUZZ = settings(
    max_examples=int(os.environ.get("TEXTGEN_FUZZ_EXAMPLES", "60")),
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
TEXT = bytes(range(256)) * 2
# What a server lets through in a header's value.
VALUES = st.text(st.characters(min_codepoint=0x20, max_codepoint=0xFF, exclude_characters="\x7f"))
NUMBERS = st.one_of(
    st.integers(0, 600).map(str),
    st.integers(0, 10**30).map(str),
    st.sampled_from(["", "-1", "+1", "00", " 1", "1 ", "0x1", "1e3", "²", "1_0", "9" * 5000]),
)
RANGES = st.one_of(
    st.tuples(NUMBERS, NUMBERS).map(lambda pair: f"bytes={pair[0]}-{pair[1]}"),
    st.lists(st.tuples(NUMBERS, NUMBERS), max_size=4).map(
        lambda pairs: "bytes=" + ",".join(f"{start}-{stop}" for start, stop in pairs)
    ),
    VALUES.map(lambda text: f"bytes={text}"),
    VALUES,
)
TAGS = st.one_of(
    VALUES, VALUES.map(lambda text: f'"{text}"'), VALUES.map(lambda text: f'W/"{text}"'),
    st.sampled_from(["*", '"', "Wed, 21 Oct 2015 07:28:00 GMT", "Wed, 99 Oct 99999 99:99:99 GMT"]),
)  # fmt: skip


@pytest.fixture
def content(upload: Callable[..., str]) -> str:
    """The path of a file's bytes."""
    return f"/v1/files/{upload(TEXT, name='bytes.txt')}/content"


@FUZZ
@given(asked=RANGES)
@example(asked="bytes=5-2")
@example(asked="bytes=-0")
@example(asked="bytes=0-0")
@example(asked="bytes=-9999")
@example(asked="bytes=0-" + "9" * 5000)
@example(asked="bytes=0-4,")
def test_a_range(call: Caller, content: str, asked: str) -> None:
    answer = call("GET", content, headers={"Range": asked})

    assert answer.status_code in (200, 206, 416), answer.text
    if answer.status_code == 200:
        assert answer.data == TEXT
    elif answer.status_code == 206:
        found = re.fullmatch(rf"bytes (\d+)-(\d+)/{len(TEXT)}", answer.headers["Content-Range"])
        assert found is not None
        start, last = map(int, found.groups())
        assert 0 <= start <= last < len(TEXT)
        assert answer.data == TEXT[start : last + 1]
    plain = re.fullmatch(r"bytes=(\d{1,9})-(\d{1,9})?", asked, re.ASCII)
    if plain is not None:  # what is well-formed has one right answer (RFC 9110, 14.2)
        start = int(plain[1])
        last = min(int(plain[2]) if plain[2] else len(TEXT) - 1, len(TEXT) - 1)
        if plain[2] and int(plain[2]) < start:
            assert answer.status_code in (200, 416)
        elif start >= len(TEXT):
            assert answer.status_code == 416
            assert answer.headers["Content-Range"] == f"bytes */{len(TEXT)}"
        else:
            assert answer.data == TEXT[start : last + 1]


@FUZZ
@given(asked=RANGES, tag=TAGS, name=st.sampled_from(["If-Range", "If-None-Match", "If-Match"]))
def test_a_range_with_a_condition(
    call: Caller, content: str, asked: str, tag: str, name: str
) -> None:
    answer = call("GET", content, headers={"Range": asked, name: tag})

    assert answer.status_code in (200, 206, 304, 412, 416), answer.text
    if answer.status_code == 200:
        assert answer.data == TEXT


@FUZZ
@given(seen=st.one_of(NUMBERS, VALUES))
@example(seen="9" * 15)
@example(seen="9" * 16)
def test_the_last_event_seen(
    call: Caller, upload: Callable[..., str], services: Services, seen: str
) -> None:
    job_id = finished(call, upload, services)

    answer = call("GET", f"/v1/jobs/{job_id}/events?stream=true", headers={"Last-Event-ID": seen})

    if answer.status_code != 200:
        error = answer.get_json()["error"]
        assert (answer.status_code, error["param"]) == (400, "Last-Event-ID")
        return
    after = int(seen) if seen.strip() else 0
    found = [int(block["id"]) for block in blocks(answer.text) if "id" in block]
    assert found == [number for number in (1, 2) if number > after]
    assert blocks(answer.text)[-1]["event"] == "end"


def finished(call: Caller, upload: Callable[..., str], services: Services) -> str:
    """A job that is cancelled, made once a database: two events."""
    found = services.jobs.list("acme", limit=1).items
    if not found:
        body = {"model": "lstm-tiny", "training_file": upload()}
        job_id = call("POST", "/v1/fine_tuning/jobs", json=body).get_json()["id"]
        return services.jobs.request_cancel("acme", job_id).id
    return found[0].id


@FUZZ
@given(
    name=st.sampled_from(
        [
            "Authorization",
            "Cookie",
            "Idempotency-Key",
            "Accept",
            "Accept-Language",
            "Origin",
            "X-Request-Id",
            "x-stainless-retry-count",
            "Content-Type",
            "X-Forwarded-For",
        ]
    ),
    value=VALUES,
)
@example(name="Authorization", value="Bearer \x80")
@example(name="Cookie", value="textgen_session=\x80; textgen_language=\x80")
def test_any_other(call: Caller, upload: Callable[..., str], name: str, value: str) -> None:
    for method, path in (("GET", "/v1/models"), ("POST", "/v1/fine_tuning/jobs"), ("GET", "/")):
        headers = {name: value} if name != "Authorization" else {}
        options = {"data": b'{"model": "lstm-tiny"}'} if method == "POST" else {}
        if name == "Authorization":
            answer = call.client.open(path, method=method, headers={name: value}, **options)
        else:
            answer = call(method, path, headers=headers, **options)
        assert answer.status_code < 500, answer.text
