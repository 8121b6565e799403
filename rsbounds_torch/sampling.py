"""Noise streams, and votes that say how many of their draws were NaN.

What is drawn for draw j of input i depends on (seed, role, i, j) and the law alone: not on the
batch size, on how many inputs or ranks share the work, or on where a run was resumed. On the
CPU every draw has its own counter-based stream (`rsbounds_torch._philox`), the same on every
machine. On an accelerator the draws come in blocks from the device's own generator, seeded by
a hash of (seed, role, input, block); they are the same on every device of the same kind. A
model whose arithmetic depends on the batch size can still flip a floating-point tie.
"""

from __future__ import annotations

import abc
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray

from rsbounds import _validate
from rsbounds._types import Counts
from rsbounds.noises import Gaussian, Lipschitz, Noise, Uniform
from rsbounds.sampling import BLOCK, noise_block

Role = Literal["estimate", "select"]
ROLES = ("estimate", "select")
#: Stream numbers of inputs are one word of the generator's counter.
MAX_INDEX = 2**32 - 1
#: Numbers per block of a device's generator, part of the definition of those streams.
BLOCK_NUMBERS = 1 << 20


@dataclass(frozen=True, eq=False)
class SampledCounts(Counts):
    """Votes under noise, and how many draws gave NaN instead of a vote.

    A draw whose logits hold a NaN is no vote: ``values`` leaves it out, and a bound computed
    from the votes that remain would be about another classifier. Handing such counts to the
    core therefore raises ValueError; `SmoothedClassifier.certify` abstains on those inputs.

    Attributes
    ----------
    values, role, seed
        As in `rsbounds.Counts`; row i of ``values`` sums to the draws less ``invalid[i]``.
    invalid : (B,) int64
        Draws with a NaN among their logits.
    """

    invalid: NDArray[np.int64]

    def __post_init__(self) -> None:
        super().__post_init__()
        frozen = self.invalid.view()
        frozen.flags.writeable = False
        object.__setattr__(self, "invalid", frozen)

    @property
    def n(self) -> NDArray[np.int64]:
        """(B,) draws per input, invalid ones included."""
        return np.asarray(self.values.sum(axis=1) + self.invalid)

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NDArray[Any]:
        if self.invalid.any():
            row = int(np.argmax(self.invalid > 0))
            raise ValueError(
                f"counts row {row} has {self.invalid[row]} NaN draws of {self.n[row]}; allowed: 0 "
                "(SmoothedClassifier.certify abstains on such rows)"
            )
        return super().__array__(dtype, copy)


class NoiseStream(abc.ABC):
    """Noise of one law, seed and role, added to inputs of d numbers."""

    @abc.abstractmethod
    def add(self, out: torch.Tensor, x: torch.Tensor, index: int, first: int) -> None:
        """Write ``x`` plus the noise of draws ``first, first + 1, ...`` of an input.

        Parameters
        ----------
        out : (m, d) tensor
            Written; its rows are contiguous.
        x : (d,) tensor
            The input, of the same type and device.
        index, first : int
            The input's stream number, and the first draw.
        """


class CounterStream(NoiseStream):
    """Gaussian or uniform noise on the CPU, each draw from its own counters."""

    def __init__(self, law: Noise, seed: int, role: Role) -> None:
        from rsbounds_torch import _philox

        self._add = _philox.add_noise
        self._key = _philox.stream_key(seed, ROLES.index(role))
        self._law = _philox.GAUSSIAN if isinstance(law, Gaussian) else _philox.UNIFORM
        self._scale = scale_of(law)

    def add(self, out: torch.Tensor, x: torch.Tensor, index: int, first: int) -> None:
        base = x.numpy()
        scale = base.dtype.type(self._scale)
        self._add(out.numpy(), base, self._law, scale, first, index, self._key)


class BlockStream(NoiseStream):
    """Noise in blocks of draws, each from its own seed; keeps the last block."""

    def __init__(self) -> None:
        self._kept: tuple[int, int] | None = None
        self._noise = torch.empty(0)

    @abc.abstractmethod
    def draws(self, numbers: int) -> int:
        """Draws per block, for inputs of that many numbers."""

    @abc.abstractmethod
    def block(self, x: torch.Tensor, draws: int, index: int, block: int) -> torch.Tensor:
        """(draws, d) noise."""

    def add(self, out: torch.Tensor, x: torch.Tensor, index: int, first: int) -> None:
        size = self.draws(x.numel())
        at, stop = first, first + len(out)
        while at < stop:
            block = at // size
            if self._kept != (index, block):
                self._noise = self.block(x, size, index, block)
                self._kept = (index, block)
            end = min(stop, (block + 1) * size)
            noise = self._noise[at - block * size : end - block * size]
            torch.add(x, noise, out=out[at - first : end - first])
            at = end


