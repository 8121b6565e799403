"""The batch size "auto": a few sizes timed on the model, noise included."""

from __future__ import annotations

import time

import torch

from rsbounds.noises import Noise
from rsbounds.streams import Piece
from rsbounds_torch._loop import KEPT_VOTES, Evaluation
from rsbounds_torch.sampling import Tally
from rsbounds_torch.streams import noise_stream

#: Bytes of noisy inputs that are not exceeded, per kind of device.
_BATCH_BYTES = {"cpu": 1 << 28}
_BATCH_BYTES_ACCELERATOR = 1 << 31
#: Wall time that tuning takes in all, and the part of it in which larger sizes are tried.
_TUNING_SECONDS, _GROWING_SECONDS = 3.0, 2.0
#: Wall time of one look at a size, where more than one forward pass fits into it.
_LOOK_SECONDS = 0.03


def tuned_size(evaluation: Evaluation, noise: Noise, x: torch.Tensor) -> int:
    """The fastest of the sizes tried on one input, (1, ...).

    Tuning ends within its time on the clock, or with the first forward pass if that alone takes
    longer: a size is tried only where the time it is expected to take is left.
    """
    limit = _BATCH_BYTES.get(evaluation.device.type, _BATCH_BYTES_ACCELERATOR)
    largest = max(min(limit // (x.numel() * x.element_size()), KEPT_VOTES), 1)
    start = time.perf_counter()
    best: dict[int, float] = {}
    size, idle, slow, wall = 1, 0, 0, 0.0
    # On a busy machine a pass may take several times as long as another: hence the fours.
    while size <= largest and idle < 3 and slow < 2:
        left = start + _GROWING_SECONDS - time.perf_counter()
        if best and 4 * wall > left:
            break
        look = _timed(evaluation, noise, x, size, left)
        if look is None:
            break
        took, wall = look
        # One slow size may be other work on the machine; two are the end of a cache.
        slow = slow + 1 if best and took > 1.3 * min(best.values()) else 0
        idle = idle + 1 if best and took > 0.97 * min(best.values()) else 0
        best[size] = took
        # Far from full: the step may be larger.
        step = 4 if size <= 4 and took * size < 0.002 else 2
        size, wall = size * step, wall * step
    if not best:
        return 1
    # Sizes near the best once more, in turns, because other work on the machine disturbs.
    for _ in range(3):
        fastest = min(best.values())
        for near in [s for s, t in best.items() if t < 1.15 * fastest]:
            left = start + _TUNING_SECONDS - time.perf_counter()
            if 4 * wall > left:
                return min(best, key=lambda s: best[s])
            again = _timed(evaluation, noise, x, near, left)
            if again is not None:
                best[near] = min(best[near], again[0])
    return min(best, key=lambda s: best[s])


def _timed(
    evaluation: Evaluation, noise: Noise, x: torch.Tensor, size: int, left: float
) -> tuple[float, float] | None:
    """Seconds per copy at a batch size, the best of a few runs, and seconds on the clock of one.

    None where memory ends. No further run begins where ``left`` seconds might not be enough.
    """
    piece = [Piece(0, 0, size)]
    taken: list[float] = []
    device = evaluation.device
    # On a busy machine a long batch is always interrupted and a short one is not: the time
    # of this thread, which works or spins throughout, ranks sizes as a quiet machine does.
    clock = time.thread_time if device.type == "cpu" else time.perf_counter
    begin = time.perf_counter()
    wall = float("inf")
    try:
        tally = Tally(1, evaluation.num_classes, KEPT_VOTES + size, device)
        batch = x.new_zeros((size, *x.shape[1:]))
        rows, flat = batch.view(size, -1), x.reshape(-1)
        stream = noise_stream(noise, tuple(x.shape[1:]), seed=0, role="estimate", device=device)
        with evaluation.active(0):
            while True:
                before, now = clock(), time.perf_counter()
                stream.add(rows, flat, 0, 0, 0)
                tally.add(evaluation.answers(batch, size, plain=True), piece)
                evaluation.wait()
                taken.append(clock() - before)
                end = time.perf_counter()
                wall, spent = min(wall, end - now), end - begin
                enough = spent >= _LOOK_SECONDS and len(taken) >= 3
                if enough or spent > 10 * _LOOK_SECONDS or spent + 4 * wall > left:
                    break
    except RuntimeError as error:
        if "out of memory" not in str(error).lower() and "allocate" not in str(error).lower():
            raise
        return None
    return min(taken) / size, wall
