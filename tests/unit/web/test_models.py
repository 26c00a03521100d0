"""Models, presets and aliases."""

from __future__ import annotations

from urllib.parse import quote

import pytest
from openai.types import Model, ModelDeleted

from tests.unit.web.conftest import Caller
from textgen.options import PRESET_NAMES
from web.services import Services
from worker.storage.models import NewModel, add_model


def test_presets_come_first(call: Caller, model: str) -> None:
    body = call("GET", "/v1/models").get_json()

    found = [Model.model_validate(each, strict=True) for each in body["data"]]
    assert [each.id for each in found] == [*PRESET_NAMES, model]
    assert {each.owned_by for each in found[:-1]} == {"preset"}
    assert body["data"][-1]["metrics"]["bits_per_character"] == 2.16


def test_a_model_and_a_preset(call: Caller, model: str) -> None:
    assert call("GET", f"/v1/models/{model}").get_json()["base"] == "lstm-tiny"
    assert call("GET", "/v1/models/lstm-auto").get_json()["owned_by"] == "preset"
    assert call("GET", "/v1/models/none").status_code == 404


@pytest.mark.parametrize("name", ["team/bot", "a//b", "ä:ö"])
def test_ids_with_slashes(call: Caller, services: Services, name: str) -> None:
    with services.database.write() as connection:
        add_model(connection, "acme", NewModel(name, "acme", "a", "f"), 1.0)

    assert call("GET", f"/v1/models/{quote(name, safe='')}").get_json()["id"] == name
    gone = call("DELETE", f"/v1/models/{quote(name, safe='')}").get_json()
    assert ModelDeleted.model_validate(gone, strict=True).deleted


def test_presets_stay(call: Caller) -> None:
    assert call("DELETE", "/v1/models/lstm-tiny").status_code == 403


def test_an_alias_moves(call: Caller, services: Services, model: str) -> None:
    with services.database.write() as connection:
        add_model(connection, "acme", NewModel("ft:second", "acme", "a", "f"), 1.0)

    assert call("PUT", "/v1/aliases/bot", json={"model": model}).get_json()["model"] == model
    assert call("GET", "/v1/models/bot").get_json()["id"] == model
    call("PUT", "/v1/aliases/bot", json={"model": "ft:second"})

    assert call("GET", "/v1/models/bot").get_json()["id"] == "ft:second"
    assert call("GET", "/v1/aliases/bot").get_json()["model"] == "ft:second"
    assert [alias["id"] for alias in call("GET", "/v1/aliases").get_json()["data"]] == ["bot"]
    assert call("DELETE", "/v1/aliases/bot").get_json()["deleted"] is True
    assert call("GET", "/v1/aliases/bot").status_code == 404
    assert call("GET", "/v1/models/ft:second").status_code == 200


@pytest.mark.parametrize(
    ("name", "target", "status"),
    [
        ("lstm-auto", None, 400),
        ("a:b", None, 400),
        ("x" * 65, None, 400),
        ("bot", "lstm-auto", 400),
        ("bot", "ft:none", 404),
    ],
)
def test_what_no_alias_can_be(
    call: Caller, model: str, name: str, target: str | None, status: int
) -> None:
    body = {"model": model if target is None else target}

    assert call("PUT", f"/v1/aliases/{name}", json=body).status_code == status
