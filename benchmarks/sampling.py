"""What the sampling options cost: drawing alone, each option against none, side by side.

    .venv/bin/python -m benchmarks.sampling [--rows 128] [--vocabularies 65,10000] [--repeats 5]

All options take turns (A B C A B C …) on the same random logits, every row using the option; the
step of a 2×512 model with as many rows stands beside them. The last line is a JSON object.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Callable

import numpy as np
import torch

from textgen.bundles.bundle import Bundle, BundleHeader, count_parameters
from textgen.corpus.copy_index import CopyIndex, build
from textgen.engine.engine import Engine, Request
from textgen.engine.requests import Answer
from textgen.engine.sampling import RowSampler
from textgen.engine.scorer import Scorer
from textgen.engine.vocabulary import Vocabulary
from textgen.model import TextGenerator
from textgen.options import ModelOptions, SamplingOptions
from textgen.tokenizers import CharTokenizer

STEPS = 30  # of every timed stretch
WINDOW = 33
OPTIONS: dict[str, dict[str, object]] = {
    "none": {},
    "greedy": {"temperature": 0},
    "temperature": {"temperature": 0.7},
    "a list of temperatures": {"temperature": (0.3, 1.2)},
    "top_k": {"top_k": 40},
    "top_p": {"top_p": 0.9},
    "min_p": {"min_p": 0.05},
    "typical_p": {"typical_p": 0.9},
    "logit_bias": {"logit_bias": {3: -5.0, 7: 2.0}},
    "allowed_token_ids": {"allowed_token_ids": tuple(range(40))},
    "frequency_penalty": {"frequency_penalty": 0.5},
    "repetition_penalty": {"repetition_penalty": 1.2},
    "min_tokens": {"min_tokens": 10_000, "max_tokens": 10_000},
    "no_repeat_ngram_size": {"no_repeat_ngram_size": 3},
    "bad_words": {"bad_words": ("the", "and", "what", "你好")},
    "allowed_words": {"allowed_words": ("01", "0123", "45")},
    "reject_if_copied_over": {"reject_if_copied_over": WINDOW - 1},
}


def vocabulary_of(size: int) -> Vocabulary:
    """Characters from the digits on; the first two ids write nothing."""
    return Vocabulary([b"", b"", *(chr(48 + token).encode() for token in range(size - 2))], 1)


def tokenizer_of(size: int) -> CharTokenizer:
    """The tokenizer of that vocabulary."""
    return CharTokenizer("".join(chr(48 + index) for index in range(size - 2)))


def time_draws(
    name: str, rows: int, logits: torch.Tensor, vocabulary: Vocabulary, copies: CopyIndex
) -> float:
    """Milliseconds a draw of all rows takes."""
    sampler = RowSampler(rows, vocabulary, columns=logits.shape[1], copies=copies)
    prompt = np.arange(2, 42)
    for row in range(rows):
        sampler.set(row, SamplingOptions(**OPTIONS[name]), row, 0, prompt)
    buffer = logits.clone()
    sampler.draw(buffer)
    taken = 0.0
    for _ in range(STEPS):
        buffer.copy_(logits)  # what a step of the model would write
        started = time.perf_counter()
        sampler.draw(buffer)
        taken += time.perf_counter() - started
    return taken / STEPS * 1e3


def time_logprobs(rows: int, logits: torch.Tensor, tokenizer: CharTokenizer) -> float:
    """Milliseconds that telling all rows' tokens with their five likeliest takes."""
    scorer = Scorer(Vocabulary.of(tokenizer))
    request = Request("", np.array([2]), SamplingOptions(), seed=0, logprobs=5)
    answers = [Answer(request, tokenizer) for _ in range(rows)]
    tokens = torch.arange(rows) % tokenizer.vocab_size
    started = time.perf_counter()
    for _ in range(STEPS):
        scorer.look(answers, logits)
        scorer.read(tokens)
    return (time.perf_counter() - started) / STEPS * 1e3


def time_step(rows: int, size: int) -> Callable[[], float]:
    """Milliseconds of an engine's whole step, drawing without options included."""
    torch.manual_seed(0)
    options = ModelOptions(layers=2, hidden_size=512, embedding_size=128)
    model = TextGenerator.from_options(size, options).eval()
    tokenizer = tokenizer_of(size)
    header = BundleHeader(
        model=options,
        tokenizer=tokenizer.to_dict(),
        vocab_size=size,
        parameters=count_parameters(model),
    )
    engine = Engine(Bundle(header, tokenizer, model), slots=rows, interactive_reserve=0)
    for row in range(rows):
        chosen = SamplingOptions(max_tokens=1_000_000)
        engine.submit(Request(str(row), np.array([2 + row % 60]), chosen, seed=row))
    engine.step()

    def run() -> float:
        started = time.perf_counter()
        for _ in range(STEPS):
            engine.step()
        return (time.perf_counter() - started) / STEPS * 1e3

    return run


def measure(rows: int, size: int, repeats: int) -> dict[str, list[float]]:
    """Milliseconds by name, of every repeat."""
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(rows, -(-size // 32) * 32, generator=generator) * 3
    logits[:, size:] = -torch.inf
    vocabulary = vocabulary_of(size)
    text = "".join(chr(48 + token) for token in np.random.default_rng(0).integers(60, size=500_000))
    copies = CopyIndex(WINDOW, [build([text], WINDOW, len(text))])
    step = time_step(rows, size)
    found: dict[str, list[float]] = {name: [] for name in ("step", "logprobs", *OPTIONS)}
    for _ in range(repeats):
        found["step"].append(step())
        found["logprobs"].append(time_logprobs(rows, logits, tokenizer_of(size)))
        for name in OPTIONS:
            found[name].append(time_draws(name, rows, logits, vocabulary, copies))
    return found


@torch.inference_mode()
def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rows", type=int, default=128)
    parser.add_argument("--vocabularies", default="65,10000")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    result: dict[str, object] = {"rows": arguments.rows, "threads": arguments.threads}
    for size in map(int, arguments.vocabularies.split(",")):
        found = measure(arguments.rows, size, arguments.repeats)
        print(f"R={arguments.rows}, V={size}, {arguments.threads} threads, ms")
        for name, values in found.items():
            middle = statistics.median(values)
            print(f"{name:24} {middle:8.3f}  ({min(values):.3f} … {max(values):.3f})")
            result[f"{name} V={size}"] = round(middle, 3)
    print(json.dumps(result))


if __name__ == "__main__":
    main()
