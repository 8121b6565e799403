"""Requirements such as ``accuracy@0.5 >= 0.6``: what continuous integration asks of runs.

Grammar
-------
``[RUN:] QUANTITY [@ RADIUS] COMPARISON NUMBER [%]``, where RUN is the name of a store's file
without its ending (every run, where there is none), QUANTITY one of `QUANTITIES`, COMPARISON one
of ``>=``, ``>``, ``<=`` and ``<``, RADIUS and NUMBER decimal numbers such as 0.5 or 5e-1. A radius
is the double nearest to it, as everywhere in the library; the numbers that are compared are exact
fractions, so that 3 of 5 inputs are 0.6 of them, neither more nor less.
"""

from __future__ import annotations

import math
import operator
import os
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rsbounds import _tables, _text, _validate
from rsbounds._types import Certificates
from rsbounds.report.accuracy import sizes
from rsbounds.report.runs import sizes_of
from rsbounds.report.statements import joint_accuracy, population_accuracy
from rsbounds.runs import RunStore, rebound
from rsbounds.runs.rebounding import stored_labels

_NUMBER = r"(?:[0-9]{1,30}(?:\.[0-9]{0,30})?|\.[0-9]{1,30})(?:[eE][+-]?[0-9]{1,3})?"
_EXPRESSION = re.compile(
    rf"\s*(?:(?P<run>[^@<>=]{{1,255}}):)?\s*(?P<name>[a-z_]{{1,30}})\s*(?:@\s*(?P<radius>{_NUMBER}))?"
    rf"\s*(?P<sign>>=|<=|>|<)\s*(?P<bound>{_NUMBER})\s*(?P<percent>%)?\s*"
)
_SIGNS: dict[str, Callable[[Any, Any], bool]] = {
    ">=": operator.ge, ">": operator.gt, "<=": operator.le, "<": operator.lt
}  # fmt: skip


@dataclass(frozen=True, eq=False)
class _Run:
    """A run, and what is asked of it: statements err with probability beta."""

    name: str
    own: Certificates
    labels: NDArray[np.int64] | None
    inputs: int
    invalid: int | None
    beta: float

    def known_labels(self) -> NDArray[np.int64]:
        if self.labels is None:
            raise ValueError(
                f"run {self.name!r} has no labels, so that it has no accuracy; allowed: certified@R"
            )
        return self.labels

    @property
    def size(self) -> str:
        """Which radius: that of balls, where radii in the law's norm have no unit."""
        return sizes_of([self.own])[0]

    def total(self, right: NDArray[np.bool_]) -> Fraction:
        """Mean radius over all inputs, where those that are not ``right`` count as 0."""
        radii = sizes(self.own, self.size)[right]
        return sum(map(Fraction, radii.tolist()), Fraction(0)) / self.inputs

    def share(self, right: NDArray[np.bool_], radius: float) -> Fraction:
        """Share of all inputs that are ``right`` at the radius or more."""
        return Fraction(int((right & (sizes(self.own, self.size) >= radius)).sum()), self.inputs)


def _accuracy(run: _Run, radius: float) -> Fraction:
    return run.share(run.own.top == run.known_labels(), radius)


def _certified(run: _Run, radius: float) -> Fraction:
    return run.share(run.own.certified, radius)


def _population(run: _Run, radius: float) -> Fraction:
    found = population_accuracy(
        run.own, run.known_labels(), radius, beta=run.beta, inputs=run.inputs, size=run.size
    )
    if found.robust is None:
        raise ValueError(
            f"run {run.name!r} has certificates with the guarantee 'none', which prove nothing of "
            "a population; allowed: accuracy@R"
        )
    return Fraction(float(found.robust[0]))


def _joint(run: _Run, radius: float) -> Fraction:
    found = joint_accuracy(
        run.own, run.known_labels(), radius, beta=run.beta, inputs=run.inputs, size=run.size
    )
    return Fraction(int(found.robust[0]), run.inputs)


def _acr(run: _Run) -> Fraction:
    return run.total(run.own.top == run.known_labels())


def _mean_radius(run: _Run) -> Fraction:
    return run.total(run.own.certified)


def _abstained(run: _Run) -> Fraction:
    return 1 - Fraction(int(run.own.certified.sum()), run.inputs)


def _finished(run: _Run) -> Fraction:
    return Fraction(len(run.own), run.inputs)


def _invalid(run: _Run) -> Fraction:
    if run.invalid is None:
        raise ValueError(
            f"run {run.name!r} is a file of certificates, which does not say what was invalid; "
            "allowed: a run store"
        )
    return Fraction(run.invalid, run.inputs)


