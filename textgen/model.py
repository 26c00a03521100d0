"""The network: Embedding → LSTM → Linear (Hochreiter and Schmidhuber 1997).

Shapes in comments: B rows, T tokens, V symbols, E embedding, H units a layer, L layers.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from textgen.errors import InvalidOption
from textgen.options import ModelOptions

Hidden = tuple[Tensor, Tensor]  # (h, c), each (L, B, H)


class TextGenerator(nn.Module):
    """Predicts each next token from the ones before it.

    The state dict has the names of plain modules (``embedding``, ``lstm``, ``output``, and
    ``norms`` where asked for), so that the weights can be used without this class.

    The dropouts are those of AWD-LSTM (Merity et al. 2018, §3 and §4): ``dropout`` between layers
    and before the output, ``input_dropout`` of embedded tokens, each with one mask for all tokens
    of a call (Gal and Ghahramani 2016); ``embedding_dropout`` of whole symbols; ``weight_dropout``
    of the weights from state to state. They act in training alone.

    With ``residual`` a layer above the first gives out the sum of what it computes and what it
    was given by the one below; with ``layer_norm`` each layer's output is normalised (Ba et al.
    2016) on its way up, and so is the last one's on its way to the output. What is within a layer
    stays as it is, so the fast kernels fit.
    """

    def __init__(
        self,
        vocab_size: int,
        embedding_dim: int,
        hidden_dim: int,
        *,
        layers: int = 1,
        dropout: float = 0.0,
        output_dropout: float | None = None,
        input_dropout: float = 0.0,
        embedding_dropout: float = 0.0,
        weight_dropout: float = 0.0,
        layer_norm: bool = False,
        residual: bool = False,
        tie_weights: bool = False,
    ) -> None:
        super().__init__()
        if tie_weights and embedding_dim != hidden_dim:
            raise InvalidOption(
                f"'tie_weights' needs embedding_size = hidden_size; they are {embedding_dim} and "
                f"{hidden_dim}.",
                param="tie_weights",
            )
        # A call may see but some rows of a batch of B, as (B, which): its masks are then those that
        # these rows have in a call with all B.
        self.part_of: tuple[int, slice] | None = None
        self.residual = residual
        self.hidden_dropout = dropout
        self.output_dropout = dropout if output_dropout is None else output_dropout
        self.input_dropout = input_dropout
        self.embedding_dropout = embedding_dropout
        self.weight_dropout = weight_dropout
        self.embedding = nn.Embedding(vocab_size, embedding_dim)
        self.lstm = nn.LSTM(embedding_dim, hidden_dim, num_layers=layers, batch_first=True)
        norms = layers if layer_norm else 0
        self.norms = nn.ModuleList(nn.LayerNorm(hidden_dim) for _ in range(norms))
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
            **options.model_dump(exclude={"embedding_size", "hidden_size"}),
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
        nn.init.normal_(self.embedding.weight, std=self.embedding_scale)
        self.lstm.reset_parameters()
        for name, parameter in self.lstm.named_parameters():
            if name.startswith("bias"):
                parameter.zero_()
            if name.startswith("bias_ih"):  # gates stand in the order i, f, g, o
                parameter[hidden : 2 * hidden] = 1.0

    def set_dropouts(self, options: ModelOptions) -> None:
        """Change the dropouts of a model that exists."""
        self.hidden_dropout = options.dropout
        self.output_dropout = options.dropout_before_output
        self.input_dropout = options.input_dropout
        self.embedding_dropout = options.embedding_dropout
        self.weight_dropout = options.weight_dropout

    @property
    def tied(self) -> bool:
        """Whether the output weights are the embedding's."""
        return self.output.weight is self.embedding.weight

    @property
    def embedding_scale(self) -> float:
        """The standard deviation of a new embedding's weights."""
        return 0.1 if self.tied else 1.0

    def forward(self, x: Tensor, hidden: Hidden | None = None) -> tuple[Tensor, Hidden]:
        """Logits of each next token, and the state after the last one.

        ``x``: (B, T) int64; ``hidden``: (h, c), each (L, B, H), zeros where None.
        Returns logits (B, T, V) and the new (h, c).
        """
        features, after = self.features(x, hidden)
        logits: Tensor = self.output(features)  # (B, T, V)
        return logits, after

    def features(self, x: Tensor, hidden: Hidden | None = None) -> tuple[Tensor, Hidden]:
        """What the output layer sees (B, T, H), and the state; as ``forward`` but for the logits.

        A loss that needs only some of the logits starts from here.
        """
        inputs = self._embed(x)  # (B, T, E)
        if self._is_one_stack():
            states, after = self.lstm(inputs, hidden)
        else:
            states, after = self._layer_by_layer(inputs, hidden)
        return self._locked(self._normed(states, -1), self.output_dropout), after

    def _embed(self, x: Tensor) -> Tensor:
        inputs: Tensor = self.embedding(x)
        if self.training and self.embedding_dropout > 0:
            kept = functional.dropout(inputs.new_ones(self.vocab_size, 1), self.embedding_dropout)
            inputs = inputs * kept[x]
        return self._locked(inputs, self.input_dropout)

    def _is_one_stack(self) -> bool:
        """Whether nothing happens between the layers or to their weights."""
        between = self.lstm.num_layers > 1 and (
            self.residual or len(self.norms) > 0 or (self.training and self.hidden_dropout > 0)
        )
        return not between and not (self.training and self.weight_dropout > 0)

    def _layer_by_layer(self, inputs: Tensor, hidden: Hidden | None) -> tuple[Tensor, Hidden]:
        lstm = self.lstm
        if hidden is None:
            zeros = inputs.new_zeros(lstm.num_layers, len(inputs), lstm.hidden_size)
            hidden = (zeros, zeros)
        after: list[Hidden] = []
        states = inputs
        for layer in range(lstm.num_layers):
            below = states
            if layer > 0:
                states = self._locked(self._normed(states, layer - 1), self.hidden_dropout)
            states, h, c = torch.lstm(
                states,
                tuple(part[layer : layer + 1] for part in hidden),
                self._layer_weights(layer),
                has_biases=True,
                num_layers=1,
                dropout=0.0,
                train=self.training,
                bidirectional=False,
                batch_first=True,
            )
            if self.residual and layer > 0:
                states = states + below
            after.append((h, c))
        return states, (torch.cat([h for h, _ in after]), torch.cat([c for _, c in after]))

    def _layer_weights(self, layer: int) -> list[Tensor]:
        """Of one layer, as torch.lstm wants them; in training with dropped recurrent weights."""
        names = ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
        weights = [getattr(self.lstm, f"{name}_l{layer}") for name in names]
        weights[1] = functional.dropout(weights[1], self.weight_dropout, self.training)
        return weights

    def _normed(self, states: Tensor, layer: int) -> Tensor:
        """What ``layer`` gives out, normalised where the model does that."""
        return states if len(self.norms) == 0 else self.norms[layer](states)

    def _locked(self, states: Tensor, share: float) -> Tensor:
        """Dropout (B, T, X) by one mask a row, the same for all its tokens."""
        if not self.training or share == 0:
            return states
        total, rows = (len(states), slice(None)) if self.part_of is None else self.part_of
        mask = functional.dropout(states.new_ones(total, 1, states.shape[2]), share)
        return states * mask[rows]
