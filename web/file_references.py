"""What a job's specification says about a file: enough to work without asking again."""

from __future__ import annotations

from textgen.errors import InvalidInput
from web.services import Services
from worker.errors import NotFound


def reference(
    services: Services, tenant: str, file_id: str, param: str, purpose: str
) -> dict[str, str]:
    """{id, artifact, file, filename}; raises InvalidInput naming ``param``."""
    try:
        row = services.files.get(tenant, file_id)
    except NotFound:
        raise InvalidInput(
            f"{param!r} is {file_id!r}: there is no such file. Upload one with POST /v1/files.",
            code="file_not_found",
            param=param,
        ) from None
    if row.purpose != purpose:
        raise InvalidInput(
            f"{param!r} is {file_id!r}, a file uploaded with the purpose {row.purpose!r}; it needs "
            f"the purpose {purpose!r}.",
            code="wrong_purpose",
            param=param,
        )
    return {"id": row.id, "artifact": row.artifact, "file": row.file, "filename": row.filename}
