"""The global random numbers that a model may draw: torch's, numpy's and Python's."""

from __future__ import annotations

import random
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch.utils._python_dispatch import TorchDispatchMode

#: Global random numbers belong to the process: one thread at a time seeds them.
_LOCK = threading.RLock()


def _generators(device: torch.device) -> list[torch.Generator]:
    if device.type == "cuda":
        return [torch.default_generator, torch.cuda.default_generators[device.index]]
    return [torch.default_generator]


def torch_state(device: torch.device) -> list[torch.Tensor]:
    """State of torch's global generators, on the CPU and on the device."""
    return [generator.get_state() for generator in _generators(device)]


def same_state(first: list[torch.Tensor], second: list[torch.Tensor]) -> bool:
    """Whether nothing was drawn between two states."""
    return all(torch.equal(a, b) for a, b in zip(first, second, strict=True))


def set_torch_state(device: torch.device, state: list[torch.Tensor]) -> None:
    """Put torch's global generators back."""
    for generator, held in zip(_generators(device), state, strict=True):
        generator.set_state(held)


def other_state() -> Any:
    """State of Python's and numpy's global random numbers; equal where nothing was drawn."""
    held: Any = np.random.get_state()  # noqa: NPY002
    name, key, *rest = held
    return random.getstate(), (name, key.tobytes(), *rest)


def set_other_state(state: Any) -> None:
    """Put Python's and numpy's global random numbers back."""
    random.setstate(state[0])
    name, key, *rest = state[1]
    np.random.set_state((name, np.frombuffer(key, np.uint32), *rest))  # noqa: NPY002


@contextmanager
def undone_on_error() -> Iterator[None]:
    """Python's and numpy's global random numbers as before, should the block fail."""
    state = other_state()
    try:
        yield
    except BaseException:
        if state != other_state():
            set_other_state(state)
        raise


def seed_all(device: torch.device, seed: int) -> None:
    """Seed torch's, numpy's and Python's global random numbers; only within `own_random`."""
    for generator in _generators(device):
        generator.manual_seed(seed)
    np.random.seed([seed & 0xFFFFFFFF, seed >> 32])  # noqa: NPY002
    random.seed(seed)


@contextmanager
def own_random(device: torch.device) -> Iterator[None]:
    """Global random numbers for this thread alone, left as they were."""
    with _LOCK:
        state = torch_state(device)
        others = other_state()
        try:
            yield
        finally:
            set_torch_state(device, state)
            set_other_state(others)


class _Drawing(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Notes the operations of this thread that draw from torch's global generators."""

    def __init__(self, device: torch.device) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._device = device
        self.seen: list[str] = []

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:  # fmt: skip
        # The tag alone is also on attention without dropout, which draws nothing.
        tagged = torch.Tag.nondeterministic_seeded in func.tags
        before = torch_state(self._device) if tagged else None
        result = func(*args, **(kwargs or {}))
        if before is not None and not same_state(before, torch_state(self._device)):
            self.seen.append(str(func))
        return result


def drawing_operations(device: torch.device, call: Callable[[], Any]) -> list[str]:
    """Operations of a call that draw torch's global random numbers, whatever others draw.

    The random numbers are left as they were.
    """
    drawing = _Drawing(device)
    with own_random(device), drawing:
        call()
    return drawing.seen
