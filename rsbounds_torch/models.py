"""Networks to start from: LeNet, a small CNN, and the residual networks for CIFAR.

Each is a function that returns a fresh network, initialised from torch's global random numbers,
so that the command line takes it as ``rsbounds_torch.models:lenet``. All take raw inputs in
[0, 1]; those for colours normalise as their first layer, so that noise is in raw units.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn

#: Mean and standard deviation of CIFAR-10's colours in [0, 1].
_CIFAR = (0.4914, 0.4822, 0.4465), (0.2470, 0.2435, 0.2616)


class Normalise(nn.Module):
    """Subtracts a mean from each channel and divides by a number."""

    mean: torch.Tensor
    scale: torch.Tensor

    def __init__(self, mean: Sequence[float], scale: Sequence[float]) -> None:
        super().__init__()
        self.register_buffer("mean", torch.tensor(mean).reshape(-1, 1, 1))
        self.register_buffer("scale", torch.tensor(scale).reshape(-1, 1, 1))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return (x - self.mean) / self.scale


class Block(nn.Module):
    """Two convolutions with batch normalisation, added to their input."""

    def __init__(self, before: int, after: int, stride: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(before, after, 3, stride, 1, bias=False), nn.BatchNorm2d(after), nn.ReLU(),
            nn.Conv2d(after, after, 3, 1, 1, bias=False), nn.BatchNorm2d(after),
        )  # fmt: skip
        self._stride, self._more = stride, after - before

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        # Where the shape changes: every second pixel, and zeros as further channels.
        skip = x[:, :, :: self._stride, :: self._stride]
        if self._more:
            skip = nn.functional.pad(skip, (0, 0, 0, 0, self._more // 2, self._more // 2))
        return torch.relu(self.body(x) + skip)


def small_cnn() -> nn.Sequential:
    """A CNN of 38,000 parameters for (1, 8, 8) digits in [0, 1], 10 classes.

    Examples
    --------
    >>> import torch
    >>> from rsbounds_torch.models import small_cnn
    >>> small_cnn()(torch.zeros(5, 1, 8, 8)).shape
    torch.Size([5, 10])
    """
    return nn.Sequential(
        nn.Conv2d(1, 16, 3, padding=1), nn.ReLU(), nn.Conv2d(16, 32, 3, padding=1), nn.ReLU(),
        nn.MaxPool2d(2), nn.Flatten(), nn.Linear(32 * 16, 64), nn.ReLU(), nn.Linear(64, 10),
    )  # fmt: skip


def lenet() -> nn.Sequential:
    """LeNet-5 with rectifiers, for (1, 28, 28) images in [0, 1], 10 classes.

    Examples
    --------
    >>> import torch
    >>> from rsbounds_torch.models import lenet
    >>> lenet()(torch.zeros(5, 1, 28, 28)).shape
    torch.Size([5, 10])
    """
    return nn.Sequential(
        nn.Conv2d(1, 6, 5, padding=2), nn.ReLU(), nn.MaxPool2d(2),
        nn.Conv2d(6, 16, 5), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(),
        nn.Linear(400, 120), nn.ReLU(), nn.Linear(120, 84), nn.ReLU(), nn.Linear(84, 10),
    )  # fmt: skip


def resnet20() -> nn.Sequential:
    """ResNet-20 for CIFAR-10 (He et al. 2016, section 4.2), for (3, 32, 32) images in [0, 1].

    Examples
    --------
    >>> import torch
    >>> from rsbounds_torch.models import resnet20
    >>> model = resnet20()
    >>> model(torch.zeros(2, 3, 32, 32)).shape, sum(p.numel() for p in model.parameters())
    (torch.Size([2, 10]), 269722)
    """
    return _cifar_resnet(3)


def resnet110() -> nn.Sequential:
    """ResNet-110 for CIFAR-10 (He et al. 2016, section 4.2), for (3, 32, 32) images in [0, 1].

    Examples
    --------
    >>> from rsbounds_torch.models import resnet110
    >>> sum(p.numel() for p in resnet110().parameters())
    1727962
    """
    return _cifar_resnet(18)


def _cifar_resnet(blocks: int) -> nn.Sequential:
    """6 x blocks + 2 layers: three stages of 16, 32 and 64 channels."""
    layers: list[nn.Module] = [
        Normalise(*_CIFAR), nn.Conv2d(3, 16, 3, 1, 1, bias=False), nn.BatchNorm2d(16), nn.ReLU(),
    ]  # fmt: skip
    before = 16
    for after in (16, 32, 64):
        for i in range(blocks):
            layers.append(Block(before, after, 2 if i == 0 and after > before else 1))
            before = after
    layers += [nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(64, 10)]
    model = nn.Sequential(*layers)
    for module in model.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
    return model
