"""Streams of events on connections that the hub has taken over, as under the real server."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable, Iterator

import pytest
import sqlalchemy as sa

from tests.unit.web.conftest import Caller
from web.services import Services

SOON = 5.0  # seconds; a look comes twice a second


class Stream:
    """What a reader gets of one stream."""

    def __init__(self, call: Caller, path: str) -> None:
        ours, self._theirs = socket.socketpair()
        self._theirs.settimeout(SOON)
        self.text = ""
        with pytest.raises(ConnectionResetError):  # the hub has it
            call("GET", path, buffered=True, environ_overrides={"gunicorn.socket": ours})

    def shows(self, text: str) -> bool:
        """Whether this comes, after what was asked for before."""
        while text not in self.text:
            if not (more := self._theirs.recv(65536).decode()):
                return False
            self.text += more
        self.text = self.text.partition(text)[2]
        return True

    def rest(self) -> str:
        """All that comes until the end, which must come soon."""
        deadline = time.monotonic() + SOON
        while more := self._theirs.recv(65536).decode():
            self.text += more
            assert time.monotonic() < deadline, "the stream goes on"
        return self.text

    def close(self) -> None:
        self._theirs.close()


Follow = Callable[[Caller, str], Stream]


@pytest.fixture
def follow(services: Services) -> Iterator[Follow]:
    """Begin to read a stream."""
    streams: list[Stream] = []

    def begin(call: Caller, path: str) -> Stream:
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
