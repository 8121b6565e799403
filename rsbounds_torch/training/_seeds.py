"""Seeds of what a training draws besides its noise, each apart from the others."""

from __future__ import annotations

from typing import Literal

import numpy as np

#: What the numbers are for: order of the inputs; what the model draws itself, such as dropout;
#: transforms of a data set; the search for an input's noise. New ones go last.
_USES = ("order", "model", "item", "smoothing")

Use = Literal["order", "model", "item", "smoothing"]


def derived(seed: int, use: Use, *key: int) -> int:
    """A seed of 64 bits for one use of a training's seed, such as that of an epoch."""
    words = np.random.SeedSequence(seed, spawn_key=(_USES.index(use), *key))
    return int(words.generate_state(1, np.uint64)[0])
