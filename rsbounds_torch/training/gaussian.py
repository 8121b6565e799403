"""Training on noisy copies."""

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
from rsbounds_torch.training._soft import cross_entropy


def gaussian_loss(logits: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    """Cross-entropy, averaged over copies and inputs (adre-t-certify (7)).

    Parameters
    ----------
    logits : (k, B, K) tensor
        Of k noisy copies of each of B inputs.
    y : (B,) tensor of whole numbers
        Labels.

    Returns
    -------
    () tensor

    Raises
    ------
    ValueError
        Other shapes or types, or a label out of range.

    Examples
    --------
    >>> import torch
    >>> from rsbounds_torch.training import gaussian_loss
    >>> round(gaussian_loss(torch.zeros(2, 5, 4), torch.arange(5) % 4).exp().item(), 4)
    4.0
    """
    return cross_entropy(*checked_logits(logits, y))


@dataclass(frozen=True)
class GaussianAugmentation(TrainingLoss):
    """Cross-entropy on noisy copies of the inputs, averaged over copies and inputs.

    The classifier learns to answer under the noise that it will be certified with (Cohen et al.
    2019, section 3.3; Lecuyer et al. 2019). Any noise law will do.

    Parameters
    ----------
    copies : int
        Noisy copies of each input.

    Examples
    --------
    >>> import torch, rsbounds
    >>> from rsbounds_torch.training import LOSSES, TrainingNoise
    >>> model = torch.nn.Linear(3, 2)
    >>> noise = TrainingNoise(rsbounds.Gaussian(0.25), seed=0)
    >>> loss = LOSSES["gaussian"](copies=2)
    >>> loss(model, torch.zeros(4, 3), torch.tensor([0, 1, 1, 0]), noise).backward()
    >>> model.weight.grad.shape
    torch.Size([2, 3])
    """

    copies: int = 1

    name: ClassVar[str] = "gaussian"
    source: ClassVar[str] = "Cohen et al. 2019, section 3.3"
    cost: ClassVar[str] = "copies forward-backward passes"
    choose: ClassVar[str] = "first: the baseline that every other loss is compared with"

    def __post_init__(self) -> None:
        _validate.integer("copies", self.copies, low=1)

    def __call__(
        self, model: Model, x: torch.Tensor, y: torch.Tensor, noise: TrainingNoise
    ) -> torch.Tensor:
        check_arguments(x, y)
        return gaussian_loss(logits_of_copies(model, noise.copies(x, self.copies)), y)
