"""The contract of an optimizer of noise, and the problem that it is given.

Contract
--------
An optimizer looks for a law with one set of parameters per input that makes each input's
certified region large. It is a frozen dataclass: its fields are its settings. What changes as
it runs is a state, made by `NoiseOptimizer.init` and replaced by `NoiseOptimizer.step`; the loop
around them is `rsbounds_torch.optimizers._ascent.ascend` and nobody else's. It draws with the
role "optimize" alone, so that the draws that certify, and those that judge the result, were
never seen: the law is fixed before they are, and costs no alpha.

An optimizer that looks for another kind of law than it is given says in `NoiseOptimizer.start`
how the law that it is given reads as one of its own, and may name in
`NoiseOptimizer.before` the optimizer whose result it starts from.
"""

from __future__ import annotations

import abc
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar, Generic, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.special import ndtri

from rsbounds._registry import Registry
from rsbounds.bounds.margin import margin_lower_bound
from rsbounds.noises import Noise
from rsbounds.regions import Ball, Region
from rsbounds.streams import Purpose
from rsbounds_torch._sampler import NoisyModel

OPTIMIZERS: Registry[type[NoiseOptimizer[Any]]] = Registry("method", "rsbounds.optimizers")

State = TypeVar("State")


@dataclass(frozen=True, eq=False)
class NoiseProblem:
    """Inputs whose noise is looked for, and the certificate that they are to get.

    Attributes
    ----------
    model : NoisyModel
        The classifier that answers under noise.
    x : (B, ...) tensor
        The inputs, on the model's device.
    start : Noise
        Where the search starts: a law with the batch shape (B,).
    top : (B,) int64
        The classifier's answer at each input under the start's law: the class whose region is
        to grow. Another class may well have a large region under more noise.
    n : int
        Draws of the certificate.
    alpha : float
        Its error probability.
    seed : int
        Seed of the streams.
    streams : list of int
        Stream number of each input.
    diameter : float
        No semi-axis of a region shall be longer: the diameter of the box of all inputs, in the
        norm of the region, or infinity.
    """

    model: NoisyModel
    x: torch.Tensor
    start: Noise
    top: NDArray[np.int64]
    n: int
    alpha: float
    seed: int
    streams: list[int]
    diameter: float = np.inf

    def __len__(self) -> int:
        return len(self.x)

    def votes(self, law: Noise, draws: int, role: Purpose = "optimize") -> NDArray[np.int64]:
        """(B, K) votes under the law; the same draws whatever the law is."""
        return self.model.under(law).votes_on(
            self.x, draws, seed=self.seed, role=role, streams=self.streams
        )

    def region(
        self, law: Noise, draws: int, role: Purpose = "optimize"
    ) -> tuple[Region, NDArray[np.bool_]]:
        """The region that the law would certify, and (B,) whether every draw was a vote.

        The certificate of ``n`` draws is foretold from fewer: the runner-up bound at ``alpha``
        on ``n`` votes that fall as the ``draws`` did, with half a vote more for every class.
        """
        counts = self.votes(law, draws, role)
        shares = (counts + 0.5) / (draws + 0.5 * counts.shape[1])
        foretold = np.floor(shares * self.n).astype(np.int64)
        # What rounding left over goes to the first class that is not the top one.
        foretold[np.arange(len(self)), (self.top == 0).astype(int)] += self.n - foretold.sum(axis=1)
        bound = margin_lower_bound(
            foretold, self.top, alpha=self.alpha, scale=law.scale, method="runner-up",
        )  # fmt: skip
        return law.region(bound), np.asarray(counts.sum(axis=1) == draws)

    def value(self, law: Noise, draws: int, role: Purpose = "optimize") -> NDArray[np.float64]:
        """(B,) radius of the ball with the volume of the region that the law would certify.

        A draw with NaN makes an input worth nothing.
        """
        region, valid = self.region(law, draws, role)
        return np.where(valid, region.proxy_radius(), 0.0)

    @cached_property
    def largest_margin(self) -> float:
        """The margin that n votes of n certify, on the scale of the start's law."""
        share = self.alpha ** (1.0 / self.n)
        return 2.0 * float(ndtri(share)) if self.start.scale == "probit" else 2.0 * share - 1.0

    def largest_factor(self) -> NDArray[np.float64]:
        """(B,) factor on the start's law above which a semi-axis may pass the diameter.

        At least 1: the start is the caller's choice.
        """
        region = self.start.region(np.ones(len(self)))
        axes = region.radius if isinstance(region, Ball) else region.circumscribed_radius()
        reach = np.maximum(self.largest_margin, 1e-300) * axes
        return np.asarray(np.maximum(np.minimum(self.diameter, 1e300) / reach, 1.0))


class NoiseOptimizer(abc.ABC, Generic[State]):
    """Base of the optimizers; see the module's text for the contract."""

    #: Registered name.
    name: ClassVar[str]
    #: Paper and equation that it follows, in one line.
    source: ClassVar[str]
    #: What it costs, in words ("24 x 200 forward passes per input").
    cost: ClassVar[str]
    #: When to choose it, in one sentence.
    choose: ClassVar[str]
    #: Whether the model must be differentiable.
    needs_gradients: ClassVar[bool]
    #: Draws that judge what it found, where the caller names no other number.
    judge_draws: ClassVar[int] = 1000
    #: Steps after which the loop ends in any case.
    steps: int

    def before(self) -> NoiseOptimizer[Any] | None:
        """The optimizer that runs first, and whose result is the start; None where there is none.

        Its result's inscribed radius is what the judge asks of every later result.
        """
        return None

    def start(self, law: Noise, shape: tuple[int, ...]) -> Noise:
        """The law that was given, (B,), as one of the kind looked for, at inputs of that shape.

        Raises
        ------
        ValueError
            Not a law that this optimizer can start from.
        """
        return law

    @abc.abstractmethod
    def init(self, problem: NoiseProblem) -> State:
        """The state at the problem's start."""

    @abc.abstractmethod
    def step(self, problem: NoiseProblem, state: State) -> State:
        """The next state; the one given is left as it was."""

    @abc.abstractmethod
    def done(self, state: State) -> NDArray[np.bool_]:
        """(B,) whether further steps would change nothing for an input."""

    @abc.abstractmethod
    def law(self, problem: NoiseProblem, state: State) -> Noise:
        """The law found so far, one set of parameters per input."""

    def candidates(self, problem: NoiseProblem, state: State) -> list[Noise]:
        """Laws among which the judge chooses for each input, and the start's; `law` alone."""
        return [self.law(problem, state)]


OPTIMIZERS.require(NoiseOptimizer, "name", "source", "cost", "choose", "needs_gradients")

#: Says after each step whether to stop: given the number of steps done.
Stop = Callable[[int], bool]
