"""Forecasts of a run: the public call, and its record."""

from __future__ import annotations

import html
import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from rsbounds import _text, _validate
from rsbounds._parallel import Progress
from rsbounds._types import Counts
from rsbounds.bounds.margin import MarginMethod, margin_method
from rsbounds.bounds.margin._copies import refuse_copies
from rsbounds.certificates import certify
from rsbounds.noises import Noise
from rsbounds.planning._outcomes import Bound, Input, Radii
from rsbounds.planning._search import fewest_draws
from rsbounds.planning._sequential import forecast_decisions
from rsbounds.planning.pilot import Pilot, made_pilot
from rsbounds.runs import RunStore

#: Chances with which the radii of ``expected`` are reached.
CHANCES = (0.95, 0.75, 0.5, 0.25, 0.05)
#: Simulated outcomes, and bounds computed for each number of draws where they take long: the fewest
#: and the most of one input, and of all.
_DRAWS, _POINTS = (128, 1024), (4, 16)
_DRAWS_OF_ALL, _POINTS_OF_ALL = 16_384, 200


@dataclass(frozen=True, eq=False, repr=False)
class Plan:
    """A forecast of a run; print it, or take ``needed`` and ``expected``.

    Attributes
    ----------
    needed : tuple of dict
        One for each radius and alpha: ``radius``, ``alpha``; ``draws``, for each input those that
        reach the radius with chance ``success`` (None where none up to ``limit`` do); ``chance``,
        for each input the chance that any number of draws is enough; ``reached``, ``improbable``
        and ``beyond``, how many inputs have such draws, have a chance below ``success``, or need
        more than ``limit``; ``median`` and ``most`` of the draws, None where there are none; and
        ``sequential``, what `rsbounds.Decide` would draw (None where that was not asked for).
    expected : tuple of dict
        One for each number of draws and alpha: ``n``, ``alpha``; ``mean``, the expected radius,
        over inputs on average; ``quantiles``, the radii reached with the chances ``CHANCES`` by an
        input taken at random; ``accuracy``, for each of ``radii`` the expected share certified.
    radii : tuple of float
        The radii asked about.
    success : float
        The chance.
    limit : int
        The most draws that were considered.
    inputs, labelled : int, bool
        Inputs, and whether those with a wrong class count as not certified.
    noise, norm, method : str
        The law, the norm of its radius, and the margin method.
    source : str
        What the forecast rests on.
    pilot : Pilot
        The same as values.
    guarantee : "forecast"
        A plan guarantees nothing.
    """

    needed: tuple[dict[str, Any], ...]
    expected: tuple[dict[str, Any], ...]
    radii: tuple[float, ...]
    success: float
    limit: int
    inputs: int
    labelled: bool
    noise: str
    norm: str
    method: str
    source: str
    pilot: Pilot
    guarantee: Literal["forecast"] = "forecast"

    def __repr__(self) -> str:
        return (
            f"Plan({self.inputs} inputs, {self.noise}, {self.method}, {len(self.needed)} targets, "
            f"{len(self.expected)} numbers of draws; a forecast)"
        )

    def _repr_html_(self) -> str:
        return f"<pre>{html.escape(str(self))}</pre>"

    def __str__(self) -> str:
        parts = [
            f"forecast, no guarantee: {self.inputs} input{'s' if self.inputs > 1 else ''}, "
            f"{self.noise}, {self.norm} radius, {self.method}; from {self.source}"
        ]
        if self.needed:
            parts.append(self._needed_table())
        if self.expected:
            parts.append(self._expected_table())
        last = "Choose n, alpha, noise and method by this, then draw anew"
        if self.pilot.votes is not None:
            last += ": the pilot's draws must not be bounded"
        if self.pilot.seed is not None:
            last += f" (any seed but {self.pilot.seed})"
        parts.append(f"{last}.")
        return "\n\n".join(parts)

    def _needed_table(self) -> str:
        header = ["radius", "alpha", "reached", "improbable", "beyond", "draws", "most"]
        sequential = any(one["sequential"] for one in self.needed)
        header += ["sequential", "its yes"] if sequential else []
        body = []
        for one in self.needed:
            cells = [f"{one['radius']:g}", f"{one['alpha']:g}"]
            cells += [str(one[name]) for name in ("reached", "improbable", "beyond")]
            cells += ["-" if one[name] is None else str(one[name]) for name in ("median", "most")]
            if one["sequential"]:
                cells += [f"{one['sequential']['draws']:.0f}", f"{one['sequential']['yes']:.3f}"]
            body.append(cells)
        words = (
            f"reached: inputs with the radius by {_chance(self.success)} chance, the median of "
            f"their draws and the most;\nimprobable: no number of draws has that chance; beyond: "
            f"more than {self.limit} draws"
        )
        if sequential:
            words += "; sequential:\ndraws of Decide per input on average, and its share of yes"
        return f"{_text.table(header, body)}\n{words}"

    def _expected_table(self) -> str:
        one_input = self.inputs == 1
        header = ["n", "alpha", "mean", *(_chance(chance) for chance in CHANCES)]
        header += [f"r>={r:g}" for r in self.radii]
        body = [
            [
                str(one["n"]), f"{one['alpha']:g}", _text.down(one["mean"]),
                *(_text.down(radius) for radius in one["quantiles"]),
                *(f"{share:.3f}" for share in one["accuracy"]),
            ]
            for one in self.expected
        ]  # fmt: skip
        who = "this input" if one_input else "an input taken at random"
        what = "certified accuracy" if self.labelled else "share certified"
        shares = f"; r>=: expected {what}" if self.radii else ""
        return f"{_text.table(header, body)}\nradii that {who} reaches by such a chance{shares}"

    def as_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        return {
            "guarantee": self.guarantee,
            "source": self.source,
            "seed": self.pilot.seed,
            "noise": self.noise,
            "norm": self.norm,
            "method": self.method,
            "inputs": self.inputs,
            "labelled": self.labelled,
            "success": self.success,
            "limit": self.limit,
            "radii": list(self.radii),
            "chances": list(CHANCES),
            "needed": [dict(one) for one in self.needed],
            "expected": [dict(one) for one in self.expected],
        }

    def check_fresh(self, sample: Any) -> None:
        """Refuse a sample that holds draws of the pilot, as far as that can be told.

        Where n, alpha or the noise were chosen by draws, a bound on these draws has no guarantee.
        Streams of one seed are one sample, whatever the law: seeds are compared where they are
        known, and counts besides. A selection sample that served as a pilot may choose the class
        again, since nothing is bounded by it.

        Parameters
        ----------
        sample : Counts, (B, K) integers, RunStore, path or int
            What is to be certified: estimation counts, a store, or the seed of the draws.

        Raises
        ------
        ValueError
            The seed is the pilot's, or the counts are.

        Examples
        --------
        >>> import numpy as np, rsbounds
        >>> law = rsbounds.Gaussian(sigma=0.5)
        >>> pilot = rsbounds.Counts(np.array([[97, 2, 1]]), role="estimate", seed=1)
        >>> plan = rsbounds.plan(pilot, noise=law, n=1000)
        >>> plan.check_fresh(2)
        >>> plan.check_fresh(1)
        Traceback (most recent call last):
            ...
        ValueError: the sample has seed 1, as the pilot; allowed: draws of another seed
        """
        if isinstance(sample, (str, os.PathLike)):
            with RunStore(sample) as store:
                return self.check_fresh(store)
        seed: int | None = None
        if isinstance(sample, RunStore):
            seed = int(sample.config["seed"])
        elif isinstance(sample, Counts):
            seed = sample.seed if sample.role == "estimate" else None
        elif isinstance(sample, (int, np.integer)):
            seed = _validate.integer("sample", sample, low=0)
        if seed is not None and seed == self.pilot.seed:
            raise ValueError(
                f"the sample has seed {seed}, as the pilot; allowed: draws of another seed"
            )
        if self.pilot.votes is None or isinstance(sample, (RunStore, int, np.integer)):
            return
        table = _validate.count_table(sample, "sample")
        if np.shares_memory(table, self.pilot.votes):
            raise ValueError("the sample is the pilot itself; allowed: other draws")
        refuse_copies(self.pilot.votes, table)


