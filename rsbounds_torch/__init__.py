"""PyTorch models under noise: tensors in, counts, scores and certificates of `rsbounds` out.

`SmoothedClassifier` wraps a model; `certify_dataset` runs it over a data set, resumably and on
one process or many; `optimize_noise` finds a noise law for each input; `train` trains a model
to be certified, with any of the losses of `rsbounds_torch.training`; `rsbounds_torch.models` has
networks to start from; `lipschitz_upper_bound` bounds a network's Lipschitz constant from above.
``dir(rsbounds_torch)`` lists the public names, which ``__init__.pyi`` says once; each is imported
on first use: the command line reads what is registered here without loading torch.
"""

import lazy_loader

# Without `__all__`, as in `rsbounds`: `help` stays short.
__getattr__, __dir__, _ = lazy_loader.attach_stub(__name__, __file__)
del lazy_loader
