"""ADRE_ADV: SmoothAdv with the term of ADRE in what is raised and in what is lowered."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch

from rsbounds import _validate
from rsbounds_torch.training._base import checked_logits
from rsbounds_torch.training._soft import rival_cross_entropy
from rsbounds_torch.training.adre_reg import adre_loss
from rsbounds_torch.training.smoothadv import SmoothAdv, smoothed_cross_entropy


def adre_objective(logits: torch.Tensor, y: torch.Tensor, *, weight: float) -> torch.Tensor:
    """(B,) values that the attack of ADRE_ADV raises (adre-t-certify (12), averages of (8)).

    The cross-entropy of the averaged probabilities, minus ``weight`` times their cross-entropy
    against the strongest wrong class: at its largest the average is wrong, and by far.

    Parameters
    ----------
    logits : (k, B, K) tensor
        Of k noisy copies of each of B inputs.
    y : (B,) tensor of whole numbers
        Labels.
    weight : float
        The paper's lambda, >= 0; at 0 this is `smoothed_cross_entropy`.

    Returns
    -------
    (B,) tensor

    Raises
    ------
    ValueError
        Other shapes or types, a label out of range, or a weight below 0.

    Examples
    --------
    >>> import torch
    >>> from rsbounds_torch.training import adre_objective
    >>> logits = torch.tensor([[[0.5, 0.25, 0.25]]]).log()
    >>> adre_objective(logits, torch.tensor([0]), weight=0.5)
    tensor([0.])
    """
    _validate.non_negative("weight", weight)
    logits, labels = checked_logits(logits, y)
    return smoothed_cross_entropy(logits, labels) - weight * rival_cross_entropy(logits, labels)


@dataclass(frozen=True)
class AdreAdv(SmoothAdv):
    """The loss ``adre-reg`` at inputs that an attack on the regularised objective moved.

    Algorithm 1 of adre-t-certify with adversarial training: the attack raises (12) by the steps
    of (13), the training step lowers (5), on one set of noise draws. The attack treats the model
    as `SmoothAdv` does.

    Parameters
    ----------
    copies, epsilon, steps, attack, input_bounds
        As in `SmoothAdv`; ``epsilon=0`` is the loss ``adre-reg``.
    weight : float
        The paper's lambda, >= 0; 0 is the loss ``smoothadv``.

    Examples
    --------
    >>> import torch, rsbounds
    >>> from rsbounds_torch.training import LOSSES, TrainingNoise
    >>> model = torch.nn.Linear(3, 2)
    >>> noise = TrainingNoise(rsbounds.Gaussian(0.25), seed=0)
    >>> loss = LOSSES["adre-adv"](copies=2, epsilon=0.5, steps=2, weight=0.1)
    >>> loss(model, torch.zeros(4, 3), torch.tensor([0, 1, 1, 0]), noise).backward()
    >>> model.weight.grad.shape
    torch.Size([2, 3])
    """

    weight: float = 0.1

    name: ClassVar[str] = "adre-adv"
    source: ClassVar[str] = "Feng et al. 2020 (adre-t-certify), (12), (13), Algorithm 1"
    cost: ClassVar[str] = "(steps + 1) times copies forward-backward passes, as smoothadv"
    choose: ClassVar[str] = "instead of smoothadv, where radii of the sure inputs matter too"

    def __post_init__(self) -> None:
        super().__post_init__()
        _validate.non_negative("weight", self.weight)

    def raised(self, logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        return adre_objective(logits, labels, weight=self.weight)

    def lowered(self, logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        return adre_loss(logits, labels, weight=self.weight)