def _chance(chance: float) -> str:
    return f"{100 * chance:g}%"


def plan(
    pilot: ArrayLike | Counts | RunStore | str | os.PathLike[str] | None = None,
    *,
    p: ArrayLike | None = None,
    num_classes: int | None = None,
    noise: Noise | None = None,
    top: ArrayLike | None = None,
    labels: ArrayLike | None = None,
    radius: ArrayLike | None = None,
    n: ArrayLike | None = None,
    alpha: float | Sequence[float] = 0.001,
    success: float = 0.9,
    method: str | MarginMethod | None = None,
    sequential: bool = True,
    n0: int | None = 100,
    limit: int = 1_000_000,
    seed: int = 0,
    progress: bool | None = False,
    **options: Any,
) -> Plan:
    """Forecast a run: draws for a radius, radius for draws. It certifies nothing.

    What is planned is `certify` of n draws by ``method`` and, with ``sequential``, `Decide` with
    ``no="futile"``. From assumed probabilities ``p`` the forecast is about votes with these. From a
    pilot it is about votes of an input that the pilot's votes may have come from (predictive, with
    1/K votes more for each class), so that a short pilot does not promise what it cannot know.
    What another sigma would give cannot be said from a pilot at one: plan from a pilot at each.

    The pilot's draws have been used when n is chosen by them. Certify with draws of another seed;
    `Plan.check_fresh` refuses the pilot's. A selection sample (``role="select"``) is a pilot that
    costs nothing: it may choose the class afterwards as well.

    Parameters
    ----------
    pilot : Counts, (B, K) integers, RunStore or path, optional
        Votes of a pilot, or a stored run of votes, decisions or adaptive looks.
    p : (K,) or (B, K) float array_like, optional
        Probabilities in place of a pilot, which add to 1; one number stands for two classes.
    num_classes : int, optional
        K, where ``p`` names fewer: what ``p`` lacks to 1 is spread evenly over the rest.
    noise : Noise, optional
        The law that votes are, or would be, drawn with; a store knows its own.
    top, labels : (B,) integers, optional
        The class to be certified (by default the one with most votes), and the true classes: where
        they differ a certificate does not count. A store knows its labels.
    radius : float or (R,) float array_like, optional
        Radii that are asked for.
    n : int or (N,) integers, optional
        Numbers of draws; 1,000, 10,000 and 100,000 by default.
    alpha : float or sequence of float
        Error probabilities of a certificate.
    success : float
        Chance with which a radius is to be reached, in (0, 1).
    method : str or MarginMethod, optional
        As in `certify`, by default that of the law; ``"runner-up"`` makes plans for many inputs
        in a moment.
    sequential : bool
        Forecast `Decide` for each radius too.
    n0 : int, optional
        Selection draws, which choose the class: where they choose another nothing is certified.
        None where the class is known.
    limit : int
        The most draws that are considered.
    seed : int
        Of the simulation; the same seed gives the same plan.
    progress : bool, optional
        Show a progress line; None shows it where stderr is a terminal.
    **options
        Options of the method.

    Returns
    -------
    Plan
        Tables. Draws are right to a few per cent where many votes are lost; where one lost vote
        more or less decides, the chance of a radius goes up and down with n, and so do they.

    Raises
    ------
    ValueError
        Arguments out of range, probabilities that do not add to 1, or noise that is not that of
        the store.

    See Also
    --------
    rsbounds.certify : What is planned, with votes.
    rsbounds.Decide : Draws until there is an answer.

    Examples
    --------
    >>> import rsbounds
    >>> law = rsbounds.Gaussian(sigma=0.5)
    >>> made = rsbounds.plan(p=0.9, noise=law, radius=0.6, n=1000)
    >>> made.guarantee, 2000 < made.needed[0]["draws"][0] < 10_000
    ('forecast', True)
    >>> rsbounds.plan(p=0.9, noise=law, radius=0.7).needed[0]["draws"]  # Phi^-1(0.9)/2 is 0.64
    [None]
    """
    levels = [_validate.alpha(level) for level in np.atleast_1d(np.asarray(alpha)).tolist()]
    chance = _validate.number("success", success, "a number in (0, 1)", lambda v: 0 < v < 1)
    asked = _radii(radius)
    most = _validate.integer("limit", limit, low=1, high=_validate.MAX_N)
    sizes = _sizes(n)
    picks = None if n0 is None else _validate.integer("n0", n0, low=1, high=_validate.MAX_N)
    start = _validate.integer("seed", seed, low=0)
    base = made_pilot(pilot, p, noise=noise, num_classes=num_classes, top=top, labels=labels)
    chosen = margin_method(base.laws[0].default_method if method is None else method, options)
    work = _Work(base, chosen, chance, picks, most, start)
    needed, expected = [], []
    steps = len(levels) * (len(asked) + len(sizes)) * len(base)
    with Progress(steps, "forecasts", progress) as bar:
        for level in levels:
            needed += [work.needed(r, level, bar, sequential=sequential) for r in asked]
        for level in levels:
            expected += [work.expected(size, level, asked, bar) for size in sizes]
    law = str(base.laws[0])
    return Plan(
        tuple(needed), tuple(expected), tuple(asked), chance, most, len(base),
        base.labels is not None, law if len(base.laws) == 1 else f"{len(base.laws)} laws, {law}",
        base.laws[0].norm, chosen.name, base.source, base,
    )  # fmt: skip