@dataclass(frozen=True)
class _Quantity:
    """A number about a run.

    ``lower`` marks a lower bound, of which no "<=" is known; ``share`` what may be in per cent.
    """

    value: Callable[..., Fraction]
    words: str
    radius: bool = False
    lower: bool = False
    share: bool = True


#: What can be required. Inputs without a certificate yet are inputs, and not certified.
QUANTITIES = {
    "accuracy": _Quantity(_accuracy, "share of the inputs certified with the right class", True),
    "certified": _Quantity(_certified, "share of the inputs certified with any class", True),
    "population": _Quantity(
        _population, "right and robust share of the population, a lower bound", True, True
    ),
    "joint": _Quantity(
        _joint, "right and robust share of the inputs, a lower bound for all at once", True, True
    ),
    "acr": _Quantity(_acr, "average certified radius", share=False),
    "mean_radius": _Quantity(_mean_radius, "mean radius with any class", share=False),
    "abstained": _Quantity(_abstained, "share of the inputs without a certificate"),
    "finished": _Quantity(_finished, "share of the inputs that are finished"),
    "invalid": _Quantity(_invalid, "share of the inputs with invalid answers"),
}


@dataclass(frozen=True)
class Requirement:
    """A parsed requirement; see the module's text for the grammar.

    Attributes
    ----------
    text : str
        As it was given, without outer blanks.
    run : str or None
        The run that it is about; None for every run.
    quantity : str
        One of `QUANTITIES`.
    radius : float or None
        The radius, of quantities that have one.
    sign : {">=", ">", "<=", "<"}
        The comparison.
    bound : Fraction
        The number on the right, exactly.
    """

    text: str
    run: str | None
    quantity: str
    radius: float | None
    sign: str
    bound: Fraction


@dataclass(frozen=True)
class Verdict:
    """Whether a run meets a requirement.

    Attributes
    ----------
    requirement : Requirement
        What was asked.
    run : str
        The run.
    value : Fraction
        What the run has, exactly.
    inputs, finished : int
        Inputs of the run, and how many of them are finished.
    """

    requirement: Requirement
    run: str
    value: Fraction
    inputs: int
    finished: int

    @property
    def met(self) -> bool:
        """Whether the requirement is met."""
        return bool(_SIGNS[self.requirement.sign](self.value, self.requirement.bound))

    @property
    def _upwards(self) -> bool:
        """Whether what is shown is rounded up, which is towards not meeting it."""
        return self.requirement.sign in ("<=", "<")

    def as_dict(self) -> dict[str, Any]:
        """Plain values, for JSON; the value is rounded towards not meeting the requirement."""
        near = _text.float_down(-self.value if self._upwards else self.value)
        return {
            "requirement": self.requirement.text,
            "run": self.run,
            "value": -near if self._upwards else near,
            "met": self.met,
            "inputs": self.inputs,
            "finished": self.finished,
        }

    def __str__(self) -> str:
        rounded = math.ceil if self._upwards else math.floor
        shown = Decimal(rounded(self.value * 10**6)).scaleb(-6)
        left = self.inputs - self.finished
        unfinished = f", {left} of them not finished" if left else ""
        return (
            f"{'met' if self.met else 'NOT MET'}: {self.requirement.text}: {self.run} has {shown} "
            f"({self.inputs} inputs{unfinished})"
        )


def parse_requirement(text: str) -> Requirement:
    """The requirement that an expression says.

    Parameters
    ----------
    text : str
        Such as ``"accuracy@0.5 >= 0.6"`` or ``"run_b: acr > 0.35"``.

    Returns
    -------
    Requirement

    Raises
    ------
    ValueError
        An expression outside the grammar, a quantity that is not there, a radius where none
        belongs or none where one does, or an upper limit on a lower bound.

    Examples
    --------
    >>> from rsbounds.report.requirements import parse_requirement
    >>> parse_requirement("accuracy@0.5 >= 60%").bound
    Fraction(3, 5)
    """
    if not isinstance(text, str) or (found := _EXPRESSION.fullmatch(text)) is None:
        raise ValueError(
            f"requirement is {str(text)[:200]!r}; allowed: [RUN:] QUANTITY [@RADIUS] >= NUMBER, "
            f"with >=, >, <= or <, such as 'accuracy@0.5 >= 0.6'; quantities: {_quantities()}"
        )
    parts = found.groupdict()
    name, sign = parts["name"], parts["sign"]
    if name not in QUANTITIES:
        raise ValueError(
            f"requirement {text!r} is about {name!r}; allowed quantities: {_quantities()}"
        )
    kind = QUANTITIES[name]
    radius = None if parts["radius"] is None else float(parts["radius"])
    if kind.radius != (radius is not None) or radius == math.inf:
        raise ValueError(
            f"requirement {text!r} has radius {parts['radius']}; allowed: "
            f"{f'a finite one, {name}@RADIUS' if kind.radius else f'none, {name} alone'}"
        )
    if kind.lower and sign not in (">=", ">"):
        raise ValueError(
            f"requirement {text!r} sets {name} an upper limit, but it is a lower bound; allowed: "
            ">= and >"
        )
    if parts["percent"] and not kind.share:
        raise ValueError(f"requirement {text!r} is in %; allowed: a number, since {name} is one")
    bound = Fraction(parts["bound"]) / (100 if parts["percent"] else 1)
    run = None if parts["run"] is None else parts["run"].strip()
    return Requirement(text.strip(), run, name, radius, sign, bound)


