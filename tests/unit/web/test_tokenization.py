"""Texts as token ids over HTTP, by tokenizers that are read from model files."""

from __future__ import annotations

from typing import Any

import pytest

from tests.random_models import ALPHABET, BundleMaker
from tests.unit.web.conftest import Caller, publish
from tests.unit.web.in_process import InProcessCompletions
from textgen.bundles.bundle import save_bundle
from textgen.options import RowKind
from textgen.tokenizers import ByteTokenizer, CharTokenizer, Tokenizer, with_marks
from web.services import Services
from worker.generation.model_tokenizers import ModelTokenizers
from worker.storage.models import NewModel

CHARACTERS = CharTokenizer(ALPHABET)
CHAT = with_marks(CHARACTERS, ("system", "user", "assistant"))


def store(
    services: Services,
    make_bundle: BundleMaker,
    name: str,
    tokenizer: Tokenizer,
    rows: RowKind | None = None,
) -> None:
    bundle = make_bundle(tokenizer=tokenizer, documents=rows is not None)
    header = bundle.header.model_copy(update={"rows": rows or "text"})
    with services.store.create(f"jobs/{name}/1/model") as staging:
        path = services.settings.home / f"{name}.safetensors"
        save_bundle(path, header, bundle.model.state_dict())
        staging.add(path, "model.safetensors")
        staging.commit()
    new = NewModel(f"ft:{name}", "acme", f"jobs/{name}/1/model", "model.safetensors")
    publish(services, new)


@pytest.fixture(autouse=True)
def _models(services: Services, make_bundle: BundleMaker) -> None:
    store(services, make_bundle, "characters", CHARACTERS)
    store(services, make_bundle, "bytes", ByteTokenizer())
    store(services, make_bundle, "chat", CHAT, "messages")
    store(services, make_bundle, "lines", CHARACTERS, "text")


def ask(call: Caller, what: str, model: str, **body: Any) -> Any:
    return call("POST", f"/v1/{what}", json={"model": model, **body})


@pytest.mark.parametrize(
    ("model", "tokenizer"),
    [("ft:characters", CHARACTERS), ("ft:bytes", ByteTokenizer()), ("ft:chat", CHAT)],
)
def test_a_text_there_and_back(
    call: Caller,
    services: Services,
    worker: InProcessCompletions,
    model: str,
    tokenizer: Tokenizer,
) -> None:
    text = "我 ab,\n"
    answer = ask(call, "tokenize", model, prompt=text, add_special_tokens=False)
    assert answer.status_code == 200, answer.text
    ids = tokenizer.encode(text).tolist()
    assert answer.get_json() == {
        "count": len(ids),
        "max_model_len": services.settings.max_prompt_characters,
        "tokens": ids,
        "token_strs": None,
    }
    back = ask(call, "detokenize", model, tokens=ids)
    assert back.get_json() == {"prompt": text}
    assert worker.requests == []  # no worker takes part


def test_tokens_as_people_see_them(call: Caller) -> None:
    shown = ask(call, "tokenize", "ft:bytes", prompt="我a", return_token_strs=True).get_json()
    assert shown["token_strs"] == [r"bytes:\xe6", r"bytes:\x88", r"bytes:\x91", "a"]
    messages = [{"role": "system", "content": "b"}, {"role": "user", "content": "a"}]
    body = {"messages": messages, "return_token_strs": True}
    shown = ask(call, "tokenize", "ft:chat", **body).get_json()
    assert shown["token_strs"] == [
        "<|system|>", "b", "<|end|>", "<|user|>", "a", "<|end|>", "<|assistant|>",
    ]  # fmt: skip
    assert shown["count"] == 7
    open_ended = ask(call, "tokenize", "ft:chat", **body, add_generation_prompt=False).get_json()
    assert open_ended["tokens"] == shown["tokens"][:-1]
    assert ask(call, "detokenize", "ft:chat", tokens=shown["tokens"]).get_json() == {"prompt": "ba"}


