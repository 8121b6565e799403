"""What must hold before a model is sampled: each row is answered by itself, and again the same.

A bound needs draws that are independent. Where an answer depends on the other rows of its batch
(batch statistics), or on random numbers that nothing seeds, the counts depend on the batch size
and the certificate is about no classifier at all. A handful of noisy rows, evaluated in another
company, order and number, tells.
"""

from __future__ import annotations

import threading

import torch
from torch.nn.modules.batchnorm import _NormBase

from rsbounds.noises import Noise
from rsbounds_torch._loop import FAILURES, RANDOM, Evaluation
from rsbounds_torch._modules import notice_modules
from rsbounds_torch._random import other_state
from rsbounds_torch.streams import noise_stream

#: Noisy rows that are compared.
_ROWS = 4
#: Differences of answers, relative to the largest, in rounding errors: the same kernel at the
#: same place of a batch of the same size.
_EXACT = 256.0
#: The same at another place or size, where another kernel computes, perhaps in fewer bits.
_ROUGH = 2.0**-4


def read_shape(evaluation: Evaluation, batch: torch.Tensor) -> None:
    """Evaluate a first batch; raise ValueError where the model does not take it.

    Modules that only the call itself shows are found here, and put in eval mode before they
    compute.
    """
    kept = evaluation.buffers()
    try:
        with evaluation.active(0), notice_modules(evaluation.modules()) as met:
            try:
                evaluation.answers(batch.clone(), len(batch), plain=True)
            finally:
                evaluation.notice(met)
    finally:
        # A model that is refused is left as it was.
        with torch.no_grad():
            evaluation.put_back(kept)


def probe(evaluation: Evaluation, noise: Noise, x: torch.Tensor, alone: bool) -> None:
    """Raise ValueError unless the model answers noisy rows of the inputs each by itself.

    Parameters
    ----------
    evaluation : Evaluation
        The model.
    noise : Noise
        Law whose draws the rows are.
    x : (B, ...) tensor
        Inputs.
    alone : bool
        Every row will be a batch of its own, so that it has no company.
    """
    rows, others = _noisy(evaluation, noise, x)
    kept = evaluation.buffers()
    try:
        with evaluation.active(0):
            if evaluation.stochastic:
                _check_seeded(evaluation, rows[:1])
            else:
                _check_rows(evaluation, rows, others, alone)
    finally:
        with torch.no_grad():
            changed = evaluation.put_back(kept)
    if changed:
        raise ValueError(
            f"model changes its own {changed[0]} while it is evaluated, so that an answer depends "
            "on those before it; allowed: a model that only answers"
        )


def _noisy(
    evaluation: Evaluation, noise: Noise, x: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """Noisy copies of the first and last input, and as many with more noise, for company."""
    shape = tuple(x.shape[1:])
    stream = noise_stream(noise, shape, seed=0, role="select", device=evaluation.device)
    flat = x.reshape(len(x), -1)
    made = x.new_zeros((2 * _ROWS, *shape))
    for i, row in enumerate(made.view(2 * _ROWS, -1)):
        at = 0 if i % 2 == 0 else len(x) - 1
        stream.add(row[None], flat[at], at, i, at)
    rows, others = made[:_ROWS], made[_ROWS:]
    return rows, others + 2 * (others - rows)


def _check_rows(
    evaluation: Evaluation, rows: torch.Tensor, others: torch.Tensor, alone: bool
) -> None:
    def answer(batch: torch.Tensor) -> torch.Tensor:
        try:
            return evaluation.answers(batch.contiguous(), len(batch), plain=True)
        except FAILURES as error:
            what = str(error).strip().splitlines()[0] if str(error) else repr(error)
            raise ValueError(
                f"model failed on {len(batch)} noisy inputs: {what}; allowed: a model that takes "
                "any batch size (an exported program needs a dynamic batch dimension)"
            ) from None

    size = 1 if alone else _ROWS
    state = other_state()
    first, again = answer(rows[:size]), answer(rows[:size])
    scale = _scale(first)
    # The same numbers in the same places: only a model that draws, or remembers, differs.
    exact = _EXACT * evaluation.rounding(first)
    # Numbers drawn may have been drawn by another thread; torch's are told apart in the loop.
    drew = threading.active_count() == 1 and state != other_state()
    if drew or not _close(first, again, exact * scale):
        raise ValueError(f"model answers the same inputs differently; {RANDOM}")
    if alone:
        return
    half = _ROWS // 2
    steady = _close(first[:half], answer(torch.cat([rows[:half], others[half:]]))[:half],
                    exact * scale)  # fmt: skip
    steady = steady and _close(first, answer(rows.flip(0)).flip(0), _ROUGH * scale)
    if not steady or not _close(first[:1], answer(rows[:1]), _ROUGH * scale):
        raise _company(evaluation, "in the company of others")


def check_company(evaluation: Evaluation, batch: torch.Tensor, answers: torch.Tensor) -> None:
    """Raise ValueError where a batch of the size that is sampled with is answered otherwise.

    Some rows of it are asked about again in a batch of their own: a model may mind the company
    of many and not of few. Call it while the model is active.
    """
    chosen = torch.linspace(0, len(batch) - 1, min(_ROWS, len(batch)), device=batch.device).long()
    few = evaluation.answers(batch[chosen], len(chosen), plain=True)
    among = answers[chosen]
    if not _close(few, among, _ROUGH * _scale(torch.cat([few, among]))):
        raise _company(evaluation, f"in a batch of {len(batch)} and of {len(chosen)}")


def _check_seeded(evaluation: Evaluation, row: torch.Tensor) -> None:
    first, again, other = (evaluation.answers(row, 1, [key], plain=True) for key in (1, 1, 2))
    tolerance = _EXACT * evaluation.rounding(first) * _scale(torch.cat([first, other]))
    if not _close(first, again, tolerance):
        raise ValueError(
            "model draws random numbers that no seed reaches, from a generator of its own; "
            "allowed: torch's, numpy's or Python's global random numbers, which are seeded for "
            "each draw"
        )


def _scale(answers: torch.Tensor) -> float:
    size = answers.double().abs()
    finite = size[torch.isfinite(size)]
    return float(finite.max()) if finite.numel() else 0.0


def _close(first: torch.Tensor, second: torch.Tensor, tolerance: float) -> bool:
    a, b = first.double(), second.double()
    same = (a == b) | (a.isnan() & b.isnan()) | ((a - b).abs() <= tolerance)
    return bool(same.all())


def _company(evaluation: Evaluation, where: str) -> ValueError:
    return ValueError(
        f"model answers an input differently {where}: it depends on its batch "
        f"({_suspects(evaluation)}); allowed: a model that answers each row by itself, or "
        "batch_size=1"
    )


def _suspects(evaluation: Evaluation) -> str:
    for root in evaluation.modules():
        for name, part in root.named_modules():
            if isinstance(part, _NormBase) and (part.training or part.running_mean is None):
                return f"{type(part).__name__} {name!r} normalises by batch statistics"
    return "such as by batch statistics"
