"""Models loaded in the engine process: in a thread, under a bound of memory, while files go."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from tests.random_models import BundleMaker
from textgen.bundles.bundle import load_bundle, save_bundle
from textgen.engine.engine import Engine
from textgen.options import SamplingOptions
from worker.contracts import BundleReference, GenerateRequest
from worker.generation.engine_host import EngineHost
from worker.generation.gathering import Gathering
from worker.generation.held_bytes import held_bytes


def stored(folder: Path, make_bundle: BundleMaker, seed: int, hidden: int = 32) -> Path:
    bundle = make_bundle(seed=seed, hidden=hidden)
    path = folder / f"{seed}-{hidden}.safetensors"
    save_bundle(path, bundle.header, bundle.model.state_dict())
    return path


def new_host(cache_bytes: int = 10**9) -> EngineHost:
    return EngineHost(device="cpu", slots=4, cache_bytes=cache_bytes)


def request(name: str, tokens: int = 5, **fields: Any) -> GenerateRequest:
    return GenerateRequest(
        id=name,
        bundle=BundleReference(artifact="a", file="f"),
        options=SamplingOptions(max_tokens=tokens),
        seed=1,
        **{"prompts": ("ab",), **fields},
    )


def loaded(host: EngineHost) -> dict[str, dict[str, Any]]:
    """Wait for the models on their way; the errors by request."""
    failures = {}
    deadline = time.monotonic() + 30
    while host.loading:
        failures |= dict(host.settle())
        time.sleep(0.001)
        assert time.monotonic() < deadline
    return failures


def write(host: EngineHost, path: Path, name: str = "r") -> str:
    """The whole text of a request, or its error's code."""
    host.submit(request(name), str(path), True)
    failures = loaded(host)
    if failures:
        return str(failures[name]["code"])
    text = ""
    while host.busy:
        text += "".join(delta.text for delta in host.step())
    host.ended(name)
    return text


def size_of(path: Path) -> int:
    return held_bytes(Engine(load_bundle(path), slots=4, queue=8))


def test_a_checkpoint_that_is_deleted_harms_no_other_model(
    tmp_path: Path, make_bundle: BundleMaker
) -> None:
    host = new_host()
    first, second = (stored(tmp_path, make_bundle, seed) for seed in (1, 2))
    assert len(write(host, first)) == 5

    first.unlink()

    assert len(write(host, second)) == 5
    assert len(write(host, first)) == 5  # it is still loaded


def test_the_model_that_was_used_longest_ago_makes_room(
    tmp_path: Path, make_bundle: BundleMaker
) -> None:
    first, second, third = (stored(tmp_path, make_bundle, seed) for seed in (1, 2, 3))
    host = new_host(cache_bytes=int(2.5 * size_of(first)))
    for path in (first, second, first, third):
        assert len(write(host, path)) == 5

    assert list(host.models) == [str(first), str(third)]
    assert sum(host.models.values()) <= 2.5 * size_of(first)


def test_a_model_that_works_never_leaves(tmp_path: Path, make_bundle: BundleMaker) -> None:
    first, second = (stored(tmp_path, make_bundle, seed) for seed in (1, 2))
    host = new_host(cache_bytes=int(1.5 * size_of(first)))
    host.submit(request("long", tokens=100), str(first), True)
    loaded(host)
    host.step()

    host.submit(request("other"), str(second), True)
    failures = loaded(host)

    assert failures["other"]["code"] == "engine_full"
    assert "TEXTGEN_MODEL_CACHE_BYTES" in failures["other"]["message"]
    assert list(host.models) == [str(first)]
    while host.busy:
        host.step()
    assert len(write(host, second, "again")) == 5
    assert list(host.models) == [str(second)]


def test_a_model_may_leave_before_what_it_wrote_was_told(
    tmp_path: Path, make_bundle: BundleMaker
) -> None:
    """The last answers wait a moment for each other; meanwhile another model may come."""
    first, second = (stored(tmp_path, make_bundle, seed) for seed in (1, 2))
    host = new_host(cache_bytes=int(1.5 * size_of(first)))
    gathering = Gathering(host.tell)
    gathering.begin(request("early"))
    host.submit(request("early"), str(first), True)
    loaded(host)
    while host.busy:
        for delta in host.step():
            gathering.add(delta)

    assert len(write(host, second, "other")) == 5
    assert list(host.models) == [str(second)]
    ((name, deltas, usage, error),) = gathering.due(time.monotonic(), at_rest=True)
    assert (name, error) == ("early", None) and usage is not None
    assert len(deltas[0].text) == 5
    assert host.take_seconds("early") > 0
    host.ended("early")
    assert host.take_seconds("early") == 0


