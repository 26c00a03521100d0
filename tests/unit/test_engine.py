from __future__ import annotations

import random
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from tests.random_models import ALPHABET, run, texts
from textgen.bundles.bundle import Bundle, save_bundle
from textgen.engine.engine import Delta, Engine, Request
from textgen.engine.generation import generate
from textgen.engine.prompt_reader import CHUNK, PROMPTS
from textgen.errors import EngineFull, InvalidInput, InvalidOption
from textgen.options import SamplingOptions
from textgen.tokenizers import ByteTokenizer, CharTokenizer

BundleMaker = Callable[..., Bundle]

ROOT = Path(__file__).parents[2]
OWN = (
    "seed",
    "choice",
    "echo",
    "interactive",
    "logprobs",
    "tenant",
)  # of a request, beside the sampling options


def request(engine: Engine, name: str, prompt: str = "a", **options: object) -> Request:
    own = {key: options.pop(key) for key in OWN if key in options}
    ids = engine.tokenizer.encode(prompt)
    return Request(name, ids, SamplingOptions(**options), **{"seed": 0, **own})


def complete(bundle: Bundle, prompt: str = "a", **options: object) -> tuple[str, Delta]:
    """One request alone: its text and its last delta."""
    engine = Engine(bundle, slots=1)
    engine.submit(request(engine, "only", prompt, **options))
    deltas = run(engine)
    return texts(deltas)["only"], deltas[-1]


def mixed(engine: Engine, count: int) -> list[Request]:
    """Requests of every kind; prompts from none to several chunks."""
    generator = random.Random(0)
    made = []
    for index in range(count):
        prompt = "".join(generator.choices("abc 我\n", k=generator.choice([0, 1, 5, 32, 33, 150])))
        made.append(
            request(
                engine,
                str(index),
                prompt,
                seed=generator.randrange(-5, 5),
                choice=generator.randrange(3),
                interactive=generator.random() < 0.5,
                echo=generator.random() < 0.2,
                max_tokens=generator.choice([0, 1, 7, 40, 90]),
                temperature=generator.choice([0, 0.5, 1, 2, (0.3, 1.5)]),
                top_p=generator.choice([1, 0.8]),
                top_k=generator.choice([0, 5]),
                min_p=generator.choice([0, 0, 0.05]),
                typical_p=generator.choice([1, 1, 0.8]),
                stop=generator.choice([(), ("ab", "b c"), ("\n",)]),
                repetition_penalty=generator.choice([1, 1, 1.3]),
                frequency_penalty=generator.choice([0, 0, 0.5]),
                presence_penalty=generator.choice([0, 0, -0.5]),
                no_repeat_ngram_size=generator.choice([0, 0, 2]),
                bad_words=generator.choice([(), (), ("a", "bc")]),
                allowed_words=generator.choice([None, None, None, ("abc", "我 ")]),
                logit_bias=generator.choice([{}, {}, {5: 3.5, 9: -3}]),
                logprobs=generator.choice([None, None, 0, 3]),
                tenant=generator.choice("aaaabcd"),
            )
        )
    return made


@pytest.mark.parametrize(("layers", "hidden"), [(1, 128), (2, 64)])
def test_a_text_is_the_same_alone_in_any_batch_and_at_any_time(
    make_bundle: BundleMaker, layers: int, hidden: int
) -> None:
    bundle = make_bundle(layers, hidden, documents=layers == 2)
    single = Engine(bundle, slots=1)
    everyone = mixed(single, 200)
    alone = {}
    for each in everyone:
        single.submit(each)
        alone |= texts(run(single))
    for slots in (2, 7, 128, 200):
        engine = Engine(bundle, slots=slots)
        for each in everyone:
            engine.submit(each)
        assert texts(run(engine)) == alone, slots
    order = random.Random(1)
    engine, late, deltas = Engine(bundle, slots=50), everyone.copy(), []
    order.shuffle(late)
    while late or engine.busy:
        for _ in range(order.randrange(8)):
            if late:
                engine.submit(late.pop())
        deltas += engine.step()
    assert texts(deltas) == alone


