"""The network: Embedding → LSTM → Linear (Hochreiter and Schmidhuber 1997).

Shapes in comments: B rows, T tokens, V symbols, E embedding, H units a layer, L layers.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from textgen.errors import InvalidOption
from textgen.options import ModelOptions

Hidden = tuple[Tensor, Tensor]  # (h, c), each (L, B, H)


class TextGenerator(nn.Module):
    """Predicts each next token from the ones before it.

    The state dict has the names of plain modules (``embedding``, ``lstm``, ``output``), so that
    the weights can be used without this class.
    """

    def __init__(
        self,
        vocab_size: int,
        embedding_dim: int,
        hidden_dim: int,
        *,
        layers: int = 1,
        dropout: float = 0.0,
        tie_weights: bool = False,
    ) -> None:
        super().__init__()
        if tie_weights and embedding_dim != hidden_dim:
            raise InvalidOption(
                f"'tie_weights' needs embedding_size = hidden_size; they are {embedding_dim} and "
                f"{hidden_dim}.",
                param="tie_weights",
            )
        self.embedding = nn.Embedding(vocab_size, embedding_dim)
        self.lstm = nn.LSTM(
            embedding_dim,
            hidden_dim,
            num_layers=layers,
            batch_first=True,
            dropout=dropout if layers > 1 else 0.0,
        )
        self.dropout = nn.Dropout(dropout)
        self.output = nn.Linear(hidden_dim, vocab_size)
        if tie_weights:
            self.output.weight = self.embedding.weight
        self.reset_parameters()

    @classmethod
    def from_options(cls, vocab_size: int, options: ModelOptions) -> TextGenerator:
        """A new model of the given shape; its weights come from torch's global generator."""
        return cls(
            vocab_size,
            options.embedding_size,
            options.hidden_size,
            layers=options.layers,
            dropout=options.dropout,
            tie_weights=options.tie_weights,
        )

    @property
    def vocab_size(self) -> int:
        """How many symbols there are (V)."""
        return self.output.out_features

    @torch.no_grad()
    def reset_parameters(self) -> None:
        """Draw new weights; the forget gate starts open (Jozefowicz et al. 2015)."""
        hidden = self.lstm.hidden_size
        bound = hidden**-0.5
        nn.init.uniform_(self.output.weight, -bound, bound)
        nn.init.zeros_(self.output.bias)
        nn.init.normal_(self.embedding.weight, std=0.1 if self.tied else 1.0)
        self.lstm.reset_parameters()
        for name, parameter in self.lstm.named_parameters():
            if name.startswith("bias"):
                parameter.zero_()
            if name.startswith("bias_ih"):  # gates stand in the order i, f, g, o
                parameter[hidden : 2 * hidden] = 1.0

    def set_dropout(self, dropout: float) -> None:
        """Change the dropout of a model that exists."""
        self.dropout.p = dropout
        self.lstm.dropout = dropout if self.lstm.num_layers > 1 else 0.0

    @property
    def tied(self) -> bool:
        """Whether the output weights are the embedding's."""
        return self.output.weight is self.embedding.weight

    def forward(self, x: Tensor, hidden: Hidden | None = None) -> tuple[Tensor, Hidden]:
        """Logits of each next token, and the state after the last one.

        ``x``: (B, T) int64; ``hidden``: (h, c), each (L, B, H), zeros where None.
        Returns logits (B, T, V) and the new (h, c).
        """
        states, after = self.lstm(self.embedding(x), hidden)  # (B, T, H)
        logits: Tensor = self.output(self.dropout(states))  # (B, T, V)
        return logits, after
