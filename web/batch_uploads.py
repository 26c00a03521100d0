"""Prompts that a form brings or has uploaded, made into the input of a batch as they are read."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path, PurePath
from typing import Any, get_args

from textgen.errors import InvalidInput
from web.batch_lines import read_requests
from web.schemas.batches import Endpoint
from web.services import Services
from web.uploads import CONTENT, expect, publish, read_form
from worker.storage.artifact_staging import HashingWriter
from worker.storage.files import FileRow
from worker.storage.ids import new_id

ENDPOINTS = get_args(Endpoint)


class PromptUpload:
    """The current request's form: ``fields`` are those that have come, also where it is refused.

    ``uploaded`` is the stored file that its field of that name names, if there is no other.
    """

    def __init__(self, services: Services, tenant: str) -> None:
        self._services = services
        self._tenant = tenant
        self.fields: dict[str, str] = {}
        self.uploaded: FileRow | None = None

    def receive(
        self, defaults: Callable[[Mapping[str, str]], Mapping[str, Any]]
    ) -> tuple[FileRow, str]:
        """Store the lines; the file, and the endpoint that its first line names.

        ``defaults`` makes of the fields what stands in the body of each line that does not say
        otherwise. Memory does not grow with the file. Raises InvalidInput, TooLarge, DiskFull,
        InsufficientQuota.
        """
        limit = self._services.settings.max_upload_bytes
        expect(self._services, self._tenant, limit)
        file_id = new_id("file-")
        store = self._services.store
        with store.create(f"uploads/{file_id}") as raw:  # never published, so it goes again
            with raw.open(CONTENT) as target:
                received = read_form(target, limit, "file")
            self.fields.update(received.fields)
            path, name = self._prompts(raw.path(CONTENT), received.filename)
            column = self.fields.get("column", "").strip() or "prompt"
            requests = read_requests(path, defaults(self.fields), column, name=name)
            with store.create(f"files/{file_id}") as staging:
                with staging.open(CONTENT) as target:
                    endpoint = self._write(requests, target, name)
                artifact = staging.commit()
        row = publish(
            self._services,
            self._tenant,
            artifact,
            filename=f"{PurePath(name).stem[:240]}.jsonl",
            purpose="batch",
        )
        return row, endpoint

    def _prompts(self, brought: Path, filename: str | None) -> tuple[Path, str]:
        """Where the prompts lie, and what their owner calls the file. InvalidInput, NotFound."""
        if filename is not None:
            return brought, filename
        uploaded = self.fields.get("uploaded", "")
        if not uploaded:
            raise InvalidInput("Choose a file with prompts.", param="file")
        self.uploaded = row = self._services.files.get(self._tenant, uploaded)
        return self._services.store.local_path(row.artifact, row.file), row.filename

    def _write(
        self, requests: Iterable[Mapping[str, Any]], target: HashingWriter, name: str
    ) -> str:
        """The endpoint of the first line; a later one that names another the batch will tell of."""
        endpoint, most = "", self._services.settings.max_batch_lines
        for count, request in enumerate(requests, 1):
            endpoint = endpoint if endpoint else str(request["url"])
            if count > most:
                raise InvalidInput(
                    f"{name} has more than {most:,} lines; split it into several batches.",
                    code="too_many_lines",
                    param="file",
                )
            if not request["body"].get("model"):
                raise InvalidInput(
                    f"{request['custom_id']} of {name} names no model. Choose one.",
                    code="missing_option",
                    param="model",
                )
            line = json.dumps(request, ensure_ascii=False) + "\n"
            target.write(line.encode(errors="backslashreplace"))  # of half a pair its escape
        if not endpoint:
            raise InvalidInput(f"{name} has no prompts in it.", code="empty_file", param="file")
        if endpoint not in ENDPOINTS:
            raise InvalidInput(
                f"The first line of {name} is for {endpoint!r}; a batch is for one of "
                f"{', '.join(ENDPOINTS)}.",
                param="file",
            )
        return endpoint
