"""Streams of events on connections that the hub has taken over, as under the real server."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import sqlalchemy as sa
from flask import Flask
from flask.testing import FlaskClient

from tests.unit.web.conftest import OWN, Caller, caller
from web.auth import SESSION_COOKIE
from web.services import Services
from worker.storage.keys import Key, Keys
from worker.tenants.tenants import Tenants

SOON = 30.0  # seconds; a look comes twice a second, another process is heard of after five
AT_ONCE = 4.5  # seconds; sooner than another process is heard of


class Stream:
    """What a reader gets of one stream."""

    def __init__(self, call: Caller | FlaskClient, path: str) -> None:
        ours, self._theirs = socket.socketpair()
        self._theirs.settimeout(SOON)
        self.text = ""
        with pytest.raises(ConnectionResetError):  # the hub has it
            options: Any = {"buffered": True, "environ_overrides": {"gunicorn.socket": ours}}
            call("GET", path, **options) if isinstance(call, Caller) else call.get(path, **options)

    def shows(self, text: str) -> bool:
        """Whether this comes, after what was asked for before."""
        while text not in self.text:
            if not (more := self._theirs.recv(65536).decode()):
                return False
            self.text += more
        self.text = self.text.partition(text)[2]
        return True

    def rest(self, within: float = SOON) -> str:
        """All that comes until the end, which must come soon."""
        deadline = time.monotonic() + within
        while more := self._theirs.recv(65536).decode():
            self.text += more
            assert time.monotonic() < deadline, "the stream goes on"
        return self.text

    def close(self) -> None:
        self._theirs.close()


Follow = Callable[[Caller | FlaskClient, str], Stream]


@pytest.fixture
def follow(services: Services) -> Iterator[Follow]:
    """Begin to read a stream."""
    streams: list[Stream] = []

    def begin(call: Caller | FlaskClient, path: str) -> Stream:
        streams.append(Stream(call, path))
        return streams[-1]

    yield begin
    services.stopping.set()
    services.hub.join()
    for stream in streams:
        stream.close()


@pytest.fixture
def train(call: Caller, upload: Callable[..., str]) -> Callable[[], str]:
    """Queue a training; the job's id."""
    file_id = upload()

    def submit() -> str:
        body = {"model": "lstm-tiny", "training_file": file_id}
        return str(call("POST", "/v1/fine_tuning/jobs", json=body).get_json()["id"])

    return submit


def spoil(services: Services, job_id: str, progress: str) -> None:
    with services.database.write() as connection:
        connection.execute(
            sa.text("UPDATE jobs SET progress = :progress WHERE id = :id"),
            {"progress": progress, "id": job_id},
        )


@pytest.mark.parametrize("progress", ["[1]", "{"])  # a row that cannot be told; cannot be read
def test_a_job_that_cannot_be_told_ends_only_the_streams_that_need_it(
    call: Caller,
    services: Services,
    train: Callable[[], str],
    follow: Follow,
    caplog: pytest.LogCaptureFixture,
    progress: str,
) -> None:
    spoilt, whole = train(), train()
    reader = follow(call, f"/live?ids={whole}")
    concerned = follow(call, f"/live?ids={spoilt}")
    assert reader.shows(whole) and concerned.shows(spoilt)

    spoil(services, spoilt, progress)

    assert spoilt not in concerned.rest()
    assert spoilt in caplog.text  # with the reason
    call("POST", f"/v1/jobs/{whole}/cancel")
    assert reader.shows('"state": "cancelled"')
    assert follow(call, f"/live?ids={whole}").shows(whole)


@pytest.fixture
def holder(app: Flask, services: Services) -> Caller:
    """A program of acme's that reads, with a key of its own."""
    return caller(app, services, "acme", "read")


# How somebody loses the right to read, and what the stream says of it.
LOSSES: dict[str, tuple[Callable[[Services, Key], object], str]] = {
    "revoked": (lambda services, key: services.keys.revoke("acme", key.id), "key_revoked"),
    "expired": (
        lambda services, key: services.keys.change("acme", key.id, expires_in=0.3),
        "key_expired",
    ),
    "demoted": (
        lambda services, key: services.keys.change("acme", key.id, scopes=["generate"]),
        "insufficient_scope",
    ),
    "rotated": (
        lambda services, key: services.keys.rotate("acme", key.id, grace_seconds=0),
        "key_expired",
    ),
    "suspended": (lambda services, _: services.tenants.suspend("acme"), "project_suspended"),
}


