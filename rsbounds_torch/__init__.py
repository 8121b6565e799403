"""PyTorch models under noise: tensors in, counts, scores and certificates of `rsbounds` out.

`SmoothedClassifier` wraps a model; `certify_dataset` runs it over a data set, resumably and on
one process or many; `optimize_noise` finds a noise law for each input;
`rsbounds_torch.training` has losses that train for certificates; `lipschitz_upper_bound` bounds
a network's Lipschitz constant from above.
The public names are those of ``__init__.pyi``, imported on first use: the command line reads what
is registered here without loading torch.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
