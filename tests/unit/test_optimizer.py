import torch
from torch import Tensor, nn
from torch.nn import functional

from textgen.training.optimizer import Optimizer


class Model(nn.Module):
    def __init__(self, sparse: bool) -> None:
        super().__init__()
        random = torch.Generator().manual_seed(0)
        self.table = nn.Parameter(torch.randn(6, 4, generator=random))
        self.scale = nn.Parameter(torch.randn(4, generator=random))
        self.sparse = sparse

    def forward(self, ids: Tensor) -> Tensor:
        rows = functional.embedding(ids, self.table, sparse=self.sparse)
        return (rows * self.scale).square().sum()


def steps(model: Model, batches: list[list[int]], largest: float = 0.5) -> Optimizer:
    optimizer = Optimizer(model, 0.1, 0.01)
    for batch in batches:
        optimizer.zero_grad()
        model(torch.tensor(batch)).backward()
        optimizer.clip(largest)
        optimizer.advance(0.1)
    return optimizer


def test_it_is_torch_s_adamw_after_clipping() -> None:
    model, plain = Model(sparse=False), Model(sparse=False)
    steps(model, [[0, 1], [1, 2]])
    optimizer = torch.optim.AdamW(
        [{"params": [plain.table]}, {"params": [plain.scale], "weight_decay": 0.0}],
        lr=0.1, betas=(0.9, 0.99),
    )  # fmt: skip
    for batch in ([0, 1], [1, 2]):
        optimizer.zero_grad()
        plain(torch.tensor(batch)).backward()
        nn.utils.clip_grad_norm_(plain.parameters(), 0.5)
        optimizer.step()
    torch.testing.assert_close(model.table, plain.table)
    torch.testing.assert_close(model.scale, plain.scale)


def test_rows_that_every_step_uses_move_as_if_the_gradient_were_dense() -> None:
    batches = [[0, 1, 2, 3, 4, 5, 5], [5, 4, 3, 2, 1, 0, 2], [0, 1, 2, 3, 4, 5, 0]]
    sparse, dense = Model(sparse=True), Model(sparse=False)
    ours, other = steps(sparse, batches), steps(dense, batches)
    torch.testing.assert_close(sparse.table, dense.table)
    torch.testing.assert_close(sparse.scale, dense.scale)
    for name in ("exp_avg", "exp_avg_sq", "step"):
        torch.testing.assert_close(ours.state[sparse.table][name], other.state[dense.table][name])


def test_rows_that_a_step_does_not_use_stay_as_they_are() -> None:
    model = Model(sparse=True)
    before = model.table.detach().clone()
    optimizer = steps(model, [[1, 1, 4]])
    moved = (model.table != before).any(1)
    assert moved.tolist() == [False, True, False, False, True, False]
    kept = optimizer.state[model.table]["exp_avg"].any(1)
    assert torch.equal(kept, moved)


def test_the_norm_counts_a_row_that_is_named_twice_as_one() -> None:
    norms = []
    for sparse in (True, False):
        model = Model(sparse)
        model(torch.tensor([2, 2, 3])).backward()
        norms.append(Optimizer(model, 0.1, 0.0).clip(1e9))
    torch.testing.assert_close(norms[0], norms[1])
