"""What a stream is, what it asks of a law, and the stream of numpy arrays."""

from __future__ import annotations

import abc
from collections.abc import Callable, Sequence
from typing import Any, Generic, Literal, Protocol, TypeVar, cast

import numpy as np
from numpy.typing import NDArray

from rsbounds import _validate
from rsbounds.streams._cells import Table, lattice_point
from rsbounds.streams._pieces import Piece

#: Changes whenever the same seed gives other draws. Version 1 (never written down) drew numpy's
#: noise from numpy's generators, and float32 numbers for float64 tensors; the noise of float32
#: tensors on the CPU is the same in both.
VERSION = 2

Role = Literal["estimate", "select"]
#: The two samples of a certificate.
ROLES = ("estimate", "select")
Purpose = Literal["estimate", "select", "optimize", "judge", "train"]
#: What draws are for, each with streams of its own: the samples of a certificate, the search for
#: a law and the comparison of what it found with its start, and training. New ones go last.
PURPOSES = (*ROLES, "optimize", "judge", "train")
#: Stream numbers of inputs are one word of the generator's counter.
MAX_INDEX = 2**32 - 1

#: A law that makes its noise in several arrays is asked for so many draws, or numbers, at a time:
#: memory does not grow with the batch.
_TOGETHER, _NUMBERS = 16, 1 << 18

Array = TypeVar("Array")


class Law(Protocol):
    """What a stream needs to know of a noise law (`rsbounds.noises.Noise` has it all)."""

    @property
    def base(self) -> str:
        """Name of the base draw, one of `BASES`."""

    @property
    def batch_shape(self) -> tuple[int, ...]:
        """Empty, or (B,) where each of B inputs has parameters of its own."""

    def __getitem__(self, row: int, /) -> Any:
        """The law of one input."""

    def base_size(self, shape: tuple[int, ...], /) -> int:
        """Base numbers per draw, for inputs of that shape."""

    def check_size(self, numbers: int, /) -> None:
        """Raise ValueError where the law is for inputs of another size."""

    @property
    def spacing(self) -> float | None:
        """Spacing of the lattice that the noise is drawn on; None where it is floats."""

    def table(self) -> Table | None:
        """Of one input's law, the table of what is drawn on the lattice; None where it is floats.

        The noisy copy is then the input, rounded to the lattice, and such a draw for each of its
        numbers; ``base``, `multiplier` and `perturb` are not asked.
        """

    def multiplier(self) -> Any:
        """The number, or numbers of the input's shape, that times a base draw are the noise.

        None where the noise is anything else.
        """

    def perturb(self, x: Any, base: Any, /) -> Any:
        """(m, ...) noisy copies of an input from base draws, arrays or tensors.

        The draws are (m, ...), of the input's shape, or (m, size) where `base_size` is another.
        """


