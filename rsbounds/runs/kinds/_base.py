"""What every kind of run provides."""

from __future__ import annotations

import abc
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from rsbounds._types import Certificates, Selection, content_hash
from rsbounds.certificates.exact import offset_of
from rsbounds.noises import Noise
from rsbounds.runs.subject import Subject
from rsbounds.sequential._feed import Rule

Evidence = Mapping[str, Any] | None


@dataclass(frozen=True)
class Settings:
    """What a kind is told; ``method`` and ``options`` mean what the kind says they mean."""

    alpha: float
    method: Any
    options: Mapping[str, Any]
    n: int
    n0: int


@dataclass(frozen=True, eq=False)
class Drawn:
    """What was drawn of b inputs.

    Attributes
    ----------
    select, estimate : (b, K) int64
        Votes of the selection and of the estimation sample; zeros where there are scores.
    invalid : (b,) int64
        Draws of either without a valid answer.
    n : (b,) int64
        Draws of the estimation sample.
    evidence : (b,) mappings or None
        What else a certificate rests on, as plain values.
    offset : (b,) float64 or None
        Where noise is drawn on a lattice, how far the inputs are from it, in the law's norm.
    """

    select: NDArray[np.int64]
    estimate: NDArray[np.int64]
    invalid: NDArray[np.int64]
    n: NDArray[np.int64]
    evidence: Sequence[Evidence]
    offset: NDArray[np.float64] | None = None


class Kind(abc.ABC):
    """A kind of run, with the settings of one run; see the package's text.

    Parameters
    ----------
    settings : Settings
        Of the run; alpha is a checked one.

    Raises
    ------
    ValueError
        Settings that are not of this kind.
    """

    #: What the store and the command line call it.
    name: ClassVar[str]
    #: The method where none is named; None where it is the law's.
    default: ClassVar[str | None]
    #: Whether every input takes n draws of votes, so that ranks can share the draws of an input
    #: and every margin method can bound its row again.
    votes: ClassVar[bool] = False
    #: The evidence of an input that could not be read or answered.
    nothing: ClassVar[Evidence] = None

    def __init__(self, settings: Settings) -> None:
        self.settings = settings

    @property
    def options(self) -> Mapping[str, Any]:
        """The options as a store keeps them, as plain values."""
        return dict(self.settings.options)

    @abc.abstractmethod
    def check_law(self, noise: Noise) -> None:
        """Raise ValueError where this kind cannot certify under a law."""

    def ask(self, subject: Subject, x: NDArray[Any], index: int) -> None:
        """Take one draw, for the error that answers of another kind give."""
        subject.votes(x[None], [index], "select", [(0, 1)])

    @abc.abstractmethod
    def certify(self, drawn: Drawn, noise: Noise) -> Certificates:
        """The certificates of what was drawn."""

    @abc.abstractmethod
    def again(self, method: Any, alpha: float | None, options: Mapping[str, Any]) -> Kind:
        """The same kind with another method, alpha or options, for rows that are there already.

        Raises
        ------
        ValueError
            Rows of this kind cannot be bounded again so.
        """

    @classmethod
    def fault(cls, row: Any) -> str | None:
        """What cannot be true of a stored row, in words; None where all can."""
        if row.evidence is not None:
            return f"evidence is {row.evidence!r}; allowed: none in a run of {cls.name}"
        return None

    def input_hash(self, drawn: Drawn) -> str:
        """A hash of what was bounded."""
        return content_hash(drawn.estimate)


class FixedKind(Kind):
    """A kind that knows beforehand what it draws of an input."""

    @abc.abstractmethod
    def take(
        self, subject: Subject, inputs: NDArray[Any], indices: Sequence[int], noise: Noise
    ) -> tuple[Drawn, Certificates]:
        """Draw, and certify; ``noise`` is the law of these inputs."""


class StoppingKind(Kind):
    """A kind whose rule stops the draws of each input at a time of its own.

    The votes are drawn by `rsbounds.runs.pool.Pool`, which keeps several inputs open at once.
    """

    @abc.abstractmethod
    def rule(
        self,
        top: NDArray[np.int64] | Selection,
        noise: Noise,
        offset: NDArray[np.float64] | None = None,
    ) -> Rule:
        """The rule of some inputs, of which none has a vote yet."""

    @abc.abstractmethod
    def evidence(
        self, rule: Any, rounds: Sequence[Sequence[Sequence[int]]], rows: NDArray[np.int64]
    ) -> list[Evidence]:
        """What certificates of some finished inputs rest on.

        ``rounds`` are the votes of each look, whose draws were all valid, of all inputs of the
        rule.
        """


def offset_from(noise: Noise, inputs: NDArray[Any]) -> NDArray[np.float64] | None:
    """How far inputs are from the law's lattice, in its norm; None where it has none."""
    found = offset_of(noise, inputs)
    return None if found is None else found[noise.norm]