def test_another_process_writes_the_same(make_bundle: BundleMaker, tmp_path: Path) -> None:
    bundle = make_bundle(2, 64)
    path = tmp_path / "model.safetensors"
    save_bundle(path, bundle.header, bundle.model.state_dict())
    script = (
        "import sys, torch; from pathlib import Path; "
        "from textgen.bundles.bundle import load_bundle;"
        "from textgen.engine.generation import generate;"
        "from textgen.options import SamplingOptions;"
        f"torch.set_num_threads({torch.get_num_threads()});"
        "bundle = load_bundle(Path(sys.argv[1]));"
        "options = SamplingOptions(max_tokens=80);"
        "print(ascii(generate(bundle, ['abc', ''], options, seed=4)[1].text))"
    )
    elsewhere = subprocess.run(
        [sys.executable, "-c", script, str(path)],
        capture_output=True, text=True, check=True, cwd=ROOT, timeout=60,
    )  # fmt: skip
    here = generate(bundle, [""], SamplingOptions(max_tokens=80), seed=4)[0].text
    assert elsewhere.stdout.strip() == ascii(here)


def test_the_drawn_tokens_follow_the_model_itself(make_bundle: BundleMaker) -> None:
    """Greedy text against nn.LSTM's own forward pass over the growing text."""
    bundle = make_bundle(2, 48, spread=8)
    text, _ = complete(bundle, "hello, 我", temperature=0, max_tokens=60)
    ids = bundle.tokenizer.encode("hello, 我").tolist()
    for character in text:
        with torch.no_grad():
            logits, _ = bundle.model(torch.tensor([ids]))
        final = logits[0, -1]
        final[list(bundle.tokenizer.generation_banned(documents=False))] = float("-inf")
        ids.append(int(final.argmax()))
        assert bundle.tokenizer.token_text(ids[-1]) == character
    assert len(text) == 60


def test_temperature_zero_does_not_depend_on_the_seed(make_bundle: BundleMaker) -> None:
    bundle = make_bundle()
    written = {complete(bundle, temperature=0, max_tokens=50, seed=seed)[0] for seed in range(5)}
    assert len(written) == 1


def test_seed_and_choice_change_the_text(make_bundle: BundleMaker) -> None:
    bundle = make_bundle()
    written = {
        complete(bundle, max_tokens=30, seed=seed, choice=choice)[0]
        for seed in range(5)
        for choice in range(5)
    }
    assert len(written) == 25


def test_unknown_is_never_written_even_where_it_is_likeliest(make_bundle: BundleMaker) -> None:
    bundle = make_bundle(seed=3)
    unknown = bundle.tokenizer.unknown_id
    with torch.no_grad():
        bundle.model.output.bias[unknown] = 50
    text, last = complete(bundle, "?", max_tokens=500, temperature=2)
    assert "\ufffd" not in text
    assert (len(text), last.finish_reason) == (500, "length")


@pytest.mark.parametrize("documents", [True, False])
def test_the_end_token_ends_only_models_that_know_documents(
    make_bundle: BundleMaker, documents: bool
) -> None:
    bundle = make_bundle(seed=4, documents=documents)
    with torch.no_grad():
        bundle.model.output.bias[bundle.tokenizer.end_id] = 2
    deltas = []
    for seed in range(20):
        text, last = complete(bundle, max_tokens=300, seed=seed)
        deltas.append(last)
        assert len(text) == 300 or documents
    assert {delta.finish_reason for delta in deltas} == ({"stop"} if documents else {"length"})


def test_every_drawn_token_is_counted(make_bundle: BundleMaker) -> None:
    bundle = make_bundle(seed=4, documents=True)
    with torch.no_grad():
        bundle.model.output.bias[bundle.tokenizer.end_id] = 1
    engine = Engine(bundle)
    for index in range(50):
        engine.submit(request(engine, str(index), "abc", max_tokens=30, seed=index))
    deltas = run(engine)
    written = texts(deltas)
    for last in (delta for delta in deltas if delta.finish_reason):
        tokens = sum(delta.tokens for delta in deltas if delta.id == last.id)
        assert tokens == len(written[last.id]) + (last.finish_reason == "stop")
        assert last.prompt_tokens == 3


