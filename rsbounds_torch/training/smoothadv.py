"""SmoothAdv: training on inputs that are worst for the smoothed classifier."""

from __future__ import annotations

from collections.abc import Callable
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
from rsbounds_torch.training._soft import at_class, cross_entropy, log_average

#: (k, B, K) logits and (B,) labels to (B,) values.
Raised = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]


def smoothed_cross_entropy(logits: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    """(B,) cross-entropies of the averaged probabilities: what the attack of SmoothAdv raises.

    Salman et al. 2019, section 2: the average goes before the logarithm.

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
    >>> from rsbounds_torch.training import smoothed_cross_entropy
    >>> logits = torch.tensor([[[0.9, 0.1]], [[0.3, 0.7]]]).log()
    >>> smoothed_cross_entropy(logits, torch.tensor([0])).neg().exp()
    tensor([0.6000])
    """
    logits, labels = checked_logits(logits, y)
    return -at_class(log_average(logits), labels)


def smoothed_objective(
    model: Model, shifts: torch.Tensor, x: torch.Tensor, y: torch.Tensor, raised: Raised
) -> attacks.Objective:
    """What an attack raises: ``raised`` of the logits at a point, under noise that stays.

    ``shifts`` are (k, B, ...) noisy copies of ``x``; at a point they have moved as it has.
    """

    def objective(point: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        # A copy, which autograd can keep where the labels come from inference mode.
        logits, labels = checked_logits(logits_of_copies(model, shifts + (point - x)), y.clone())
        if logits.requires_grad:
            logits.register_hook(_levelled)  # type: ignore[no-untyped-call]
        return raised(logits, labels), log_average(logits).argmax(1) != labels

    return objective


def _levelled(gradient: torch.Tensor) -> torch.Tensor:
    """A gradient in (k, B, K) logits, each input's at size 1: an attack asks for its direction.

    Of an input that the model is sure about it is tiny, and would be zero in half precision.
    """
    size = gradient.abs().amax((0, 2), keepdim=True)
    return gradient / torch.where(size > 0, size, 1.0)


@dataclass(frozen=True)
class SmoothAdv(TrainingLoss):
    """Cross-entropy on noisy copies of inputs moved to where the smoothed classifier is worst.

    An attack within l2 distance ``epsilon`` raises the cross-entropy of the probabilities
    averaged over the copies; the same noise stays through its steps and the training step. The
    attack asks the model in eval mode and leaves its mode, parameters, their gradients and its
    buffers as they are; the training step runs in the mode that is set.

    Published training lets epsilon grow over the first epochs; so can a loop here, by
    ``dataclasses.replace(loss, epsilon=...)``.

    Parameters
    ----------
    copies : int
        Noisy copies of each input.
    epsilon : float
        Radius of the attack in l2, in units of the raw input, >= 0; 0 is the loss ``gaussian``.
    steps : int
        Steps of the attack.
    attack : {"pgd", "ddn"}
        `rsbounds_torch.training.attacks.pgd` with steps of 2 epsilon / steps, or
        `~rsbounds_torch.training.attacks.ddn`.
    input_bounds : (float, float), optional
        Range of the raw inputs, which the attack keeps (before noise).

    Examples
    --------
    >>> import torch, rsbounds
    >>> from rsbounds_torch.training import LOSSES, TrainingNoise
    >>> model = torch.nn.Linear(3, 2)
    >>> noise = TrainingNoise(rsbounds.Gaussian(0.25), seed=0)
    >>> loss = LOSSES["smoothadv"](copies=2, epsilon=0.5, steps=2, input_bounds=(0, 1))
    >>> loss(model, torch.zeros(4, 3), torch.tensor([0, 1, 1, 0]), noise).backward()
    >>> model.weight.grad.shape
    torch.Size([2, 3])
    """

    copies: int = 2
    epsilon: float = 0.5
    steps: int = 2
    attack: str = "pgd"
    input_bounds: tuple[float, float] | None = None

    name: ClassVar[str] = "smoothadv"
    source: ClassVar[str] = "Salman et al. 2019, section 2"
    cost: ClassVar[str] = "(steps + 1) times copies forward-backward passes"
    choose: ClassVar[str] = "aims at larger radii, where steps times the time of gaussian is fine"

    def __post_init__(self) -> None:
        _validate.integer("copies", self.copies, low=1)
        _validate.non_negative("epsilon", self.epsilon)
        _validate.integer("steps", self.steps, low=1)
        _validate.choice("attack", self.attack, ("pgd", "ddn"))
        object.__setattr__(self, "input_bounds", checked_bounds(self.input_bounds))

    def raised(self, logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        """(B,) what the attack raises."""
        return smoothed_cross_entropy(logits, labels)

    def lowered(self, logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        """() what the training step lowers."""
        return cross_entropy(logits, labels)

    def __call__(
        self, model: Model, x: torch.Tensor, y: torch.Tensor, noise: TrainingNoise
    ) -> torch.Tensor:
        check_arguments(x, y)
        x = x.detach()
        noisy = noise.copies(x, self.copies)
        if self.epsilon > 0:
            attacks.check_added(noise, x)
            objective = smoothed_objective(model, noisy, x, y, self.raised)
            search = attacks.pgd if self.attack == "pgd" else attacks.ddn
            with attacks.asking(model):
                point = search(
                    objective,
                    x,
                    epsilon=self.epsilon,
                    steps=self.steps,
                    input_bounds=self.input_bounds,
                )
            noisy = noisy + (point - x)
        logits, labels = checked_logits(logits_of_copies(model, noisy), y)
        return self.lowered(logits, labels)
