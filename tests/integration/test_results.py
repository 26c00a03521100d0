"""Files that jobs make."""

from __future__ import annotations

import pytest

from worker.backend import Backend
from worker.processes.results import store_result


@pytest.mark.parametrize("expires_in", [None, 3600.0])
def test_a_result_is_there_once_it_is_published(backend: Backend, expires_in: float | None) -> None:
    with store_result(backend, "out.jsonl", "batch_output", expires_in=expires_in) as result:
        result.stream.write(b"{}\n")
    assert backend.files.list("acme").items == []

    with backend.database.write() as connection:
        now = backend.database.now(connection)
        result.publish(connection, "acme", now)

    file = backend.files.get("acme", result.id)
    assert (file.bytes, file.purpose) == (3, "batch_output")
    assert file.expires_at == (None if expires_in is None else now + expires_in)
    with backend.files.open(file) as stream:
        assert stream.read() == b"{}\n"
