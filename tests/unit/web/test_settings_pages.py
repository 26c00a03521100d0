"""Settings as a page: what the server runs with, without its secrets; the project's limits."""

from __future__ import annotations

from dataclasses import replace

import pytest
from flask.testing import FlaskClient

from tests.unit.web.conftest import OWN, caller
from web.app import create_app
from web.pages.settings import without_secrets
from web.services import Services
from worker.tenants.options import TenantOptions


def browser_of(services: Services, tenant: str, *scopes: str) -> FlaskClient:
    app = create_app(services)
    client = app.test_client()
    client.post("/signin", data={"key": caller(app, services, tenant, *scopes).key})
    return client


def test_the_server_s_settings_are_the_operator_s_to_see(services: Services) -> None:
    settings = services.settings.model_copy(
        update={
            "broker_url": "redis://:hunter2@redis:6379/0",
            "database_url": "postgresql+psycopg://textgen:hunter2@db/textgen?password=hunter2",
            "train_workers": 3,
        }
    )
    secret = settings.model_copy(update={"admin_key": type(settings.admin_key)("tg_a_hunter2")})
    running = replace(services, settings=secret)

    page = browser_of(running, "default", "read", "admin").get("/settings").text
    assert "hunter2" not in page
    assert "postgresql+psycopg://textgen:••••••@db/textgen?••••••" in page
    assert "<b>3</b>" in page and "TEXTGEN_TRAIN_WORKERS" in page and ">PORT<" in page
    for tenant, scopes in (("acme", ("read", "admin")), ("default", ("read",))):
        page = browser_of(running, tenant, *scopes).get("/settings").text
        assert "TEXTGEN_" not in page and "redis:6379" not in page


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("redis://h:1/0", "redis://h:1/0"),
        ("redis://:p%40@h:1/0", "redis://:••••••@h:1/0"),
        ("s3://bucket/prefix", "s3://bucket/prefix"),
        ("s3://id:key@bucket/a?endpoint=x", "s3://id:••••••@bucket/a?••••••"),
        ("https://user@h/", "https://user@h/"),
    ],
)
def test_addresses_without_secrets(url: str, shown: str) -> None:
    assert without_secrets(url) == shown


def test_what_the_project_may_use(services: Services) -> None:
    browser = browser_of(services, "acme", "read")
    services.tenants.update(
        "acme",
        TenantOptions.parse(
            {"limits": {"running_jobs": 4, "storage_bytes": 10**9}, "time_zone": "Asia/Shanghai"}
        ),
    )

    page = browser.get("/settings").text

    assert "<dt>Jobs that run at once</dt><dd>4</dd>" in page
    assert "<dt>Stored bytes</dt><dd>1.0 GB</dd>" in page
    assert "Asia/Shanghai" in page and "no bound" in page
    assert 'href="/webhooks"' not in page


def test_colours_are_chosen(services: Services) -> None:
    browser = browser_of(services, "acme", "read")
    assert "data-theme" not in browser.get("/settings").text

    for theme in ("dark", "light"):
        answer = browser.post("/theme", data={"theme": theme, "next": "/settings"}, headers=OWN)
        assert (answer.status_code, answer.headers["Location"]) == (303, "/settings")
        assert f'data-theme="{theme}"' in browser.get("/").text
    browser.post("/theme", data={"theme": '"><script>'}, headers=OWN)
    assert 'data-theme="light"' in browser.get("/").text
    browser.post("/theme", data={"theme": "system"}, headers=OWN)
    assert "data-theme" not in browser.get("/").text


def test_other_sites_choose_nothing(services: Services) -> None:
    browser = browser_of(services, "acme", "read")

    answer = browser.post("/theme", data={"theme": "dark"}, headers={"Origin": "https://a.example"})

    assert answer.status_code == 403
