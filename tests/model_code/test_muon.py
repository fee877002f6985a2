import copy
from itertools import pairwise

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from model_code.muon import Muon, orthogonalize
from model_code.optimizers import Chained, adamw, linear_schedule, pretraining_optimizer
from model_code.settings import PretrainOptimizer


def matrices(seed: int) -> list[nn.Parameter]:
    generator = torch.Generator().manual_seed(seed)
    shapes = [(8, 8), (12, 8), (8, 8), (8, 12), (12, 8)]
    return [nn.Parameter(torch.randn(shape, generator=generator)) for shape in shapes]


def give_gradients(parameters: list[nn.Parameter], seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    for parameter in parameters:
        parameter.grad = torch.randn(parameter.shape, generator=generator)


def test_updates_equal_those_of_torch_within_bfloat16() -> None:
    ours, theirs = matrices(0), matrices(0)
    optimizers = [
        Muon(ours, lr=0.02, momentum=0.95, weight_decay=0.1),
        torch.optim.Muon(theirs, lr=0.02, momentum=0.95, weight_decay=0.1),
    ]
    for step in range(3):
        before = [p.detach().clone() for p in ours]
        for parameters, optimizer in zip((ours, theirs), optimizers, strict=True):
            give_gradients(parameters, step)
            optimizer.step()
        for start, a, b in zip(before, ours, theirs, strict=True):
            difference = (a - b).norm() / (a - start).norm()
            assert difference < 0.02
        for a, b in zip(ours, theirs, strict=True):
            b.data.copy_(a)


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 1000), rows=st.integers(2, 12), columns=st.integers(2, 12))
def test_orthogonalized_matrices_have_singular_values_near_one(
    seed: int, rows: int, columns: int
) -> None:
    generator = torch.Generator().manual_seed(seed)
    left, right = (
        torch.linalg.qr(torch.randn(n, n, generator=generator))[0] for n in (rows, columns)
    )
    rank = min(rows, columns)
    spectrum = torch.rand(rank, generator=generator) * 0.8 + 0.2
    matrix = left[:, :rank] * spectrum @ right[:rank]
    values = torch.linalg.svdvals(orthogonalize(matrix[None])[0])
    assert values.min() > 0.6 and values.max() < 1.3


def test_a_batch_gives_what_each_matrix_gives_alone() -> None:
    stack = torch.randn(3, 10, 6, generator=torch.Generator().manual_seed(1))
    alone = torch.stack([orthogonalize(matrix[None])[0] for matrix in stack])
    torch.testing.assert_close(orthogonalize(stack), alone)


def test_a_vector_is_refused() -> None:
    with pytest.raises(ValueError, match="matrices"):
        Muon([nn.Parameter(torch.zeros(3))])


def test_a_parameter_without_gradient_stays() -> None:
    parameters = matrices(0)
    give_gradients(parameters[1:], 0)
    before = parameters[0].detach().clone()
    Muon(parameters).step()
    assert torch.equal(parameters[0], before)


class Small(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.embed = nn.Embedding(5, 4)
        self.layers = nn.ModuleList([nn.Linear(4, 4)])

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        return self.layers[0](self.embed(ids)).square().sum()


class Model(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.model = Small()


def test_matrices_of_blocks_go_to_muon_and_all_else_to_adamw() -> None:
    model = Model()
    chained = pretraining_optimizer(model, PretrainOptimizer())
    groups = [{id(p) for p in group["params"]} for group in chained.param_groups]
    assert groups[0] == {id(model.model.layers[0].weight)}
    assert groups[1] == {id(p) for p in model.parameters()} - groups[0]


def test_a_schedule_reaches_both_optimizers_and_their_state_can_be_restored() -> None:
    def train(model: Model, optimizer: Chained, steps: int) -> None:
        for step in range(steps):
            loss = model.model(torch.tensor([step % 5]))
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()

    model, twin = Model(), Model()
    optimizer = pretraining_optimizer(model, PretrainOptimizer())
    schedule = linear_schedule(optimizer, 10, 0.2, 0.0)
    rates = [[g["lr"] for g in optimizer.param_groups]]
    train(model, optimizer, 1)
    schedule.step()
    rates.append([g["lr"] for g in optimizer.param_groups])
    assert rates == [[0.01, 2.5e-3], [0.02, 5e-3]]

    restored = pretraining_optimizer(twin, PretrainOptimizer())
    twin.load_state_dict(model.state_dict())
    restored.load_state_dict(copy.deepcopy(optimizer.state_dict()))
    train(model, optimizer, 3)
    train(twin, restored, 3)
    for a, b in zip(model.parameters(), twin.parameters(), strict=True):
        assert torch.equal(a, b)


def test_schedule_rises_falls_and_ends_at_the_floor() -> None:
    parameter = nn.Parameter(torch.zeros(2))
    optimizer = adamw([parameter], 1.0)
    schedule = linear_schedule(optimizer, 100, 0.1, 0.05)
    rates = []
    for _ in range(101):
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        schedule.step()
    assert rates[0] == pytest.approx(0.1) and rates[9] == pytest.approx(1.0) == max(rates)
    assert all(a > b for a, b in pairwise(rates[10:]))
    assert rates[100] == pytest.approx(0.05)
