"""Links of the OpenAPI document: which calls can follow the one that made something.

They follow from the routes. A POST to a collection answers with a thing whose ``id`` fills the
parameter behind the collection's path, here and in every other path with the same parameters.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

MADE_ID = "$response.body#/id"
PARAMETER = re.compile(r"{(\w+)}")
# What a new file is for: operations whose body names it.
BODIES: Mapping[str, Mapping[str, Mapping[str, Any]]] = {
    "files_create": {
        "fine_tuning_create": {"model": "lstm-auto", "training_file": MADE_ID},
        "batches_create": {
            "input_file_id": MADE_ID,
            "endpoint": "/v1/completions",
            "completion_window": "24h",
        },
    }
}


@dataclass(frozen=True, slots=True)
class _Operation:
    path: str
    method: str
    described: dict[str, Any]

    @property
    def id(self) -> str:
        return str(self.described["operationId"])

    @property
    def parameters(self) -> frozenset[str]:
        return frozenset(PARAMETER.findall(self.path))


def add_links(paths: Mapping[str, Mapping[str, dict[str, Any]]]) -> None:
    """Give every operation that makes something the links to what can be done with it."""
    operations = [
        _Operation(path, method, described)
        for path, methods in paths.items()
        for method, described in methods.items()
    ]
    for maker in operations:
        if maker.method != "post":
            continue
        links = {name: {"operationId": name, **link} for name, link in _links(maker, operations)}
        if links:
            maker.described["responses"]["200"]["links"] = links


def _links(
    maker: _Operation, operations: list[_Operation]
) -> Iterator[tuple[str, Mapping[str, Any]]]:
    behind = re.compile(re.escape(maker.path) + r"/{(\w+)}")
    made = {found[1] for each in operations if (found := behind.fullmatch(each.path))}
    for parameter in sorted(made):
        known = {name: f"$request.path.{name}" for name in sorted(maker.parameters)}
        known[parameter] = MADE_ID
        for target in operations:
            if target.parameters == known.keys():
                yield target.id, {"parameters": known}
    for name, body in BODIES.get(maker.id, {}).items():
        yield name, {"requestBody": body}
