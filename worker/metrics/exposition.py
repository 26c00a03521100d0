"""Registries of several processes as one: text out, text in, labels added on the way."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import Metric
from prometheus_client.parser import text_string_to_metric_families


def to_text(registries: Iterable[CollectorRegistry]) -> str:
    """All figures of these registries in Prometheus' text format."""
    return "".join(generate_latest(registry).decode() for registry in registries)


def from_text(text: str, labels: Mapping[str, str]) -> list[Metric]:
    """Back from `to_text`, with these labels on every sample that has none of that name."""
    families = []
    for family in text_string_to_metric_families(text):
        if family.name.endswith("_created"):  # when a counter began: of no use to Prometheus
            continue
        labelled = Metric(family.name, family.documentation, family.type)
        for sample in family.samples:
            merged = {**labels, **sample.labels}
            labelled.samples.append(sample._replace(labels=merged))
        families.append(labelled)
    return families


def merged(families: Iterable[Metric]) -> list[Metric]:
    """Families of one name as one, since Prometheus wants to hear of each name once."""
    found: dict[str, Metric] = {}
    for family in families:
        known = found.get(family.name)
        if known is None:
            known = found[family.name] = Metric(family.name, family.documentation, family.type)
        known.samples.extend(family.samples)
    return list(found.values())