@pytest.mark.parametrize("tokenizer", [None, ByteTokenizer()], ids=["char", "byte"])
def test_stop_strings_cut_the_text_that_would_have_been(
    make_bundle: BundleMaker, tokenizer: ByteTokenizer | None
) -> None:
    bundle = make_bundle(seed=1, tokenizer=tokenizer)
    for seed in range(40):
        whole, _ = complete(bundle, max_tokens=120, seed=seed)
        at = random.Random(seed).randrange(len(whole) - 3)
        stop = whole[at : at + 3]
        # Two that begin in the text and never become complete are looked for at the same time.
        stops = (whole[at + 1] + "\u2603", stop, whole[-1] + "\u2603")
        text, last = complete(bundle, max_tokens=120, seed=seed, stop=stops)
        assert text == whole[: whole.find(stop)]
        assert last.finish_reason == "stop"


def test_text_held_back_for_a_stop_string_comes_at_the_end(make_bundle: BundleMaker) -> None:
    bundle = make_bundle(seed=1)
    whole, _ = complete(bundle, max_tokens=20)
    text, last = complete(bundle, max_tokens=20, stop=whole[5:] + "\u2603")
    assert (text, last.text, last.finish_reason) == (whole, whole[5:], "length")


def test_stop_strings_do_not_look_at_the_prompt(make_bundle: BundleMaker) -> None:
    bundle = make_bundle(seed=1)
    whole, _ = complete(bundle, "xyx", max_tokens=10)
    text, last = complete(bundle, "xyx", max_tokens=10, echo=True, stop=("xyx", "x" + whole[:2]))
    assert text == "xyx" + whole
    assert last.finish_reason == "length"


@pytest.fixture(scope="module")
def chinese(make_bundle: BundleMaker) -> Bundle:
    """A byte model that has learnt one sentence by heart, over and over."""
    bundle = make_bundle(1, 64, tokenizer=ByteTokenizer())
    model = bundle.model
    ids = torch.from_numpy(bundle.tokenizer.encode(SENTENCE * 10).astype(np.int64))[None]
    optimizer = torch.optim.Adam(model.parameters(), lr=0.02)
    for _ in range(80):
        logits, _ = model(ids[:, :-1])
        loss = torch.nn.functional.cross_entropy(logits[0], ids[0, 1:])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return bundle


SENTENCE = "我是一名程序员。"


@pytest.mark.parametrize("stop", [(), ("never", "员。我！")])
def test_streamed_pieces_are_whole_characters(chinese: Bundle, stop: tuple[str, ...]) -> None:
    engine = Engine(chinese)
    engine.submit(request(engine, "a", SENTENCE, max_tokens=240, temperature=0, stop=stop))
    deltas = run(engine)
    assert texts(deltas)["a"] == SENTENCE * 10
    assert "\ufffd" not in "".join(delta.text for delta in deltas)
    assert sum(delta.tokens for delta in deltas) == 240
    assert len(deltas) >= 40  # it is streamed; "员。我" waits for what follows


def test_a_character_that_max_tokens_cuts_shows_as_one_replacement(chinese: Bundle) -> None:
    text, last = complete(chinese, SENTENCE, max_tokens=8, temperature=0)
    assert (text, last.finish_reason) == ("我是\ufffd", "length")


def test_a_stop_string_of_several_bytes_a_character(chinese: Bundle) -> None:
    text, last = complete(chinese, SENTENCE, max_tokens=99, temperature=0, stop="程序")
    assert (text, last.finish_reason) == ("我是一名", "stop")


