"""ADRE_REG: noisy copies, and a reward for probabilities that leave no class close behind."""

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
from rsbounds_torch.training._soft import cross_entropy, rival_cross_entropy


def adre_regularizer(logits: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    """(B,) cross-entropies of the averaged probabilities against the strongest wrong class.

    adre-t-certify (4) with the averages of (8): large where the averaged prediction is right by
    far. The class is the largest average but the label's; it is chosen anew at each call, and no
    gradient goes through the choice.

    Parameters
    ----------
    logits : (k, B, K) tensor
        Of k noisy copies of each of B inputs.
    y : (B,) tensor of whole numbers
        Labels.

    Returns
    -------
    (B,) tensor

    Raises
    ------
    ValueError
        Other shapes or types, or a label out of range.

    Examples
    --------
    >>> import torch
    >>> from rsbounds_torch.training import adre_regularizer
    >>> logits = torch.tensor([[[0.5, 0.3, 0.2]]]).log()
    >>> adre_regularizer(logits, torch.tensor([0])).neg().exp()
    tensor([0.3000])
    """
    return rival_cross_entropy(*checked_logits(logits, y))


def adre_loss(
    logits: torch.Tensor, y: torch.Tensor, *, weight: float, single_draw: bool = False
) -> torch.Tensor:
    """The perturbed risk minus ``weight`` times the mean of `adre_regularizer`.

    adre-t-certify (5) to (8) and Algorithm 1: the same copies serve both terms.

    Parameters
    ----------
    logits, y
        As in `adre_regularizer`.
    weight : float
        The paper's lambda, >= 0; at 0 this is `gaussian_loss`.
    single_draw : bool
        The perturbed risk is that of one of the copies. The paper takes any of them; they are
        drawn alike, so it is the first here.

    Returns
    -------
    () tensor

    Raises
    ------
    ValueError
        As `adre_regularizer`, or a weight below 0.

    Examples
    --------
    >>> import torch
    >>> from rsbounds_torch.training import adre_loss, gaussian_loss
    >>> logits, y = torch.randn(4, 6, 3), torch.arange(6) % 3
    >>> bool(adre_loss(logits, y, weight=0.0) == gaussian_loss(logits, y))
    True
    """
    _validate.non_negative("weight", weight)
    logits, labels = checked_logits(logits, y)
    risk = cross_entropy(logits[:1] if single_draw else logits, labels)
    return risk - weight * rival_cross_entropy(logits, labels).mean()


@dataclass(frozen=True)
class AdreReg(TrainingLoss):
    """Cross-entropy on noisy copies minus a multiple of what keeps the other classes away.

    The second term is the cross-entropy of the probabilities, averaged over the same copies,
    against the strongest wrong class. Where the average is right, that class is the runner-up,
    and pushing it down widens the margin of the certificate; where it is wrong, that class is
    the answer, and pushing it down corrects it. Any noise law will do.

    The term has no upper limit, so that the loss has no lower one: its gradient in the logits
    stays below ``weight``, and weight decay or the end of the schedule is what stops it.

    Parameters
    ----------
    copies : int
        Noisy copies of each input, for both terms.
    weight : float
        The paper's lambda, >= 0; 0 is the loss ``gaussian``.
    single_draw : bool
        One copy for the first term and all for the second, as in the paper's Table 1 (for
        CIFAR-10), so that the second term is all that differs from ``gaussian`` with one copy.

    Examples
    --------
    >>> import torch, rsbounds
    >>> from rsbounds_torch.training import LOSSES, TrainingNoise
    >>> model = torch.nn.Linear(3, 2)
    >>> noise = TrainingNoise(rsbounds.Gaussian(0.25), seed=0)
    >>> loss = LOSSES["adre-reg"](copies=8, weight=0.2)
    >>> loss(model, torch.zeros(4, 3), torch.tensor([0, 1, 1, 0]), noise).backward()
    >>> model.weight.grad.shape
    torch.Size([2, 3])
    """

    copies: int = 8
    weight: float = 0.2
    single_draw: bool = False

    name: ClassVar[str] = "adre-reg"
    source: ClassVar[str] = "Feng et al. 2020 (adre-t-certify), (5) to (8), Algorithm 1, Table 1"
    cost: ClassVar[str] = "copies forward-backward passes, as gaussian"
    choose: ClassVar[str] = (
        "aims at larger radii than gaussian, at the same cost, without an attack"
    )

    def __post_init__(self) -> None:
        _validate.integer("copies", self.copies, low=1)
        _validate.non_negative("weight", self.weight)
        if not isinstance(self.single_draw, bool):
            raise ValueError(f"single_draw is {self.single_draw!r}; allowed: True, False")

    def __call__(
        self, model: Model, x: torch.Tensor, y: torch.Tensor, noise: TrainingNoise
    ) -> torch.Tensor:
        check_arguments(x, y)
        logits = logits_of_copies(model, noise.copies(x, self.copies))
        return adre_loss(logits, y, weight=self.weight, single_draw=self.single_draw)
