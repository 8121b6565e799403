"""Votes of a classifier under noise, turned into guarantees (randomized smoothing).

Counts go in, certified lower bounds and radii come out; `certify` is the place to start. The
public names are those of ``__init__.pyi``, imported on first use, so that ``import rsbounds``
costs nothing.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
