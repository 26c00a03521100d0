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
    deadline = time.monotonic() + 60
    found, seconds = 0, 0.0
    while found < made.usage.completion_tokens and time.monotonic() < deadline:
        time.sleep(0.2)
        page = admin.admin.organization.usage.completions(
            start_time=began - 60, bucket_width="1m", group_by=["model"], models=[model]
        )
        results = [result for bucket in page.data for result in bucket.results]
        found = sum(getattr(result, "output_tokens", 0) for result in results)
        seconds = sum(getattr(result, "compute_seconds", 0.0) for result in results)

    assert found >= made.usage.completion_tokens
    assert 0 < seconds < 60


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


def test_what_an_administrator_does(client: openai.OpenAI, admin: openai.OpenAI) -> None:
    organization = admin.admin.organization
    projects = organization.projects
    project = projects.create(name="Somebody")
    assert project.id in [each.id for each in projects.list(include_archived=False)]

    account = projects.service_accounts.create(project.id, name="site")
    assert account.api_key is not None
    theirs = client.with_options(api_key=account.api_key.value)
    assert [each.id for each in projects.service_accounts.list(project.id)] == [account.id]
    assert [each.id for each in projects.api_keys.list(project.id, limit=20)] == [account.id]
    (limit,) = projects.rate_limits.list_rate_limits(project.id)
    changed = projects.rate_limits.update_rate_limit(
        limit.id, project_id=project.id, max_requests_per_1_minute=1
    )
    assert changed.max_requests_per_1_minute == 1
    answers = theirs.with_options(max_retries=0).models.with_raw_response
    assert answers.list().headers["x-ratelimit-limit-requests"] == "1"
    with pytest.raises(openai.RateLimitError):
        answers.list()
    spend = projects.spend_limit.update(
        project.id, threshold_amount=500, currency="USD", interval="month"
    )
    assert (spend.threshold_amount, projects.spend_limit.retrieve(project.id)) == (500, spend)
    assert projects.spend_limit.delete(project.id).deleted
    assert projects.service_accounts.delete(account.id, project_id=project.id).deleted
    assert projects.archive(project.id).archived_at is not None

    key = organization.admin_api_keys.create(name="second", expires_in_seconds=600)
    assert key.id in [each.id for each in organization.admin_api_keys.list(limit=1)]
    assert organization.admin_api_keys.retrieve(key.id).name == "second"
    assert organization.admin_api_keys.delete(key.id).deleted
