"""PyTorch models under noise: tensors in, counts, scores and certificates of `rsbounds` out.

`SmoothedClassifier` wraps a model; `certify_dataset` runs it over a data set, resumably and on
one process or many; `optimize_noise` finds a noise law for each input;
`rsbounds_torch.training` has losses that train for certificates; `lipschitz_upper_bound` bounds
a network's Lipschitz constant from above.
"""

from __future__ import annotations

from rsbounds_torch.distributed import certify_dataset
from rsbounds_torch.lipschitz import lipschitz_upper_bound
from rsbounds_torch.model import SmoothedClassifier
from rsbounds_torch.optimizers import optimize_noise
from rsbounds_torch.sampling import SampledCounts

__all__ = [
    "SampledCounts",
    "SmoothedClassifier",
    "certify_dataset",
    "lipschitz_upper_bound",
    "optimize_noise",
]
