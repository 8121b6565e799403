"""MACER: the certified radius itself in the loss."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

import torch

from rsbounds import _validate
from rsbounds.noises import Gaussian
from rsbounds_torch.training._base import (
    Model,
    TrainingLoss,
    TrainingNoise,
    check_arguments,
    checked_logits,
    logits_of_copies,
)
from rsbounds_torch.training._soft import at_class, log_average, strongest_wrong

#: Logarithms of probabilities below count as this one: float32 holds the probability, and its
#: probit is -12.4.
_FLOOR = -80.0


def probit_margin(average: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """(B,) Phi^-1(p_y) - Phi^-1(p_c), c the best class but y, from (B, K) logarithms of p.

    Finite, with finite gradients, for all probabilities. Of a probability above 1/2 the rest is
    looked at instead, so that nothing is lost near 1.
    """
    rival = strongest_wrong(average, labels)
    return _probit(average, labels) - _probit(average, rival)


def _probit(average: torch.Tensor, classes: torch.Tensor) -> torch.Tensor:
    log_p = at_class(average, classes)
    log_rest = average.scatter(1, classes[:, None], -math.inf).logsumexp(1)
    low = log_p < log_rest
    found = torch.special.ndtri(torch.where(low, log_p, log_rest).clamp(min=_FLOOR).exp())
    return torch.where(low, found, -found)


def macer_loss(
    logits: torch.Tensor,
    y: torch.Tensor,
    *,
    sigma: float | torch.Tensor,
    weight: float,
    gamma: float,
    beta: float,
) -> torch.Tensor:
    """Cross-entropy of the average, plus a hinge on the radius where the average is right.

    Zhai et al. 2020, section 4: with p the probabilities averaged over copies and m the margin
    Phi^-1(p_y) - Phi^-1(p_c), the hinge of an input is sigma/2 max(gamma - m, 0) where y has the
    largest p, else 0; it counts ``weight`` times. In the hinge the probabilities are those of
    logits times beta (close to votes), in the cross-entropy those of the logits: the authors'
    program does so, their text has beta in both. data-dependent-smoothing (4.3) prints the hinge
    without sigma.

    Parameters
    ----------
    logits : (k, B, K) tensor
        Of k copies with Gaussian noise of each of B inputs.
    y : (B,) tensor of whole numbers
        Labels.
    sigma : float or (B,) tensor
        Standard deviation of the noise, of all inputs or of each.
    weight, gamma : float
        The paper's lambda and gamma, >= 0. A margin ends near 25, where the smallest
        probabilities that float32 holds do.
    beta : float
        The paper's inverse temperature, > 0.

    Returns
    -------
    () tensor

    Raises
    ------
    ValueError
        Other shapes or types, a label or a setting out of range.

    Examples
    --------
    >>> import torch
    >>> from rsbounds_torch.training import macer_loss
    >>> logits, y = torch.zeros(2, 1, 2), torch.tensor([0])
    >>> value = macer_loss(logits, y, sigma=0.5, weight=1.0, gamma=8.0, beta=16.0)
    >>> round((value - torch.tensor(2.0).log()).item(), 4)
    2.0
    """
    _validate.non_negative("weight", weight)
    _validate.non_negative("gamma", gamma)
    _validate.positive("beta", beta)
    logits, labels = checked_logits(logits, y)
    scale = _checked_sigma(sigma, logits)
    average = log_average(beta * logits)
    short = (gamma - probit_margin(average, labels)).clamp(min=0.0)
    hinge = torch.where(average.argmax(1) == labels, short, 0.0)
    cross_entropy = -at_class(log_average(logits), labels).mean()
    return cross_entropy + weight * (0.5 * scale * hinge).mean()


def _checked_sigma(sigma: float | torch.Tensor, logits: torch.Tensor) -> torch.Tensor:
    scale = torch.as_tensor(sigma, dtype=logits.dtype, device=logits.device)
    if scale.shape not in ((), logits.shape[1:2]):
        raise ValueError(
            f"sigma has shape {tuple(scale.shape)}; allowed: a number, or {logits.shape[1]}, one "
            "for each input"
        )
    if not bool(((scale > 0) & torch.isfinite(scale)).all()):
        raise ValueError(f"sigma is {sigma}; allowed: finite numbers > 0")
    return scale


@dataclass(frozen=True)
class Macer(TrainingLoss):
    """Cross-entropy of averaged probabilities, and the certified radius of right answers.

    The radius of the averaged answer has a gradient once probabilities stand for votes; inputs
    that are right get a larger one, up to a margin of gamma. For Gaussian noise and l2 radii
    alone; each input may have its own sigma, and its hinge then has that factor.

    Parameters
    ----------
    copies : int
        Noisy copies of each input, of which averages are made: a few are too few.
    weight : float
        The paper's lambda, >= 0; 0 leaves the cross-entropy of the average, which with one copy
        is the loss ``gaussian``.
    gamma : float
        Margins (radii in units of sigma/2) are rewarded up to this.
    beta : float
        Inverse temperature of the probabilities in the hinge, > 0.

    Examples
    --------
    >>> import torch, rsbounds
    >>> from rsbounds_torch.training import LOSSES, TrainingNoise
    >>> model = torch.nn.Linear(3, 2)
    >>> noise = TrainingNoise(rsbounds.Gaussian(0.25), seed=0)
    >>> loss = LOSSES["macer"](copies=16, weight=12.0, gamma=8.0, beta=16.0)
    >>> loss(model, torch.zeros(4, 3), torch.tensor([0, 1, 1, 0]), noise).backward()
    >>> model.weight.grad.shape
    torch.Size([2, 3])
    """

    copies: int = 16
    weight: float = 12.0
    gamma: float = 8.0
    beta: float = 16.0

    name: ClassVar[str] = "macer"
    source: ClassVar[str] = "Zhai et al. 2020, section 4, Algorithm 1"
    cost: ClassVar[str] = "copies forward-backward passes, of which it takes many"
    choose: ClassVar[str] = "the radius itself as the goal, without an attack; Gaussian noise only"

    def __post_init__(self) -> None:
        _validate.integer("copies", self.copies, low=1)
        _validate.non_negative("weight", self.weight)
        _validate.non_negative("gamma", self.gamma)
        _validate.positive("beta", self.beta)

    def __call__(
        self, model: Model, x: torch.Tensor, y: torch.Tensor, noise: TrainingNoise
    ) -> torch.Tensor:
        check_arguments(x, y)
        if not isinstance(noise.law, Gaussian):
            raise ValueError(
                f"noise is {noise.law}; allowed: Gaussian(sigma), whose l2 radius is what macer "
                "raises"
            )
        logits = logits_of_copies(model, noise.copies(x, self.copies))
        return macer_loss(
            logits,
            y,
            sigma=torch.tensor(noise.law.sigma, dtype=torch.float64),
            weight=self.weight,
            gamma=self.gamma,
            beta=self.beta,
        )
