"""Models, presets and aliases."""

from __future__ import annotations

import json
from collections.abc import Callable
from io import BytesIO
from pathlib import Path
from urllib.parse import quote

import numpy as np
import pytest
from openai.types import Model, ModelDeleted

from tests.random_models import BundleMaker
from tests.unit.web.conftest import Caller
from textgen.bundles.bundle import Bundle, load_bundle, save_bundle
from textgen.bundles.tensor_file import open_tensor_file, write_tensor_file
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


def test_a_model_tells_its_licence(call: Caller, services: Services, model: str) -> None:
    header = {"licence": "CC-BY-4.0"}
    with services.database.write() as connection:
        add_model(connection, "acme", NewModel("ft:free", "acme", "a", "f", header=header), 1.0)

    assert call("GET", "/v1/models/ft:free").get_json()["licence"] == "CC-BY-4.0"
    assert call("GET", f"/v1/models/{model}").get_json()["licence"] is None


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


@pytest.fixture
def file(make_bundle: BundleMaker, tmp_path: Path) -> Path:
    """A model's file, of this service or another."""
    bundle: Bundle = make_bundle()
    header = bundle.header.model_copy(update={"licence": "CC0-1.0"})
    save_bundle(tmp_path / "away.safetensors", header, bundle.model.state_dict())
    return tmp_path / "away.safetensors"


def take_in(call: Caller, data: bytes, **fields: str) -> dict[str, object]:
    form = {"file": (BytesIO(data), "away.safetensors"), **fields}
    return dict(call("POST", "/v1/models", data=form).get_json())


def test_a_model_goes_out_and_comes_in(call: Caller, file: Path, tmp_path: Path) -> None:
    made = take_in(call, file.read_bytes(), alias="away", suffix="old")

    assert str(made["id"]).startswith("ft:imported:acme:old:")
    assert made["licence"] == "CC0-1.0" and made["tokenizer"] == "char" and made["base"] is None
    assert call("GET", "/v1/models/away").get_json() == made
    answer = call("GET", "/v1/models/away/content")
    assert answer.data == file.read_bytes()
    assert "ft-imported-acme-old-" in answer.headers["Content-Disposition"]
    (tmp_path / "back").write_bytes(answer.data)
    assert load_bundle(tmp_path / "back").header.licence == "CC0-1.0"


def test_a_part_of_a_model(call: Caller, model: str) -> None:
    answer = call("GET", f"/v1/models/{model}/content", headers={"Range": "bytes=4-10"})

    assert (answer.status_code, answer.data) == (206, b"weights")
    assert answer.headers["Content-Range"] == "bytes 4-10/11"
    again = call(
        "GET", f"/v1/models/{model}/content", headers={"If-None-Match": answer.headers["ETag"]}
    )
    assert again.status_code == 304
    assert call("GET", "/v1/models/lstm-tiny/content").status_code == 404


def change_weights(file: Path) -> None:
    found = open_tensor_file(file)
    arrays = found.read()
    arrays["model.output.bias"][0] = np.nan
    write_tensor_file(file, found.text, arrays)


def change_count(file: Path) -> None:
    found = open_tensor_file(file)
    header = json.loads(found.text)
    header["parameters"] += 1
    write_tensor_file(file, json.dumps(header), found.read())


def flip_a_bit(file: Path) -> None:
    data = bytearray(file.read_bytes())
    data[-1] ^= 1
    file.write_bytes(data)


def cut_short(file: Path) -> None:
    file.write_bytes(file.read_bytes()[:-4])


def say_much(file: Path) -> None:
    found = open_tensor_file(file)
    header = json.loads(found.text)
    header["corpus"] = {"x": "x" * 300_000}
    write_tensor_file(file, json.dumps(header), found.read())


@pytest.mark.parametrize("harm", [change_weights, change_count, flip_a_bit, cut_short, say_much])
def test_what_is_no_whole_model_is_refused(
    call: Caller, services: Services, file: Path, harm: Callable[[Path], None]
) -> None:
    harm(file)

    answer = take_in(call, file.read_bytes())["error"]

    assert isinstance(answer, dict)
    assert (answer["code"], answer["param"]) == ("invalid_bundle", "file")
    assert "away.safetensors" in answer["message"]
    assert list(services.store.list("models")) == []
    assert services.models.list("acme") == []


def test_an_import_takes_no_name_that_is_a_models(
    call: Caller, services: Services, file: Path
) -> None:
    with services.database.write() as connection:
        add_model(connection, "acme", NewModel("bot", "acme", "a", "f"), 1.0)

    refused = take_in(call, file.read_bytes(), alias="bot")["error"]

    assert isinstance(refused, dict) and refused["code"] == "alias_is_model"
    assert [each.id for each in services.models.list("acme")] == ["bot"]
    assert list(services.store.list("models")) == []
