"""What an optimizer of noise is (`NoiseOptimizer` has the contract), and its problem."""

from __future__ import annotations

import abc
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Generic, Literal, NamedTuple, TypeVar, get_args

import numpy as np
import torch
from numpy.typing import NDArray

from rsbounds import _validate
from rsbounds._registry import Registry
from rsbounds.noises import Noise
from rsbounds.regions import Ball
from rsbounds_torch._sampler import NoisyModel
from rsbounds_torch.optimizers._foretold import Foretold, foretold

OPTIMIZERS: Registry[type[NoiseOptimizer[Any]]] = Registry(
    "method", "rsbounds.optimizers", "rsbounds_torch.contracts:optimizer_cases"
)

State = TypeVar("State")

#: The streams that may be looked at before a law is fixed; certificates have others.
Sight = Literal["optimize", "judge"]


class Worth(NamedTuple):
    """What a law would certify for each of B inputs.

    Attributes
    ----------
    proxy : (B,) float64
        Radius of the ball with the region's volume.
    inscribed : (B,) float64
        Radius of the largest ball inside.
    error : (B,) float64
        Relative standard error of both.
    """

    proxy: NDArray[np.float64]
    inscribed: NDArray[np.float64]
    error: NDArray[np.float64]


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
    room : (B,) float64
        Factor on the start's law above which the lattice of the certificates' noise, if they
        have one, would not hold it.
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
    room: float | NDArray[np.float64] = np.inf

    def __len__(self) -> int:
        return len(self.x)

    def votes(
        self,
        law: Noise,
        draws: int,
        role: Sight = "optimize",
        first: NDArray[np.int64] | None = None,
    ) -> NDArray[np.int64]:
        """(B, K) votes under the law; the same draws whatever the law is.

        ``first`` is the number of the first draw of each input, 0 by default.
        """
        _validate.choice("role", role, get_args(Sight))
        begin = np.zeros(len(self), np.int64) if first is None else first
        spans = [(int(at), int(at) + draws) for at in begin]
        votes, _ = self.model.under(law).span_votes(
            self.x, spans, seed=self.seed, role=role, streams=self.streams
        )
        return votes

    def worth(self, law: Noise, draws: int, role: Sight = "optimize") -> Worth:
        """What the law would certify, foretold from fewer draws as `Foretold.of_votes` says.

        An input with a draw that is NaN is worth nothing.
        """
        counts = self.votes(law, draws, role)
        margin, error = self.foretold.of_votes(counts, self.top, draws)
        valid = counts.sum(axis=1) == draws
        region = law.region(np.where(valid, np.maximum(margin, 0.0), 0.0))
        return Worth(region.proxy_radius(), region.inscribed_radius(), error)

    @property
    def foretold(self) -> Foretold:
        """The margin of ``n`` draws from the shares of the answers."""
        return foretold(self.n, self.alpha, self.start.scale)

    def at(self, rows: NDArray[np.int64]) -> NoiseProblem:
        """The problem of some of the inputs."""
        some = [int(row) for row in rows]
        return replace(
            self, x=self.x[some], start=self.start.at(rows), top=self.top[some],
            streams=[self.streams[row] for row in some],
            room=np.broadcast_to(self.room, (len(self),))[rows],
        )  # fmt: skip

    def largest_factor(self) -> NDArray[np.float64]:
        """(B,) factor on the start's law above which a semi-axis may pass the diameter.

        Or the law its room. At least 1: the start is the caller's choice.
        """
        region = self.start.region(np.ones(len(self)))
        axes = region.radius if isinstance(region, Ball) else region.circumscribed_radius()
        reach = np.maximum(self.foretold.largest, 1e-300) * axes
        most = np.minimum(np.minimum(self.diameter, 1e300) / reach, self.room)
        return np.asarray(np.maximum(most, 1.0))


class NoiseOptimizer(abc.ABC, Generic[State]):
    """Base of the optimizers: a noise law for each input, that makes its region large.

    Contract
    --------
    An optimizer looks for a law with one set of parameters per input that makes each input's
    certified region large. What changes as it runs is a state, made by `init` and replaced by
    `step`; the loop around them is `optimize_noise` and nobody else's. It draws with the role
    "optimize" alone (`NoiseProblem.votes` and `NoiseProblem.worth` do), so that the draws that
    certify, and those that judge the result, were never seen: the law is fixed before they are,
    and costs no alpha. The judge takes the start's law wherever the one found is worth less.

    What you write: a frozen dataclass below this class, whose fields are its settings, ``steps``
    among them; the texts ``name``, ``source``, ``cost`` and ``choose``; ``needs_gradients``; and
    `init`, `step`, `done` and `law`. An optimizer that looks for another kind of law than it is
    given says in `start` how that one reads as one of its own, and may name in `before` the
    optimizer whose result it starts from; `candidates` may offer the judge several laws.

    What is checked: at registration, that all of that is there; by the checks of
    `rsbounds_torch.contracts.OPTIMIZER_CHECKS` (on the command line ``rsbounds check-plugin
    NAME``) that there is one law for each input, that the seed decides, that inputs do not matter
    to each other, that a step leaves the state it was given, and that no input ends worse than it
    began.

    Examples
    --------
    >>> from dataclasses import dataclass
    >>> import numpy as np, rsbounds, rsbounds_torch, torch
    >>> from rsbounds_torch.optimizers import NoiseOptimizer, optimize_noise
    >>> @dataclass(frozen=True)
    ... class Doubling(NoiseOptimizer):
    ...     '''Twice the noise as long as that looks better; the state is (worth, factor, done).'''
    ...     steps: int = 4
    ...     draws: int = 200
    ...     name, source, needs_gradients = "doubling", "nobody: an example", False
    ...     cost, choose = "up to steps x draws forward passes", "never: search is better"
    ...     def init(self, problem):
    ...         worth = problem.worth(problem.start, self.draws).proxy
    ...         return worth, np.ones(len(problem)), np.zeros(len(problem), dtype=bool)
    ...     def step(self, problem, state):
    ...         worth, factor, done = state
    ...         found = problem.worth(problem.start.scaled(2 * factor), self.draws).proxy
    ...         done = done | (found <= worth) | (2 * factor > problem.largest_factor())
    ...         return np.where(done, worth, found), np.where(done, factor, 2 * factor), done
    ...     def done(self, state):
    ...         return state[2]
    ...     def law(self, problem, state):
    ...         return problem.start.scaled(state[1])
    >>> classifier = rsbounds_torch.SmoothedClassifier(
    ...     lambda x: torch.stack([-x[:, 0], x[:, 0]], dim=1), num_classes=2,
    ...     noise=rsbounds.Gaussian(0.25), input_shape=(2,))
    >>> x = torch.tensor([[2.0, 0.0], [0.1, 0.0]])
    >>> law = optimize_noise(classifier, x, method=Doubling(), n=1000, seed=1, progress=False)
    >>> law.sigma
    array([1.  , 0.25])

    By its name: ``OPTIMIZERS.register("doubling", Doubling)``, or an entry point of the group
    ``rsbounds.optimizers``.
    """

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
