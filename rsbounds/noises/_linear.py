"""What the laws C z share: z standard normal, C symmetric positive definite."""

from __future__ import annotations

import abc
from typing import Any, ClassVar, TypeVar

import numpy as np
from numpy.typing import NDArray

from rsbounds._types import Scale
from rsbounds.noises._base import Noise
from rsbounds.noises._parameters import namespace

Self = TypeVar("Self", bound="LinearGaussian")


class LinearGaussian(Noise):
    """Noise C z over the flattened input; certified where ||C^-1 delta||_2 is below the radius.

    In the coordinates C^-1 delta the noise is N(0, I), so that the smoothed classifier's answer
    does not change while ||C^-1 delta||_2 < 1/2 (Phi^-1(p_A) - Phi^-1(p_B)).

    The product and the sum with the input are made in float64 whatever the input's type, and
    rounded once: the law that is sampled has the float64 parameters that the region is made of.
    For numpy arrays and tensors on the CPU its bits depend on the draw alone; on other devices
    their library's product is used, the same for the same draw on the same kind of device.
    """

    #: The parameter that is (d, ...), or (B, d, ...) for each of B inputs.
    _matrices: ClassVar[str]

    scale: ClassVar[Scale] = "probit"
    norm: ClassVar[str] = "scaled l2"

    @property
    def radius_per_margin(self) -> float:
        return 0.5

    def _rows(self: Self, rows: Any) -> Self:
        # Checked already.
        part = object.__new__(type(self))
        for key, value in self._values().items():
            if isinstance(value, np.ndarray):
                value = value[rows]
                value.flags.writeable = False
            part.__dict__[key] = value
        return part

    @abc.abstractmethod
    def _product(self, z: NDArray[Any], **parameters: NDArray[np.float64]) -> NDArray[np.float64]:
        """C z of (m, d) draws, one C."""

    @abc.abstractmethod
    def _tensor_product(self, z: Any, **parameters: Any) -> Any:
        """C z of (..., m, d) tensors of float64, one C or (B, ...) of them."""

    def transform(self, base: Any, **parameters: Any) -> Any:
        """C z.

        Parameters
        ----------
        base : (m, ...) or (B, m, ...) array or tensor
            Base draws of the input's shape. Where the law or the parameters are for each of B
            inputs, m draws for each, or one: (B, ...).
        **parameters : array or tensor
            In place of the law's own and of their shapes. The result can be differentiated in
            tensors.

        Returns
        -------
        array or tensor
            Noise, of ``base``'s shape and type.
        """
        noise = self._noise(base, **parameters)
        return noise.astype(base.dtype) if isinstance(base, np.ndarray) else noise.to(base.dtype)

    def perturb(self, x: Any, base: Any) -> Any:
        shape = tuple(x.shape)
        if shape != self.event_shape:
            raise ValueError(
                f"noise is for inputs of shape {self.event_shape}, these have {shape}; allowed: "
                "inputs of that shape"
            )
        return x + self._noise(base)

    def _noise(self, base: Any, **parameters: Any) -> Any:
        """`transform` in float64."""
        shape = self.event_shape or ()
        lead = base.ndim - len(shape)
        if lead < 1 or tuple(base.shape[lead:]) != shape:
            raise ValueError(
                f"base draws have shape {tuple(base.shape)}; allowed: some of shape {shape}"
            )
        unknown = set(parameters) - set(self._arrays())
        if unknown:
            raise TypeError(f"{self.name} has no parameter {sorted(unknown)[0]!r}")
        flat = base.reshape(*base.shape[:lead], -1)
        tensors = not isinstance(base, np.ndarray)
        values = {**(self._tensors(base) if tensors else self._arrays()), **parameters}
        if flat.ndim == 2 and values[self._matrices].ndim == 3:
            flat = flat[:, None]
        if tensors:
            values = {key: value.double() for key, value in values.items()}
            found = self._tensor_product(flat.double(), **values)
        elif flat.ndim == 2:
            found = self._product(flat, **values)
        else:
            many = set(values) if self.batch_shape else set(parameters)
            each = [
                {key: value[i] if key in many else value for key, value in values.items()}
                for i in range(len(flat))
            ]
            found = np.stack([self._product(z, **v) for z, v in zip(flat, each, strict=True)])
        return found.reshape(base.shape)

    def _arrays(self) -> dict[str, NDArray[np.float64]]:
        return {key: v for key, v in self._values().items() if isinstance(v, np.ndarray)}

    def _tensors(self, base: Any) -> dict[str, Any]:
        """The law's parameters on the device of a tensor, brought there once."""
        held: dict[Any, Any] = self.__dict__.setdefault("_held", {})
        if base.device not in held:
            kind = namespace(base).float64
            held[base.device] = {
                key: base.new_tensor(np.array(values), dtype=kind)
                for key, values in self._arrays().items()
            }
        return dict(held[base.device])

    def __getstate__(self) -> dict[str, Any]:
        # What was computed on the way is not part of the law.
        return self._values()
