"""Which device a process computes on."""

from __future__ import annotations

import os

import torch


def own_device(name: str | None = None) -> torch.device:
    """The device that was asked for; by default this process's own GPU, else the CPU.

    Under torchrun the processes of one machine take its GPUs in turn (``LOCAL_RANK``).

    Parameters
    ----------
    name : str, optional
        What torch calls it: ``"cpu"``, ``"cuda"``, ``"cuda:1"``, ``"mps"``.

    Raises
    ------
    ValueError
        No such device here, or one GPU named for several processes.
    """
    wanted = name if name is not None else "cuda" if torch.cuda.is_available() else "cpu"
    try:
        device = torch.device(wanted)
        if device.type != "cuda":
            torch.zeros(1, device=device).cpu()
    except (RuntimeError, NotImplementedError, AssertionError):
        raise ValueError(
            f"device is {name!r}; allowed: cpu, or an accelerator of this machine"
        ) from None
    if device.type != "cuda":
        return device
    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if count == 0 or (device.index or 0) >= count:
        found = "none" if count == 0 else f"cuda:0 to cuda:{count - 1}"
        raise ValueError(f"device is {name!r}; allowed: cpu, or a GPU of this machine ({found})")
    if device.index is None:
        return torch.device("cuda", int(os.environ.get("LOCAL_RANK", "0")) % count)
    if local_processes() > 1:
        raise ValueError(
            f"device is {name!r} for {local_processes()} processes; allowed: cuda (each takes a "
            "GPU of its own) or cpu"
        )
    return device


def local_processes() -> int:
    """Processes that torchrun started on this machine."""
    return int(os.environ.get("LOCAL_WORLD_SIZE", "1"))
