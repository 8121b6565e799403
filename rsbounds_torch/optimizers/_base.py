"""The contract of an optimizer of noise, and the problem that it is given.

Contract
--------
An optimizer looks for a law with one set of parameters per input that makes each input's
certified region large. It is a frozen dataclass: its fields are its settings. What changes as
it runs is a state, made by `NoiseOptimizer.init` and replaced by `NoiseOptimizer.step`; the loop
around them is `rsbounds_torch.optimizers._ascent.ascend` and nobody else's. It draws with the
role "optimize" alone, so that the draws that certify, and those that judge the result, were
never seen: the law is fixed before they are, and costs no alpha.
"""

from __future__ import annotations

import abc
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar, Generic, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray

from rsbounds._registry import Registry
from rsbounds.bounds.margin import margin_lower_bound
from rsbounds.noises import Noise
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
    """

    model: NoisyModel
    x: torch.Tensor
    start: Noise
    top: NDArray[np.int64]
    n: int
    alpha: float
    seed: int
    streams: list[int]

    def __len__(self) -> int:
        return len(self.x)

    def votes(self, law: Noise, draws: int, role: Purpose = "optimize") -> NDArray[np.int64]:
        """(B, K) votes under the law; the same draws whatever the law is."""
        return self.model.under(law).votes_on(
            self.x, draws, seed=self.seed, role=role, streams=self.streams
        )

    def value(self, law: Noise, draws: int, role: Purpose = "optimize") -> NDArray[np.float64]:
        """(B,) radius of the ball with the volume of the region that the law would certify.

        The certificate of ``n`` draws is foretold from fewer: the runner-up bound at ``alpha``
        on ``n`` votes that fall as the ``draws`` did, with half a vote more for every class.
        A draw with NaN makes an input worth nothing.
        """
        counts = self.votes(law, draws, role)
        shares = (counts + 0.5) / (draws + 0.5 * counts.shape[1])
        foretold = np.floor(shares * self.n).astype(np.int64)
        # What rounding left over goes to the first class that is not the top one.
        foretold[np.arange(len(self)), (self.top == 0).astype(int)] += self.n - foretold.sum(axis=1)
        bound = margin_lower_bound(
            foretold, self.top, alpha=self.alpha, scale=law.scale, method="runner-up",
        )  # fmt: skip
        worth = law.region(bound).proxy_radius()
        return np.where(counts.sum(axis=1) == draws, worth, 0.0)


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
    #: Steps after which the loop ends in any case.
    steps: int

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


OPTIMIZERS.require(NoiseOptimizer, "name", "source", "cost", "choose", "needs_gradients")

#: Says after each step whether to stop: given the number of steps done.
Stop = Callable[[int], bool]
