"""SmoothMix: sure answers on the way to an adversary are made less sure."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

import torch

from rsbounds import _validate
from rsbounds_torch._inputs import checked_bounds
from rsbounds_torch.training import attacks
from rsbounds_torch.training._base import (
    Model,
    TrainingLoss,
    TrainingNoise,
    check_arguments,
    checked_logits,
    logits_of_copies,
)
from rsbounds_torch.training._soft import cross_entropy, log_average
from rsbounds_torch.training.smoothadv import smoothed_cross_entropy, smoothed_objective


def smoothmix_loss(
    logits: torch.Tensor,
    mixed_logits: torch.Tensor,
    y: torch.Tensor,
    fractions: torch.Tensor,
    *,
    weight: float,
) -> torch.Tensor:
    """Cross-entropy, plus the distance of mixed inputs' predictions from mixed targets.

    Jeong et al. 2021, section 3: an input mixed with its adversary, (1 - a) x + a x', has the
    target (1 - a) G(x) + a/K, the averaged prediction of the input mixed with no prediction at
    all. The distance is KL(target || prediction), averaged over copies, counts where G(x) is
    right, and ``weight`` times; its gradient goes through the target too.

    Parameters
    ----------
    logits, mixed_logits : (k, B, K) tensors
        Of k noisy copies of each of B inputs, and of the mixed inputs with the same noise.
    y : (B,) tensor of whole numbers
        Labels.
    fractions : (B,) tensor
        The part a of the adversary, from 0 to 1 (to 1/2 in the paper).
    weight : float
        The paper's eta, >= 0; at 0 this is `gaussian_loss`.

    Returns
    -------
    () tensor

    Raises
    ------
    ValueError
        Other shapes or types, a label, a fraction or a weight out of range.

    Examples
    --------
    >>> import torch
    >>> from rsbounds_torch.training import smoothmix_loss
    >>> logits, y = torch.tensor([[[0.8, 0.2]]]).log(), torch.tensor([0])
    >>> mixed = torch.tensor([[[0.65, 0.35]]]).log()
    >>> value = smoothmix_loss(logits, mixed, y, torch.tensor([0.5]), weight=1.0)
    >>> round(value.neg().exp().item(), 4)
    0.8
    """
    _validate.non_negative("weight", weight)
    logits, labels = checked_logits(logits, y)
    mixed_logits, _ = checked_logits(mixed_logits, y)
    if mixed_logits.shape != logits.shape:
        raise ValueError(
            f"mixed_logits have shape {tuple(mixed_logits.shape)}; allowed: "
            f"{tuple(logits.shape)}, as logits"
        )
    if fractions.shape != labels.shape or not bool(((fractions >= 0) & (fractions <= 1)).all()):
        raise ValueError(f"fractions are {fractions}; allowed: {len(labels)} numbers from 0 to 1")
    part = fractions.to(logits)[:, None]
    average = log_average(logits)
    # As logarithms, whose gradients are finite where a target is 0.
    target = torch.logaddexp(
        torch.log1p(-part) + average, torch.log(part) - math.log(logits.shape[2])
    )
    apart = (target.exp() * (target - torch.log_softmax(mixed_logits, 2))).sum(2)
    apart = torch.where(average.argmax(1) == labels, apart.mean(0), 0.0)
    return cross_entropy(logits, labels) + weight * apart.mean()


@dataclass(frozen=True)
class SmoothMix(TrainingLoss):
    """Cross-entropy on noisy copies, and milder answers towards the adversary of each input.

    An attack without a bound of its own, ``steps`` steps of one length up the cross-entropy of
    the averaged probabilities, goes far enough for an input that is sure and wrong. Between the
    input and there, up to half-way, predictions are to fade to none, which levels the radii of
    inputs that are surer than they need. Noise stays through the attack and both training
    passes; the attack treats the model as `SmoothAdv` does.

    Published training lets ``weight`` grow over the first epochs; so can a loop here, by
    ``dataclasses.replace(loss, weight=...)``.

    Parameters
    ----------
    copies : int
        Noisy copies of each input.
    weight : float
        The paper's eta, >= 0; 0 is the loss ``gaussian`` (with ``clean_step`` 0).
    steps : int
        Steps of the attack.
    step_size : float
        Length of a step in l2, in units of the raw input.
    clean_step : int
        Train on the point after so many steps in place of the input: 0 for the input itself, 1
        for the paper's one-step adversary. Below ``steps``.
    input_bounds : (float, float), optional
        Range of the raw inputs, which the attack keeps (before noise).

    Examples
    --------
    >>> import torch, rsbounds
    >>> from rsbounds_torch.training import LOSSES, TrainingNoise
    >>> model = torch.nn.Linear(3, 2)
    >>> noise = TrainingNoise(rsbounds.Gaussian(0.25), seed=0)
    >>> loss = LOSSES["smoothmix"](copies=2, steps=4, step_size=0.5)
    >>> loss(model, torch.zeros(4, 3), torch.tensor([0, 1, 1, 0]), noise).backward()
    >>> model.weight.grad.shape
    torch.Size([2, 3])
    """

    copies: int = 2
    weight: float = 5.0
    steps: int = 4
    step_size: float = 0.5
    clean_step: int = 0
    input_bounds: tuple[float, float] | None = None

    name: ClassVar[str] = "smoothmix"
    source: ClassVar[str] = "Jeong et al. 2021, section 3"
    cost: ClassVar[str] = "(steps + 2) times copies forward-backward passes"
    choose: ClassVar[str] = "aims at large radii by an attack whose radius needs no choice"

    def __post_init__(self) -> None:
        _validate.integer("copies", self.copies, low=1)
        _validate.non_negative("weight", self.weight)
        _validate.integer("steps", self.steps, low=1)
        _validate.positive("step_size", self.step_size)
        _validate.integer("clean_step", self.clean_step, low=0, high=self.steps - 1)
        object.__setattr__(self, "input_bounds", checked_bounds(self.input_bounds))

    def __call__(
        self, model: Model, x: torch.Tensor, y: torch.Tensor, noise: TrainingNoise
    ) -> torch.Tensor:
        check_arguments(x, y)
        x = x.detach()
        noisy = noise.copies(x, self.copies)
        fractions = noise.fractions(len(x)).to(x) / 2.0
        attacks.check_added(noise, x)
        objective = smoothed_objective(model, noisy, x, y, smoothed_cross_entropy)
        clean, at = x, x
        with attacks.asking(model):
            for steps in (self.clean_step, self.steps - self.clean_step):
                clean = at
                at = self._moved(objective, x, at, steps)
        mixed = clean + (at - clean) * fractions.reshape(-1, *(1 for _ in x.shape[1:]))
        logits = logits_of_copies(model, noisy + (clean - x))
        mixed_logits = logits_of_copies(model, noisy + (mixed - x))
        return smoothmix_loss(logits, mixed_logits, y, fractions, weight=self.weight)

    def _moved(
        self, objective: attacks.Objective, x: torch.Tensor, start: torch.Tensor, steps: int
    ) -> torch.Tensor:
        if steps == 0:
            return start
        return attacks.pgd(
            objective,
            x,
            # What all steps together can reach: no bound of its own.
            epsilon=self.steps * self.step_size,
            steps=steps,
            step_size=self.step_size,
            input_bounds=self.input_bounds,
            start=start,
        )