def _radii(radius: ArrayLike | None) -> list[float]:
    if radius is None:
        return []
    values = np.atleast_1d(_validate.real_array("radius", radius))
    return [_validate.positive("radius", value) for value in values.ravel().tolist()]


def _sizes(n: ArrayLike | None) -> list[int]:
    values = (1000, 10_000, 100_000) if n is None else np.atleast_1d(np.asarray(n)).ravel().tolist()
    return [_validate.integer("n", value, low=1, high=_validate.MAX_N) for value in values]


class _Work:
    """Forecasts for all inputs of a pilot."""

    def __init__(
        self,
        pilot: Pilot,
        method: MarginMethod,
        success: float,
        n0: int | None,
        limit: int,
        seed: int,
    ) -> None:
        self._pilot, self._method, self._success = pilot, method, success
        self._n0, self._limit, self._seed = n0, limit, seed
        rows = len(pilot)
        draws = int(np.clip(_DRAWS_OF_ALL // rows, *_DRAWS))
        # Methods that are fast say so by the rows that they take at a time.
        slow = method.chunk < MarginMethod.chunk or method.seconds_per_row
        self._points = int(np.clip(_POINTS_OF_ALL // rows, *_POINTS)) if slow else draws
        self._inputs = [
            Input(
                None if pilot.votes is None else pilot.votes[i],
                None if pilot.p is None else pilot.p[i],
                int(pilot.top[i]), pilot.law(i), n0=n0, draws=draws, seed=(seed, i),
            )
            for i in range(rows)
        ]  # fmt: skip
        self._limits = [one.limit() for one in self._inputs]

    def _bound(self, row: int, alpha: float) -> Bound:
        def radii(votes: NDArray[np.int64]) -> NDArray[np.float64]:
            return certify(
                votes, self._inputs[row].top, noise=self._pilot.law(row), alpha=alpha,
                method=self._method,
            ).radius  # fmt: skip

        return radii

    def _after(self, row: int, n: int, alpha: float) -> Radii:
        bound = self._bound(row, alpha)
        return self._inputs[row].after(n, alpha, bound, self._points, self._success)

    def needed(
        self, radius: float, alpha: float, bar: Progress, *, sequential: bool
    ) -> dict[str, Any]:
        """An entry of `Plan.needed`."""
        draws: list[int | None] = []
        chances: list[float] = []
        for row, tends in enumerate(self._limits):
            usable = bool(self._pilot.usable[row])
            # The radius itself is reached by no number of draws, only what is below.
            chances.append(tends.reaches(np.nextafter(radius, np.inf)) if usable else 0.0)
            found = None
            if chances[-1] >= self._success:
                found = fewest_draws(
                    lambda n, row=row: self._after(row, n, alpha).exceeded(self._success),  # type: ignore[misc]
                    radius, tends.exceeded(self._success), self._limit,
                )  # fmt: skip
            draws.append(found)
            bar.advance(1)
        known = [n for n in draws if n is not None]
        improbable = sum(chance < self._success for chance in chances)
        usable_rows = np.flatnonzero(self._pilot.usable)
        forecast = None
        if sequential and usable_rows.size:
            laws = self._pilot.laws
            forecast = forecast_decisions(
                [self._inputs[i] for i in usable_rows],
                laws[0] if len(laws) == 1 else [laws[i] for i in usable_rows],
                radius=radius, alpha=alpha, n0=self._n0, limit=self._limit, seed=self._seed,
            )  # fmt: skip
        return {
            "radius": radius,
            "alpha": alpha,
            "draws": draws,
            "chance": chances,
            "reached": len(known),
            "improbable": improbable,
            "beyond": len(draws) - len(known) - improbable,
            "median": sorted(known)[(len(known) - 1) // 2] if known else None,
            "most": max(known, default=None),
            "sequential": forecast,
        }

    def expected(
        self, n: int, alpha: float, radii: Sequence[float], bar: Progress
    ) -> dict[str, Any]:
        """An entry of `Plan.expected`."""
        parts = []
        for row, usable in enumerate(self._pilot.usable.tolist()):
            nothing = Radii(np.zeros(1), np.ones(1))
            parts.append(self._after(row, n, alpha) if usable else nothing)
            bar.advance(1)
        values = np.concatenate([part.values for part in parts])
        weights = np.concatenate([part.weights for part in parts]) / len(parts)
        order = np.argsort(values, kind="stable")
        pooled = Radii(values[order], weights[order])
        right = self._pilot.right.tolist()
        return {
            "n": n,
            "alpha": alpha,
            "mean": pooled.mean(),
            "quantiles": [pooled.exceeded(chance) for chance in CHANCES],
            "accuracy": [
                float(
                    np.mean([part.reaches(r) * ok for part, ok in zip(parts, right, strict=True)])
                )
                for r in radii
            ],
        }