def test_what_a_model_reads_around_a_text(call: Caller) -> None:
    def shown(model: str, **body: Any) -> list[str]:
        answer = ask(call, "tokenize", model, return_token_strs=True, **body).get_json()
        return list(answer["token_strs"])

    assert shown("ft:characters", prompt="a") == ["a"]
    assert shown("ft:lines", prompt="a") == ["<|end|>", "a"]
    assert shown("ft:lines", prompt="") == ["<|end|>"]
    told = ["<|end|>", "<|user|>", "a", "<|end|>", "<|assistant|>"]
    assert shown("ft:chat", prompt="a") == told
    messages = [{"role": "user", "content": "a"}]
    assert shown("ft:chat", messages=messages, add_special_tokens=True) == told
    assert shown("ft:chat", messages=messages, add_special_tokens=None) == told[1:]


def test_an_alias_and_an_empty_text_will_do(call: Caller) -> None:
    call("PUT", "/v1/aliases/mine", json={"model": "ft:chat"})
    assert ask(call, "tokenize", "mine", prompt="a").get_json()["count"] == 5
    assert ask(call, "tokenize", "ft:bytes", prompt="").get_json()["tokens"] == []
    assert ask(call, "detokenize", "mine", tokens=[]).get_json() == {"prompt": ""}


@pytest.mark.parametrize(
    ("what", "model", "body", "param"),
    [
        ("tokenize", "ft:chat", {}, "prompt"),
        ("tokenize", "ft:chat", {"prompt": "a", "messages": []}, "messages"),
        ("tokenize", "ft:chat", {"prompt": ["a"]}, "prompt"),
        ("tokenize", "ft:characters", {"messages": [{"role": "user", "content": "a"}]}, "model"),
        ("tokenize", "lstm-auto", {"prompt": "a"}, "model"),
        ("tokenize", "ft:chat", {"promt": "a"}, "promt"),
        ("detokenize", "ft:chat", {"tokens": [10**6]}, "tokens"),
        ("detokenize", "ft:chat", {"tokens": [-1]}, "tokens"),
        ("detokenize", "ft:chat", {"tokens": "a"}, "tokens"),
        ("detokenize", "ft:chat", {}, "tokens"),
    ],
)
def test_what_cannot_be_asked(
    call: Caller, what: str, model: str, body: dict[str, Any], param: str
) -> None:
    answer = ask(call, what, model, **body)
    assert answer.status_code == 400, answer.text
    assert answer.get_json()["error"]["param"] == param


def test_too_much_for_one_request(call: Caller, services: Services) -> None:
    most = services.settings.max_prompt_characters
    for what, body in (
        ("tokenize", {"prompt": "a" * (most + 1)}), ("detokenize", {"tokens": [1] * (most + 1)}),
    ):  # fmt: skip
        assert ask(call, what, "ft:chat", **body).get_json()["error"]["code"] == "prompt_too_long"


def test_others_models_are_not_there(stranger: Caller) -> None:
    assert ask(stranger, "tokenize", "ft:chat", prompt="a").status_code == 404


def test_a_file_that_is_gone_or_damaged_is_named(
    call: Caller, services: Services, make_bundle: BundleMaker
) -> None:
    store(services, make_bundle, "damaged", CHARACTERS)
    path = services.store.local_path("jobs/damaged/1/model", "model.safetensors")
    data = bytearray(path.read_bytes())
    data[200] ^= 1
    path.chmod(0o600)
    path.write_bytes(data)
    answer = ask(call, "tokenize", "ft:damaged", prompt="a")
    assert answer.status_code == 500, answer.text
    assert "ft:damaged" in answer.get_json()["error"]["message"]
    services.store.delete("jobs/chat/1/model")
    assert ask(call, "tokenize", "ft:chat", prompt="a").status_code == 500


def test_so_many_tokenizers_are_kept_and_no_more(services: Services) -> None:
    models = [services.models.get("acme", f"ft:{name}") for name in ("bytes", "chat", "characters")]
    tokenizers = ModelTokenizers(services.store, most=2)
    first, second = map(tokenizers.of, models[:2])
    assert tokenizers.of(models[0]) is first
    tokenizers.of(models[2])  # the second was used least recently
    assert tokenizers.of(models[0]) is first
    assert tokenizers.of(models[1]) is not second
