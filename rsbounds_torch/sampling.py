"""Votes counted on the device, which say how many of their draws were NaN."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from rsbounds._types import Counts
from rsbounds.streams import Piece


@dataclass(frozen=True, eq=False)
class SampledCounts(Counts):
    """Votes under noise, and how many draws gave NaN instead of a vote.

    A draw whose logits hold a NaN is no vote: ``values`` leaves it out, and a bound computed
    from the votes that remain would be about another classifier. Handing such counts to the
    core therefore raises ValueError; `SmoothedClassifier.certify` abstains on those inputs.

    Attributes
    ----------
    values, role, seed
        As in `rsbounds.Counts`; row i of ``values`` sums to the draws less ``invalid[i]``.
    invalid : (B,) int64
        Draws with a NaN among their logits.
    """

    invalid: NDArray[np.int64]

    def __post_init__(self) -> None:
        super().__post_init__()
        frozen = self.invalid.view()
        frozen.flags.writeable = False
        object.__setattr__(self, "invalid", frozen)

    @property
    def n(self) -> NDArray[np.int64]:
        """(B,) draws per input, invalid ones included."""
        return np.asarray(self.values.sum(axis=1) + self.invalid)

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NDArray[Any]:
        if self.invalid.any():
            row = int(np.argmax(self.invalid > 0))
            raise ValueError(
                f"counts row {row} has {self.invalid[row]} NaN draws of {self.n[row]}; allowed: 0 "
                "(SmoothedClassifier.certify abstains on such rows)"
            )
        return super().__array__(dtype, copy)


class Tally:
    """Votes counted on the device, without waiting for it.

    Winning classes and winning scores of many batches are kept and added to the table now and
    then, because one addition over many draws is cheaper than one for each batch. A NaN wins
    over every number, so a winning score that is NaN tells that there was one.
    """

    def __init__(self, rows: int, classes: int, capacity: int, device: torch.device) -> None:
        self._table = torch.zeros(rows * (classes + 1), dtype=torch.int64, device=device)
        self._classes = classes
        self._best: torch.Tensor | None = None
        self._vote = torch.empty(capacity, dtype=torch.int64, device=device)
        self._pieces: list[Piece] = []
        self._used = 0

    def add(self, scores: torch.Tensor, pieces: list[Piece]) -> None:
        """Count the argmax of each row of (m, K) scores for the inputs of ``pieces``."""
        size = len(scores)
        if self._used + size > len(self._vote):
            self._flush()
        if self._best is None or self._best.dtype != scores.dtype:
            self._flush()
            self._best = torch.empty(len(self._vote), dtype=scores.dtype, device=scores.device)
        span = slice(self._used, self._used + size)
        torch.max(scores, 1, out=(self._best[span], self._vote[span]))
        self._pieces.extend(pieces)
        self._used += size

    def _flush(self) -> None:
        if self._used == 0 or self._best is None:
            return
        device = self._table.device
        rows = torch.tensor([p.row for p in self._pieces])
        counts = torch.tensor([p.count for p in self._pieces])
        where = torch.repeat_interleave(rows * (self._classes + 1), counts).to(
            device, non_blocking=True
        )
        vote = self._vote[: self._used]
        vote.masked_fill_(torch.isnan(self._best[: self._used]), self._classes)
        self._table.scatter_add_(0, where + vote, torch.ones_like(vote))
        self._pieces.clear()
        self._used = 0

    def result(self) -> NDArray[np.int64]:
        """(rows, classes + 1) counts; the last column is the draws that gave NaN."""
        self._flush()
        table: NDArray[np.int64] = self._table.cpu().numpy()
        return table.reshape(-1, self._classes + 1)
