"""Usage, uploads in parts and webhook endpoints through the official client, on a running stack."""

from __future__ import annotations

import time

import openai
import pytest

from tests.stack import Stack


@pytest.fixture
def admin(stack: Stack) -> openai.OpenAI:
    return stack.client(admin_api_key=stack.key)


def test_what_was_generated_is_in_the_usage(
    client: openai.OpenAI, admin: openai.OpenAI, model: str
) -> None:
    began = int(time.time())
    made = client.completions.create(model=model, prompt="The king", max_tokens=20)
    assert made.usage is not None
    deadline = time.monotonic() + 15
    found = 0
    while found < made.usage.completion_tokens and time.monotonic() < deadline:
        time.sleep(0.2)
        page = admin.admin.organization.usage.completions(
            start_time=began - 60, bucket_width="1m", group_by=["model"], models=[model]
        )
        results = [result for bucket in page.data for result in bucket.results]
        found = sum(getattr(result, "output_tokens", 0) for result in results)

    assert found >= made.usage.completion_tokens


def test_an_upload_in_parts(client: openai.OpenAI) -> None:
    content = [b"first line\n" * 10, b"second line\n" * 10]
    upload = client.uploads.create(
        bytes=sum(map(len, content)),
        filename="parts.txt",
        mime_type="text/plain",
        purpose="fine-tune",
    )
    ids = [client.uploads.parts.create(upload.id, data=part).id for part in content]

    done = client.uploads.complete(upload.id, part_ids=ids)

    assert done.status == "completed" and done.file is not None
    assert client.files.content(done.file.id).read() == b"".join(content)
    cancelled = client.uploads.create(
        bytes=1, filename="x.txt", mime_type="text/plain", purpose="batch"
    )
    assert client.uploads.cancel(cancelled.id).status == "cancelled"


def test_webhook_endpoints_and_projects(client: openai.OpenAI, admin: openai.OpenAI) -> None:
    made = client.webhooks.create(
        name="hook", url="https://93.184.215.14/hook", event_types=["batch.completed"]
    )
    assert made.signing_secret.startswith("whsec_")
    assert made.id in [each.id for each in client.webhooks.list()]
    with pytest.raises(openai.BadRequestError):
        client.webhooks.create(
            name="inside", url="https://169.254.169.254/", event_types=["batch.completed"]
        )
    assert client.webhooks.delete(made.id).deleted
    project = admin.admin.organization.projects.create(name="Somebody")
    assert project.id in [each.id for each in admin.admin.organization.projects.list()]