class NoiseStream(abc.ABC, Generic[Array]):
    """Noise of one law, seed and role, at inputs of one shape.

    Parameters
    ----------
    law : Law
        The law; one for each input has (B,) as its batch shape.
    shape : tuple of int
        Shape of one input.
    """

    def __init__(self, law: Law, shape: tuple[int, ...]) -> None:
        law.check_size(int(np.prod(shape, dtype=np.int64)))
        self._law = law
        self._batched = bool(law.batch_shape)
        self._shape = shape
        self._current: tuple[Any, Law, Any, Table | None] | None = None

    @abc.abstractmethod
    def add(self, out: Array, x: Array, index: int, first: int, row: int | None = None) -> None:
        """Write noisy copies of ``x``: those of draws ``first, first + 1, ...`` of an input.

        Parameters
        ----------
        out : (m, d) array
            Written; its rows are contiguous.
        x : (d,) array
            The input, of the same type and device.
        index, first : int
            The input's stream number, and the first draw.
        row : int, optional
            Which of the laws, where each input has its own.

        Raises
        ------
        ValueError
            ``row`` is missing or outside the law's batch, or the law's parameters do not have
            the input's shape.
        """

    def fill(self, out: Any, x: Any, pieces: Sequence[Piece], indices: Sequence[int]) -> None:
        """Write the noisy copies that a batch holds, piece after piece.

        Parameters
        ----------
        out : (m, d) array
            Written, as many rows as the pieces have draws.
        x : (B, d) array
            All inputs; ``row`` of a piece says which.
        pieces : sequence of Piece
            What the batch holds.
        indices : (B,) integers
            Stream numbers of the inputs.
        """
        at = 0
        for piece in pieces:
            part = out[at : at + piece.count]
            self.add(part, x[piece.row], indices[piece.row], piece.first, piece.row)
            at += piece.count

    def copies(self, x: Any, count: int, first: int, start: int = 0) -> Any:
        """(count, B, d) noisy copies of (B, d) inputs: draws ``first``, ... of each.

        They are the inputs ``start`` to ``start + B - 1``; the noise of an input does not depend
        on which others there are.
        """
        out = self._like(x, (len(x), count, x.shape[1]))
        for row in range(len(x)):
            self.add(out[row], x[row], start + row, first, row)
        return out.swapaxes(0, 1)

    @abc.abstractmethod
    def _like(self, x: Array, shape: tuple[int, ...]) -> Any:
        """An array of ``x``'s library, type and device, of any content."""

    @abc.abstractmethod
    def _converted(self, values: NDArray[Any], x: Array) -> Any:
        """Numbers as an array of ``x``'s library, type and device."""

    def _at(self, row: int | None, x: Any) -> tuple[Law, Any, Table | None]:
        """The law of a row, its flat factors in the kind of ``x``, and its table (or None)."""
        key = row if self._batched else None, x.dtype
        if self._current is None or self._current[0] != key:
            law = law_of_row(self._law, row)
            table = law.table()
            given = None if table is not None else law.multiplier()
            factors = None
            if given is not None:
                numbers = self._checked(given, np.float64 if x.itemsize == 8 else np.float32)
                factors = self._converted(numbers, x)
            self._current = key, law, factors, table
        return self._current[1:]

    def _checked(self, given: Any, kind: Any) -> NDArray[Any]:
        shape = np.shape(given)
        if shape not in ((), self._shape):
            raise ValueError(
                f"noise has parameters of shape {shape}; allowed: the input's shape {self._shape}"
            )
        with np.errstate(over="ignore", under="ignore"):
            numbers = np.array(given, dtype=kind).reshape(-1)
        bad = ~np.isfinite(numbers) | ((numbers == 0) & (np.reshape(given, -1) != 0))
        if bad.any():
            value = np.reshape(given, -1)[int(np.argmax(bad))]
            raise ValueError(
                f"noise has the parameter {value:g}; allowed: what a {np.dtype(kind).name} can hold"
            )
        return numbers


def law_of_row(law: Law, row: int | None) -> Law:
    """The law of one input: its own, or the one that serves all."""
    if not law.batch_shape:
        return law
    (rows,) = law.batch_shape
    if row is None or not 0 <= row < rows:
        raise ValueError(f"row is {row}; allowed: 0 to {rows - 1}, the noise has one law per input")
    one: Law = law[row]
    return one


def stream_key(seed: int, role: Purpose) -> NDArray[np.uint32]:
    """The generator's key of a seed (any integer >= 0) and a role."""
    from rsbounds.streams import _philox

    number = _validate.integer("seed", seed, low=0)
    return _philox.stream_key(number, role_number(role))


def _numbers(kind: Literal["NORMAL", "UNIFORM"]) -> Callable[..., NDArray[Any]]:
    def draws(count: int, size: int, dtype: Any, first: int, index: int, key: Any) -> NDArray[Any]:
        from rsbounds.streams import _philox

        out = np.empty((count, size), dtype)
        one, nothing = np.ones(1, dtype), np.zeros(size, dtype)
        _adder(out.dtype)(out, nothing, getattr(_philox, kind), one, first, index, key)
        return out

    return draws


def _bits(count: int, size: int, dtype: Any, first: int, index: int, key: Any) -> NDArray[Any]:
    from rsbounds.streams import _philox

    out = np.empty((count, size), np.int64)
    _philox.fill_words(out, first, index, key)
    return out


def _draw_numbers(
    count: int, size: int, dtype: Any, first: int, index: int, key: Any
) -> NDArray[Any]:
    return np.arange(first, first + count, dtype=np.int64)[:, None]


#: Base draws: (count, size) numbers for draws first, first + 1, ... of an input.
#:
#: - ``normal``: standard normal.
#: - ``uniform``: uniform on (-1, 1), never an end.
#: - ``bits``: 32 random bits as an integer from 0 to 2^32 - 1.
#: - ``draw``: the number of the draw, for laws that are enumerated and not sampled.
_BASES: dict[str, Callable[..., NDArray[Any]]] = {
    "normal": _numbers("NORMAL"),
    "uniform": _numbers("UNIFORM"),
    "bits": _bits,
    "draw": _draw_numbers,
}
BASES = tuple(_BASES)


def _adder(dtype: Any) -> Callable[..., None]:
    from rsbounds.streams import _philox

    return _philox.add_noise64 if dtype == np.float64 else _philox.add_noise32


