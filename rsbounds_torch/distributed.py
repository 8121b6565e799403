"""Data-set runs of a PyTorch model, on one process or on many under torchrun.

Inputs are dealt to the ranks; where there are fewer inputs than ranks, the draws of each input
are. Each rank keeps its finished inputs in a shard of the store beside it, and the shards are
merged at the end (or by the next call, after a crash), so a run can be resumed with another
number of ranks. Noise is keyed by input and block of draws: the counts are the same however
they were dealt.
"""

from __future__ import annotations

import glob
import hashlib
import os
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch
import torch.distributed as dist
from numpy.typing import NDArray

from rsbounds import Certificates, RunStore, rebound
from rsbounds.runs import merge_stores, run_inputs
from rsbounds.runs.dataset import resumed_seed, run_config
from rsbounds_torch._device import local_processes, own_device
from rsbounds_torch.data import items_of
from rsbounds_torch.model import SmoothedClassifier

T = TypeVar("T")


def _ranks() -> tuple[int, int]:
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
        yield _ranks()
    finally:
        if started:
            dist.destroy_process_group()


def _on_first(work: Callable[[], T]) -> T:
    """Run on rank 0 and hand the result, or the refusal, to every rank."""
    rank, size = _ranks()
    if size == 1:
        return work()
    box: list[Any] = [None, None]
    if rank == 0:
        try:
            box[0] = work()
        except (ValueError, OSError) as error:
            box[1] = error
    dist.broadcast_object_list(box)
    if box[1] is not None:
        raise box[1]
    return box[0]  # type: ignore[no-any-return]


def fingerprint(model: Any) -> str:
    """Name of a model, and the start of the SHA-256 of its weights and buffers."""
    name = type(model).__name__ if isinstance(model, torch.nn.Module) else repr(model)
    if not isinstance(model, torch.nn.Module):
        return name.split(" at 0x")[0]
    digest = hashlib.sha256()
    for key, value in model.state_dict().items():
        digest.update(key.encode())
        if isinstance(value, torch.Tensor):
            digest.update(
                value.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes()
            )
    return f"{name} {digest.hexdigest()[:16]}"


def certify_dataset(
    classifier: SmoothedClassifier,
    dataset: Any,
    *,
    store: str | os.PathLike[str],
    n: int,
    n0: int = 100,
    alpha: float = 0.001,
    method: str = "exact",
    indices: Sequence[int] | None = None,
    seed: int | None = None,
    progress: bool | None = None,
    **options: Any,
) -> Certificates:
    """Certify every input of a data set; stop it anywhere, and the same call resumes.

    With probability at least ``1 - alpha``, for each input on its own, no perturbation smaller
    than its radius changes the smoothed classifier's answer (the margin method's theorem
    together with the noise law's, as in `rsbounds.certify`). The rows of a run that was
    stopped and resumed, with any batch size and any number of ranks, are those of one that
    was not (up to floating-point ties of the model).

    Parameters
    ----------
    classifier : SmoothedClassifier
        The model with its noise.
    dataset : sequence of (input, label)
        Anything with a length and an index, such as a `torch.utils.data.Dataset`; labels may
        be None, items may be dicts (`rsbounds_torch.data.items_of`).
    store : str or path
        SQLite file of the run, made if it is not there. Under torchrun every rank must see it.
    n, n0 : int
        Draws of the estimation and of the selection sample.
    alpha, method, **options
        As in `rsbounds.certify`.
    indices : sequence of int, optional
        Inputs to certify; all by default. An input's index is its noise stream.
    seed : int, optional
        Seed of the streams; that of the store where it exists, else a fresh one.
    progress : bool, optional
        Show a progress line; None shows it where stderr is a terminal (on rank 0).

    Returns
    -------
    Certificates
        One entry per stored input, on every rank.

    Raises
    ------
    ValueError
        Bad arguments, a store of another run (the first difference is named), or one that
        another process writes to.

    Warns
    -----
    RuntimeWarning
        Inputs on which the model answered NaN: they abstain.

    Examples
    --------
    >>> import torch, rsbounds, rsbounds_torch, tempfile, pathlib
    >>> model = torch.nn.Linear(2, 2, bias=False)
    >>> _ = torch.nn.init.eye_(model.weight)
    >>> classifier = rsbounds_torch.SmoothedClassifier(
    ...     model, num_classes=2, noise=rsbounds.Gaussian(sigma=0.5))
    >>> data = [(torch.tensor([1.0, 0.0]), 0), (torch.tensor([0.0, 0.7]), 1)]
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     certificates = rsbounds_torch.certify_dataset(
    ...         classifier, data, store=pathlib.Path(folder, "run.sqlite"), n=1000, seed=1)
    >>> certificates.top
    array([0, 1])
    """
    dataset = items_of(dataset)
    rank, size = _ranks()
    wanted = list(range(len(dataset))) if indices is None else [int(i) for i in indices]
    for i in wanted:
        if not 0 <= i < len(dataset):
            raise ValueError(f"indices contains {i}; allowed: 0 to {len(dataset) - 1}")
    chosen = _on_first(lambda: resumed_seed(store, seed))
    config = run_config(
        noise=classifier.noise, n0=n0, n=n, alpha=alpha, method=method, options=options,
        seed=chosen, num_classes=classifier.num_classes, inputs=len(dataset),
        model=fingerprint(classifier.model),
    )  # fmt: skip

    def items(i: int) -> tuple[NDArray[Any], int | None]:
        pair = dataset[i]
        x, label = pair if isinstance(pair, (tuple, list)) else (pair, None)
        array = x.detach().cpu().numpy() if isinstance(x, torch.Tensor) else np.asarray(x)
        return array, None if label is None else int(label)

    def sampler(
        inputs: NDArray[Any], streams: Sequence[int], role: Any, draws: int
    ) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        counts = classifier.sample_counts(
            inputs, n=draws, role=role, seed=chosen, index=streams, progress=False
        )
        return counts.values, counts.invalid

    arguments: dict[str, Any] = {
        "noise": classifier.noise, "n0": n0, "n": n, "alpha": alpha, "method": method,
        "options": options, "seed": chosen,
    }  # fmt: skip
    pattern = f"{glob.escape(os.fspath(store))}.rank*[0-9]"
    held: list[RunStore] = []

    def begin() -> set[int]:
        # Held open to the end: a second run on this store is refused.
        held.append(RunStore(store, config))
        _absorb(pattern, held[0])
        return held[0].done()

    try:
        done = _on_first(begin)
        todo = [i for i in wanted if i not in done]
        if size == 1:
            run_inputs(sampler, items, wanted, store=held[0], progress=progress, **arguments)
        elif len(todo) >= size:
            with RunStore(f"{os.fspath(store)}.rank{rank}", config) as shard:
                run_inputs(
                    sampler, items, todo[rank::size], store=shard,
                    progress=progress if rank == 0 else False, **arguments,
                )  # fmt: skip
        else:
            _deal_draws(classifier, items, todo, held, chosen, arguments, progress)
        if size > 1:
            dist.barrier()
        _on_first(lambda: _absorb(pattern, held[0]))
        if rank == 0:
            _warn_invalid(held[0])
    finally:
        for opened in held:
            opened.close()
    if size > 1:
        dist.barrier()
    with RunStore(store) as finished:
        return rebound(finished)


