"""Stability training: the answer under noise is to be the answer without."""

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


def stability_loss(
    clean_logits: torch.Tensor, logits: torch.Tensor, y: torch.Tensor, *, weight: float
) -> torch.Tensor:
    """Cross-entropy without noise, plus that of noisy predictions against the clean one.

    Li et al. 2019: the second term, ``weight`` times -sum_c F_c(x) log F_c(x + noise), averaged
    over copies, has no label; its gradient goes through both predictions.

    Parameters
    ----------
    clean_logits : (B, K) tensor
        Of the inputs themselves.
    logits : (k, B, K) tensor
        Of k noisy copies of each.
    y : (B,) tensor of whole numbers
        Labels.
    weight : float
        The paper's lambda, >= 0; at 0 this is cross-entropy without noise.

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
    >>> from rsbounds_torch.training import stability_loss
    >>> clean, noisy = torch.zeros(1, 4), torch.zeros(2, 1, 4)
    >>> value = stability_loss(clean, noisy, torch.tensor([1]), weight=2.0)
    >>> round((value / torch.tensor(4.0).log()).item(), 4)
    3.0
    """
    _validate.non_negative("weight", weight)
    logits, _ = checked_logits(logits, y)
    if clean_logits.shape != logits.shape[1:]:
        raise ValueError(
            f"clean_logits have shape {tuple(clean_logits.shape)}; allowed: "
            f"{tuple(logits.shape[1:])}, as a copy's"
        )
    clean, labels = checked_logits(clean_logits[None], y)
    apart = -(torch.softmax(clean, 2) * torch.log_softmax(logits, 2)).sum(2).mean()
    return cross_entropy(clean, labels) + weight * apart


@dataclass(frozen=True)
class Stability(TrainingLoss):
    """Cross-entropy on the inputs, and noisy predictions drawn to those without noise.

    The label is learned without noise and carried to the noisy copies by the second term. A step
    asks the model twice, for the inputs and for the copies, so that batch norm in training mode
    does not mix the two. Li et al. (2019) train for Gaussian noise and l2 radii; the terms
    themselves ask nothing of the law, and any will do.

    Parameters
    ----------
    copies : int
        Noisy copies of each input (1 in the paper).
    weight : float
        The paper's lambda, >= 0; 0 trains without noise.

    Examples
    --------
    >>> import torch, rsbounds
    >>> from rsbounds_torch.training import LOSSES, TrainingNoise
    >>> model = torch.nn.Linear(3, 2)
    >>> noise = TrainingNoise(rsbounds.Gaussian(0.25), seed=0)
    >>> loss = LOSSES["stability"](weight=2.0)
    >>> loss(model, torch.zeros(4, 3), torch.tensor([0, 1, 1, 0]), noise).backward()
    >>> model.weight.grad.shape
    torch.Size([2, 3])
    """

    copies: int = 1
    weight: float = 2.0

    name: ClassVar[str] = "stability"
    source: ClassVar[str] = "Li et al. 2019, stability training"
    cost: ClassVar[str] = "copies + 1 forward-backward passes"
    choose: ClassVar[str] = "where accuracy without noise matters beside the radius"

    def __post_init__(self) -> None:
        _validate.integer("copies", self.copies, low=1)
        _validate.non_negative("weight", self.weight)

    def __call__(
        self, model: Model, x: torch.Tensor, y: torch.Tensor, noise: TrainingNoise
    ) -> torch.Tensor:
        check_arguments(x, y)
        noisy = noise.copies(x, self.copies)
        clean = logits_of_copies(model, x[None])[0]
        return stability_loss(clean, logits_of_copies(model, noisy), y, weight=self.weight)
