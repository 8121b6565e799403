"""Noise laws: how a noisy copy is made, and how far the input can move before votes do.

The contract is in `rsbounds.noises._base`. To add a law: a file with a `Noise`, and one line
here (or an entry point of the group ``rsbounds.noises``).
"""

from __future__ import annotations

from rsbounds.noises._base import NOISES, Noise, noise_from_dict
from rsbounds.noises._parameters import like, namespace
from rsbounds.noises.diagonal import DiagonalGaussian, DiagonalUniform
from rsbounds.noises.gaussian import Gaussian
from rsbounds.noises.lipschitz import Lipschitz, lipschitz_radius
from rsbounds.noises.uniform import Uniform

NOISES.register("gaussian", "rsbounds.noises.gaussian:Gaussian")
NOISES.register("uniform", "rsbounds.noises.uniform:Uniform")
NOISES.register("diagonal-gaussian", "rsbounds.noises.diagonal:DiagonalGaussian")
NOISES.register("diagonal-uniform", "rsbounds.noises.diagonal:DiagonalUniform")
NOISES.register("lipschitz", "rsbounds.noises.lipschitz:Lipschitz")

__all__ = [
    "NOISES",
    "DiagonalGaussian",
    "DiagonalUniform",
    "Gaussian",
    "Lipschitz",
    "Noise",
    "Uniform",
    "like",
    "lipschitz_radius",
    "namespace",
    "noise_from_dict",
]
