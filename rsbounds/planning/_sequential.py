"""What a test that stops by itself would draw: `rsbounds.Decide` on votes that are simulated."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rsbounds._types import Selection
from rsbounds.noises import Noise
from rsbounds.planning._outcomes import Input
from rsbounds.sequential import Decide

#: Runs of the test for all inputs together, and for one of them.
_ALL, _FEWEST, _MOST = 2000, 8, 400


def forecast_decisions(
    inputs: Sequence[Input],
    noise: Noise | Sequence[Noise],
    *,
    radius: float,
    alpha: float,
    n0: int | None,
    limit: int,
    seed: int,
) -> dict[str, Any]:
    """Draws and answers of ``Decide(radius, no="futile")``, over probabilities and votes.

    Returns
    -------
    dict
        ``yes``, the chance that an input is certified; ``draws``, of one input on average;
        ``median`` and ``most`` (95 %) draws of one; ``total``, expected of all inputs.
    """
    copies = int(np.clip(_ALL // len(inputs), _FEWEST, _MOST))
    p = np.concatenate([one.probabilities(copies) for one in inputs])
    top = np.repeat([one.top for one in inputs], copies)
    rng = np.random.default_rng([seed, 2])
    named: Any = top
    if n0 is not None:
        votes = rng.multinomial(n0, p)
        named = Selection(votes.argmax(axis=1), votes, True)
    draws = np.zeros(len(p), dtype=np.int64)
    yes = np.zeros(len(p), dtype=bool)
    for law, rows in _by_law(noise, copies, len(p)):
        own = Selection(named.top[rows], named.counts[rows], True) if n0 is not None else top[rows]
        test = Decide(radius, own, noise=law, alpha=alpha, no="futile", limit=limit)
        while test.active.any():
            wanted = test.wanted
            fresh = np.zeros((len(rows), p.shape[1]), dtype=np.int64)
            open_ = wanted > 0
            fresh[open_] = rng.multinomial(wanted[open_], p[rows[open_]])
            test.update(fresh)
        draws[rows] = test.n
        yes[rows] = test.status == "yes"
    if n0 is not None:
        yes &= named.top == top
    return {
        "yes": float(yes.mean()),
        "draws": float(draws.mean()),
        "median": float(np.median(draws)),
        "most": float(np.quantile(draws, 0.95)),
        "total": float(draws.reshape(len(inputs), copies).mean(axis=1).sum()),
    }


def _by_law(
    noise: Noise | Sequence[Noise], copies: int, rows: int
) -> list[tuple[Noise, NDArray[np.int64]]]:
    """The rows of each law."""
    if isinstance(noise, Noise):
        return [(noise, np.arange(rows))]
    return [(law, np.arange(copies) + i * copies) for i, law in enumerate(noise)]
