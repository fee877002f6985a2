"""Optimizers and the learning-rate schedule."""

from collections.abc import Callable
from typing import Any

import torch
from torch import nn
from torch.optim.lr_scheduler import LambdaLR

from model_code.muon import Muon
from model_code.settings import PretrainOptimizer


class Chained(torch.optim.Optimizer):
    """Several optimizers over disjoint parameters, seen by a trainer and a schedule as one.

    Its parameter groups are the optimizers' own, so a schedule that sets their rates reaches them.
    """

    def __init__(self, *optimizers: torch.optim.Optimizer) -> None:
        groups = [group for optimizer in optimizers for group in optimizer.param_groups]
        super().__init__(groups, {})
        self.optimizers = optimizers
        self.param_groups = groups

    def step(self, closure: Callable[[], float] | None = None) -> float | None:  # type: ignore[override]
        loss = closure() if closure is not None else None
        for optimizer in self.optimizers:
            optimizer.step()
        return loss

    def state_dict(self) -> dict[str, Any]:
        return {"optimizers": [optimizer.state_dict() for optimizer in self.optimizers]}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        for optimizer, state in zip(self.optimizers, state_dict["optimizers"], strict=True):
            optimizer.load_state_dict(state)
        self.param_groups = [g for optimizer in self.optimizers for g in optimizer.param_groups]


def pretraining_optimizer(model: nn.Module, config: PretrainOptimizer) -> Chained:
    """Muon for the matrices of the blocks, AdamW without decay for embeddings and norms."""
    matrices: list[nn.Parameter] = []
    others: list[nn.Parameter] = []
    for name, parameter in model.named_parameters():
        in_block = ".layers." in name and parameter.ndim == 2
        (matrices if in_block else others).append(parameter)
    muon = Muon(
        matrices,
        lr=config.muon_learning_rate,
        weight_decay=config.muon_weight_decay,
        momentum=config.muon_momentum,
    )
    return Chained(muon, adamw(others, config.adamw_learning_rate, beta2=config.adamw_beta2))


def adamw(
    parameters: list[nn.Parameter], learning_rate: float, beta2: float = 0.99
) -> torch.optim.AdamW:
    """AdamW without weight decay: the alignment stages are too short for it to matter."""
    return torch.optim.AdamW(
        parameters, lr=learning_rate, betas=(0.9, beta2), weight_decay=0.0, fused=True
    )


def linear_schedule(
    optimizer: torch.optim.Optimizer, steps: int, warmup: float, floor: float
) -> LambdaLR:
    """Linear warm-up over a fraction of the steps, then linear decay to a fraction of the peak."""
    num_warmup = max(1, round(warmup * steps))

    def factor(step: int) -> float:
        if step < num_warmup:
            return (step + 1) / num_warmup
        progress = (step - num_warmup) / max(1, steps - num_warmup)
        return floor + (1 - floor) * (1 - min(1.0, progress))

    return LambdaLR(optimizer, factor)
