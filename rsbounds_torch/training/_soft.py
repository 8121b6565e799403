"""Averaged class probabilities, as logarithms, so that 0 and 1 lose nothing.

Of checked arguments: logits (k, B, K) in float32 or float64, labels (B,) in range.
"""

from __future__ import annotations

import math

import torch
from torch.nn import functional


def log_average(logits: torch.Tensor) -> torch.Tensor:
    """(B, K) logarithms of the probabilities averaged over copies, from (k, B, K) logits."""
    return torch.logsumexp(torch.log_softmax(logits, 2), 0) - math.log(len(logits))


def strongest_wrong(scores: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """(B,) the class of the largest of (B, K) scores but for the label's; of equals, the first."""
    return scores.scatter(1, labels[:, None], -math.inf).argmax(1)


def at_class(scores: torch.Tensor, classes: torch.Tensor) -> torch.Tensor:
    """(B,) the score of one class in each row of (B, K)."""
    return scores.gather(1, classes[:, None])[:, 0]


def cross_entropy(logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """() cross-entropy, averaged over copies and inputs."""
    return functional.cross_entropy(logits.flatten(0, 1), labels.repeat(len(logits)))


def rival_cross_entropy(logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """(B,) cross-entropies of the averaged probabilities against the strongest wrong class."""
    average = log_average(logits)
    return -at_class(average, strongest_wrong(average, labels))