@pytest.mark.parametrize("how", LOSSES)
@pytest.mark.parametrize("path", ["/live?ids={}", "/v1/jobs/{}/events?stream=true&progress=true"])
def test_a_stream_ends_when_its_key_may_read_no_longer(
    holder: Caller,
    services: Services,
    train: Callable[[], str],
    follow: Follow,
    how: str,
    path: str,
) -> None:
    job_id = train()
    stream = follow(holder, path.format(job_id))
    assert stream.shows("event: progress")
    lose, code = LOSSES[how]

    lose(services, services.keys.authenticate(holder.key))

    assert f'"code": "{code}"' in stream.rest(within=AT_ONCE)
    assert holder("GET", f"/v1/jobs/{job_id}").status_code in (401, 403)


def test_others_read_on_when_a_key_is_revoked(
    call: Caller, holder: Caller, services: Services, train: Callable[[], str], follow: Follow
) -> None:
    job_id = train()
    revoked, other = (follow(each, f"/live?ids={job_id}") for each in (holder, call))
    assert revoked.shows(job_id) and other.shows(job_id)

    services.keys.revoke("acme", services.keys.authenticate(holder.key).id)
    revoked.rest(within=AT_ONCE)
    call("POST", f"/v1/jobs/{job_id}/cancel")

    assert other.shows('"state": "cancelled"')


def test_a_browsers_streams_end_when_it_signs_out(
    browser: FlaskClient, train: Callable[[], str], follow: Follow
) -> None:
    session = browser.get_cookie(SESSION_COOKIE)
    assert session is not None
    stream = follow(browser, f"/live?ids={train()}")
    assert stream.shows("event: progress")

    browser.post("/signout", headers=OWN)

    assert '"code": "key_revoked"' in stream.rest(within=AT_ONCE)


def test_what_another_process_takes_away_ends_streams_within_seconds(
    call: Caller,
    stranger: Caller,
    holder: Caller,
    services: Services,
    train: Callable[[], str],
    follow: Follow,
) -> None:
    path = f"/live?ids={train()}&newest=x"
    revoked, suspended, whole = (follow(each, path) for each in (holder, stranger, call))
    assert all(stream.shows("event: new") for stream in (revoked, suspended, whole))

    Keys(services.database).revoke("acme", services.keys.authenticate(holder.key).id)
    Tenants(services.database).suspend("globex")

    assert '"code": "key_revoked"' in revoked.rest()
    assert '"code": "project_suspended"' in suspended.rest()
    train()
    assert whole.shows("event: new")


def test_the_streams_of_a_project_end_when_it_is_deleted(
    stranger: Caller, services: Services, follow: Follow
) -> None:
    stream = follow(stranger, "/live?newest=x")
    assert stream.shows("event: new")

    services.deletion.delete("globex", wait_seconds=0)

    assert "event: error" in stream.rest(within=AT_ONCE)


def test_a_stream_without_a_connection_of_its_own_ends_too(
    holder: Caller, services: Services, train: Callable[[], str]
) -> None:
    """Under a server that does not hand over its connections."""
    path = f"/v1/jobs/{train()}/events?stream=true"
    answer = holder("GET", path, buffered=False)
    assert next(iter(answer.response)) == b": here\n\n"

    services.keys.revoke("acme", services.keys.authenticate(holder.key).id)

    assert answer.text.count("event:") == 1
    assert "key_revoked" in answer.text


def test_a_project_holds_no_more_than_half_of_the_places(
    call: Caller, holder: Caller, stranger: Caller, services: Services, follow: Follow
) -> None:
    half = 2 * services.settings.web_threads
    streams = [follow(call, "/live") for _ in range(half)]

    for refused in (call("GET", "/live"), holder("GET", "/live")):
        error = refused.get_json()["error"]
        assert (refused.status_code, error["code"]) == (429, "too_many_requests")
        assert f"{half} event streams of this project" in error["message"]
        assert "GET" in error["message"] and "Retry-After" in refused.headers
    assert follow(stranger, "/live?newest=x").shows("event: new")

    streams[0].close()
    deadline = time.monotonic() + SOON
    while call("GET", "/live").status_code == 429:  # until the hub has seen that it closed
        assert time.monotonic() < deadline
        time.sleep(0.05)