def _absorb(pattern: str, store: RunStore) -> int:
    """Merge the shards that are there, and remove them."""
    shards = sorted(glob.glob(pattern))
    added = merge_stores(shards, store)
    for shard in shards:
        for leftover in (shard, f"{shard}-wal", f"{shard}-shm", f"{shard}.lock"):
            Path(leftover).unlink(missing_ok=True)
    return added


def _deal_draws(
    classifier: SmoothedClassifier,
    items: Callable[[int], tuple[NDArray[Any], int | None]],
    todo: Sequence[int],
    held: Sequence[RunStore],
    seed: int,
    arguments: dict[str, Any],
    progress: bool | None,
) -> None:
    """Fewer inputs than ranks: every rank takes a share of each input's draws."""
    rank, _ = _ranks()
    votes: dict[tuple[int, str], tuple[NDArray[np.int64], NDArray[np.int64]]] = {}
    for i in todo:
        x, _ = items(i)
        for role, n in (("select", arguments["n0"]), ("estimate", arguments["n"])):
            votes[i, role] = _shared_votes(classifier, x[None], i, role, n, seed)
    if rank == 0:

        def stored(
            inputs: NDArray[Any], streams: Sequence[int], role: Any, draws: int
        ) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
            return votes[streams[0], role]

        run_inputs(stored, items, todo, store=held[0], progress=progress, **arguments)


def _shared_votes(
    classifier: SmoothedClassifier, x: NDArray[Any], index: int, role: Any, n: int, seed: int
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    rank, size = _ranks()
    share = classifier.share_of_draws(n, rank, size)
    total = torch.zeros(classifier.num_classes + 1, dtype=torch.int64)
    if share[1] > share[0]:
        counts = classifier.sample_counts(
            x, n=n, role=role, seed=seed, index=[index], draws=share, progress=False
        )
        total[:-1] = torch.from_numpy(counts.values[0].copy())
        total[-1] = int(counts.invalid[0])
    if dist.get_backend() == "nccl":
        total = total.cuda()
    dist.all_reduce(total)
    summed = total.cpu().numpy()
    return summed[None, :-1], summed[-1:]


def _warn_invalid(store: RunStore) -> None:
    bad = [row.index for row in store.rows() if row.invalid > 0]
    if bad:
        shown = ", ".join(map(str, bad[:5])) + (", ..." if len(bad) > 5 else "")
        warnings.warn(
            f"the model answered NaN on {len(bad)} of {len(store)} inputs ({shown}); they abstain",
            RuntimeWarning,
            stacklevel=3,
        )