def check_requirements(
    stores: Sequence[str | os.PathLike[str]],
    requirements: Sequence[str],
    *,
    beta: float = 0.05,
    inputs: int | None = None,
) -> tuple[Verdict, ...]:
    """Whether stored runs meet requirements.

    Each run is taken with the method and alpha that it was made with. An input of its data set
    that has no certificate, because it is undecided, invalid or not finished, counts as not
    certified. ``population`` and ``joint`` err with probability beta each (`population_accuracy`,
    `joint_accuracy`); the other quantities are about the certificates that are there.

    Parameters
    ----------
    stores : sequence of paths
        Run stores, or files of certificates.
    requirements : sequence of str
        Such as ``"accuracy@0.5 >= 0.6"``; this module's text has the grammar.
    beta : float
        Error probability of each statement, in (0, 1).
    inputs : int, optional
        Inputs that each run is meant to have; those of its data set by default.

    Returns
    -------
    tuple of Verdict
        For each requirement, one for each run that it is about.

    Raises
    ------
    ValueError
        A bad expression, a store that cannot be read or is empty, a run that is not there, or one
        that does not have the quantity.

    Examples
    --------
    >>> import numpy as np, rsbounds, tempfile, pathlib
    >>> from rsbounds.report import check_requirements
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = pathlib.Path(folder, "run.sqlite")
    ...     _ = rsbounds.certify_dataset(
    ...         lambda batch: (batch[:, 0] > 0).astype(int), np.array([[0.9], [-0.7]]), [1, 0],
    ...         noise=rsbounds.Gaussian(sigma=0.5), n=1000, num_classes=2, seed=1, store=path)
    ...     for verdict in check_requirements([path], ["accuracy@0.5 >= 0.6", "acr > 0.8"]):
    ...         print(verdict.met, verdict.requirement.text)
    True accuracy@0.5 >= 0.6
    False acr > 0.8
    """
    asked = [parse_requirement(text) for text in requirements]
    level = _validate.alpha(beta, "beta")
    names = [Path(path).stem for path in stores]
    if not names or len(set(names)) < len(names):
        raise ValueError(f"stores have the names {names}; allowed: distinct ones, at least one")
    for one in asked:
        if one.run is not None and one.run not in names:
            raise ValueError(
                f"requirement {one.text!r} is about the run {one.run!r}; allowed: "
                f"{', '.join(map(repr, names))}"
            )
    runs = [_read(path, level, inputs) for path in stores]
    return tuple(_verdict(one, run) for one in asked for run in runs if one.run in (None, run.name))


def _quantities() -> str:
    return ", ".join(f"{name}@R" if kind.radius else name for name, kind in QUANTITIES.items())


def _read(path: str | os.PathLike[str], beta: float, inputs: int | None) -> _Run:
    """A run by its own method."""
    labels, invalid, planned = None, None, None
    if _tables.is_certificates(path):
        own = Certificates.read(path)
    else:
        with RunStore(path) as store:
            own, labels = rebound(store), stored_labels(store)
            invalid = sum(row.invalid > 0 for row in store.rows())
            planned = store.config.get("inputs")
    if not len(own):
        raise ValueError(f"file {str(path)!r} holds no certificate; allowed: at least one")
    wanted = planned if inputs is None else inputs
    total = len(own) if wanted is None else _validate.integer("inputs", wanted, low=len(own))
    return _Run(Path(path).stem, own, labels, total, invalid, beta)


def _verdict(asked: Requirement, run: _Run) -> Verdict:
    kind = QUANTITIES[asked.quantity]
    value = kind.value(run) if asked.radius is None else kind.value(run, asked.radius)
    return Verdict(asked, run.name, value, run.inputs, len(run.own))
