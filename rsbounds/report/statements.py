"""What certificates of many inputs say together: of a population, and of all of them at once."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from rsbounds import _text, _validate
from rsbounds._types import Certificates, Guarantee
from rsbounds.bounds.proportion import clopper_pearson_interval, clopper_pearson_lower
from rsbounds.report.accuracy import certified_accuracy


@dataclass(frozen=True, eq=False)
class PopulationAccuracy:
    """What a random sample of inputs says of the population that it comes from.

    Attributes
    ----------
    radii : (R,) float64
        The radii; each has statements of its own.
    reached : (R,) int64
        Inputs certified with the right class at the radius or more.
    inputs, unfinished : int
        Size of the sample, and how many of it have no certificate yet: they count as not certified.
    lower, upper : (R,) float64
        Interval for the probability that a further input of the population is certified so; it
        errs with probability beta. Unfinished inputs count against either end.
    robust : (R,) float64 or None
        Lower bounds on the probability that the smoothed classifier is right at a further input
        and everywhere closer than the radius; each errs with probability beta. None where the
        certificates have no guarantee.
    alpha, beta : float
        Error probability of each certificate, and of each statement here.
    guarantee : {"proven", "enumerated", "none"}
        That of the certificates, which ``robust`` rests on; the interval is proven.
    labelled : bool
        False where there were no labels: "right" then means "of any class".
    """

    radii: NDArray[np.float64]
    reached: NDArray[np.int64]
    inputs: int
    unfinished: int
    lower: NDArray[np.float64]
    upper: NDArray[np.float64]
    robust: NDArray[np.float64] | None
    alpha: float
    beta: float
    guarantee: Guarantee
    labelled: bool

    def __repr__(self) -> str:
        return (
            f"PopulationAccuracy({self.inputs} inputs, {len(self.radii)} radii, beta "
            f"{self.beta:g}, {self.guarantee})"
        )

    def as_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        return {
            "radii": self.radii.tolist(),
            "reached": self.reached.tolist(),
            "inputs": self.inputs,
            "unfinished": self.unfinished,
            "lower": self.lower.tolist(),
            "upper": self.upper.tolist(),
            "robust": None if self.robust is None else self.robust.tolist(),
            "alpha": self.alpha,
            "beta": self.beta,
            "guarantee": self.guarantee,
            "labelled": self.labelled,
        }


@dataclass(frozen=True, eq=False)
class JointAccuracy:
    """What holds of all certificates at once, for the inputs that were certified.

    Attributes
    ----------
    radii : (R,) float64
        The radii.
    reached : (R,) int64
        Inputs certified with the right class at the radius or more.
    inputs, certified : int
        Inputs, unfinished ones included, and certificates among them.
    wrong : int
        With probability at least 1 - beta, so many certificates are wrong at most.
    robust : (R,) int64
        In that same event, for all radii together: inputs at which the smoothed classifier is
        right, and everywhere closer than the radius, are at least so many.
    all_hold : float
        Probability, at least, that no certificate is wrong.
    alpha, beta : float
        Error probability of each certificate, and of the statement.
    guarantee : {"proven", "enumerated"}
        That of the certificates.
    """

    radii: NDArray[np.float64]
    reached: NDArray[np.int64]
    inputs: int
    certified: int
    wrong: int
    robust: NDArray[np.int64]
    all_hold: float
    alpha: float
    beta: float
    guarantee: Guarantee

    def __repr__(self) -> str:
        return (
            f"JointAccuracy(at most {self.wrong} of {self.certified} certificates wrong, beta "
            f"{self.beta:g}, {self.guarantee})"
        )

    def as_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        return {
            "radii": self.radii.tolist(),
            "reached": self.reached.tolist(),
            "inputs": self.inputs,
            "certified": self.certified,
            "wrong": self.wrong,
            "robust": self.robust.tolist(),
            "all_hold": self.all_hold,
            "alpha": self.alpha,
            "beta": self.beta,
            "guarantee": self.guarantee,
        }


def population_accuracy(
    certificates: Certificates,
    labels: ArrayLike | None,
    radii: ArrayLike,
    *,
    beta: float = 0.05,
    inputs: int | None = None,
    size: str = "radius",
) -> PopulationAccuracy:
    r"""Certified accuracy of a population, from certificates of a random sample of it.

    With probability at least 1 - beta over the inputs and the noise together, for each radius r on
    its own, the smoothed classifier is right at a further input of the population, and everywhere
    closer to it than r, with probability at least ``robust`` (Clopper and Pearson 1934, and the
    argument below); that it gets such a certificate at all has a probability in
    [``lower``, ``upper``], with probability at least 1 - beta as well.

    *Proof.* Let (X, Y) be an input with its label, T whether the claim "right at X and everywhere
    closer than r" is true, and C whether X is certified with class Y at r or more. T is a function
    of (X, Y), and if C holds where T does not, the certificate of X is wrong, which has a
    conditional probability of at most alpha given (X, Y). So

    .. math:: c = P(C) = P(C, T) + P(C, not T) \le t + \alpha (1 - t),    t = P(T),

    which is t >= (c - alpha) / (1 - alpha). Inputs are independent and so is their noise, hence
    the number k of certified ones among m is binomial (m, c), and c is at least its Clopper and
    Pearson bound at level beta with probability at least 1 - beta. alpha is paid once, not m times.
    An unfinished input, counted as not certified, only lowers k and with it the bound, whatever
    kept it from being finished.

    What it takes: inputs drawn independently from the population (not the first ones of a sorted
    file), a model and a method that were chosen without looking at them, and noise of each input
    of its own, which streams of this library have.

    Parameters
    ----------
    certificates : Certificates
        Of the sample, one entry per finished input.
    labels : (B,) integers or None
        True classes; None takes every class for right.
    radii : (R,) float array_like
        Radii, at least 0.
    beta : float
        Error probability of each statement, in (0, 1).
    inputs : int, optional
        Size of the sample where some inputs are not finished; as many as certificates by default.
    size : {"radius", "inscribed_radius", "proxy_radius"}
        As in `rsbounds.certified_accuracy`.

    Returns
    -------
    PopulationAccuracy
        An interval and a lower bound for each radius.

    Raises
    ------
    ValueError
        Arguments out of range, or certificates of a memory: each depends on all inputs.

    See Also
    --------
    joint_accuracy : The same inputs, all certificates at once.
    rsbounds.certified_accuracy : The share of the sample.

    References
    ----------
    .. [1] C. J. Clopper and E. S. Pearson, "The use of confidence or fiducial limits illustrated in
       the case of the binomial", Biometrika 26 (1934).

    Examples
    --------
    >>> import numpy as np, rsbounds
    >>> from rsbounds.report import population_accuracy
    >>> law = rsbounds.Gaussian(sigma=0.5)
    >>> table = rsbounds.certify(np.tile([990, 8, 2], (200, 1)), 0, noise=law)
    >>> found = population_accuracy(table, np.arange(200) % 10 // 9, radii=[0.5], beta=0.05)
    >>> found.reached, f"{found.lower[0]:.3f} to {found.upper[0]:.3f}", f"{found.robust[0]:.3f}"
    (array([180]), '0.850 to 0.938', '0.858')
    """
    level = _validate.alpha(beta, "beta")
    at, reached, total = _counted(certificates, labels, radii, inputs, size)
    missing = total - len(certificates)
    lower, _ = clopper_pearson_interval(reached, total, alpha=level)
    _, upper = clopper_pearson_interval(reached + missing, total, alpha=level)
    robust = None
    if certificates.guarantee != "none":
        below = clopper_pearson_lower(reached, total, alpha=level)
        robust = np.array([_true_share(c, certificates.alpha) for c in below.tolist()])
    return PopulationAccuracy(
        at, reached, total, missing, lower, upper, robust, certificates.alpha, level,
        certificates.guarantee, labels is not None,
    )  # fmt: skip


def joint_accuracy(
    certificates: Certificates,
    labels: ArrayLike | None,
    radii: ArrayLike,
    *,
    beta: float = 0.05,
    inputs: int | None = None,
    size: str = "radius",
) -> JointAccuracy:
    """What holds of all certificates at once, about the inputs that were certified.

    With probability at least 1 - beta over the noise, whatever the inputs are, at most ``wrong``
    certificates are wrong, and so at every radius at once at least ``robust`` inputs are truly
    right and robust. Each certificate is wrong with probability at most alpha, and they are
    independent, every input having noise of its own: the number of wrong ones is stochastically at
    most binomial (m, alpha), and ``wrong`` is the smallest number that such a one exceeds with
    probability beta at most. No certificate at all is wrong with probability (1 - alpha)^m, which
    is at least 1 - m alpha, Bonferroni's bound.

    Parameters
    ----------
    certificates, labels, radii, beta, inputs, size
        As in `population_accuracy`; the inputs may be any.

    Returns
    -------
    JointAccuracy

    Raises
    ------
    ValueError
        Arguments out of range, certificates of a memory, or certificates without a guarantee.

    See Also
    --------
    population_accuracy : Inputs that were not certified.

    References
    ----------
    .. [1] C. J. Clopper and E. S. Pearson, "The use of confidence or fiducial limits illustrated in
       the case of the binomial", Biometrika 26 (1934), whose bound is the quantile.

    Examples
    --------
    >>> import numpy as np, rsbounds
    >>> from rsbounds.report import joint_accuracy
    >>> table = rsbounds.certify(np.tile([990, 8, 2], (500, 1)), 0, noise=rsbounds.Gaussian(0.5))
    >>> found = joint_accuracy(table, np.zeros(500, dtype=int), radii=[0.5, 2.0], beta=0.05)
    >>> found.wrong, found.robust, f"{found.all_hold:.3f}"
    (2, array([498,   0]), '0.606')
    """
    level = _validate.alpha(beta, "beta")
    at, reached, total = _counted(certificates, labels, radii, inputs, size)
    if certificates.guarantee == "none":
        raise ValueError(
            "certificates have the guarantee 'none': nothing bounds how often they are wrong; "
            "allowed: classes that were chosen without the counts"
        )
    certified = int(certificates.certified.sum())
    wrong = min(_most_wrong(len(certificates), certificates.alpha, level), certified)
    all_hold = 1.0
    if certificates.alpha > 0:
        all_hold = math.exp(len(certificates) * math.log1p(-certificates.alpha)) * (1.0 - 1e-12)
    return JointAccuracy(
        at, reached, total, certified, wrong, np.maximum(reached - wrong, 0), all_hold,
        certificates.alpha, level, certificates.guarantee,
    )  # fmt: skip


def _counted(
    certificates: Certificates,
    labels: ArrayLike | None,
    radii: ArrayLike,
    inputs: int | None,
    size: str,
) -> tuple[NDArray[np.float64], NDArray[np.int64], int]:
    """Radii, how many inputs reach each, and how many inputs there are."""
    if certificates.about != "fixed noise":
        raise ValueError(
            f"certificates are about the {certificates.about} classifier, which depends on all of "
            "its inputs, so that they are not independent; allowed: those it was made from"
        )
    held = len(certificates)
    if not held:
        raise ValueError("certificates is empty; allowed: at least one input")
    total = held if inputs is None else _validate.integer("inputs", inputs, low=held)
    at = np.atleast_1d(_validate.real_array("radii", radii))
    share = certified_accuracy(certificates, labels, at, size=size)
    return at, np.rint(share * held).astype(np.int64), total


def _true_share(certified: float, alpha: float) -> float:
    """(c - alpha) / (1 - alpha), rounded down; 0 where it is negative."""
    share = (Fraction(certified) - Fraction(alpha)) / (1 - Fraction(alpha))
    return max(_text.float_down(share), 0.0)


def _most_wrong(inputs: int, alpha: float, beta: float) -> int:
    """Smallest k with P(Bin(inputs, alpha) > k) <= beta, proven in floating point.

    P(Bin(m, p) >= k + 1) <= beta just where p is at most the Clopper and Pearson bound of k + 1,
    which is rounded down.
    """
    low, high = 0, inputs
    while low < high:
        middle = (low + high) // 2
        if float(clopper_pearson_lower(middle + 1, inputs, alpha=beta)) >= alpha:
            high = middle
        else:
            low = middle + 1
    return low


def statements_of(
    run: str,
    certificates: Certificates,
    labels: ArrayLike | None,
    radii: ArrayLike,
    **settings: Any,
) -> dict[str, Any]:
    """Both statements about a run, as plain values; None where one cannot be made.

    ``settings`` are ``beta``, ``inputs`` and ``size``.
    """
    fixed = certificates.about == "fixed noise"
    held = fixed and certificates.guarantee != "none"
    arguments = certificates, labels, radii
    return {
        "run": run,
        "population": population_accuracy(*arguments, **settings).as_dict() if fixed else None,
        "joint": joint_accuracy(*arguments, **settings).as_dict() if held else None,
    }


def statements_text(statements: Sequence[Mapping[str, Any]]) -> str:
    """The statements about some runs, as a table with what it means."""
    body, notes = [], []
    for one in statements:
        of, joint = one["population"], one["joint"]
        if of is None:
            notes.append(f"{one['run']}: no statement, since its certificates are not independent")
            continue
        m = of["inputs"]
        for i, r in enumerate(of["radii"]):
            body.append([
                one["run"], f"{r:g}", _text.share(of["reached"][i] / m, m),
                f"{_text.down(of['lower'][i], 3)} to {_text.up(of['upper'][i], 3)}",
                "-" if of["robust"] is None else _text.down(of["robust"][i], 3),
                "-" if joint is None else _text.share(joint["robust"][i] / m, m),
            ])  # fmt: skip
        if of["unfinished"]:
            notes.append(
                f"{one['run']}: {of['unfinished']} of {m} inputs have no certificate yet and count "
                "as not certified; where the run was of a random sample of the data set, say how "
                "large that is (inputs=, --inputs)"
            )
        if joint is not None:
            notes.append(
                f"{one['run']}: of {joint['certified']} certificates at most {joint['wrong']} are "
                "wrong, for all radii together; with probability "
                f"{_text.down(joint['all_hold'], 3)} or more none is"
            )
    if not body:
        return "\n".join(notes)
    beta = next(one["population"]["beta"] for one in statements if one["population"])
    header = ["run", "r", "certified", "population", "robust there", "robust here"]
    meaning = (
        "population: certified share of what the inputs are a random sample of; robust there, "
        "here: right and\nrobust share of it, and of these inputs, at least; each statement errs "
        f"with probability {beta:g} at most"
    )
    return "\n".join([_text.table(header, body), meaning, *notes])
