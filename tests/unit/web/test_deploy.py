"""Alerts and dashboard name what there is: every metric, label and value, every runbook."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast, get_args

import promql_parser
import pytest
import yaml
from flask import Flask
from prometheus_client.parser import text_string_to_metric_families

from tests.unit.web.conftest import Caller, caller
from tests.unit.web.in_process import InProcessPublished
from textgen.engine.requests import Delta
from textgen.options import SamplingOptions
from web.services import Services
from worker.contracts import BundleReference, GenerateRequest
from worker.generation.engine_host import EngineHost
from worker.generation.engine_link import EngineLink
from worker.generation.engine_metrics import EngineMetrics
from worker.generation.gathering import Gathering
from worker.jobs.states import Kind
from worker.metrics.exposition import to_text
from worker.metrics.job_metrics import JobMetrics
from worker.metrics.worker_metrics import WorkerMetrics
from worker.processes.presence import Presence, life_of

ROOT = Path(__file__).parents[3]
ALERTS = ROOT / "deploy" / "alerts.yml"
DASHBOARD = ROOT / "deploy" / "grafana" / "textgen.json"
RULES = [rule for group in yaml.safe_load(ALERTS.read_text())["groups"] for rule in group["rules"]]
PANELS = [panel for panel in json.loads(DASHBOARD.read_text())["panels"] if panel["type"] != "row"]
QUERIES = [target["expr"] for panel in PANELS for target in panel["targets"]]
PROMETHEUS = {"up"}  # what Prometheus says by itself
TARGET = {"instance", "job"}  # labels that a scrape gives
BY_CODE = {"code"}  # whose values are as many as there are errors

Series = dict[str, list[dict[str, str]]]


def run_a_worker() -> str:
    """What a generation worker publishes once everything has happened to it."""
    metrics = EngineMetrics()
    metrics.watch(EngineHost(device="cpu", slots=2, cache_bytes=1))
    gathering = Gathering(metrics=metrics)
    for name in ("interactive", "batch"):
        bundle = BundleReference(artifact="a", file="f")
        request = GenerateRequest(
            id=name, bundle=bundle, prompts=("x",), options=SamplingOptions(), seed=1
        )
        gathering.begin(request, interactive=name == "interactive")
        gathering.add(Delta(f"{name}/0", "a", 1, "length", 1))
    metrics.refused("model_not_loaded")
    worker = WorkerMetrics(1, lambda: 0)
    worker.look()
    task = SimpleNamespace(name="textgen.wake")
    worker._on_received(SimpleNamespace(task_name=task.name))
    worker._on_start("1", task)
    worker._on_end("1", task)
    link = EngineLink(device="cpu", slots=1, cache_bytes=1, threads=1)
    jobs = JobMetrics(get_args(Kind))
    return to_text([worker.registry, jobs.registry, metrics.registry]) + link.metrics_text()


@pytest.fixture
def series(app: Flask, services: Services, call: Caller, upload: Callable[..., str]) -> Series:
    """The labels of every sample of a service to which everything has happened."""
    published = cast(InProcessPublished, services.published)
    for role in ("train", "generate", "reconcile"):
        queue = {"train": "training", "generate": "batch", "reconcile": ""}[role]
        presence = Presence(services.database, services.settings)
        presence.register(role, "a", role, {queue: 1})
        published.by_worker[life_of(role, "a")] = run_a_worker()
    call("GET", "/v1/files/none")
    file_id = upload()
    for _ in range(3):
        body = {"model": "lstm-tiny", "training_file": file_id}
        call("POST", "/v1/fine_tuning/jobs", json=body)
    failed, lost, running = (services.jobs.claim("training", "w") for _ in range(3))
    assert failed is not None and lost is not None and running is not None
    services.jobs.fail(failed, {"code": "poison", "message": "x", "param": None})
    services.jobs.requeue(lost, "gone", counts_as="loss")
    progress = {"step": 1, "total_steps": 2, "tokens_per_second": 3.0, "train_loss": 4.0}
    services.jobs.set_progress(running, progress)
    text = caller(app, services, "default", "admin")("GET", "/metrics").text
    found: Series = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            found.setdefault(sample.name, []).append(sample.labels)
    return found


def selectors(expression: Any) -> Iterator[Any]:
    """Every selector of a parsed query."""
    if isinstance(expression, promql_parser.VectorSelector):
        yield expression
        return
    for part in ("vector_selector", "expr", "lhs", "rhs", "param"):
        inner = getattr(expression, part, None)
        if inner is not None:
            yield from selectors(inner)
    for argument in getattr(expression, "args", ()):
        yield from selectors(argument)


def parse(query: str) -> Any:
    """A parsed query; Grafana's variables are filled in as it does."""
    return promql_parser.parse(query.replace("$__rate_interval", "5m"))


