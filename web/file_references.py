"""What a job's specification says about a file: enough to work without asking again."""

from __future__ import annotations

from textgen.errors import InvalidInput
from web.services import Services
from worker.errors import NotFound


def reference(
    services: Services, tenant: str, file_id: str, param: str, *purposes: str
) -> dict[str, str]:
    """{id, artifact, file, filename} of a file with one of the purposes.

    Raises InvalidInput naming ``param``.
    """
    try:
        row = services.files.get(tenant, file_id)
    except NotFound:
        raise InvalidInput(
            f"{param!r} is {file_id!r}: there is no such file. Upload one with POST /v1/files.",
            code="file_not_found",
            param=param,
        ) from None
    if row.purpose not in purposes:
        wanted = " or ".join(map(repr, purposes))
        raise InvalidInput(
            f"{param!r} is {file_id!r}, a file uploaded with the purpose {row.purpose!r}; it needs "
            f"the purpose {wanted}.",
            code="wrong_purpose",
            param=param,
        )
    return {"id": row.id, "artifact": row.artifact, "file": row.file, "filename": row.filename}
