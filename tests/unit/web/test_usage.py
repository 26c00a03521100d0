"""Usage as OpenAI shows it, and as rows."""

from __future__ import annotations

import csv
import io
import json
import time

import pytest
import sqlalchemy as sa
from flask import Flask

from tests.unit.web.conftest import Caller, caller
from web.services import Services
from worker.usage.quantities import NAMES
from worker.usage.tables import usage

DAY = 86_400
TODAY = int(time.time()) // DAY * DAY


@pytest.fixture
def used(services: Services) -> None:
    """Three days of two tenants."""
    with services.database.write() as connection:
        for number, (tenant, kind, day) in enumerate(
            [
                ("acme", "completions", 2),
                ("acme", "completions", 2),
                ("acme", "batches", 0),
                ("acme", "trainings", 0),
                ("globex", "completions", 0),
            ]
        ):
            connection.execute(
                sa.insert(usage).values(
                    **dict.fromkeys(NAMES, number + 1),
                    id=f"use_{number}",
                    tenant=tenant,
                    kind=kind,
                    model=f"m{number % 2}",
                    api_key="k",
                    outcome="succeeded",
                    billable=True,
                    at=float(TODAY - day * DAY),
                )
            )


def test_buckets(call: Caller, used: None) -> None:
    query = f"start_time={TODAY - 2 * DAY}&end_time={TODAY + DAY}&group_by[]=model&group_by[]=batch"

    found = call("GET", f"/v1/organization/usage/completions?{query}").get_json()

    assert [bucket["start_time"] for bucket in found["data"]] == [
        TODAY - 2 * DAY,
        TODAY - DAY,
        TODAY,
    ]
    first = found["data"][0]["results"]
    assert [(each["model"], each["batch"], each["input_tokens"]) for each in first] == [
        ("m0", False, 1),
        ("m1", False, 2),
    ]
    assert found["data"][1]["results"] == []
    assert [each["batch"] for each in found["data"][2]["results"]] == [True]
    assert not found["has_more"]


def test_pages(call: Caller, used: None) -> None:
    query = f"start_time={TODAY - 2 * DAY}&end_time={TODAY + DAY}&limit=2"

    first = call("GET", f"/v1/organization/usage/completions?{query}").get_json()
    second = call(
        "GET", f"/v1/organization/usage/completions?{query}&page={first['next_page']}"
    ).get_json()

    assert first["has_more"] and not second["has_more"]
    assert [bucket["start_time"] for bucket in second["data"]] == [TODAY]


def test_everybody_sees_their_own_and_the_operator_all(
    app: Flask, services: Services, call: Caller, used: None
) -> None:
    operator = caller(app, services, "default", "admin")
    path = f"/v1/usage?start_time={TODAY - 9 * DAY}"

    own = call("GET", path).get_json()["data"]
    all_of_them = operator("GET", path).get_json()["data"]

    assert {row["kind"]: row["requests"] for row in own} == {
        "completions": 3,
        "batches": 3,
        "trainings": 4,
    }
    assert {row["kind"]: row["requests"] for row in all_of_them}["completions"] == 8
    assert call("GET", f"{path}&project_ids[]=globex").get_json()["data"] == []


@pytest.mark.parametrize("form", ["csv", "jsonl"])
def test_export(call: Caller, used: None, form: str) -> None:
    text = call("GET", f"/v1/usage/export?start_time=0&format={form}").text

    if form == "csv":
        rows = list(csv.DictReader(io.StringIO(text)))
    else:
        rows = [json.loads(line) for line in text.splitlines()]
    assert sorted(row["id"] for row in rows) == ["use_0", "use_1", "use_2", "use_3"]
    assert {row["tenant"] for row in rows} == {"acme"}


@pytest.mark.parametrize(
    "query", ["", "start_time=x", "start_time=0&limit=9999", "start_time=0&page=soon"]
)
def test_what_cannot_be_asked(call: Caller, query: str) -> None:
    assert call("GET", f"/v1/organization/usage/completions?{query}").status_code == 400
