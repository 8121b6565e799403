"""What is trained on: inputs and labels in raw units, batch by batch."""

from __future__ import annotations

import abc
import hashlib
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch.utils.data import TensorDataset

from rsbounds_torch._inputs import as_tensor
from rsbounds_torch._random import own_random, seed_all
from rsbounds_torch.data import InputSet, items_of
from rsbounds_torch.training._seeds import derived

#: Items of a data set that are read before the training: what they are is known then, and
#: recognised when it is resumed.
_PROBED = 1000

Batch = tuple[torch.Tensor, torch.Tensor]


class Examples(abc.ABC):
    """Inputs and labels by index.

    Attributes
    ----------
    name : str
        What errors call them.
    size : int
        How many there are.
    """

    name: str
    size: int

    @abc.abstractmethod
    def batch(self, rows: NDArray[np.int64], epoch: int) -> Batch:
        """Inputs (m, ...) and int64 labels (m,) of some rows, on the device."""

    def first(self) -> torch.Tensor:
        """The first input, (1, ...)."""
        return self.batch(np.zeros(1, np.int64), 0)[0]

    @abc.abstractmethod
    def check(self, shape: tuple[int, ...], classes: int) -> str:
        """Start of a hash of the data in their order, as far as reading them is cheap.

        Raises
        ------
        ValueError
            An input of another shape, or a label that is not 0 to classes - 1.
        """


class Columns(Examples):
    """All inputs in one tensor, all labels in another."""

    def __init__(self, name: str, x: torch.Tensor, y: torch.Tensor, device: torch.device) -> None:
        self.name, self.size = name, len(x)
        self._x, self._y, self._device = x, y, device

    def batch(self, rows: NDArray[np.int64], epoch: int) -> Batch:
        at = torch.as_tensor(rows, device=self._x.device)
        return self._x[at].to(self._device), self._y[at].to(self._device)

    def check(self, shape: tuple[int, ...], classes: int) -> str:
        if tuple(self._x.shape[1:]) != shape:
            raise _bad_shape(self.name, self._x, shape)
        bad = ((self._y < 0) | (self._y >= classes)).nonzero()
        if len(bad):
            row = int(bad[0])
            raise _bad_label(self.name, row, int(self._y[row]), classes)
        found = hashlib.sha256(str((self._x.dtype, tuple(self._x.shape))).encode())
        for tensor in (self._x, self._y):
            found.update(tensor.cpu().contiguous().numpy().tobytes())
        return found.hexdigest()[:16]


class Items(Examples):
    """A data set that is read item by item, with what its transforms draw."""

    def __init__(
        self, name: str, data: InputSet, seed: int, kind: torch.dtype, device: torch.device,
        bounds: tuple[float, float] | None,
    ) -> None:  # fmt: skip
        self.name, self.size = name, len(data)
        self._data, self._seed = data, seed
        self._kind, self._device, self._bounds = kind, device, bounds
        self._shape: tuple[int, ...] | None = None
        self._classes: int | None = None

    def batch(self, rows: NDArray[np.int64], epoch: int) -> Batch:
        inputs, labels = [], []
        # What a transform draws depends on the item and the epoch: not on batches, ranks or order.
        with own_random(torch.device("cpu")):
            for i in rows.tolist():
                seed_all(torch.device("cpu"), derived(self._seed, "item", epoch, i))
                x, label = self._data[i]
                inputs.append(self._input(x, i))
                labels.append(self._label(label, i))
        return torch.stack(inputs).to(self._device), torch.tensor(labels, device=self._device)

    def _input(self, x: Any, i: int) -> torch.Tensor:
        try:
            found = as_tensor(x, bounds=self._bounds, kind=self._kind, device=torch.device("cpu"))
        except ValueError as error:
            raise ValueError(f"{self.name}[{i}]: {error}") from None
        if self._shape is not None and tuple(found.shape) != self._shape:
            raise _bad_shape(f"{self.name}[{i}]", found[None], self._shape)
        return found

    def _label(self, label: int | None, i: int) -> int:
        if label is None:
            raise ValueError(f"{self.name}[{i}] has no label; allowed: a label for every input")
        if label < 0 or (self._classes is not None and label >= self._classes):
            raise _bad_label(self.name, i, label, self._classes)
        return label

    def check(self, shape: tuple[int, ...], classes: int) -> str:
        self._shape, self._classes = shape, classes
        found = hashlib.sha256(str(self.size).encode())
        some = np.linspace(0, self.size - 1, min(self.size, _PROBED)).round().astype(np.int64)
        for i in some:
            for part in self.batch(np.array([i]), 0):
                found.update(part.cpu().numpy().tobytes())
        return found.hexdigest()[:16]


def examples_of(
    name: str, data: Any, *, seed: int, kind: torch.dtype, device: torch.device,
    bounds: tuple[float, float] | None,
) -> Examples:  # fmt: skip
    """Training or held-out data, checked as far as that is cheap.

    Raises
    ------
    ValueError
        Inputs that are no finite numbers of one shape, integers without ``bounds``, labels that
        are not integers, or another number of them.
    """
    if isinstance(data, TensorDataset) and len(data.tensors) == 2:
        data = data.tensors
    if not _is_pair(data):
        try:
            return Items(name, items_of(data), seed, kind, device, bounds)
        except ValueError as error:
            raise ValueError(str(error).replace("dataset is", f"{name} is")) from None
    x, y = data
    labels = torch.as_tensor(np.asarray(y) if not isinstance(y, torch.Tensor) else y)
    try:
        inputs = as_tensor(x, bounds=bounds, kind=kind, device=_place(x))
    except ValueError as error:
        raise ValueError(f"{name}: {error}") from None
    if labels.is_floating_point() or labels.is_complex() or labels.dtype == torch.bool:
        raise ValueError(f"{name} has labels of type {labels.dtype}; allowed: integers")
    if labels.shape != (len(inputs),):
        raise ValueError(
            f"{name} has inputs of shape {tuple(inputs.shape)} and labels of shape "
            f"{tuple(labels.shape)}; allowed: (N, ...) and (N,)"
        )
    return Columns(name, inputs, labels.to(inputs.device, torch.int64), device)


def _is_pair(data: Any) -> bool:
    """Whether this is all inputs and all labels: two items would each have a label of its own."""
    arrays = (torch.Tensor, np.ndarray)
    return (
        isinstance(data, (tuple, list))
        and len(data) == 2
        and isinstance(data[0], arrays)
        and isinstance(data[1], (*arrays, list))
    )


def _place(x: Any) -> torch.device:
    return x.device if isinstance(x, torch.Tensor) else torch.device("cpu")


def _bad_shape(name: str, x: torch.Tensor, shape: tuple[int, ...]) -> ValueError:
    return ValueError(
        f"{name} has inputs of shape {tuple(x.shape[1:])}; allowed: {shape}, that of data[0]"
    )


def _bad_label(name: str, row: int, label: int, classes: int | None) -> ValueError:
    allowed = ">= 0" if classes is None else f"0 to {classes - 1}"
    return ValueError(f"the label of {name}[{row}] is {label}; allowed: {allowed}")
