"""Independent trials for the sequential assertions: seeds, calls, looks, and what is found."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from rsbounds import _validate

Verdict = Literal["accepted", "not refuted", "refuted"]
#: Probability of accepting a false claim, where an assertion ends before ``max_trials``.
MISSED_ALARM = 1e-3


@dataclass(frozen=True)
class Finding:
    """What a statistical assertion found.

    Attributes
    ----------
    verdict : {"accepted", "not refuted", "refuted"}
        ``accepted``: the claim is true, but for a probability of ``missed_alarm``. ``not
        refuted``: ``max_trials`` came first. ``refuted`` is the verdict of failures.
    estimate : float
        Observed frequency, or mean.
    lower, upper : float
        Confidence sequences at the end; each is wrong, ever, with probability ``false_alarm``
        at most.
    trials, seed : int
        Trials made, and the seed that makes them again.
    false_alarm, missed_alarm : float
        Probabilities that the assertion was asked for.
    """

    verdict: Verdict
    estimate: float
    lower: float
    upper: float
    trials: int
    seed: int
    false_alarm: float
    missed_alarm: float = MISSED_ALARM


class Refuted(AssertionError):
    """A claim was refuted; ``finding`` has the numbers, where trials were made."""

    def __init__(self, message: str, finding: Finding | None = None) -> None:
        super().__init__(message)
        self.finding = finding


# What messages and tracebacks call them.
Finding.__module__ = Refuted.__module__ = "rsbounds.testing"


def refuted(claim: str, seen: str, finding: Finding) -> Refuted:
    """The failure of an assertion: claim and seed in the first line, then the numbers."""
    return Refuted(
        f"{claim} is refuted by {seen}; seed={finding.seed}\n"
        f"  estimate {finding.estimate:.6g} after {finding.trials} trials\n"
        f"  interval [{finding.lower:.6g}, {finding.upper:.6g}], each end wrong with probability "
        f"{finding.false_alarm:.3g} at most\n"
        f"  a true claim fails so with probability {finding.false_alarm:.3g} at most; replay it "
        f"with seed={finding.seed}, false_alarm={finding.false_alarm!r}",
        finding,
    )


def name_of(function: Any, otherwise: str) -> str:
    """What a message calls a function."""
    name = getattr(function, "__name__", otherwise)
    return otherwise if name == "<lambda>" else str(name)


def checked_seed(seed: int | None) -> int:
    """The seed given, or one from the operating system."""
    if seed is None:
        return int(np.random.SeedSequence().generate_state(1, np.uint64)[0])
    return _validate.integer("seed", seed, low=0)


class Drawn:
    """Calls a function with one generator, again and again, and checks what it gives.

    The number of trials of a call must not depend on what is drawn, or trials could be left
    out by their outcome; so every call gives as many as the first. A function that leaves the
    generator untouched is refused at the end: with a seed of its own it would repeat a single
    trial for ever, and no message could replay it.
    """

    def __init__(
        self,
        function: Callable[[np.random.Generator], Any],
        rng: np.random.Generator,
        seed: int,
        name: str,
    ) -> None:
        if not callable(function):
            raise ValueError(f"{name} is {function!r}; allowed: a function of a numpy Generator")
        self._function, self._rng, self._seed, self._name = function, rng, seed, name
        self._began = rng.bit_generator.state
        self._shape: tuple[int, ...] | None = None
        self.trials = 0

    def fault(self, what: str) -> ValueError:
        """An error that names the function, the trial and the seed."""
        return ValueError(f"{self._name} {what} (in trial {self.trials + 1}; seed={self._seed})")

    def call(self, read: Callable[[Any], NDArray[Any]]) -> NDArray[Any]:
        """One call; ``read`` makes an array of what was given, first axis the trials."""
        __tracebackhide__ = True
        try:
            given = self._function(self._rng)
        except Exception as error:
            raise self.fault(f"raised {type(error).__name__}: {error}") from error
        try:
            values = read(given)
        except ValueError as error:
            raise self.fault(f"failed: {error}") from None
        shape = np.shape(given) if not isinstance(given, tuple) else values.shape
        if self._shape is None:
            self._shape = shape
        if shape != self._shape:
            raise self.fault(f"gave shape {shape} after {self._shape}; allowed: one shape always")
        self.trials += len(values)
        return values

    def finish(self) -> None:
        """Refuse a function that drew nothing from the generator in all of its calls."""
        __tracebackhide__ = True
        if self._rng.bit_generator.state == self._began:
            raise ValueError(
                f"{self._name} drew nothing from its generator in {self.trials} trials "
                f"(seed={self._seed}); allowed: functions whose randomness comes from it (give "
                "int(rng.integers(2**63)) as seed to what has generators of its own)"
            )


def next_look(trials: int) -> int:
    """When to look again after a look at so many trials: about a 32nd part of them later."""
    return trials + max(1, trials // 32)


def batches(
    drawn: Drawn, read: Callable[[Any], NDArray[Any]], max_trials: int, least: Callable[[int], bool]
) -> Iterator[list[NDArray[Any]]]:
    """Trials between two looks, up to ``max_trials``.

    ``least`` says whether so many trials could ever refute; an assertion that could not fail is
    refused after its first call. Looks are every call at first, and later every 32nd part of
    the trials so far, at times that do not depend on what was drawn.
    """
    __tracebackhide__ = True
    first = drawn.call(read)
    each = len(first)
    most = max_trials // each * each
    if not least(most):
        enough = each
        while not least(enough):
            enough *= 2
        low = enough // 2
        while enough - low > 1:
            middle = (low + enough) // 2
            low, enough = (low, middle) if least(middle) else (middle, enough)
        raise ValueError(
            f"max_trials is {max_trials} (of which {each} in a call); allowed: at least "
            f"{-(-enough // each) * each}, since fewer could refute no claim at this false_alarm"
        )
    waiting = [first]
    due = 1
    while True:
        if drawn.trials >= due or drawn.trials + each > most:
            due = next_look(drawn.trials)
            yield waiting
            waiting = []
        if drawn.trials + each > most:
            return
        waiting.append(drawn.call(read))


def booleans(given: Any) -> NDArray[Any]:
    """(m,) booleans."""
    # None, which a function without a return gives, is no array of one object.
    values = np.empty(0) if given is None else _validate.array("it", given)
    if values.dtype.kind != "b" or values.ndim > 1 or values.size == 0:
        raise ValueError(
            f"it gave {_short(given)}; allowed: True or False, or an array (m,) of them for m "
            "independent trials"
        )
    return values.reshape(-1)


def numbers(given: Any) -> NDArray[Any]:
    """(m,) or (m, d) finite numbers, draws first."""
    values = np.empty(0) if given is None else _validate.real_array("it", given)
    if values.ndim > 2 or values.size == 0 or not np.isfinite(values).all():
        raise ValueError(
            f"it gave {_short(given)}; allowed: a finite number, an array (m,) of m draws, or "
            "(m, d) of m draws of d numbers"
        )
    return values.reshape(1) if values.ndim == 0 else values


def _short(given: Any) -> str:
    said = repr(given)
    return said if len(said) <= 60 else f"{said[:57]}..."