def check(query: str, series: Series) -> None:
    found = list(selectors(parse(query)))
    assert found, query
    for selector in found:
        if selector.name in PROMETHEUS:
            continue
        assert selector.name in series, f"{selector.name} is told by nobody"
        for matcher in selector.matchers.matchers:
            if matcher.name in TARGET:
                continue
            # To Prometheus a label that is not there is an empty one.
            values = {labels.get(matcher.name, "") for labels in series[selector.name]}
            assert values != {""}, f"{selector.name} has no label {matcher.name}"
            if matcher.op == promql_parser.MatchOp.Equal and matcher.name not in BY_CODE:
                assert matcher.value in values, f"{selector.name} {matcher.name}={matcher.value}"


@pytest.mark.parametrize("rule", RULES, ids=[rule["alert"] for rule in RULES])
def test_an_alert_is_about_what_is_measured(rule: dict[str, Any], series: Series) -> None:
    check(rule["expr"], series)


@pytest.mark.parametrize("rule", RULES, ids=[rule["alert"] for rule in RULES])
def test_a_first_event_is_an_increase(rule: dict[str, Any], services: Services) -> None:
    """Of a series that begins with its first event Prometheus sees no increase."""
    there = [
        (sample.name, sample.labels)
        for family in services.jobs.metrics.registry.collect()
        for sample in family.samples
        if sample.value == 0
    ]
    for selector in selectors(parse(rule["expr"])):
        if "increase(" not in rule["expr"] or not selector.name.startswith("textgen_jobs_"):
            continue
        for kind in get_args(Kind):
            wanted = [[("kind", kind)]]
            for matcher in selector.matchers.matchers:
                values = matcher.value.split("|")
                wanted = [[*each, (matcher.name, value)] for each in wanted for value in values]
            for labels in wanted:
                assert (selector.name, dict(labels)) in there


def test_the_dashboard_shows_what_is_measured(series: Series) -> None:
    for query in QUERIES:
        check(query, series)


def test_the_labels_that_are_asked_for_are_there(series: Series) -> None:
    """A misspelt label in `by` would join all series into one."""
    for query in [*QUERIES, *(rule["expr"] for rule in RULES)]:
        for labels in re.findall(r"\bby \(([a-z_, ]+)\)", query):
            names = set(labels.split(", "))
            metrics = [each.name for each in selectors(parse(query)) if each.name not in PROMETHEUS]
            known = {key for name in metrics for each in series[name] for key in each}
            assert names <= known, query


@pytest.mark.parametrize("rule", RULES, ids=[rule["alert"] for rule in RULES])
def test_an_alert_has_its_runbook(rule: dict[str, Any]) -> None:
    name = rule["alert"]
    headings = re.findall(r"^## (\S+)$", (ROOT / "docs" / "runbooks.md").read_text(), re.M)

    assert name in headings
    assert rule["annotations"]["runbook_url"].endswith(f"/runbooks/#{name.lower()}")
    assert {"summary", "description"} <= set(rule["annotations"])
    assert rule["labels"]["severity"] in ("critical", "warning")


def test_no_runbook_is_left_without_its_alert() -> None:
    headings = re.findall(r"^## (\S+)$", (ROOT / "docs" / "runbooks.md").read_text(), re.M)

    assert headings and set(headings) == {rule["alert"] for rule in RULES}


def test_panels_have_places_of_their_own() -> None:
    taken: set[tuple[int, int]] = set()
    for panel in PANELS:
        place = panel["gridPos"]
        cells = {
            (x, y)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        }
        assert not taken & cells, panel["title"]
        taken |= cells
    assert len({panel["id"] for panel in PANELS}) == len(PANELS)
