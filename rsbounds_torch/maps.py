"""From logits to scores in [0, 1], for bounds on mean scores."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

import torch

from rsbounds import _validate

SimplexMap = Literal["softmax", "sparsemax", "hardmax"] | Callable[[torch.Tensor], torch.Tensor]

_MAPS = ("softmax", "sparsemax", "hardmax")


def simplex_map(
    given: SimplexMap | None, temperature: float
) -> Callable[[torch.Tensor], torch.Tensor]:
    """The map of (m, K) float64 logits to scores that was asked for, at a temperature."""
    scale = _validate.positive("temperature", temperature)
    if given is None:
        return lambda scores: scores
    if callable(given):
        return lambda logits: given(logits / scale)
    _validate.choice("map", given, _MAPS)
    if given == "softmax":
        return lambda logits: torch.softmax(logits / scale, dim=1)
    if given == "sparsemax":
        return lambda logits: sparsemax(logits / scale)
    return lambda logits: torch.nn.functional.one_hot(logits.argmax(1), logits.shape[1]).double()


def sparsemax(logits: torch.Tensor) -> torch.Tensor:
    """Euclidean projection of each row onto the simplex (Martins and Astudillo 2016, Alg. 1).

    Parameters
    ----------
    logits : (m, K) tensor
        Finite numbers.

    Returns
    -------
    (m, K) tensor
        Scores >= 0 that add to 1.

    Examples
    --------
    >>> import torch
    >>> sparsemax(torch.tensor([[2.0, 0.0, 1.5]])).tolist()
    [[0.75, 0.0, 0.25]]
    """
    shifted = logits - logits.max(dim=1, keepdim=True).values
    ordered = torch.sort(shifted, dim=1, descending=True).values
    sums = ordered.cumsum(1) - 1.0
    rank = torch.arange(1, logits.shape[1] + 1, device=logits.device, dtype=logits.dtype)
    kept = (ordered * rank > sums).sum(dim=1, keepdim=True)
    threshold = sums.gather(1, kept - 1) / kept
    return (shifted - threshold).clamp(min=0.0)


def check_scores(scores: Any, shape: torch.Size) -> None:
    """Refuse what a map returned, if it is not scores of that shape in [0, 1]."""
    if not isinstance(scores, torch.Tensor) or scores.shape != shape:
        got = tuple(scores.shape) if isinstance(scores, torch.Tensor) else type(scores).__name__
        raise ValueError(f"map returned {got}; allowed: scores of shape {tuple(shape)}")
    # A sum of rounded terms may pass 1 by a little; that is clipped.
    outside = ~((scores >= -1e-6) & (scores <= 1.0 + 1e-6))
    if bool(outside.any()):
        row, column = (int(i) for i in outside.nonzero()[0])
        raise ValueError(
            f"map returned {scores[row, column].item()} for class {column}; allowed: scores in "
            "[0, 1] (map=None is for models that return probabilities)"
        )
