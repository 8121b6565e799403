"""Arguments as they come: inputs to tensors, devices, stream numbers, seeds."""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike

from rsbounds import _validate
from rsbounds.streams import MAX_INDEX

Inputs = torch.Tensor | ArrayLike


def as_tensor(
    inputs: Inputs,
    *,
    bounds: tuple[float, float] | None,
    kind: torch.dtype | None,
    device: torch.device,
) -> torch.Tensor:
    """Checked numbers on the device, float64 where ``kind`` or a tensor says so, else float32."""
    held: Any
    if type(inputs).__module__.startswith("PIL."):
        raise ValueError(
            f"inputs is a picture ({type(inputs).__name__}), whose scale and axes nothing says; "
            "allowed: a tensor or array of numbers"
        )
    if isinstance(inputs, torch.Tensor):
        given, held = inputs.detach(), inputs.dtype
        integers = not (held.is_floating_point or held.is_complex or held == torch.bool)
    else:
        try:
            array = np.asarray(inputs)
            if array.dtype.kind not in "iubf" or array.dtype.itemsize > 8:
                raise TypeError
            held, integers = array.dtype, array.dtype.kind in "iu"
            # A copy where torch would warn that it cannot write; torch knows few unsigned
            # types.
            if array.dtype.kind == "u" and array.dtype.itemsize > 1:
                array = array.astype(np.float64)
            given = torch.from_numpy(np.array(array, order="C"))
        except (TypeError, ValueError):
            raise ValueError(
                f"inputs has type {type(inputs).__name__}; allowed: a tensor or array of numbers"
            ) from None
    if given.is_complex() or given.is_quantized:
        raise ValueError(f"inputs have type {given.dtype}; allowed: real numbers")
    if given.layout != torch.strided:
        raise ValueError(f"inputs have layout {given.layout}; allowed: dense tensors")
    if bounds is None and integers:
        raise ValueError(
            f"inputs have type {held} and nothing says their scale, which is that of the "
            "noise and of the radii; allowed: floating-point numbers, or integers with "
            "input_bounds, such as (0, 255)"
        )
    if given.numel() == 0:
        raise ValueError(f"inputs have shape {tuple(given.shape)}; allowed: at least one")
    _check_values(given, bounds)
    if kind is None:
        # numpy makes float64 of any list of numbers, so float64 says nothing about what was meant.
        wide = isinstance(inputs, torch.Tensor) and inputs.dtype == torch.float64
        kind = torch.float64 if wide else torch.float32
    kind = torch.float64 if kind == torch.float64 else torch.float32
    return given.to(device, kind).contiguous()


def checked_bounds(bounds: Any) -> tuple[float, float] | None:
    """The range of raw inputs, if it is one."""
    if bounds is None:
        return None
    try:
        low, high = (float(value) for value in bounds)
    except (TypeError, ValueError):
        raise ValueError(f"input_bounds is {bounds!r}; allowed: (low, high), or None") from None
    if not low < high:
        raise ValueError(f"input_bounds is {bounds!r}; allowed: (low, high) with low < high")
    return low, high


def placement(
    modules: list[torch.nn.Module], before: list[torch.nn.Module], device: Any
) -> tuple[torch.device, torch.dtype | None]:
    """Device to work on, and the type of the model's parameters (None where it has none).

    ``modules`` are the model's, ``before`` those of its preprocessing.
    """
    own = [t for module in modules for t in (*module.parameters(), *module.buffers())]
    tensors = own + [t for module in before for t in (*module.parameters(), *module.buffers())]
    if any(torch.nn.parameter.is_lazy(t) for t in tensors):
        raise ValueError(
            "model has parameters without values (a lazy module); allowed: a model that has been "
            "called once"
        )
    kinds = [t.dtype for t in own if t.is_floating_point()]
    kind = kinds[0] if kinds else None
    if device is None:
        chosen = tensors[0].device if tensors else torch.device("cpu")
    else:
        try:
            chosen = torch.device(device)
            # The tensor knows which of several devices "cuda" means, and that it is there.
            chosen = torch.empty(0, device=chosen).device
        except (RuntimeError, TypeError, AssertionError) as error:
            what = str(error).strip().splitlines()[0]
            raise ValueError(
                f"device is {device!r}; allowed: a device of this machine ({what})"
            ) from None
        if tensors and all(t.device != chosen for t in tensors):
            raise ValueError(
                f"device is {device!r} but the model is on {tensors[0].device}; allowed: the "
                f"model's device (move it first: model.to({str(chosen)!r}))"
            )
    return chosen, kind


def _check_values(given: torch.Tensor, bounds: tuple[float, float] | None) -> None:
    """Refuse numbers that are not finite, or outside the bounds."""
    low, high = (-np.inf, np.inf) if bounds is None else bounds
    allowed = "finite numbers" if bounds is None else f"numbers from {low:g} to {high:g}"
    if given.dtype == torch.bool:
        given = given.to(torch.uint8)
    bad = ~((given >= low) & (given <= high))
    if given.is_floating_point():
        bad |= ~torch.isfinite(given)
    if bool(bad.any()):
        where = tuple(int(i) for i in bad.nonzero()[0])
        reason = "" if bounds is None else " (input_bounds)"
        raise ValueError(
            f"inputs{list(where)} is {given[where].item()}; allowed: {allowed}{reason}"
        )


def chosen_seed(seed: int | None) -> int:
    """The seed given, or a fresh one."""
    return secrets.randbits(63) if seed is None else _validate.integer("seed", seed, low=0)


def stream_numbers(index: int | Sequence[int], rows: int) -> list[int]:
    """The stream number of each of ``rows`` inputs."""
    if isinstance(index, (int, np.integer)):
        first = _validate.integer("index", index, low=0, high=MAX_INDEX - rows + 1)
        return list(range(first, first + rows))
    try:
        values = [_validate.integer("index", i, low=0, high=MAX_INDEX) for i in index]
    except TypeError:
        raise ValueError(f"index is {index!r}; allowed: an integer, or one per input") from None
    if len(values) != rows:
        raise ValueError(f"index has {len(values)} entries; allowed: {rows}, one per input")
    if len(set(values)) != rows:
        raise ValueError("index has equal entries; allowed: a stream number of its own per input")
    return values


def checked_share(name: str, draws: tuple[int, int] | None, n: int) -> tuple[int, int]:
    """First draw and end of the part of n draws that was asked for."""
    if draws is None:
        return 0, n
    try:
        first, stop = (int(value) for value in draws)
    except (TypeError, ValueError):
        first, stop = 0, 0
    if not 0 <= first < stop <= n:
        raise ValueError(f"{name} is {draws!r}; allowed: (first, stop), 0 <= first < stop <= {n}")
    return first, stop
