"""Consistency: predictions of noisy copies that agree with their average."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch

from rsbounds import _validate
from rsbounds_torch.training._base import (
    Model,
    TrainingLoss,
    TrainingNoise,
    check_arguments,
    checked_logits,
    logits_of_copies,
)
from rsbounds_torch.training._soft import cross_entropy, log_average


def consistency_loss(
    logits: torch.Tensor, y: torch.Tensor, *, weight: float, entropy_weight: float
) -> torch.Tensor:
    """Cross-entropy, plus how far copies are from their average, plus the average's entropy.

    Jeong and Shin 2020, section 3: with F the prediction of a copy and G the average of F over
    copies, the terms are ``weight`` times KL(G || F) averaged over copies, and
    ``entropy_weight`` times H(G).

    Parameters
    ----------
    logits : (k, B, K) tensor
        Of k noisy copies of each of B inputs.
    y : (B,) tensor of whole numbers
        Labels.
    weight, entropy_weight : float
        The paper's lambda and eta, >= 0; with both 0 this is `gaussian_loss`.

    Returns
    -------
    () tensor

    Raises
    ------
    ValueError
        Other shapes or types, a label out of range, or a weight below 0.

    Examples
    --------
    >>> import torch
    >>> from rsbounds_torch.training import consistency_loss
    >>> logits, y = torch.zeros(2, 1, 4), torch.tensor([1])
    >>> value = consistency_loss(logits, y, weight=10.0, entropy_weight=0.5)
    >>> round((value / torch.tensor(4.0).log()).item(), 4)
    1.5
    """
    _validate.non_negative("weight", weight)
    _validate.non_negative("entropy_weight", entropy_weight)
    logits, labels = checked_logits(logits, y)
    average = log_average(logits)
    share = average.exp()
    apart = (share * (average - torch.log_softmax(logits, 2))).sum(2).mean()
    entropy = -(share * average).sum(1).mean()
    return cross_entropy(logits, labels) + weight * apart + entropy_weight * entropy


@dataclass(frozen=True)
class Consistency(TrainingLoss):
    """Cross-entropy on noisy copies, whose predictions are drawn to their average.

    A classifier that answers alike under all noise has votes that agree, and so a large radius.
    The entropy of the average is kept low, without which it could agree on nothing in
    particular. Any noise law will do.

    Parameters
    ----------
    copies : int
        Noisy copies of each input, at least 2.
    weight : float
        The paper's lambda, >= 0: of the distance from the average.
    entropy_weight : float
        The paper's eta, >= 0: of the average's entropy. With both weights 0 this is the loss
        ``gaussian``.

    Examples
    --------
    >>> import torch, rsbounds
    >>> from rsbounds_torch.training import LOSSES, TrainingNoise
    >>> model = torch.nn.Linear(3, 2)
    >>> noise = TrainingNoise(rsbounds.Gaussian(0.25), seed=0)
    >>> loss = LOSSES["consistency"](copies=2, weight=10.0, entropy_weight=0.5)
    >>> loss(model, torch.zeros(4, 3), torch.tensor([0, 1, 1, 0]), noise).backward()
    >>> model.weight.grad.shape
    torch.Size([2, 3])
    """

    copies: int = 2
    weight: float = 10.0
    entropy_weight: float = 0.5

    name: ClassVar[str] = "consistency"
    source: ClassVar[str] = "Jeong and Shin 2020, section 3"
    cost: ClassVar[str] = "copies forward-backward passes, as gaussian"
    choose: ClassVar[str] = "aims at large radii with two copies and without an attack"

    def __post_init__(self) -> None:
        _validate.integer("copies", self.copies, low=2)
        _validate.non_negative("weight", self.weight)
        _validate.non_negative("entropy_weight", self.entropy_weight)

    def __call__(
        self, model: Model, x: torch.Tensor, y: torch.Tensor, noise: TrainingNoise
    ) -> torch.Tensor:
        check_arguments(x, y)
        logits = logits_of_copies(model, noise.copies(x, self.copies))
        return consistency_loss(logits, y, weight=self.weight, entropy_weight=self.entropy_weight)
