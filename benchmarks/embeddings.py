"""Which part of an LSTM's state says most of a text: nearest neighbours on labelled texts.

    .venv/bin/python -m benchmarks.embeddings [--steps 1500] [--preset lstm-tiny] [--layers 1]

A language model learns the texts of ten packages of Python's standard library (three joined lines
each, no labels). Then each of 600 other texts looks for its nearest among the rest, by cosine; the
figure is how often that one is of the same package (0.1 by chance). Character trigrams stand beside
it. On one thread and by steps, so the figures do not depend on the machine's load. The last line
is a JSON object.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.classification import train, write

NEIGHBOURS = 5


def read(path: Path) -> tuple[list[str], list[str]]:
    rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    return [row["text"] for row in rows], [row["label"] for row in rows]


def states(bundle: Any, text: str) -> dict[str, np.ndarray]:
    """Candidates for an embedding of one text; h and c are a layer's state."""
    import torch

    tokenizer, model = bundle.tokenizer, bundle.model
    ids = [tokenizer.end_id, *tokenizer.encode(text).tolist()]
    hidden, steps = None, []
    with torch.inference_mode():
        for token in ids:
            features, hidden = model.features(torch.tensor([[token]]), hidden)
            h, c = (part[:, 0] for part in hidden)  # (L, H)
            steps.append((h, c, features[0]))
    h, c, features = (torch.stack(part).double() for part in zip(*steps, strict=True))  # (T, L, H)
    found = {
        "last h, top": h[-1, -1],
        "last c, top": c[-1, -1],
        "last h and c, all layers": torch.cat([h[-1].flatten(), c[-1].flatten()]),
        "last h, normalised": features[-1, 0],
        "mean of h, top": h[:, -1].mean(0),
        "mean of h, first layer": h[:, 0].mean(0),
        "mean of h, all layers": h.mean(0).flatten(),
        "mean of c, top": c[:, -1].mean(0),
        "mean of h, normalised": features[:, 0].mean(0),
        "mean and last of h, top": torch.cat([h[:, -1].mean(0), h[-1, -1]]),
        "largest of h, top": h[:, -1].amax(0),
    }
    return {name: value.numpy() for name, value in found.items()}


def trigrams(texts: Sequence[str]) -> np.ndarray:
    counts = [Counter(text[i : i + 3] for i in range(len(text) - 2)) for text in texts]
    seen = Counter(key for each in counts for key in each)
    places = {key: place for place, key in enumerate(seen)}
    found = np.zeros((len(texts), len(places)))
    for row, each in enumerate(counts):
        for key, count in each.items():
            found[row, places[key]] = count * np.log(len(texts) / seen[key])
    return found


def agreement(vectors: np.ndarray, labels: Sequence[str]) -> dict[str, float]:
    """How often the nearest, and the vote of the nearest five, is of the same class."""
    names = np.unique(labels, return_inverse=True)[1]
    scaled = vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)
    likeness = scaled @ scaled.T
    np.fill_diagonal(likeness, -np.inf)
    order = np.argsort(-likeness, axis=1)[:, :NEIGHBOURS]
    votes = [np.bincount(names[row]).argmax() for row in order]
    return {
        "nearest": round(float((names[order[:, 0]] == names).mean()), 3),
        "five": round(float((np.array(votes) == names).mean()), 3),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("--steps", type=int, default=1500)
    parser.add_argument("--rows", type=int, default=300, help="texts of each package to learn from")
    parser.add_argument("--preset", default="lstm-tiny")
    parser.add_argument("--layers", type=int, default=1)
    arguments = parser.parse_args()
    from textgen.bundles.bundle import load_bundle

    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write(folder, arguments.rows)
        learnt, _ = read(folder / "train.jsonl")
        (folder / "texts.txt").write_text("\n".join(learnt), encoding="utf-8")
        wanted = {"max_steps": arguments.steps, "format": "lines", "layers": arguments.layers}
        bundle = load_bundle(train(folder, "texts.txt", arguments.preset, **wanted, seed=0))
        texts, labels = read(folder / "valid.jsonl")
    vectors = [states(bundle, text) for text in texts]
    results = {"character trigrams": agreement(trigrams(texts), labels)}
    for kind in vectors[0]:
        found = np.stack([each[kind] for each in vectors])
        results[kind] = agreement(found, labels)
        results[f"{kind}, centred"] = agreement(found - found.mean(0), labels)
    for kind, figures in results.items():
        print(f"{figures['nearest']:.3f}  {figures['five']:.3f}  {kind}")
    print(json.dumps({**vars(arguments), "results": results}))


if __name__ == "__main__":
    main()
