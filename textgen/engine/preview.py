"""A few characters from a model, to look at while it is trained. The engine is for real use."""

from __future__ import annotations

import torch

from textgen.engine.context import ContextMaker
from textgen.model import Hidden, TextGenerator
from textgen.options import RowKind
from textgen.tokenizers import Tokenizer


@torch.inference_mode()
def preview(
    model: TextGenerator,
    tokenizer: Tokenizer,
    length: int,
    *,
    seed_text: str = "",
    temperature: float = 1.0,
    seed: int = 0,
    no_repeat: bool = False,
    documents: bool = False,
    rows: RowKind = "text",
) -> str:
    """``length`` tokens after ``seed_text``, as text; the same for the same ``seed``.

    Temperature 0 takes the likeliest token; ``no_repeat`` draws no token that is in the text
    already, while there are others. ``documents`` and ``rows`` say what the model learnt from: its
    context is that of the engine, so that an empty ``seed_text`` begins with a token it has seen,
    and where a document ends another one begins on a new line.
    """
    device = next(model.parameters()).device
    generator = torch.Generator().manual_seed(seed)
    banned = list(tokenizer.generation_banned(documents=documents))
    context = ContextMaker(tokenizer, documents=documents, rows=rows)
    ids: list[int] = context.make(tokenizer.encode(seed_text)).tolist()
    texts: list[list[int]] = [[]]
    hidden: Hidden | None = None
    fresh = torch.tensor([ids], device=device)  # (1, T)
    was_training = model.training
    model.eval()
    for _ in range(length):
        logits, hidden = model(fresh, hidden)
        scores = logits[0, -1].double().cpu()  # (V,)
        scores[banned] = -torch.inf
        if no_repeat and len(set(ids + texts[-1]) | set(banned)) < tokenizer.vocab_size:
            scores[ids + texts[-1]] = -torch.inf
        token = _draw(scores, temperature, generator)
        if token == tokenizer.end_id:
            ids, hidden = context.make(tokenizer.encode("")).tolist(), None
            fresh = torch.tensor([ids], device=device)
            texts.append([])
        else:
            texts[-1].append(token)
            fresh = torch.tensor([[token]], device=device)
    model.train(was_training)
    return "\n".join(map(tokenizer.decode, texts))


def _draw(scores: torch.Tensor, temperature: float, generator: torch.Generator) -> int:
    if temperature == 0:
        return int(scores.argmax())
    chances = torch.softmax(scores / temperature, 0)
    return int(torch.multinomial(chances, 1, generator=generator))
