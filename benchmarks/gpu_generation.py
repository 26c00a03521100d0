"""Generation on a GPU: the engine with and without CUDA graphs against a plain nn.LSTM loop.

    .venv/bin/python -m benchmarks.gpu_generation [--batches 1,2048] [--repeats 5] [--device cuda]

Everything takes turns on one random model: the loop that anyone would write first, the engine's
step and its drawing with recorded steps and without, and the whole engine, which also makes text of
the tokens, row by row. The last line is a JSON object; without a GPU it says so, and that is all.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Callable
from functools import partial

import torch

from benchmarks.engine import VOCABULARY, engine_rate, make_bundle
from textgen.bundles.bundle import Bundle
from textgen.cuda_graphs import CudaRecorder
from textgen.engine.engine import Engine
from textgen.engine.folded import FoldedModel
from textgen.engine.kernels.row_measurement import measure_row_plan
from textgen.engine.kernels.torch_rows import TorchRows
from textgen.engine.sampling import RowSampler
from textgen.engine.vocabulary import Vocabulary
from textgen.options import SamplingOptions

SECONDS_EACH = 0.5  # roughly, of every timed stretch


def plain_rate(bundle: Bundle, batch: int, device: torch.device, steps: int) -> float:
    """Tokens a second of nn.LSTM, one token a call, drawn by torch.multinomial."""
    tokens = torch.randint(2, VOCABULARY, (batch, 1), device=device)
    state = None
    with torch.inference_mode():
        started = _now(device)
        for _ in range(steps):
            logits, state = bundle.model(tokens, state)
            tokens = torch.multinomial(logits[:, -1].softmax(-1), 1)
        return batch * steps / (_now(device) - started)


def step_rate(rows: TorchRows, sampler: RowSampler, batch: int, steps: int) -> float:
    """Tokens a second of the engine's step and its drawing, without making text of the tokens."""
    device = rows.state.hidden.device
    with torch.inference_mode():
        started = _now(device)
        for _ in range(steps):
            rows.state.tokens[:batch] = sampler.draw(rows.step(batch))
        return batch * steps / (_now(device) - started)


def measure(
    bundle: Bundle, batches: list[int], device: torch.device, repeats: int
) -> tuple[dict[str, list[float]], dict[str, object]]:
    """Rates by name of every repeat, and what is to be known of the rows."""
    model = FoldedModel(bundle.model)
    plan = measure_row_plan(model)
    kinds = {"step": TorchRows(model, plan, max(batches))}
    facts: dict[str, object] = {"row sizes": plan.sizes}
    if device.type == "cuda":
        kinds["step, recorded"] = TorchRows(model, plan, max(batches), CudaRecorder(device))
    sampler = RowSampler(
        max(batches), Vocabulary.of(bundle.tokenizer), columns=model.columns, device=device
    )
    for row in range(max(batches)):
        sampler.set(row, SamplingOptions(), row, 0)
    engine = Engine(bundle, slots=max(batches), interactive_reserve=0, queue=10_000, kernel="torch")
    runs: dict[str, Callable[[int], float]] = {}
    for batch in batches:
        runs[f"plain B={batch}"] = partial(plain_rate, bundle, batch, device)
        for name, rows in kinds.items():
            runs[f"{name} B={batch}"] = partial(step_rate, rows, sampler, batch)
        runs[f"engine B={batch}"] = partial(engine_rate, engine, batch)
    steps = {name: _steps_for(name, run) for name, run in runs.items()}
    rates: dict[str, list[float]] = {name: [] for name in runs}
    for _ in range(repeats):
        for name, run in runs.items():
            rates[name].append(run(steps[name]))
    graphs = kinds["step, recorded"].graphs if "step, recorded" in kinds else None
    if graphs is not None:
        facts |= {"graphs": len(graphs), "fault of the graphs": graphs.fault}
    return rates, facts


def _steps_for(name: str, run: Callable[[int], float]) -> int:
    batch = int(name.partition("B=")[2])
    run(8)  # warm
    return max(8, int(run(16) * SECONDS_EACH / batch))


def _now(device: torch.device) -> float:
    """The time when the device has done all that it was given."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--batches", default="1,2048")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--shape", default="2x512x128", help="layers x hidden x embedding")
    parser.add_argument("--device", default="cuda", help="cpu tries the script, not the GPU")
    arguments = parser.parse_args()
    device = torch.device(arguments.device)
    if device.type == "cuda" and not torch.cuda.is_available():
        print(json.dumps({"skipped": "torch finds no CUDA GPU on this machine"}))
        return
    made = make_bundle(*map(int, arguments.shape.split("x")))
    bundle = Bundle(made.header, made.tokenizer, made.model.to(device))
    batches = [int(batch) for batch in arguments.batches.split(",")]
    rates, facts = measure(bundle, batches, device, arguments.repeats)
    where = torch.cuda.get_device_name(device) if device.type == "cuda" else "CPU"
    report({"shape": arguments.shape, "device": where, **facts}, rates)


def report(result: dict[str, object], rates: dict[str, list[float]]) -> None:
    """Medians and ranges for people, then the same as one line of JSON."""
    middle = {name: statistics.median(values) for name, values in rates.items()}
    print(result)
    for name, values in rates.items():
        plain = f"plain B={name.partition('B=')[2]}"
        ratio = middle[name] / middle[plain]
        low, high = min(values), max(values)
        told = f"{middle[name]:12,.0f} tokens/s ({low:,.0f} … {high:,.0f})"
        print(f"{name:22} {told}  {ratio:.2f} of plain")
        result[name] = {
            "median": round(middle[name]),
            "min": round(low),
            "max": round(high),
            "of plain": round(ratio, 3),
        }
    print(json.dumps(result))


if __name__ == "__main__":
    main()