@pytest.mark.parametrize("phase", ["waiting", "reading", "running"])
def test_cancelling_frees_the_slot_at_once(make_bundle: BundleMaker, phase: str) -> None:
    engine = Engine(make_bundle(), slots=3)
    for name in "abc":
        engine.submit(request(engine, name, "x" * (2 * CHUNK + 2), max_tokens=100))
    steps = {"waiting": 0, "reading": 1, "running": 5}[phase]
    deltas = [delta for _ in range(steps) for delta in engine.step()]
    engine.cancel("b")
    engine.cancel("b")
    engine.cancel("never there")
    assert engine.free_slots == (3 if phase == "waiting" else 1)
    deltas += run(engine)
    assert all(len(texts(deltas)[name]) == 100 for name in "ac")
    assert not any(delta.finish_reason for delta in deltas if delta.id == "b")
    assert engine.free_slots == 3


def test_cancelling_does_not_change_the_others(make_bundle: BundleMaker) -> None:
    bundle = make_bundle(2, 64)
    alone = [complete(bundle, seed=seed, max_tokens=60)[0] for seed in range(20)]
    engine = Engine(bundle, slots=20)
    for seed in range(20):
        engine.submit(request(engine, str(seed), seed=seed, max_tokens=60))
    deltas = []
    generator = random.Random(0)
    gone = {str(seed) for seed in generator.sample(range(20), 10)}
    for name in sorted(gone):
        deltas += engine.step()
        engine.cancel(name)
    written = texts(deltas + run(engine))
    assert {name: written[name] for name in written if name not in gone} == {
        str(seed): alone[seed] for seed in range(20) if str(seed) not in gone
    }


def test_a_full_queue_refuses_its_own_kind(make_bundle: BundleMaker) -> None:
    engine = Engine(make_bundle(), slots=2, queue=3)
    for index in range(3):
        engine.submit(request(engine, f"batch {index}", interactive=False))
    with pytest.raises(EngineFull) as caught:
        engine.submit(request(engine, "one more", interactive=False))
    assert caught.value.code == "engine_full"
    engine.submit(request(engine, "interactive"))
    engine.step()
    engine.submit(request(engine, "one more", interactive=False))
    assert len(texts(run(engine))) == 5


def test_batch_requests_leave_the_reserve_alone(make_bundle: BundleMaker) -> None:
    engine = Engine(make_bundle(), slots=8, interactive_reserve=3)
    for index in range(20):
        long = "x" * 50 if index % 2 else "x"
        engine.submit(request(engine, f"b{index}", long, interactive=False, max_tokens=20))
    seen = 8
    while engine.waiting:
        engine.step()
        seen = min(seen, engine.free_slots)
    assert seen == 3
    for index in range(8):
        engine.submit(request(engine, f"i{index}", max_tokens=20))
    engine.step()
    assert engine.free_slots == 0  # interactive requests may use all slots
    run(engine)


def test_interactive_requests_are_admitted_first(make_bundle: BundleMaker) -> None:
    engine = Engine(make_bundle(), slots=1)
    for index in range(3):
        engine.submit(request(engine, f"b{index}", interactive=False, max_tokens=2))
    engine.submit(request(engine, "i", max_tokens=2))
    ended = [delta.id for delta in run(engine) if delta.finish_reason]
    assert ended == ["i", "b0", "b1", "b2"]


def test_running_requests_go_on_while_long_prompts_are_read(make_bundle: BundleMaker) -> None:
    engine = Engine(make_bundle(), slots=40)
    engine.submit(request(engine, "running", max_tokens=1000))
    engine.step()
    for index in range(30):
        text = ALPHABET[index] * (20 * CHUNK)
        engine.submit(request(engine, f"long {index}", text, max_tokens=1))
    steps = 0
    while engine.free_slots < 39 or steps == 0:
        drawn = [delta for delta in engine.step() if delta.id == "running"]
        assert sum(delta.tokens for delta in drawn) == 1
        steps += 1
    assert steps >= 30 * 20 / PROMPTS  # one call a step, of at most so many chunks


