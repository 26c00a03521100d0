"""The four functions at work on a Chinese sentence: learn it, then write it again.

Run it with `python examples/article.py`; it takes a few seconds.
"""

from __future__ import annotations

import torch
from torch import nn

from textgen import TextGenerator, generate_text, make_batches, preprocess_data, train

TEXT = "我是一名程序员，我喜欢写代码。我是一名优秀的程序员，我每天写代码。" * 20


def main() -> str:
    """Train, print what comes out, and return it."""
    torch.manual_seed(0)
    ids, tokenizer = preprocess_data(TEXT)
    print(f"{len(TEXT)} characters, {tokenizer.vocab_size} symbols")

    model = TextGenerator(tokenizer.vocab_size, embedding_dim=32, hidden_dim=64)
    batches = make_batches(ids, batch_size=4, sequence_length=32)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2)
    losses = train(model, batches, nn.CrossEntropyLoss(), optimizer, num_epochs=30)
    print(f"loss {losses[0]:.2f} in the first epoch, {losses[-1]:.2f} in the last")

    text = generate_text(model, "我是一名", 30, tokenizer=tokenizer, temperature=0.5)
    print(text)
    return text


if __name__ == "__main__":
    main()