class DeviceStream(BlockStream):
    """Gaussian or uniform noise from the device's generator."""

    def __init__(self, law: Noise, seed: int, role: Role, device: torch.device) -> None:
        super().__init__()
        self._gaussian = isinstance(law, Gaussian)
        self._scale = scale_of(law)
        self._seed, self._role = seed, role
        self._generator = torch.Generator(device)
        self._buffer: torch.Tensor | None = None

    def draws(self, numbers: int) -> int:
        return 1 << (max(1, min(4096, BLOCK_NUMBERS // numbers)).bit_length() - 1)

    def block(self, x: torch.Tensor, draws: int, index: int, block: int) -> torch.Tensor:
        key = np.random.SeedSequence(self._seed, spawn_key=(ROLES.index(self._role), index, block))
        self._generator.manual_seed(int(key.generate_state(1, np.uint64)[0]))
        buffer = self._buffer
        if buffer is None or buffer.shape != (draws, x.numel()) or buffer.dtype != x.dtype:
            buffer = self._buffer = x.new_empty((draws, x.numel()))
        if self._gaussian:
            return buffer.normal_(0.0, self._scale, generator=self._generator)
        return buffer.uniform_(-self._scale, self._scale, generator=self._generator)


class LawStream(BlockStream):
    """Noise of any other law, from its ``sample``: the streams of `rsbounds.sampling`."""

    def __init__(self, law: Noise, seed: int, role: Role) -> None:
        super().__init__()
        self._law, self._seed, self._role = law, seed, role
        self.shape: tuple[int, ...] = ()

    def draws(self, numbers: int) -> int:
        return BLOCK

    def block(self, x: torch.Tensor, draws: int, index: int, block: int) -> torch.Tensor:
        kind = np.float64 if x.dtype == torch.float64 else np.float32
        noise = noise_block(
            self._law, self.shape, seed=self._seed, role=self._role, index=index, block=block,
            dtype=kind,
        )  # fmt: skip
        return torch.from_numpy(noise.reshape(draws, -1)).to(x.device)


def scale_of(law: Noise) -> float:
    """Standard deviation of a Gaussian law, half-width of a uniform one."""
    if isinstance(law, Gaussian):
        return law.sigma
    assert isinstance(law, Uniform)
    return law.half_width


def sampled_law(law: Noise) -> Noise:
    """The law that draws come from: that inside a `Lipschitz`, else the law itself."""
    return law.noise if isinstance(law, Lipschitz) else law


def noise_stream(
    law: Noise, shape: tuple[int, ...], *, seed: int, role: Role, device: torch.device
) -> NoiseStream:
    """The stream of a law, seed and role on a device, for inputs of that shape."""
    law = sampled_law(law)
    # A subclass may sample something else.
    if type(law) in (Gaussian, Uniform):
        if device.type == "cpu":
            return CounterStream(law, seed, role)
        return DeviceStream(law, seed, role, device)
    stream = LawStream(law, seed, role)
    stream.shape = shape
    return stream


@dataclass(frozen=True)
class Piece:
    """Draws ``first`` to ``first + count`` of the input in row ``row``."""

    row: int
    first: int
    count: int


def batches(pieces: Iterable[Piece], size: int) -> Iterator[list[Piece]]:
    """The same draws in the same order, in groups of ``size`` draws (the last may have fewer)."""
    group: list[Piece] = []
    room = size
    for piece in pieces:
        first, left = piece.first, piece.count
        while left:
            take = min(left, room)
            group.append(Piece(piece.row, first, take))
            first, left, room = first + take, left - take, room - take
            if room == 0:
                yield group
                group, room = [], size
    if group:
        yield group


class Tally:
    """Votes counted on the device, without waiting for it.

    Winning classes and winning scores of many batches are kept and added to the table now and
    then, because one addition over many draws is cheaper than one for each batch. A NaN wins
    over every number, so a winning score that is NaN tells that there was one.
    """

    def __init__(self, rows: int, classes: int, capacity: int, device: torch.device) -> None:
        self._table = torch.zeros(rows * (classes + 1), dtype=torch.int64, device=device)
        self._classes = classes
        self._best: torch.Tensor | None = None
        self._vote = torch.empty(capacity, dtype=torch.int64, device=device)
        self._pieces: list[Piece] = []
        self._used = 0

    def add(self, scores: torch.Tensor, pieces: list[Piece]) -> None:
        """Count the argmax of each row of (m, K) scores for the inputs of ``pieces``."""
        size = len(scores)
        if self._used + size > len(self._vote):
            self._flush()
        if self._best is None or self._best.dtype != scores.dtype:
            self._flush()
            self._best = torch.empty(len(self._vote), dtype=scores.dtype, device=scores.device)
        span = slice(self._used, self._used + size)
        torch.max(scores, 1, out=(self._best[span], self._vote[span]))
        self._pieces.extend(pieces)
        self._used += size

    def _flush(self) -> None:
        if self._used == 0 or self._best is None:
            return
        device = self._table.device
        rows = torch.tensor([p.row for p in self._pieces])
        counts = torch.tensor([p.count for p in self._pieces])
        where = torch.repeat_interleave(rows * (self._classes + 1), counts).to(
            device, non_blocking=True
        )
        vote = self._vote[: self._used]
        vote.masked_fill_(torch.isnan(self._best[: self._used]), self._classes)
        self._table.scatter_add_(0, where + vote, torch.ones_like(vote))
        self._pieces.clear()
        self._used = 0

    def result(self) -> NDArray[np.int64]:
        """(rows, classes + 1) counts; the last column is the draws that gave NaN."""
        self._flush()
        table: NDArray[np.int64] = self._table.cpu().numpy()
        return table.reshape(-1, self._classes + 1)


def checked_role(role: Any) -> Role:
    """``role``, if it is one."""
    _validate.choice("role", role, ROLES)
    return "select" if role == "select" else "estimate"
