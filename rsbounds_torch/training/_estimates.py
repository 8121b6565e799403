"""What held-out inputs say after an epoch: an estimate from few draws, and no certificate.

The class and the bound come from the same votes, and the draws are few: the figures are for
comparing epochs with each other. The draws are none of those that certify.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from rsbounds.bounds.margin import margin_lower_bound
from rsbounds.noises import Noise
from rsbounds_torch._ranks import gather, ranks
from rsbounds_torch._sampler import NoisyModel
from rsbounds_torch.training._examples import Examples

#: Held-out inputs whose votes are counted together.
_TOGETHER = 256


def estimates(
    model: NoisyModel, held: Examples, draws: int, alpha: float, seed: int
) -> dict[str, float]:
    """Noisy accuracy, certified accuracy at a radius, and ACR, each from ``draws`` draws.

    ``noisy_accuracy`` is the share of votes for the label. ``radius`` is half the largest that so
    many draws certify; ``certified_accuracy`` the share of inputs that are right with at least
    that radius; ``acr`` the mean radius, wrong counted as 0. An input with NaN counts as wrong.
    """
    rank, size = ranks()
    mine = np.arange(rank, held.size, size)
    rows = np.zeros((len(mine), 3))
    for first in range(0, len(mine), _TOGETHER):
        some = mine[first : first + _TOGETHER]
        x, y = held.batch(some, 0)
        votes = model.votes_on(x, draws, seed=seed, role="judge", streams=some.tolist())
        label = y.cpu().numpy()
        top = votes.argmax(axis=1)
        right = (top == label) & (votes.sum(axis=1) == draws)
        radius = np.where(right, radii(model.noise, votes, top, alpha), 0.0)
        share = votes[np.arange(len(label)), label] / draws
        rows[first : first + len(some)] = np.stack([share, right, radius], axis=1)
    # In the order of the inputs, so that sums do not depend on the ranks.
    whole = np.empty((held.size, 3))
    for number, part in enumerate(gather(rows)):
        whole[number::size] = part
    one = np.zeros((1, model.num_classes), dtype=np.int64)
    one[0, 0] = draws
    half = 0.5 * float(radii(model.noise, one, np.zeros(1, np.int64), alpha)[0])
    certified = (whole[:, 1] > 0) & (whole[:, 2] >= half)
    return {
        "noisy_accuracy": float(whole[:, 0].mean()),
        "certified_accuracy": float(certified.mean()),
        "radius": half,
        "acr": float(whole[:, 2].mean()),
    }


def radii(
    law: Noise, votes: NDArray[np.int64], top: NDArray[np.int64], alpha: float
) -> NDArray[np.float64]:
    """(B,) radii that votes would certify; 0 where there are none."""
    some = votes.sum(axis=1) > 0
    found = np.zeros(len(votes))
    if some.any():
        bound = margin_lower_bound(
            votes[some], top[some], alpha=alpha, scale=law.scale, method="runner-up"
        )
        found[some] = law.region(bound).proxy_radius()
    return found
