"""How long and how fast a training goes: all but the model, the data, the noise, the loss."""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from rsbounds import _validate

Autocast = Literal["bfloat16", "float16"]
Schedule = Literal["cosine", "step", "constant"]


@dataclass(frozen=True)
class TrainSettings:
    """Settings of `rsbounds_torch.train`; its keyword arguments.

    Parameters
    ----------
    epochs : int
        Passes through the data.
    batch_size : int
        At most so many inputs per step, over all ranks together. An epoch is cut into batches
        that differ by one input at most.
    lr : float
        Step size of SGD at its highest.
    momentum, weight_decay : float
        Of SGD; momentum is Nesterov's.
    schedule : {"cosine", "step", "constant"}
        "cosine" falls to zero over the training; "step" is multiplied by ``step_factor`` after
        every ``step_epochs`` epochs.
    step_epochs : int, optional
        A third of the epochs by default.
    step_factor : float
        In (0, 1].
    warmup : float
        Epochs in which the step size grows linearly from zero.
    clip : float, optional
        The gradient is scaled down to this l2 norm.
    autocast : {"bfloat16", "float16"}, optional
        Type in which the model computes; "float16" needs a GPU and scales the loss.
    draws : int
        Noisy copies of each held-out input for the estimates after an epoch.
    estimate_alpha : float
        Error probability in those estimates.
    smoothing_after : int, optional
        Epochs under the law that was given, before noise is found for each input; a quarter of
        them by default. Without ``smoothing`` it has no meaning.

    Raises
    ------
    ValueError
        A number out of its range.

    Examples
    --------
    >>> settings = TrainSettings(epochs=4, lr=0.1, warmup=1)
    >>> [round(settings.rate(step, 10), 4) for step in (0, 9, 10, 25, 39)]
    [0.01, 0.1, 0.1, 0.05, 0.0003]
    """

    epochs: int = 10
    batch_size: int = 128
    lr: float = 0.05
    momentum: float = 0.9
    weight_decay: float = 1e-4
    schedule: Schedule = "cosine"
    step_epochs: int | None = None
    step_factor: float = 0.1
    warmup: float = 0.0
    clip: float | None = None
    autocast: Autocast | None = None
    draws: int = 100
    estimate_alpha: float = 0.001
    smoothing_after: int | None = None

    def __post_init__(self) -> None:
        for name in ("epochs", "batch_size", "draws"):
            _validate.integer(name, getattr(self, name), low=1)
        for name in ("step_epochs", "smoothing_after"):
            if getattr(self, name) is not None:
                _validate.integer(name, getattr(self, name), low=1 if name == "step_epochs" else 0)
        _validate.positive("lr", self.lr)
        below_one = "a number from 0 to below 1"
        _validate.number("momentum", self.momentum, below_one, lambda v: 0 <= v < 1)
        _validate.non_negative("weight_decay", self.weight_decay)
        _validate.choice("schedule", self.schedule, ("cosine", "step", "constant"))
        part = "a number with 0 < value <= 1"
        _validate.number("step_factor", self.step_factor, part, lambda v: 0 < v <= 1)
        within = f"a number from 0 to below epochs = {self.epochs}"
        _validate.number("warmup", self.warmup, within, lambda v: 0 <= v < self.epochs)
        if self.clip is not None:
            _validate.positive("clip", self.clip)
        if self.autocast is not None:
            _validate.choice("autocast", self.autocast, ("bfloat16", "float16"))
        _validate.alpha(self.estimate_alpha, "estimate_alpha")
        for field in dataclasses.fields(self):
            value = getattr(self, field.name)
            # The optimizer keeps them, and a checkpoint with numpy's numbers needs pickle.
            if isinstance(value, np.generic):
                object.__setattr__(self, field.name, value.item())

    def rate(self, step: int, per_epoch: int) -> float:
        """Step size of a step, the first of which is 0, with so many steps in an epoch."""
        warm = self.warmup * per_epoch
        if step < warm:
            return self.lr * min(1.0, (step + 1) / warm)
        if self.schedule == "step":
            every = self.step_epochs or max(1, -(-self.epochs // 3))
            return float(self.lr * self.step_factor ** (step // (every * per_epoch)))
        if self.schedule == "constant":
            return self.lr
        share = (step - warm) / (self.epochs * per_epoch - warm)
        return 0.5 * self.lr * (1.0 + math.cos(math.pi * share))


def chosen_settings(given: dict[str, Any]) -> TrainSettings:
    """Settings from keyword arguments."""
    fields = [field.name for field in dataclasses.fields(TrainSettings)]
    _validate.known_options("train", given, fields)
    return TrainSettings(**given)