def base_draws(
    base: str,
    count: int,
    size: int,
    *,
    seed: int,
    role: Purpose,
    index: int = 0,
    first: int = 0,
    dtype: Any = np.float64,
) -> NDArray[Any]:
    """Base draws of one input, each of ``size`` numbers.

    Parameters
    ----------
    base : {"normal", "uniform", "bits", "draw"}
        What is drawn; "bits" and "draw" come as int64 whatever ``dtype`` says.
    count, size : int
        Draws, and numbers per draw (1 for "draw").
    seed : int
        Any whole number >= 0.
    role : {"estimate", "select", "optimize", "judge", "train"}
        What the draws are for.
    index, first : int
        The input's stream number, and the first draw.
    dtype : float32 or float64
        Kind of the numbers: 24 or 53 significant bits.

    Returns
    -------
    (count, size) ndarray

    Raises
    ------
    ValueError
        Arguments out of range.

    Examples
    --------
    >>> from rsbounds.streams import base_draws
    >>> whole = base_draws("normal", 5, 3, seed=1, role="estimate")
    >>> bool((base_draws("normal", 2, 3, seed=1, role="estimate", first=3) == whole[3:]).all())
    True
    """
    _validate.choice("base", base, BASES)
    _validate.integer("index", index, low=0, high=MAX_INDEX)
    _validate.integer("first", first, low=0, high=_validate.MAX_N)
    kind = np.dtype(dtype)
    if kind not in (np.float32, np.float64):
        raise ValueError(f"dtype is {dtype!r}; allowed: float32, float64")
    return _BASES[base](count, size, kind, first, index, stream_key(seed, role))


class CounterStream(NoiseStream[NDArray[Any]]):
    """Noise of numpy arrays, each draw from its own counters.

    Parameters
    ----------
    law, shape
        As in `NoiseStream`.
    seed : int
        Any whole number >= 0.
    role : {"estimate", "select", "optimize", "judge", "train"}
        What the draws are for.
    """

    def __init__(self, law: Law, shape: tuple[int, ...], *, seed: int, role: Purpose) -> None:
        super().__init__(law, shape)
        self._key = stream_key(seed, role)
        _validate.choice("noise.base", law.base, BASES)

    def _like(self, x: NDArray[Any], shape: tuple[int, ...]) -> NDArray[Any]:
        return np.empty(shape, dtype=x.dtype)

    def _converted(self, values: NDArray[Any], x: NDArray[Any]) -> NDArray[Any]:
        return values

    def add(
        self,
        out: NDArray[Any],
        x: NDArray[Any],
        index: int,
        first: int,
        row: int | None = None,
    ) -> None:
        law, factors, table = self._at(row, x)
        if table is not None:
            from rsbounds.streams import _lattice

            spacing = cast(float, law.spacing)
            point = lattice_point(x, spacing, table.reach)
            _lattice.fill_lattice(
                out, point - np.int32(table.reach), table.packed, table.rest, table.bits,
                x.dtype.type(spacing), first, index, self._key,
            )  # fmt: skip
            return
        if factors is not None:
            from rsbounds.streams import _philox

            kind = getattr(_philox, law.base.upper())
            # A kernel is compiled for read-only arrays again.
            x = x if x.flags.writeable else x.copy()
            _adder(x.dtype)(out, x, kind, factors, first, index, self._key)
            return
        size = law.base_size(self._shape)
        some = max(_TOGETHER, _NUMBERS // max(size, len(x)))
        for start in range(0, len(out), some):
            part = out[start : start + some]
            base = _BASES[law.base](len(part), size, x.dtype, first + start, index, self._key)
            write_perturbed(law, self._shape, part, x, base)


def write_perturbed(law: Law, shape: tuple[int, ...], out: Any, x: Any, base: Any) -> None:
    """``out[r]`` = the law's noisy copy of ``x`` from base draw r."""
    numbers = int(np.prod(shape, dtype=np.int64))
    shaped = law.base != "draw" and base.shape[1] == numbers
    drawn = base.reshape(-1, *shape) if shaped else base
    noisy = law.perturb(x.reshape(shape), drawn)
    if tuple(noisy.shape) != (len(out), *shape):
        raise ValueError(
            f"noise {law} gave shape {tuple(noisy.shape)} for {len(out)} draws at an input of "
            f"shape {shape}; allowed: {(len(out), *shape)}"
        )
    out[...] = noisy.reshape(out.shape)


def checked_role(role: Any) -> Role:
    """``role``, if it is one."""
    _validate.choice("role", role, ROLES)
    return cast(Role, role)


def role_number(role: Any) -> int:
    """The number of what draws are for, part of the key of their streams."""
    _validate.choice("role", role, PURPOSES)
    return PURPOSES.index(role)
