"""The playground's page: the models it offers, and every option as its model bounds it."""

from __future__ import annotations

import re

import pytest
from flask import Flask
from openai.types.completion_create_params import CompletionCreateParamsNonStreaming

from tests.unit.web.conftest import Caller, caller, publish
from textgen.sampling_options import SamplingOptions
from web.pages.sampling_fields import OF_THE_CLIENT
from web.services import Services
from worker.storage.models import NewModel


def field(page: str, name: str) -> str:
    """The tag of a field of the form."""
    found = re.search(rf'<(?:input|textarea|select)[^>]* id="{name}"[^>]*>', page)
    assert found is not None, name
    return found[0]


def chosen(page: str, name: str) -> list[str]:
    """What of a field's choices is selected."""
    inner = page.partition(field(page, name))[2].partition("</select>")[0]
    return [value for value, _ in re.findall(r'<option value="([^"]*)"([^>]* selected)', inner)]


def test_without_a_model_it_leads_to_a_training(app: Flask, services: Services) -> None:
    page = caller(app, services, "acme", "read", "generate", "train")("GET", "/playground").text
    assert "No model yet" in page and 'href="/trainings/new"' in page

    page = caller(app, services, "acme", "read", "generate")("GET", "/playground").text
    assert "No model yet" in page and "/trainings/new" not in page


def test_every_option_has_its_field_with_its_bounds(call: Caller, model: str) -> None:
    page = call("GET", "/playground").text

    for name in SamplingOptions.model_fields:
        assert f'aria-describedby="{name}-hint"' in field(page, name)
    assert 'min="0"' in field(page, "top_p") and 'max="1"' in field(page, "top_p")
    assert 'placeholder="1"' in field(page, "repetition_penalty")
    assert "(-2 to 2)" in page and "(above 0 to 1)" in page
    assert "(from -1)" in page and "(up to 200)" in page


def test_it_begins_with_what_suits_the_model_or_with_what_the_link_says(
    call: Caller, model: str
) -> None:
    page = call("GET", f"/playground?model={model}").text
    assert chosen(page, "model") == [model]
    assert 'value="0.7"' in field(page, "temperature")
    assert 'value="400"' in field(page, "max_tokens")

    page = call(
        "GET", "/playground?top_k=5&other_temperature=0.3,1.2&ignore_eos=true&stop=a%0Ab"
    ).text
    assert 'value="5"' in field(page, "top_k")
    assert 'value=""' in field(page, "temperature")
    assert 'value="0.3,1.2"' in field(page, "other_temperature")
    assert "checked" in field(page, "ignore_eos") and "checked" in field(page, "beside")
    assert ">a\nb</textarea>" in page
    assert call("GET", "/playground?top_z=5").status_code == 400


def test_names_come_first_and_what_does_not_write_is_left_out(
    call: Caller, services: Services, model: str
) -> None:
    header = {"objectives": ["classify"], "labels": ["a", "b"]}
    publish(services, NewModel("ft:classes", "acme", "jobs/x/1/model", "m", header=header))
    gaps = {"objectives": ["causal", "infill"]}
    publish(services, NewModel("ft:gaps", "acme", "jobs/y/1/model", "m", header=gaps))
    publish(services, NewModel(f"{model}:ckpt-step-5", "acme", "jobs/z/1/model", "m", header=gaps))
    services.models.set_alias("acme", "bard", model)
    services.models.set_alias("acme", "tells-classes", "ft:classes")

    page = call("GET", "/playground").text
    assert chosen(page, "model") == ["bard"]
    offered = re.findall(r'<option value="([^"]+)"([^>]*)', page.partition(field(page, "model"))[2])
    assert [name for name, _ in offered][:2] == ["bard", "ft:gaps"]
    assert ["data-fills-gaps" in rest for _, rest in offered][:2] == [False, True]
    assert model not in page
    assert "tells-classes" not in page and "ft:classes" not in page


def test_an_unknown_model_is_named_beside_its_field(call: Caller, model: str) -> None:
    answer = call("GET", "/playground?model=nobody")

    assert answer.status_code == 404
    assert 'id="model-problem"' in answer.text and "nobody" in answer.text
    assert call("GET", "/playground?other_model=nobody").status_code == 404


@pytest.mark.parametrize("scopes", [("read",), ("read", "train")])
def test_who_may_not_generate_has_no_playground(
    app: Flask, services: Services, scopes: tuple[str, ...]
) -> None:
    reader = caller(app, services, "acme", *scopes)

    assert reader("GET", "/playground").status_code == 403
    assert "/playground" not in reader("GET", "/").text


def test_what_goes_into_the_client_s_extra_body() -> None:
    parameters = set(CompletionCreateParamsNonStreaming.__annotations__)
    base = CompletionCreateParamsNonStreaming.__orig_bases__  # type: ignore[attr-defined]
    parameters |= {name for each in base for name in getattr(each, "__annotations__", {})}

    assert parameters & set(SamplingOptions.model_fields) == OF_THE_CLIENT
