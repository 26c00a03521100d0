"""Uploads, downloads, lists."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from io import BytesIO
from pathlib import Path

import pytest
from openai.types import FileDeleted, FileObject

from tests.unit.web.conftest import Caller
from web.services import Services
from worker.errors import CorruptArtifact

TEXT = b"Shall I compare thee to a summer's day?\n" * 10


def test_an_upload_comes_back_as_it_was(call: Caller, upload: Callable[..., str]) -> None:
    file_id = upload(TEXT)

    shown = FileObject.model_validate(call("GET", f"/v1/files/{file_id}").get_json(), strict=True)
    assert (shown.bytes, shown.filename, shown.purpose) == (len(TEXT), "corpus.txt", "fine-tune")
    answer = call("GET", f"/v1/files/{file_id}/content")
    assert answer.data == TEXT
    assert answer.headers["Content-Disposition"].startswith("attachment")


def test_a_file_is_found_by_its_content(call: Caller, upload: Callable[..., str]) -> None:
    wanted = hashlib.sha256(TEXT).hexdigest()
    assert call("GET", f"/v1/files?sha256={wanted}").get_json()["data"] == []
    first, _other, second = upload(TEXT), upload(TEXT[1:]), upload(TEXT)

    found = call("GET", f"/v1/files?sha256={wanted}").get_json()["data"]
    assert [each["id"] for each in found] == [second, first]
    assert {each["sha256"] for each in found} == {wanted}
    assert call("GET", f"/v1/files?sha256={wanted}&purpose=batch").get_json()["data"] == []
    error = call("GET", f"/v1/files?sha256={wanted[1:]}").get_json()["error"]
    assert error["param"] == "sha256"


def test_fields_may_come_after_the_file(call: Caller) -> None:
    boundary = "----b"
    body = (
        f'--{boundary}\r\nContent-Disposition: form-data; name="file"; filename="ü\U0001f600.txt"'
        f"\r\n\r\nabc\r\n--{boundary}\r\nContent-Disposition: form-data; "
        f'name="purpose"\r\n\r\nbatch\r\n--{boundary}--\r\n'
    ).encode()

    answer = call(
        "POST",
        "/v1/files",
        data=body,
        headers={"Content-Type": f"multipart/form-data; boundary={boundary}"},
    )

    assert answer.get_json()["purpose"] == "batch"
    assert answer.get_json()["filename"] == "ü\U0001f600.txt"


@pytest.mark.parametrize(
    ("form", "code", "param"),
    [
        ({"purpose": "fine-tune", "file": (BytesIO(b""), "e.txt")}, "empty_file", "file"),
        ({"purpose": "nonsense", "file": (BytesIO(b"x"), "a.txt")}, "invalid_value", "purpose"),
        ({"file": (BytesIO(b"x"), "a.txt")}, "missing_option", "purpose"),
        ({"purpose": "fine-tune"}, "invalid_value", "file"),
        (
            {"purpose": "fine-tune", "extra": "1", "file": (BytesIO(b"x"), "a.txt")},
            "unknown_option",
            "extra",
        ),
        (
            {
                "purpose": "batch",
                "expires_after[anchor]": "created_at",
                "expires_after[seconds]": "10",
                "file": (BytesIO(b"x"), "a.txt"),
            },
            "invalid_value",
            "expires_after",
        ),
    ],
)
def test_bad_forms_leave_nothing_behind(
    call: Caller, settings, form: dict[str, object], code: str, param: str
) -> None:  # type: ignore[no-untyped-def]
    answer = call("POST", "/v1/files", data=form, content_type="multipart/form-data")

    assert answer.status_code == 400
    error = answer.get_json()["error"]
    assert (error["code"], error["param"]) == (code, param)
    assert call("GET", "/v1/files").get_json()["data"] == []
    assert left_over(settings.home) == []


def left_over(home: Path) -> list[Path]:
    return [path for path in (home / "artifacts").rglob("*") if path.is_file()]


@pytest.mark.parametrize(
    "body",
    [
        b"x" * 300_000,
        b'--b\r\nContent-Disposition: form-data; name="file"; filename="a"; x="' + b"x" * 300_000,
        b'--b\r\nContent-Disposition: form-data; name="purpose"\r\n\r\nbatch\r\n--b--\r\n'
        + b"x" * 300_000,
    ],
    ids=["before the first part", "in a part's head", "behind the last part"],
)
def test_what_is_no_part_of_a_form_is_not_kept_in_memory(
    call: Caller, services: Services, body: bytes
) -> None:
    reader = BytesIO(body)
    answer = call(
        "POST",
        "/v1/files",
        input_stream=reader,
        headers={"Content-Type": "multipart/form-data; boundary=b", "Content-Length": "300500"},
    )

    assert answer.status_code == 400
    error = answer.get_json()["error"]
    assert error["code"] == "invalid_form" and "neither a file nor a field" in error["message"]
    assert reader.tell() < 200_000  # the rest was not read
    assert left_over(services.settings.home) == []


def test_a_file_over_the_limit(call: Caller, services: Services) -> None:
    content = b"x" * (services.settings.max_upload_bytes + 1)

    answer = call(
        "POST", "/v1/files", data={"purpose": "batch", "file": (BytesIO(content), "a.jsonl")}
    )

    assert answer.status_code == 413
    assert left_over(services.settings.home) == []


def test_an_upload_that_breaks_off_is_refused(call: Caller, services: Services) -> None:
    body = b'--b\r\nContent-Disposition: form-data; name="file"; filename="a"\r\n\r\nabc'

    answer = call(
        "POST",
        "/v1/files",
        data=body,
        headers={"Content-Type": "multipart/form-data; boundary=b"},
    )

    assert answer.status_code == 400
    assert left_over(services.settings.home) == []


def test_a_part_without_a_name_is_refused(call: Caller, services: Services) -> None:
    body = b"--b\r\nContent-Disposition: form-data\r\n\r\nx\r\n--b--\r\n"

    answer = call(
        "POST", "/v1/files", data=body, headers={"Content-Type": "multipart/form-data; boundary=b"}
    )

    assert answer.status_code == 400
    assert answer.get_json()["error"]["code"] == "invalid_form"
    assert left_over(services.settings.home) == []


def test_a_body_that_is_no_form(call: Caller) -> None:
    assert call("POST", "/v1/files", data=b"abc").status_code == 415


def test_an_expiry_is_kept(call: Caller) -> None:
    form = {
        "purpose": "batch",
        "expires_after[anchor]": "created_at",
        "expires_after[seconds]": "3600",
        "file": (BytesIO(b"x"), "a.jsonl"),
    }

    file = call("POST", "/v1/files", data=form).get_json()

    assert file["expires_at"] == file["created_at"] + 3600


@pytest.mark.parametrize(
    ("asked", "expected", "content_range"),
    [
        ("bytes=0-4", TEXT[:5], f"bytes 0-4/{len(TEXT)}"),
        ("bytes=390-", TEXT[390:], f"bytes 390-{len(TEXT) - 1}/{len(TEXT)}"),
        ("bytes=-5", TEXT[-5:], f"bytes {len(TEXT) - 5}-{len(TEXT) - 1}/{len(TEXT)}"),
    ],
)
def test_a_range(
    call: Caller, upload: Callable[..., str], asked: str, expected: bytes, content_range: str
) -> None:
    answer = call("GET", f"/v1/files/{upload(TEXT)}/content", headers={"Range": asked})

    assert answer.status_code == 206
    assert answer.data == expected
    assert answer.headers["Content-Range"] == content_range


def test_a_range_outside_of_the_file(call: Caller, upload: Callable[..., str]) -> None:
    answer = call("GET", f"/v1/files/{upload(TEXT)}/content", headers={"Range": "bytes=9999-"})

    assert answer.status_code == 416


def test_what_is_known_is_not_sent_again(call: Caller, upload: Callable[..., str]) -> None:
    path = f"/v1/files/{upload(TEXT)}/content"
    tag = call("GET", path).headers["ETag"]

    assert call("GET", path, headers={"If-None-Match": tag}).status_code == 304
    fresh = call("GET", path, headers={"Range": "bytes=0-4", "If-Range": '"other"'})
    assert (fresh.status_code, fresh.data) == (200, TEXT)


def test_damaged_bytes_never_arrive_whole(
    call: Caller, upload: Callable[..., str], services: Services
) -> None:
    row = services.files.get("acme", upload(TEXT))
    path = services.store.local_path(row.artifact, row.file)
    path.chmod(0o600)
    path.write_bytes(b"!" + TEXT[1:])

    with pytest.raises(CorruptArtifact):  # the server then cuts the connection
        call("GET", f"/v1/files/{row.id}/content")


def test_pages(call: Caller, upload: Callable[..., str]) -> None:
    ids = [upload(TEXT, purpose) for purpose in ("fine-tune", "batch", "batch")]

    first = call("GET", "/v1/files?limit=2").get_json()
    rest = call("GET", f"/v1/files?limit=2&after={first['last_id']}").get_json()

    assert [file["id"] for file in first["data"] + rest["data"]] == ids[::-1]
    assert (first["has_more"], rest["has_more"]) == (True, False)
    batches = call("GET", "/v1/files?purpose=batch&order=asc").get_json()["data"]
    assert [file["id"] for file in batches] == ids[1:]


def test_deleting(call: Caller, upload: Callable[..., str]) -> None:
    file_id = upload(TEXT)

    gone = FileDeleted.model_validate(call("DELETE", f"/v1/files/{file_id}").get_json())

    assert gone.deleted
    assert call("GET", f"/v1/files/{file_id}").status_code == 404


def test_a_file_in_use_stays(call: Caller, upload: Callable[..., str]) -> None:
    file_id = upload(TEXT)
    call("POST", "/v1/fine_tuning/jobs", json={"model": "lstm-tiny", "training_file": file_id})

    answer = call("DELETE", f"/v1/files/{file_id}")

    assert answer.status_code == 409
    assert answer.headers["x-should-retry"] == "false"


def test_no_room(call: Caller, services: Services, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(services.store, "free_bytes", lambda: -1)

    answer = call("POST", "/v1/files", data={"purpose": "batch", "file": (BytesIO(b"x"), "a")})

    assert answer.status_code == 507
    assert "Retry-After" in answer.headers
