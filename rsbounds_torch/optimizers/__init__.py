"""Noise found for each input: data-dependent smoothing.

`NoiseOptimizer` has the contract, with an example; every optimizer runs in the one loop of
`optimize_noise`. To add one: a file with a `NoiseOptimizer`, and one line
here (or an entry point of the group ``rsbounds.optimizers`` in your own package).
"""

from __future__ import annotations

from rsbounds_torch.optimizers._ascent import optimize_noise
from rsbounds_torch.optimizers._base import OPTIMIZERS, NoiseOptimizer, NoiseProblem

OPTIMIZERS.register("search", "rsbounds_torch.optimizers.search:Search")
OPTIMIZERS.register("ddrs", "rsbounds_torch.optimizers.ddrs:Ddrs")
OPTIMIZERS.register("ancer", "rsbounds_torch.optimizers.ancer:Ancer")
OPTIMIZERS.register("rotated", "rsbounds_torch.optimizers.rotated:Rotated")
OPTIMIZERS.register("low-rank", "rsbounds_torch.optimizers.low_rank:LowRank")
OPTIMIZERS.register("rddrs", "rsbounds_torch.optimizers.rddrs:Rddrs")

__all__ = ["OPTIMIZERS", "NoiseOptimizer", "NoiseProblem", "optimize_noise"]
