"""What a noise law is: the only seam between statistics and geometry (`Noise` has the contract)."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any, ClassVar, TypeVar, cast

import numpy as np
from numpy.typing import ArrayLike, NDArray

from rsbounds import _validate
from rsbounds._registry import Registry
from rsbounds._types import MarginBound, Scale
from rsbounds.noises import _curve
from rsbounds.noises._parameters import decoded, encoded, like
from rsbounds.noises._record import Record
from rsbounds.regions import Ball, Region

NOISES: Registry[type[Noise]] = Registry(
    "noise", "rsbounds.noises", "rsbounds.testing.contracts:noise_cases"
)

Self = TypeVar("Self", bound="Noise")


class Noise(Record):
    """Base of the noise laws: how a noisy copy is made, and how far votes can carry.

    Contract
    --------
    A law says how a noisy copy of an input is made, and how far the input can move before a vote
    share has moved by so much. It has four parts, each with a default that follows from another:

    - **Parameters.** Fields of a frozen dataclass: numbers, arrays or other laws. A law whose
      ``batch_shape`` is (B,) has a set of them for each of B inputs: ``len(law)``, ``law[i]`` and
      ``law[rows]`` work, and its radii are (B,). `to_dict` writes any of them as plain values
      without loss, `noise_from_dict` reads them back.
    - **Draws.** ``base`` names what a draw starts from ("normal", "uniform", "bits", "draw": see
      `rsbounds.streams`); `transform` makes the noise of it, by arithmetic that numpy arrays and
      tensors share; `perturb` adds it to the input, and a law that does not add (it hides pixels,
      say) overrides that. `multiplier` is the promise that the noise is a plain multiple of the
      base draw, which streams then write in one pass, the multiple rounded to the input's type as
      x + noise is. A deterministic law has the base "draw" and says in `cells` how many draws are
      all of them. A law that can be drawn exactly says how by `spacing` and `table`.
    - **Curve.** ``roc(r, b)``: the largest probability that a set of probability b at x can have
      at a point at distance r. Class A is certified against c at r where
      ``1 - roc(r, 1 - p_A) > roc(r, p_c)``. Where that inequality reads g(p_A) - g(p_c) > r/k, the
      law names the margin scale g in ``scale`` and k in `radius_per_margin`, and its curve follows.
      A law whose curve is no margin scale sets ``curve_only`` and writes `roc`, concave in b.
    - **Region.** `region` turns a bound into the set of perturbations that it certifies, in the
      norm ``norm``. Radii are rounded down, and never infinite.

    What you write: a frozen dataclass (``eq=False``: laws compare by their values already) with
    ``name``, ``norm``, ``variants`` (parameters that tests build it with), a `multiplier` or a
    `transform`, and either ``scale`` with `radius_per_margin`, or ``curve_only`` with `roc`; a
    `log_density` lets the checks integrate your curve. In `transform`, `namespace` gives the
    arithmetic of the base draw's library, and `like` an array as that library has it. A method
    refuses arguments by ValueError, in ``__post_init__``.

    What is checked: at registration, the class and its name and norm; by
    `rsbounds.testing.contracts.check_noise_law` (on the command line ``rsbounds check-plugin
    NAME``) that it is read back from plain values, that rows of a batch are laws, that radii are
    rounded down and never infinite, that the curve is one, belongs to the noise (Neyman and
    Pearson, by integration) and allows no more than the density does, and that draws follow the
    density.

    Examples
    --------
    >>> from dataclasses import dataclass
    >>> import rsbounds
    >>> from rsbounds.noises import NOISES, Noise
    >>> @dataclass(frozen=True, eq=False)
    ... class ByVariance(Noise):
    ...     '''Gaussian noise of a variance; l2 radius sigma/2 times the probit margin.'''
    ...     variance: float
    ...     name, norm, scale = "by-variance", "l2", "probit"
    ...     variants = ({"variance": 0.25},)
    ...     @property
    ...     def radius_per_margin(self):
    ...         return self.variance**0.5 / 2
    ...     def multiplier(self, *, variance=None):
    ...         return (self.variance if variance is None else variance) ** 0.5
    >>> print(f"{rsbounds.certify([90, 8, 2], 0, noise=ByVariance(0.25)).radius[0]:.3f}")
    0.414

    With ``NOISES.register("by-variance", ByVariance)``, or an entry point of the group
    ``rsbounds.noises``, stores and files keep it, and ``rsbounds certify --noise`` knows its name.
    """

    #: Norm of the radius ("l1", "l2"; "scaled l2" where each coordinate has a unit of its own).
    norm: ClassVar[str]
    #: Scale of the margin that the radius is a multiple of.
    scale: ClassVar[Scale] = "linear"
    #: The curve is no margin scale: a radius comes from bounds on p_A and on p_c, or, smaller, from
    #: one on p_A - p_c (``scale`` is then "linear").
    curve_only: ClassVar[bool] = False
    #: `roc` is concave in b. One that is not is the largest of several curves that are, and the
    #: law writes `_radius_of_pair`, which asks each curve on its own.
    concave: ClassVar[bool] = True
    #: No larger radius holds for every classifier.
    tight: ClassVar[bool] = True
    #: The curve holds for any set of outcomes: several classes together, values up to a threshold.
    unions: ClassVar[bool] = True
    #: `transform` can be differentiated in the parameters.
    has_rsample: ClassVar[bool] = True
    #: Parameters that tests build the law with; at least one set where it is registered.
    variants: ClassVar[tuple[Mapping[str, Any], ...]] = ()

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        own = vars(cls)
        if "sample" in own:
            raise TypeError(
                f"{cls.__name__} overrides sample, which streams do not call; allowed: transform "
                "or perturb, from the base draw"
            )
        # Other noise than the parent's: the parent's promise does not cover it.
        if "multiplier" not in own and {"transform", "perturb"} & set(own):
            cls.multiplier = Noise.multiplier  # type: ignore[method-assign]

    # -- parameters (the rest is in `rsbounds.noises._record`) ----------------------------

    def scaled(self: Self, factor: ArrayLike) -> Self:
        """The law of this noise times a number, or times one number for each input.

        Parameters
        ----------
        factor : float or (B,) float array_like
            Finite numbers above zero; (B,) gives a law with parameters for each of B inputs.

        Returns
        -------
        Noise

        Raises
        ------
        ValueError
            The law has no scale.
        """
        raise ValueError(f"noise is {self}, which has no scale; allowed: gaussian, uniform, ...")

    def to_dict(self) -> dict[str, Any]:
        """The law as plain values that JSON can carry, without loss.

        Returns
        -------
        dict
            ``name`` and the fields; an array is {"float64": base64 of its bytes, "shape": ...}.

        Raises
        ------
        ValueError
            The law is not the one registered under its name, so that it could not be read back.
        """
        if self.name not in NOISES or NOISES[self.name] is not type(self):
            raise ValueError(
                f"noise is {type(self).__name__}, not registered as {self.name!r}; allowed: a "
                "registered law (NOISES.register, or an entry point of rsbounds.noises)"
            )
        return self._plain_values()

    def _plain_values(self) -> dict[str, Any]:
        return {"name": self.name, **{key: _plain(v) for key, v in self._given().items()}}

    # -- draws ---------------------------------------------------------------------------

    @property
    def base(self) -> str:
        """What a draw starts from, one of `rsbounds.streams.BASES`."""
        return "normal"

    def base_size(self, shape: tuple[int, ...]) -> int:
        """Base numbers per draw, for inputs of that shape: as many as the input has."""
        return int(np.prod(shape, dtype=np.int64)) if self.base != "draw" else 1

    def multiplier(self, **parameters: Any) -> Any:
        """What times a base draw is the noise; None where the noise is something else."""
        return None

    def transform(self, base: Any, **parameters: Any) -> Any:
        """Noise from base draws.

        Parameters
        ----------
        base : (m, ...) array or tensor
            Base draws, of the input's shape (or `base_size` numbers each).
        **parameters
            In place of the law's own, such as ``sigma=`` a tensor that wants a gradient.

        Returns
        -------
        (m, ...) array or tensor
            Noise of the input's shape.
        """
        factor = self.multiplier(**parameters)
        if factor is None:
            raise NotImplementedError(f"{type(self).__name__} needs a transform or a multiplier")
        return base * (like(factor, base) if isinstance(factor, np.ndarray) else factor)

    def perturb(self, x: Any, base: Any) -> Any:
        """(m, ...) noisy copies of an input from (m, ...) base draws."""
        return x + self.transform(base)

    def sample(self, rng: np.random.Generator, shape: tuple[int, ...], dtype: Any) -> NDArray[Any]:
        """Independent noise from a generator of numpy, for training and experiments.

        Certificates draw from `rsbounds.streams` instead.

        Parameters
        ----------
        rng : numpy.random.Generator
            Where the base draws come from.
        shape : (m, ...) tuple of int
            Number of draws and shape of the input.
        dtype : float32 or float64
            Type of the noise.

        Returns
        -------
        ndarray of that shape and type

        Raises
        ------
        ValueError
            The law is deterministic, or has parameters for more than one input.
        """
        if self.batch_shape or self.base == "draw":
            raise ValueError(f"noise is {self}; allowed: a random law for one input (noise[i])")
        size = self.base_size(shape[1:])
        at = shape if size == np.prod(shape[1:]) else (shape[0], size)
        draws: NDArray[Any]
        if self.base == "normal":
            draws = rng.standard_normal(at, dtype=dtype)
        elif self.base == "uniform":
            draws = np.asarray(rng.random(at, dtype=dtype) * 2 - 1, dtype=dtype)
        else:
            draws = rng.integers(0, 2**32, at)
        return np.asarray(self.transform(draws), dtype=dtype)

    def log_density(self, delta: Any) -> Any:
        """Log density of the noise at ``delta``, up to a constant; for tests and plots.

        Parameters
        ----------
        delta : (..., d) ndarray
            Points.

        Returns
        -------
        (...) ndarray
        """
        raise NotImplementedError(f"{self.name} has no density")

    # -- curve ---------------------------------------------------------------------------

    @property
    def default_method(self) -> str:
        """The margin method where none is named: the one with the largest radii."""
        return "runner-up" if self.curve_only else "exact"

    @property
    def radius_per_margin(self) -> float | NDArray[np.float64]:
        """Radius for a margin of one: a number, or one for each input."""
        raise ValueError(f"noise is {self}; allowed: laws with a margin scale")

    def roc(self, r: ArrayLike, b: ArrayLike) -> NDArray[np.float64]:
        """Largest probability at distance ``r`` of a set that has probability ``b`` at x.

        Parameters
        ----------
        r, b : float array_like
            Distances >= 0 and probabilities, broadcast together (and with the batch).

        Returns
        -------
        ndarray
            Probabilities, to about 1e-15 (absolute).
        """
        if self.curve_only:
            raise NotImplementedError(f"{type(self).__name__} is curve_only and needs a roc")
        shift = np.asarray(r, dtype=np.float64) / (2.0 * np.asarray(self.radius_per_margin))
        p = np.asarray(b, dtype=np.float64)
        if self.scale == "probit":
            # Here, since no certificate of the library's laws needs it, and loading it takes long.
            from scipy.special import ndtr, ndtri

            return np.asarray(ndtr(ndtri(p) + shift))
        return np.asarray(np.minimum(p + shift, 1.0))

    def roc_inverse(self, r: ArrayLike, c: ArrayLike) -> NDArray[np.float64]:
        """Largest ``b`` with ``roc(r, b) <= c``, rounded down; 0 where there is none.

        Parameters
        ----------
        r, c : float array_like
            Distances >= 0 and probabilities, broadcast together (and with the batch).

        Returns
        -------
        ndarray
        """
        return _curve.inverse(self.roc, r, c)

    def radius(self, margin: ArrayLike) -> NDArray[np.float64]:
        """Certified radius for lower bounds on the margin; 0 where the margin is not above 0.

        A ``curve_only`` law takes the margin p_A - p_c, and gives the radius of the pair around 1/2
        with that margin: the curve is concave, so that of all pairs with the same margin the sum
        roc(r, 1 - p_A) + roc(r, p_c) is largest there. `radius_of_pair` of the pair itself is more.

        Parameters
        ----------
        margin : (B,) float array_like
            Lower bounds on the margin, on ``scale``.

        Returns
        -------
        (B,) ndarray
            Finite radii in units of the raw input, rounded down (to 0 below 1e-290).

        Raises
        ------
        ValueError
            A margin is NaN, or the law has parameters for another number of inputs.

        Examples
        --------
        >>> import rsbounds
        >>> rsbounds.Gaussian(sigma=[0.25, 0.5]).radius([2.0, 2.0]).round(3)
        array([0.25, 0.5 ])
        """
        values = _validate.real_array("margin", margin)
        if np.isnan(values).any():
            raise ValueError("margin is NaN; allowed: numbers")
        if values.ndim:
            self.check_rows(values.shape[0])
        if self.curve_only:
            return np.where(values > 0, self._radius_of_pair(*_curve.pair_of_margin(values)), 0.0)
        return _curve.multiples(values, self.radius_per_margin)

    def radius_of_pair(self, p_a: ArrayLike, p_b: ArrayLike) -> NDArray[np.float64]:
        """Certified radius where p_A >= ``p_a`` and every other class has at most ``p_b``.

        The largest r with roc(r, 1 - p_a) + roc(r, p_b) < 1: by bisection, where the law does not
        write `_radius_of_pair`.

        Parameters
        ----------
        p_a, p_b : (B,) float array_like
            Lower and upper bounds on probabilities.

        Returns
        -------
        (B,) ndarray
            Radii in units of the raw input, rounded down; 0 where none is certified.

        Raises
        ------
        ValueError
            A number outside [0, 1], or parameters for another number of inputs.
        """
        low, high = _curve.probabilities(p_a, p_b)
        if low.ndim:
            self.check_rows(low.shape[0])
        return self._radius_of_pair(low, high)

    def _radius_of_pair(
        self, p_a: NDArray[np.float64], p_b: NDArray[np.float64]
    ) -> NDArray[np.float64]:
        """`radius_of_pair` of probabilities."""
        return _curve.radius_of_pair(self.roc, p_a, p_b, self.batch_shape)

    def certified_radius(self, bound: MarginBound) -> NDArray[np.float64]:
        """(B,) radii that a margin bound on ``scale`` certifies, rounded down.

        Parameters
        ----------
        bound : MarginBound
            The bound; a ``curve_only`` law takes its details ``p_a_lower`` and ``p_b_upper``, or
            ``p_t_upper`` (`rsbounds.claims.TopK`), where the method bounds probabilities.

        Returns
        -------
        (B,) ndarray

        Raises
        ------
        ValueError
            A bound on another scale, or for another number of inputs.
        """
        if bound.scale != self.scale:
            raise ValueError(f"bound is on the {bound.scale} scale; allowed: {self.scale}")
        if self.curve_only and {"p_a_lower", "p_t_upper"} <= set(bound.details):
            return _curve.radius_of_unions(
                self, bound.details["p_a_lower"], bound.details["p_t_upper"]
            )
        if self.curve_only and {"p_a_lower", "p_b_upper"} <= set(bound.details):
            return self.radius_of_pair(bound.details["p_a_lower"], bound.details["p_b_upper"])
        return self.radius(bound.lower)

    # -- region --------------------------------------------------------------------------

    def region(self, bound: MarginBound | ArrayLike) -> Region:
        """The perturbations that a bound certifies, one region per input.

        Parameters
        ----------
        bound : MarginBound or (B,) float array_like
            A margin bound, or lower bounds on the margin on ``scale``.

        Returns
        -------
        Region
            A `Ball`, or what the law overrides this with.

        Examples
        --------
        >>> import rsbounds
        >>> ball = rsbounds.Gaussian(sigma=0.5).region([2.0])
        >>> ball.contains([[0.3, 0.3]])
        array([ True])
        """
        return Ball(self._radii(bound), norm=self.norm)

    def _radii(self, bound: MarginBound | ArrayLike) -> NDArray[np.float64]:
        if isinstance(bound, MarginBound):
            return self.certified_radius(bound)
        return self.radius(np.atleast_1d(np.asarray(bound, dtype=np.float64)))


def _plain(value: Any) -> Any:
    if isinstance(value, Noise):
        return value.to_dict()
    if isinstance(value, np.ndarray):
        return encoded(value)
    return list(value) if isinstance(value, tuple) else value


def _from_plain(key: str, value: Any) -> Any:
    if not isinstance(value, Mapping):
        return value
    if "name" in value:
        return noise_from_dict(value)
    try:
        return decoded(value)
    except (LookupError, TypeError, ValueError) as error:
        raise ValueError(
            f"noise has {key} that is no array ({error}); allowed: a law's dictionary"
        ) from None


NOISES.require(Noise, "name", "norm")


def noise_from_dict(values: Mapping[str, Any]) -> Noise:
    """The law that `Noise.to_dict` wrote down.

    Parameters
    ----------
    values : mapping
        ``name`` of a registered law, and its fields.

    Returns
    -------
    Noise

    Raises
    ------
    ValueError
        An unknown name, fields that the law does not have, or values that it refuses.

    Examples
    --------
    >>> import rsbounds
    >>> from rsbounds.noises import noise_from_dict
    >>> law = rsbounds.Gaussian(sigma=[0.1, 0.2])
    >>> noise_from_dict(law.to_dict()) == law
    True
    """
    if not isinstance(values, Mapping) or "name" not in values:
        raise ValueError(f"noise is {values!r}; allowed: a mapping with the name of a law")
    kind = NOISES[values["name"]]
    given = {key: _from_plain(key, value) for key, value in values.items() if key != "name"}
    fields = [field for field in dataclasses.fields(cast(Any, kind)) if field.init]
    needed = {field.name for field in fields if field.default is dataclasses.MISSING}
    if not needed <= set(given) <= {field.name for field in fields}:
        raise ValueError(
            f"noise {values['name']!r} has {sorted(given)}; allowed: the parameters of that law, "
            f"{[field.name for field in fields]}"
        )
    return kind(**given)
