"""Losses that train a classifier to be certified, for anybody's loop, and a trainer.

The contract of a loss is in `rsbounds_torch.training._base`. To add a loss: a file with a
`TrainingLoss`, and one line here (or an entry point of the group ``rsbounds.losses`` in your own
package). `train` takes any of them.

    noise = TrainingNoise(rsbounds.Gaussian(0.25), seed=0)
    loss = LOSSES["gaussian"](copies=2)
    loss(model, x, y, noise).backward()
"""

from __future__ import annotations

from rsbounds_torch.training._base import LOSSES, TrainingLoss, TrainingNoise
from rsbounds_torch.training._settings import TrainSettings
from rsbounds_torch.training._trainer import Training, train

LOSSES.register("gaussian", "rsbounds_torch.training.gaussian:GaussianAugmentation")

__all__ = ["LOSSES", "TrainSettings", "Training", "TrainingLoss", "TrainingNoise", "train"]
