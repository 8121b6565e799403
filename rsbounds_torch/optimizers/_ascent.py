"""The one loop of all optimizers, and the judge of what it found."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import fields, replace
from typing import Any, cast

import numpy as np
import torch

from rsbounds import _validate
from rsbounds._parallel import Progress
from rsbounds.noises import Noise
from rsbounds.noises._lattice import LatticeLaw
from rsbounds_torch import _inputs
from rsbounds_torch._inputs import Inputs
from rsbounds_torch._sampler import NoisyModel
from rsbounds_torch.optimizers._base import (
    OPTIMIZERS,
    NoiseOptimizer,
    NoiseProblem,
    State,
    Stop,
)

#: Standard errors that are taken off what a law is worth before it is compared.
_SURE = 2.0


def ascend(
    optimizer: NoiseOptimizer[State],
    problem: NoiseProblem,
    *,
    progress: bool | None = None,
    stop: Stop | None = None,
) -> State:
    """Step until every input is done, the steps are used up, or ``stop`` says so."""
    state = optimizer.init(problem)
    with Progress(optimizer.steps, f"{optimizer.name} steps", progress) as bar:
        for step in range(1, optimizer.steps + 1):
            if optimizer.done(state).all():
                break
            state = optimizer.step(problem, state)
            bar.advance(1)
            if stop is not None and stop(step):
                break
    return state


def noise_problem(
    classifier: NoisyModel, x: torch.Tensor, start: Noise, *, n: int, alpha: float, seed: int,
    streams: list[int], draws: int, diameter: float = math.inf,
) -> NoiseProblem:  # fmt: skip
    """The problem of growing the region of what the classifier answers under the start's law."""
    votes = classifier.under(start).votes_on(x, draws, seed=seed, role="optimize", streams=streams)
    top = votes.argmax(axis=1)
    return NoiseProblem(classifier, x, start, top, n, alpha, seed, streams, diameter)


def best_of(
    problem: NoiseProblem, found: Sequence[Noise], draws: int, inner: Noise, slack: float = 0.0
) -> Noise:
    """For each input the best of the start and what was found, on draws used for nothing else.

    What takes the start's place is worth more, also by what is sure of either, and its inscribed
    radius is not below that of ``inner`` times 1 - slack, by more than the standard error of the
    draws: the best law there is has just that radius, and half of all draws would find it below.
    """
    # Equal votes give equal radii up to the rounding of their axes.
    needed = (1.0 - slack - 1e-9) * problem.worth(inner, draws, "judge").inscribed
    best, (most, _, error) = problem.start, problem.worth(problem.start, draws, "judge")
    surest = most * (1.0 - _SURE * error)
    for law in found:
        proxy, inscribed, error = problem.worth(law, draws, "judge")
        sure = proxy * (1.0 - _SURE * error)
        better = (proxy > most) & (sure > surest) & (inscribed * (1.0 + error) >= needed)
        best = law.where(better, best)
        most, surest = np.where(better, proxy, most), np.where(better, sure, surest)
    return best


def run_stages(
    optimizer: NoiseOptimizer[Any],
    problem: NoiseProblem,
    judge_draws: int,
    *,
    progress: bool | None = None,
    stop: Stop | None = None,
) -> Noise:
    """The law that an optimizer finds, after what it wants to run before it."""
    asked = _Asked(stop)
    inner: Noise | None = None
    for stage in _stages(optimizer):
        problem = replace(problem, start=stage.start(problem.start, tuple(problem.x.shape[1:])))
        if asked.ended:
            continue
        state = ascend(stage, problem, progress=progress, stop=asked)
        found = stage.candidates(problem, state)
        slack = float(getattr(stage, "slack", 0.0))
        reference = problem.start if inner is None else inner
        problem = replace(problem, start=best_of(problem, found, judge_draws, reference, slack))
        inner = problem.start if inner is None else inner
    return problem.start


class _Asked:
    """Hands on the number of steps of all stages, and remembers that it is the end."""

    def __init__(self, stop: Stop | None) -> None:
        self._stop, self._steps, self.ended = stop, 0, False

    def __call__(self, step: int) -> bool:
        self._steps += 1
        self.ended = self._stop is not None and self._stop(self._steps)
        return self.ended


def _stages(optimizer: NoiseOptimizer[Any]) -> list[NoiseOptimizer[Any]]:
    first = optimizer.before()
    return [optimizer] if first is None else [*_stages(first), optimizer]


