"""Noise laws: how a noisy copy is made, and how far the input can move before votes do.

``Gaussian(sigma, lattice=...)``, and `Laplace` and `Uniform` alike, are drawn on a lattice:
integers from a table of the exact cell probabilities, turned into floats only after they were added
to the input's place on the lattice. What is certified is then a classifier of the reals that rounds
to the lattice first, by the theorem over the reals, and no rounding is left out: it holds in
floating point for any model. It costs n 2^32 1.3e-38 of alpha, and the distance from an input to
its lattice point (none that shows for 8-bit pictures) of the radius.

Some laws are enumerated (`SplitUniform`, `BlockAblation`, `BandAblation`): their noisy copies are
so many ``cells``, all of which are counted, and a certificate has no error probability. Laws that
hide a part of the input refuse inputs with a pixel that looks hidden (`with_complement`).

`Noise` has the contract, with an example. To add a law: a file with a `Noise`, and one line
here (or an entry point of the group ``rsbounds.noises``).
"""

from __future__ import annotations

from rsbounds._types import Scale
from rsbounds.noises._ablation import with_complement
from rsbounds.noises._base import NOISES, Noise, noise_from_dict
from rsbounds.noises._lattice import distances
from rsbounds.noises._parameters import like, namespace
from rsbounds.noises.ablation import Ablation
from rsbounds.noises.band_ablation import BandAblation
from rsbounds.noises.bit_flips import BitFlips
from rsbounds.noises.block_ablation import BlockAblation
from rsbounds.noises.diagonal import DiagonalGaussian, DiagonalUniform
from rsbounds.noises.full import FullGaussian
from rsbounds.noises.gaussian import Gaussian
from rsbounds.noises.laplace import Laplace
from rsbounds.noises.lipschitz import Lipschitz, lipschitz_radius
from rsbounds.noises.low_rank import LowRankGaussian
from rsbounds.noises.split_uniform import SplitUniform
from rsbounds.noises.uniform import Uniform

NOISES.register("gaussian", "rsbounds.noises.gaussian:Gaussian")
NOISES.register("uniform", "rsbounds.noises.uniform:Uniform")
NOISES.register("laplace", "rsbounds.noises.laplace:Laplace")
NOISES.register("bit-flips", "rsbounds.noises.bit_flips:BitFlips")
NOISES.register("diagonal-gaussian", "rsbounds.noises.diagonal:DiagonalGaussian")
NOISES.register("diagonal-uniform", "rsbounds.noises.diagonal:DiagonalUniform")
NOISES.register("full-gaussian", "rsbounds.noises.full:FullGaussian")
NOISES.register("low-rank-gaussian", "rsbounds.noises.low_rank:LowRankGaussian")
NOISES.register("lipschitz", "rsbounds.noises.lipschitz:Lipschitz")
NOISES.register("split-uniform", "rsbounds.noises.split_uniform:SplitUniform")
NOISES.register("ablation", "rsbounds.noises.ablation:Ablation")
NOISES.register("block-ablation", "rsbounds.noises.block_ablation:BlockAblation")
NOISES.register("band-ablation", "rsbounds.noises.band_ablation:BandAblation")

__all__ = [
    "NOISES",
    "Ablation",
    "BandAblation",
    "BitFlips",
    "BlockAblation",
    "DiagonalGaussian",
    "DiagonalUniform",
    "FullGaussian",
    "Gaussian",
    "Laplace",
    "Lipschitz",
    "LowRankGaussian",
    "Noise",
    "Scale",
    "SplitUniform",
    "Uniform",
    "distances",
    "like",
    "lipschitz_radius",
    "namespace",
    "noise_from_dict",
    "with_complement",
]
