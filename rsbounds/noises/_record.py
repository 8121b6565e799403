"""A law as a record of parameters: one set or one per input, indexed, mixed and compared."""

from __future__ import annotations

import abc
import dataclasses
import json
from typing import Any, ClassVar, TypeVar, cast

import numpy as np
from numpy.typing import ArrayLike

from rsbounds.noises._parameters import words
from rsbounds.streams import Table

Self = TypeVar("Self", bound="Record")


class Record(abc.ABC):
    """What `rsbounds.noises.Noise` has of its fields alone."""

    #: Registered name.
    name: ClassVar[str]

    @property
    def batch_shape(self) -> tuple[int, ...]:
        """Empty, or (B,) where each of B inputs has parameters of its own."""
        return ()

    @property
    def event_shape(self) -> tuple[int, ...] | None:
        """Shape of the inputs that the parameters are for; None where any will do."""
        return None

    @property
    def dimension(self) -> int | None:
        """How many numbers an input must have; None where any number will do."""
        return None

    def check_size(self, numbers: int) -> None:
        """Raise ValueError where the law is for inputs of another size than ``numbers``."""
        if self.dimension not in (None, numbers):
            raise ValueError(
                f"inputs have {numbers} numbers with noise {self}; allowed: {self.dimension}, its "
                "dimension"
            )

    @property
    def spacing(self) -> float | None:
        """Spacing of the lattice that the noise is drawn on, exactly; None where it is floats."""
        return None

    def table(self) -> Table | None:
        """The table of the integers times `spacing` that are drawn; None where it is floats.

        Streams then draw those and leave ``base``, `multiplier` and `perturb`, which say what the
        law is in real numbers.
        """
        return None

    @property
    def cells(self) -> int | None:
        """How many draws are all that there are; None where they are random."""
        return None

    def in_floats(self: Self) -> Self:
        """The law in real numbers, drawn at random: for training, which needs no exact law."""
        return self

    def on_lattice(self: Self, lattice: Any = "auto") -> Self:
        """The law with its noise drawn on a lattice, which makes it exact, where it can be.

        Parameters
        ----------
        lattice : float, "auto" or None
            The spacing. "auto" leaves a law as it is that has a lattice of its own, no form on
            lattices, parameters for several inputs (whose noise must not depend on one another),
            or no room for one. None leaves every law as it is.

        Returns
        -------
        Noise
            A law of the same kind and parameters.

        Raises
        ------
        ValueError
            A spacing that the law cannot have, or another than it has.

        Examples
        --------
        >>> import rsbounds
        >>> print(rsbounds.Gaussian(sigma=0.25).on_lattice())
        gaussian(sigma=0.25, lattice=1/2040)
        """
        if lattice not in (None, "auto", self.spacing):
            raise ValueError(f"lattice is {lattice!r}; allowed with noise {self}: 'auto' or None")
        return self

    def __len__(self) -> int:
        if not self.batch_shape:
            raise TypeError(f"{type(self).__name__} has one set of parameters and no length")
        return self.batch_shape[0]

    def __getitem__(self: Self, rows: Any) -> Self:
        if not self.batch_shape:
            raise TypeError(f"{type(self).__name__} has one set of parameters; allowed: no index")
        return self._rows(rows)

    def _rows(self: Self, rows: Any) -> Self:
        """The law of one input, or of some, where the batch shape is (B,).

        By default every array field is indexed in its first dimension, and every law in its
        own batch.
        """
        chosen = {}
        for name, value in self._values().items():
            if isinstance(value, np.ndarray) or (isinstance(value, Record) and value.batch_shape):
                value = value[rows]
            chosen[name] = value.item() if isinstance(value, np.generic) else value
        return type(self)(**chosen)

    def at(self: Self, rows: Any) -> Self:
        """The laws of some rows: of those inputs, or the one that serves all."""
        return self[rows] if self.batch_shape else self

    def check_rows(self, rows: int) -> None:
        """Raise ValueError where the law is for another number of inputs than ``rows``."""
        if self.batch_shape not in ((), (rows,)):
            raise ValueError(
                f"noise has parameters for {self.batch_shape[0]} inputs; allowed: one set, or one "
                f"for each of {rows}"
            )

    def where(self: Self, rows: ArrayLike, other: Self) -> Self:
        """The parameters of this law in some inputs, another's in the rest.

        Parameters
        ----------
        rows : (B,) bool array_like
            True where this law's are taken.
        other : Noise
            A law of the same kind; both have parameters for each of B inputs.

        Returns
        -------
        Noise

        Raises
        ------
        ValueError
            Laws of two kinds, or of other batch shapes.

        Examples
        --------
        >>> import rsbounds
        >>> law = rsbounds.Gaussian([0.1, 0.2]).where([True, False], rsbounds.Gaussian([3.0, 4.0]))
        >>> law.sigma.tolist()
        [0.1, 4.0]
        """
        chosen = np.asarray(rows, dtype=bool)
        if type(other) is not type(self) or not (
            self.batch_shape == other.batch_shape == chosen.shape
        ):
            raise ValueError(
                f"other is {other}; allowed: {self.name} noise, both laws with parameters for "
                f"each of {chosen.size} inputs"
            )
        mixed: dict[str, Any] = {}
        for field in dataclasses.fields(cast(Any, self)):
            a, b = getattr(self, field.name), getattr(other, field.name)
            if isinstance(a, np.ndarray) and isinstance(b, np.ndarray):
                mixed[field.name] = np.where(chosen.reshape(-1, *[1] * (a.ndim - 1)), a, b)
            elif isinstance(a, Record) and a.batch_shape:
                mixed[field.name] = a.where(chosen, b)
            elif a == b:
                mixed[field.name] = a
            else:
                raise ValueError(f"other has {field.name} {b!r}; allowed: {a!r}, which serves all")
        return type(self)(**mixed)

    def _values(self) -> dict[str, Any]:
        if dataclasses.is_dataclass(self):
            return {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
        if vars(self):
            raise TypeError(f"{type(self).__name__} has attributes but is no dataclass")
        return {}

    def _given(self) -> dict[str, Any]:
        """The fields, without those that are None, or "unsaid", where nothing is given.

        A law that gains such a field keeps its text and its plain values, which stores compare.
        """
        values = self._values()
        if dataclasses.is_dataclass(self):
            for field in dataclasses.fields(self):
                value = values[field.name]
                unsaid = "unsaid" in field.metadata and value == field.default
                if unsaid or (field.default is None and value is None):
                    del values[field.name]
        return values

    @abc.abstractmethod
    def _plain_values(self) -> dict[str, Any]:
        """The fields as plain values that JSON can carry, without loss."""

    def _identity(self) -> str:
        return json.dumps(self._plain_values(), sort_keys=True)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Record) or type(other) is not type(self):
            return NotImplemented
        return self._identity() == other._identity()

    def __hash__(self) -> int:
        return hash(self._identity())

    def __str__(self) -> str:
        given = (f"{key}={words(value)}" for key, value in self._given().items())
        return f"{self.name}({', '.join(given)})"

    def __repr__(self) -> str:
        given = (f"{key}={value!r}" for key, value in self._given().items())
        return f"{type(self).__name__}({', '.join(given)})"