def optimize_noise(
    classifier: NoisyModel,
    inputs: Inputs,
    *,
    method: str | NoiseOptimizer[Any] = "search",
    noise0: Noise | None = None,
    n: int = 100_000,
    alpha: float = 0.001,
    judge_draws: int | None = None,
    cap: bool = True,
    seed: int | None = None,
    index: int | Sequence[int] = 0,
    progress: bool | None = None,
    stop: Stop | None = None,
    **options: Any,
) -> Noise:
    """A noise law for each input, found to make its certified region large.

    The law is fixed before any draw that certifies is made, so `SmoothedClassifier.certify` with
    it keeps its error probability; each certificate is about the classifier smoothed with that
    input's own law (Alfarra et al. 2022, section 3). Nothing is promised about the size of the
    regions but that, on draws used for nothing else, each was worth no less than the start's.
    Where the regions are no balls, report ``inscribed_radius`` beside ``proxy_radius``: a region
    may be long in directions that no input takes. Where the start's noise is on a lattice, so is
    that of a law of the same kind, within the lattice's room; other kinds add floats.

    Parameters
    ----------
    classifier : SmoothedClassifier
        The model with its noise.
    inputs : (B, ...) or (...) tensor or array_like
        A batch of inputs, or one input, in raw units.
    method : str or NoiseOptimizer
        A name in `rsbounds_torch.optimizers.OPTIMIZERS`, or an optimizer with its settings.
    noise0 : Noise, optional
        Where to start, one law for all inputs or one each; by default the classifier's noise.
    n, alpha : int, float
        Draws and error probability of the certificates to come.
    judge_draws : int, optional
        Draws that tell the classifier's answer under the start's law, whose region is to grow,
        and as many others that decide between the start and the end, for each input; by default
        1000, and 2000 for methods whose regions are no balls.
    cap : bool
        Where the classifier's ``input_bounds`` are known, no semi-axis of a certificate of ``n``
        draws shall be longer than the diameter of that box (unless the start's is).
    seed : int, optional
        Seed of the streams; a fresh one by default. The seed of the certificates may be the
        same: the draws are others.
    index : int or (B,) integers
        Stream number of each input, as in `SmoothedClassifier.certify`.
    progress : bool, optional
        Show a progress line; None shows it where stderr is a terminal.
    stop : callable, optional
        Called with the number of steps done; True ends the search with what it has.
    **options
        Settings of the method.

    Returns
    -------
    Noise
        A law with one set of parameters per input, for ``certify(inputs, noise=law)``.

    Raises
    ------
    ValueError
        Bad arguments, a law that has no scale or that the method cannot start from, or a
        method that needs gradients and a model that has none.

    Examples
    --------
    >>> import torch, rsbounds, rsbounds_torch
    >>> model = torch.nn.Linear(2, 2, bias=False)
    >>> _ = torch.nn.init.eye_(model.weight)
    >>> classifier = rsbounds_torch.SmoothedClassifier(
    ...     model, num_classes=2, noise=rsbounds.Gaussian(sigma=0.1))
    >>> x = torch.tensor([[3.0, 0.0], [0.0, 0.7]])
    >>> law = rsbounds_torch.optimize_noise(classifier, x, n=10_000, seed=1)
    >>> found = classifier.certify(x, noise=law, n=10_000, seed=1)
    >>> bool((found.radius > classifier.certify(x, n=10_000, seed=1).radius).all())
    True
    """
    _validate.integer("n", n, low=1, high=_validate.MAX_N)
    level = _validate.alpha(alpha)
    optimizer = chosen_optimizer(method, options)
    judged = optimizer.judge_draws if judge_draws is None else judge_draws
    _validate.integer("judge_draws", judged, low=1)
    x = classifier.batch_of(inputs)
    start = classifier.noise if noise0 is None else noise0
    if not isinstance(start, Noise):
        raise ValueError(f"noise0 is {start!r}; allowed: a noise law such as Gaussian(sigma=0.25)")
    start.check_rows(len(x))
    # Looking needs no exact noise, which takes a table for each scale.
    each = first = start.in_floats().scaled(np.ones(len(x)))
    # What a method cannot start from is refused before the first draw.
    for stage in _stages(optimizer):
        each = stage.start(each, tuple(x.shape[1:]))
    spacing = start.spacing if type(each) is type(start) else None
    problem = noise_problem(
        classifier, x, first, n=n, alpha=level,
        seed=_inputs.chosen_seed(seed), streams=_inputs.stream_numbers(index, len(x)),
        draws=judged, diameter=_diameter(classifier, x, start) if cap else math.inf,
    )  # fmt: skip
    if spacing is not None and isinstance(first, LatticeLaw):
        problem = replace(problem, room=first.room(spacing)[1])
    found = run_stages(optimizer, problem, judged, progress=progress, stop=stop)
    if spacing is None or not isinstance(found, LatticeLaw):
        return found
    low, high = found.room(spacing)
    fits = (low <= 1) & (high >= 1)
    return found.where(fits, cast(LatticeLaw, first)).on_lattice(spacing)


def _diameter(classifier: NoisyModel, x: torch.Tensor, start: Noise) -> float:
    """Of the box of all inputs, in the norm of the law's regions."""
    if classifier.input_bounds is None:
        return math.inf
    low, high = classifier.input_bounds
    sides = x[0].numel()
    return (high - low) * (sides if start.norm.endswith("l1") else math.sqrt(sides))


def chosen_optimizer(
    method: str | NoiseOptimizer[Any], options: Mapping[str, Any]
) -> NoiseOptimizer[Any]:
    """The optimizer of that name with some settings, or the one that is built already."""
    if isinstance(method, NoiseOptimizer):
        OPTIMIZERS.refuse_impostor(method)
        _validate.known_options(f"{method.name} (already built)", options, ())
        return method
    kind = OPTIMIZERS[method]
    # Optimizers are frozen dataclasses: their fields are their settings.
    _validate.known_options(method, options, (f.name for f in fields(kind)))  # type: ignore[arg-type]
    return kind(**options)
