import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from model_code.advantages import (
    estimate_advantages,
    policy_loss,
    shape_rewards,
    value_loss,
    whiten,
)


def example(seed: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Rewards, values and a mask of contiguous rows."""
    generator = torch.Generator().manual_seed(seed)
    rewards, values = torch.randn(2, 4, 9, generator=generator)
    starts = torch.randint(0, 4, (4, 1), generator=generator)
    ends = torch.randint(5, 10, (4, 1), generator=generator)
    places = torch.arange(9)
    mask = (places >= starts) & (places < ends)
    return rewards * mask, values, mask


@settings(max_examples=40, deadline=None)
@given(
    seed=st.integers(0, 1000),
    gae_lambda=st.sampled_from([0.0, 0.5, 0.95, 1.0]),
    discount=st.sampled_from([0.9, 1.0]),
)
def test_advantages_are_the_discounted_sum_of_errors(
    seed: int, gae_lambda: float, discount: float
) -> None:
    rewards, values, mask = example(seed)
    advantages = estimate_advantages(rewards, values, mask, gae_lambda, discount)
    for row in range(4):
        places = mask[row].nonzero()[:, 0].tolist()
        inside = values[row] * mask[row]
        following = [*inside[1:].tolist(), 0.0]
        errors = {
            t: rewards[row, t].item() + discount * following[t] - inside[t].item() for t in places
        }
        for t in places:
            expected = sum(
                (discount * gae_lambda) ** (later - t) * errors[later]
                for later in places
                if later >= t
            )
            assert advantages[row, t].item() == pytest.approx(expected, abs=1e-4)
    assert not advantages[~mask].any()


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 1000))
def test_with_lambda_one_advantage_and_value_sum_to_the_return(seed: int) -> None:
    rewards, values, mask = example(seed)
    advantages = estimate_advantages(rewards, values, mask, 1.0)
    returns = rewards.flip(1).cumsum(1).flip(1)
    torch.testing.assert_close((advantages + values)[mask], returns[mask], atol=1e-5, rtol=1e-4)


def test_the_score_is_added_at_the_last_token_and_divergence_costs_at_each() -> None:
    divergence = torch.tensor([[0.5, 1.0, 0.0], [0.0, 2.0, 4.0]])
    rewards = shape_rewards(torch.tensor([3.0, -1.0]), divergence, torch.tensor([1, 2]), 0.5)
    assert rewards.tolist() == [[-0.25, 2.5, 0.0], [0.0, -1.0, -3.0]]


def test_whitened_values_have_mean_0_and_deviation_1_inside_the_mask() -> None:
    _, values, mask = example(1)
    white = whiten(values, mask)
    assert white[mask].mean().item() == pytest.approx(0, abs=1e-6)
    assert white[mask].std(correction=0).item() == pytest.approx(1, abs=1e-5)
    assert not white[~mask].any()


@pytest.mark.parametrize(
    ("log_ratio", "advantage", "loss", "moves"),
    [
        (0.0, 2.0, -2.0, True),
        (0.1, 2.0, -2.0 * 1.10517, True),
        (1.0, 2.0, -2.4, False),
        (-1.0, 2.0, -2.0 * 0.36788, True),
        (-1.0, -2.0, 1.6, False),
        (1.0, -2.0, 2.0 * 2.71828, True),
    ],
)
def test_the_policy_gains_nothing_beyond_the_clip(
    log_ratio: float, advantage: float, loss: float, moves: bool
) -> None:
    new = torch.full((1, 1), log_ratio, requires_grad=True)
    mask = torch.ones(1, 1, dtype=torch.bool)
    result = policy_loss(new, torch.zeros(1, 1), torch.full((1, 1), advantage), mask, 0.2)
    assert result.item() == pytest.approx(loss, rel=1e-4)
    result.backward()
    assert bool(new.grad.any()) == moves


@pytest.mark.parametrize(
    ("value", "target", "loss"),
    [(1.1, 1.1, 0.0), (2.0, 2.0, 0.32), (1.0, 3.0, 2.0), (0.0, 3.0, 4.5)],
)
def test_the_value_loss_is_the_worse_of_free_and_clipped(
    value: float, target: float, loss: float
) -> None:
    mask = torch.tensor([[True, False]])
    values, old, returns = (torch.tensor([[x, 99.0]]) for x in (value, 1.0, target))
    assert value_loss(values, old, returns, mask, 0.2).item() == pytest.approx(loss, abs=1e-5)