def test_a_model_that_can_never_fit_is_refused(tmp_path: Path, make_bundle: BundleMaker) -> None:
    small, large = (stored(tmp_path, make_bundle, 1, hidden) for hidden in (16, 256))
    host = new_host(cache_bytes=2 * size_of(small))
    assert len(write(host, small)) == 5

    assert write(host, large) == "model_too_large"
    assert list(host.models) == [str(small)]  # it did not have to go for nothing


def test_a_file_that_cannot_be_loaded_says_why(tmp_path: Path) -> None:
    host = new_host()
    assert write(host, tmp_path / "gone.safetensors") == "model_not_loaded"
    (tmp_path / "odd.safetensors").write_bytes(b"nonsense" * 100)
    assert write(host, tmp_path / "odd.safetensors") == "invalid_bundle"
    assert not host.busy and not host.models


def test_running_requests_go_on_while_a_model_is_loaded(
    tmp_path: Path, make_bundle: BundleMaker
) -> None:
    """Also while one and the same model is wanted twice, and one request has gone meanwhile."""
    first, second = stored(tmp_path, make_bundle, 1), stored(tmp_path, make_bundle, 2)
    host = new_host()
    host.submit(request("a", tokens=1_000_000), str(first), True)
    loaded(host)
    for name in ("b", "c"):
        host.submit(request(name), str(second), True)
    assert host.loading

    steps = 0
    while host.loading and steps < 9_000:
        assert any(delta.id == "a/0" for delta in (*host.step(), *host.tell("a")))
        if steps == 0:
            host.cancel("b")
        assert not host.settle()
        steps += 1

    assert steps >= 1
    names = {delta.id for _ in range(6) for delta in (*host.step(), *host.tell("a"))}
    assert names == {"a/0", "c/0"}
    host.cancel("a")
    assert not host.busy


def test_what_an_engine_holds_grows_with_its_model_and_its_slots(
    tmp_path: Path, make_bundle: BundleMaker
) -> None:
    bundle = make_bundle(hidden=64)
    parameters = sum(each.numel() * 4 for each in bundle.model.parameters())
    few, many = (held_bytes(Engine(bundle, slots=slots)) for slots in (8, 512))

    assert few > parameters
    assert many - few >= 504 * 2 * 64 * 4  # hidden and cell of each slot


def test_what_a_host_says_of_itself(tmp_path: Path, make_bundle: BundleMaker) -> None:
    path = stored(tmp_path, make_bundle, 1)
    host = new_host()
    assert host.state.models == ()

    host.submit(request("a", tokens=1_000_000), str(path), True)
    assert (host.state.running, host.state.waiting) == (0, 1)
    loaded(host)
    host.step()
    [model] = host.state.models
    assert (model.artifact, model.bytes) == ("a", host.models[str(path)])
    assert (host.state.running, host.state.waiting, host.state.slots) == (1, 0, 4)
    for name in ("b", "c", "d", "e"):
        host.submit(request(name, tokens=1_000_000), str(path), True)
    host.step()
    assert (host.state.running, host.state.waiting) == (4, 1)
    for name in ("a", "b", "c", "d", "e"):
        host.cancel(name)
    assert (host.state.running, host.state.waiting) == (0, 0)


def test_a_prompt_of_token_ids_is_looked_through_for_blocked_words(
    tmp_path: Path, make_bundle: BundleMaker
) -> None:
    """Also where tokens without a text stand within one."""
    tokenizer = make_bundle().tokenizer
    [first, *rest] = tokenizer.encode("abc").tolist()
    ids = (first, tokenizer.end_id, *rest)
    path = str(stored(tmp_path, make_bundle, 1))
    host = new_host()

    host.submit(request("bad", prompts=((1,), ids), blocked=("zz", "bc")), path, True)
    host.submit(request("good", prompts=(ids,), blocked=("zz",)), path, True)
    host.submit(request("odd", prompts=((10**6,),), blocked=("bc",)), path, True)
    failures = loaded(host)

    assert {name: error["code"] for name, error in failures.items()} == {
        "bad": "blocked_word",
        "odd": "invalid_value",
    }
    assert failures["bad"]["param"] == "prompt"
    assert "'bc'" in failures["bad"]["message"]