def test_a_short_prompt_does_not_wait_for_a_long_one(make_bundle: BundleMaker) -> None:
    engine = Engine(make_bundle(), slots=40)
    for index in range(16):
        text = ALPHABET[index] * (200 * CHUNK)
        engine.submit(request(engine, f"long {index}", text, max_tokens=1))
    engine.step()
    engine.submit(request(engine, "short", "abc", max_tokens=1))
    first = [delta.id for _ in range(3) for delta in engine.step()]
    assert first == ["short"]


def test_echo_shows_the_prompt_first(make_bundle: BundleMaker) -> None:
    bundle = make_bundle()
    plain, _ = complete(bundle, "say 我", max_tokens=9)
    echoed, last = complete(bundle, "say 我", max_tokens=9, echo=True)
    assert echoed == "say 我" + plain
    assert last.prompt_tokens == 5


@pytest.mark.parametrize(("echo", "text"), [(True, "say"), (False, "")])
def test_no_tokens_asked_for_ends_at_once(make_bundle: BundleMaker, echo: bool, text: str) -> None:
    engine = Engine(make_bundle(), slots=1)
    engine.submit(request(engine, "a", "say", echo=echo, max_tokens=0))
    assert engine.busy
    assert engine.step() == [Delta("a", text, 0, "length", 3, echoed=len(text))]
    assert not engine.busy


@pytest.mark.parametrize("documents", [True, False])
def test_an_empty_prompt_starts_a_text(make_bundle: BundleMaker, documents: bool) -> None:
    bundle = make_bundle(documents=documents, seed=6)
    text, last = complete(bundle, "", max_tokens=20, temperature=0)
    assert last.prompt_tokens == 0
    start = bundle.tokenizer.end_id if documents else int(bundle.tokenizer.encode("\n")[0])
    with torch.no_grad():
        logits, _ = bundle.model(torch.tensor([[start]]))
    banned = list(bundle.tokenizer.generation_banned(documents=documents))
    logits[..., banned] = float("-inf")
    assert text.startswith(bundle.tokenizer.token_text(int(logits.argmax())))


def test_an_empty_prompt_works_without_a_line_end_in_the_alphabet(make_bundle: BundleMaker) -> None:
    bundle = make_bundle(tokenizer=CharTokenizer("xyz"))
    assert len(complete(bundle, "", max_tokens=20)[0]) == 20


@pytest.mark.parametrize("ids", [[3, 99], [-1, 3]])
def test_ids_outside_the_vocabulary_are_refused(make_bundle: BundleMaker, ids: list[int]) -> None:
    engine = Engine(make_bundle())
    with pytest.raises(InvalidOption, match=r"this model knows 0 to") as caught:
        engine.submit(Request("a", np.array(ids), SamplingOptions(), seed=0))
    assert caught.value.param == "prompt"
    assert not engine.busy


def test_an_id_in_use_is_refused_and_free_again_at_the_end(make_bundle: BundleMaker) -> None:
    engine = Engine(make_bundle())
    engine.submit(request(engine, "a"))
    with pytest.raises(InvalidInput, match="under way"):
        engine.submit(request(engine, "a"))
    run(engine)
    engine.submit(request(engine, "a"))
    assert len(texts(run(engine))["a"]) == 16


@pytest.mark.parametrize(
    ("sizes", "param"),
    [
        ({"slots": 0}, "slots"),
        ({"slots": 4, "interactive_reserve": 4}, "interactive_reserve"),
        ({"slots": 4, "interactive_reserve": -1}, "interactive_reserve"),
        ({"queue": 0}, "queue"),
    ],
)
def test_sizes_that_cannot_be_are_refused(
    make_bundle: BundleMaker, sizes: dict[str, int], param: str
) -> None:
    with pytest.raises(InvalidOption) as caught:
        Engine(make_bundle(), **sizes)
    assert caught.value.param == param


def test_an_idle_engine_steps_to_nothing(make_bundle: BundleMaker) -> None:
    engine = Engine(make_bundle())
    assert not engine.busy
    assert engine.step() == []
