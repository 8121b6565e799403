"""Votes of a classifier under noise, turned into guarantees (randomized smoothing).

    counts = rsbounds.sample_counts(model, x, n=10_000, noise=law, seed=0)   votes for each class
    rsbounds.certify(counts, top, noise=law)         a radius in which the answer stays
    rsbounds.certify_top_k(counts, top, k, noise=law)  one in which it stays among the first k
    rsbounds.certify_components(counts, top, noise=law)  radii of many components that hold together
    rsbounds.certify_quantile(samples, radii, noise=law)  values that real outputs keep to
    rsbounds.predict(counts)                         the answer itself, or an abstention
    rsbounds.margin_lower_bound, mean_bound          the statistics alone, without geometry
    rsbounds.confidence_sequence, Decide, MarginSequence   what holds at every moment
    rsbounds.certify_dataset, compare, rebound       whole data sets, stored and bounded again
    rsbounds.plan(p=..., noise=law, radius=0.5)      a forecast of the draws that this takes

``dir(rsbounds)`` lists the public names, which ``__init__.pyi`` says once; each is imported on
first use, so that ``import rsbounds`` costs nothing. ``help(rsbounds.certify)`` explains one of
them, ``rsbounds methods`` on the command line what is registered.
"""

import lazy_loader

# Without `__all__`, with which `help(rsbounds)` would print every docstring of the package;
# `from rsbounds import *` gives no names therefore.
__getattr__, __dir__, _ = lazy_loader.attach_stub(__name__, __file__)
del lazy_loader
