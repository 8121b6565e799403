"""Ranks that torchrun started: who they are, and what they do together.

A rank that fails says so to the others, and all end with the same sentence.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, TypeVar

import torch
import torch.distributed as dist

from rsbounds_torch._device import local_processes, own_device

T = TypeVar("T")


def ranks() -> tuple[int, int]:
    """Rank of this process, and how many there are."""
    if dist.is_available() and dist.is_initialized():
        return dist.get_rank(), dist.get_world_size()
    return 0, 1


@contextmanager
def process_group(device: torch.device | None = None) -> Iterator[tuple[int, int]]:
    """The process group that torchrun asked for: NCCL where every rank has a GPU, else Gloo."""
    place = own_device() if device is None else device
    if place.type == "cuda":
        # Before NCCL starts: it takes the GPU that is current, and all ranks' first is cuda:0.
        torch.cuda.set_device(place)
    wanted = int(os.environ.get("WORLD_SIZE", "1")) > 1
    started = wanted and not dist.is_initialized()
    if started:
        gpu_each = place.type == "cuda" and torch.cuda.device_count() >= local_processes()
        dist.init_process_group("nccl" if gpu_each else "gloo")
    try:
        yield ranks()
    finally:
        if started:
            dist.destroy_process_group()


class Elsewhere(Exception):
    """Another rank has failed."""


def outcome(work: Callable[[], T]) -> tuple[T | None, Exception | None]:
    """Result and error, of which one is None; the error can be sent to other ranks."""
    try:
        return work(), None
    except Exception as error:
        for kind in (Elsewhere, ValueError, OSError, ImportError, MemoryError):
            if isinstance(error, kind):
                return None, kind(str(error))
        return None, RuntimeError(f"{type(error).__name__}: {error}")


@contextmanager
def together() -> Iterator[None]:
    """What torch says where another rank has ended, in our words."""
    try:
        yield
    except RuntimeError as error:
        raise ConnectionError(
            "another process of the run has ended; what is finished is stored, and the same call "
            "resumes the run"
        ) from error


def gather(value: T) -> list[T]:
    """The values of all ranks, on every rank."""
    _, size = ranks()
    if size == 1:
        return [value]
    values: list[Any] = [None] * size
    with together():
        dist.all_gather_object(values, value)
    return values


def everywhere(work: Callable[[], T]) -> T:
    """Run on every rank; where any fails, all raise the same error."""
    if ranks()[1] == 1:
        return work()
    mine = outcome(work)
    errors = [error for error in gather(mine[1]) if error is not None]
    for error in sorted(errors, key=lambda e: isinstance(e, Elsewhere)):
        raise error
    return mine[0]  # type: ignore[return-value]


def on_first(work: Callable[[], T]) -> T:
    """Run on rank 0; every rank has the result, or raises the same error."""
    rank, size = ranks()
    if size == 1:
        return work()
    box: list[Any] = [outcome(work) if rank == 0 else None]
    with together():
        dist.broadcast_object_list(box)
    value, error = box[0]
    if error is not None:
        raise error
    return value  # type: ignore[no-any-return]


def same_everywhere(settings: Mapping[str, Any]) -> None:
    """Refuse ranks that were given different models or settings."""
    first, *others = gather(settings)
    for rank, other in enumerate(others, start=1):
        for key, value in first.items():
            if other.get(key) != value:
                raise ValueError(
                    f"rank {rank} has {key} = {other.get(key)!r} where rank 0 has {value!r}; "
                    "allowed: the same on every rank"
                )
