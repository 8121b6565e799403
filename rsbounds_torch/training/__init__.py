"""Losses that train a classifier to be certified, for anybody's loop, and a trainer.

`TrainingLoss` has the contract of a loss, with an example. To add a loss: a file with a
`TrainingLoss`, and one line here (or an entry point of the group ``rsbounds.losses`` in your own
package). `train` takes any of them.

    noise = TrainingNoise(rsbounds.Gaussian(0.25), seed=0)
    loss = LOSSES["gaussian"](copies=2)
    loss(model, x, y, noise).backward()

The losses as functions of logits, for loops that draw their own noise: `gaussian_loss`,
`adre_loss` (its second term alone: `adre_regularizer`), `macer_loss`, `consistency_loss`,
`smoothmix_loss`, `stability_loss`. What attacks raise: `smoothed_cross_entropy`,
`adre_objective`; the attacks are in `rsbounds_torch.training.attacks`.
"""

from __future__ import annotations

from rsbounds_torch.training._base import (
    LOSSES,
    Model,
    TrainingLoss,
    TrainingNoise,
    check_arguments,
    checked_logits,
    logits_of_copies,
)
from rsbounds_torch.training._settings import TrainSettings
from rsbounds_torch.training._trainer import Training, train
from rsbounds_torch.training.adre_adv import adre_objective
from rsbounds_torch.training.adre_reg import adre_loss, adre_regularizer
from rsbounds_torch.training.consistency import consistency_loss
from rsbounds_torch.training.gaussian import gaussian_loss
from rsbounds_torch.training.macer import macer_loss
from rsbounds_torch.training.smoothadv import smoothed_cross_entropy
from rsbounds_torch.training.smoothmix import smoothmix_loss
from rsbounds_torch.training.stability import stability_loss

_HERE = "rsbounds_torch.training"
LOSSES.register("gaussian", f"{_HERE}.gaussian:GaussianAugmentation")
LOSSES.register("adre-reg", f"{_HERE}.adre_reg:AdreReg")
LOSSES.register("smoothadv", f"{_HERE}.smoothadv:SmoothAdv")
LOSSES.register("adre-adv", f"{_HERE}.adre_adv:AdreAdv")
LOSSES.register("macer", f"{_HERE}.macer:Macer")
LOSSES.register("consistency", f"{_HERE}.consistency:Consistency")
LOSSES.register("smoothmix", f"{_HERE}.smoothmix:SmoothMix")
LOSSES.register("stability", f"{_HERE}.stability:Stability")

__all__ = [
    "LOSSES",
    "Model",
    "TrainSettings",
    "Training",
    "TrainingLoss",
    "TrainingNoise",
    "adre_loss",
    "adre_objective",
    "adre_regularizer",
    "check_arguments",
    "checked_logits",
    "consistency_loss",
    "gaussian_loss",
    "logits_of_copies",
    "macer_loss",
    "smoothed_cross_entropy",
    "smoothmix_loss",
    "stability_loss",
    "train",
]
