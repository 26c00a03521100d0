from __future__ import annotations

from collections.abc import Callable

from textgen.bundles.bundle import Bundle
from textgen.engine.generation import Completion, generate
from textgen.options import SamplingOptions

BundleMaker = Callable[..., Bundle]


def test_completions_come_in_the_order_of_their_prompts(make_bundle: BundleMaker) -> None:
    bundle = make_bundle(2, 64)
    prompts = ["", "a", "long " * 40, "我是", "a"] * 40  # more than there are slots
    options = SamplingOptions(max_tokens=12)
    together = generate(bundle, prompts, options, seed=1)
    alone = [generate(bundle, [prompt], options, seed=1)[0] for prompt in prompts[:5]]
    assert together == alone * 40
    assert alone[1] == alone[4]
    assert [each.prompt_tokens for each in alone] == [0, 1, 200, 2, 1]
    assert all((len(each.text), each.completion_tokens) == (12, 12) for each in together)


def test_nothing_to_complete(make_bundle: BundleMaker) -> None:
    assert generate(make_bundle(), [], SamplingOptions(), seed=0) == []


def test_no_tokens_asked_for(make_bundle: BundleMaker) -> None:
    done = generate(make_bundle(), ["ab"], SamplingOptions(max_tokens=0), seed=0)
    assert done == [Completion("", "length", 2, 0)]
