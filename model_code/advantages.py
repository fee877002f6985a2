"""The pure functions of PPO: rewards, advantages and losses.

All tensors are ``[batch, length]`` over answer tokens; ``mask`` is True at those. Sources: Schulman
et al. 2016 (generalized advantage estimation), Schulman et al. 2017 (clipped losses), Ziegler et
al. 2019 (the KL penalty of each token).
"""

import torch
from torch import Tensor


def shape_rewards(scores: Tensor, divergence: Tensor, last: Tensor, kl_weight: float) -> Tensor:
    """The reward of each token: the KL penalty, and at the last one the answer's score as well.

    Args:
        scores: ``[batch]``, the score of each answer.
        divergence: log-probability under the policy minus that under the reference.
        last: ``[batch]``, index of each answer's last token.
    """
    rewards = -kl_weight * divergence
    rewards[torch.arange(len(scores)), last] += scores
    return rewards


def estimate_advantages(
    rewards: Tensor, values: Tensor, mask: Tensor, gae_lambda: float, discount: float = 1.0
) -> Tensor:
    """Generalized advantage estimates; 0 outside the mask, whose rows must be contiguous."""
    weight = mask.to(rewards.dtype)
    values = values * weight
    advantages = torch.zeros_like(rewards)
    following = torch.zeros(len(rewards))
    next_value = torch.zeros(len(rewards))
    for step in reversed(range(rewards.shape[1])):
        delta = rewards[:, step] + discount * next_value - values[:, step]
        following = (delta + discount * gae_lambda * following) * weight[:, step]
        advantages[:, step] = following
        next_value = values[:, step]
    return advantages


def whiten(values: Tensor, mask: Tensor) -> Tensor:
    """Shift and scale the masked values to mean 0 and standard deviation 1."""
    inside = values[mask]
    return (values - inside.mean()) / (inside.std(correction=0) + 1e-8) * mask


def policy_loss(
    log_probs: Tensor, old_log_probs: Tensor, advantages: Tensor, mask: Tensor, clip: float
) -> Tensor:
    """The clipped surrogate: no gain from moving the probability ratio beyond ``1 ± clip``."""
    ratio = (log_probs - old_log_probs)[mask].exp()
    advantage = advantages[mask]
    clipped = ratio.clamp(1 - clip, 1 + clip)
    return -torch.minimum(ratio * advantage, clipped * advantage).mean()


def value_loss(
    values: Tensor, old_values: Tensor, returns: Tensor, mask: Tensor, clip: float
) -> Tensor:
    """Half the squared error, the worse of the value and the value kept near the old one."""
    value, old, target = values[mask], old_values[mask], returns[mask]
    clipped = old + (value - old).clamp(-clip, clip)
    return 0.5 * torch.maximum((value - target).square(), (clipped - target).square()).mean()
