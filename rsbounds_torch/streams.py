"""Streams of noise for tensors; the interface and the CPU's draws are those of `rsbounds.streams`.

On the CPU a tensor gets the bits that a numpy array gets. On an accelerator it does where the noise
is drawn on a lattice, by integer operations; base draws of floats come there in blocks from the
device's own generator, seeded by a hash of (seed, role, input, block): they do not depend on the
batch size or on where a run was cut, and are the same on every device of the same kind.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from rsbounds import _validate
from rsbounds.streams import (
    BASES,
    CounterStream,
    Law,
    NoiseStream,
    Piece,
    Purpose,
    Table,
    role_number,
)
from rsbounds.streams._base import stream_key, write_perturbed
from rsbounds.streams._cells import FURTHER, lattice_point

#: Numbers per block of a device's generator, part of the definition of those streams.
BLOCK_NUMBERS = 1 << 20
#: Draws that a law perturbs together: always as many, so that what a library's product of
#: matrices makes of one draw does not depend on the batch.
_TOGETHER = 128
#: Numbers that integer operations make together; no number depends on the others.
_TOGETHER_NUMBERS = 1 << 22

_LOW = 0xFFFFFFFF
_M0, _M1, _W0, _W1 = 0xD2511F53, 0xCD9E8D57, 0x9E3779B9, 0xBB67AE85


def _rows_of_block(numbers: int) -> int:
    """Draws of so many numbers in a block, a power of two."""
    return 1 << (max(1, min(4096, BLOCK_NUMBERS // numbers)).bit_length() - 1)


class CpuStream(NoiseStream[torch.Tensor]):
    """Noise on the CPU: `rsbounds.streams.CounterStream` on the tensors' memory."""

    def __init__(self, law: Law, shape: tuple[int, ...], *, seed: int, role: Purpose) -> None:
        super().__init__(law, shape)
        self._stream = CounterStream(law, shape, seed=seed, role=role)

    def add(
        self, out: torch.Tensor, x: torch.Tensor, index: int, first: int, row: int | None = None
    ) -> None:
        self._stream.add(out.numpy(), x.numpy(), index, first, row)

    def fill(self, out: Any, x: Any, pieces: Sequence[Piece], indices: Sequence[int]) -> None:
        # The memory is looked up once, not for every piece.
        self._stream.fill(out.numpy(), x.numpy(), pieces, indices)

    def _like(self, x: torch.Tensor, shape: tuple[int, ...]) -> torch.Tensor:
        return x.new_empty(shape)

    def _converted(self, values: NDArray[Any], x: torch.Tensor) -> torch.Tensor:
        return torch.from_numpy(values)


class DeviceStream(NoiseStream[torch.Tensor]):
    """Noise from the device's generator; keeps the last block of base draws.

    Parameters
    ----------
    law, shape, seed, role
        As in `rsbounds.streams.CounterStream`.
    device : torch.device
        Where the draws are made.
    """

    def __init__(
        self, law: Law, shape: tuple[int, ...], *, seed: int, role: Purpose, device: torch.device
    ) -> None:
        super().__init__(law, shape)
        _validate.choice("noise.base", law.base, BASES)
        self._seed = _validate.integer("seed", seed, low=0)
        self._role = role_number(role)
        self._generator = torch.Generator(device)
        self._kept: tuple[Any, ...] | None = None
        self._block = torch.empty(0)

    def add(
        self, out: torch.Tensor, x: torch.Tensor, index: int, first: int, row: int | None = None
    ) -> None:
        law, factors, _ = self._at(row, x)
        numbers = law.base_size(self._shape)
        size = _rows_of_block(numbers)
        at, stop = first, first + len(out)
        while at < stop:
            block = at // size
            end = min(stop, (block + 1) * size)
            base = self._base(law.base, (size, numbers), x, index, block)
            part = out[at - first : end - first]
            drawn = base[at - block * size : end - block * size]
            if factors is None:
                self._perturb(law, part, x, base, at - block * size)
            elif factors.numel() == 1:
                torch.add(x, drawn, alpha=float(factors), out=part)
            else:
                torch.addcmul(x, drawn, factors, out=part)
            at = end

    def _perturb(
        self, law: Law, out: torch.Tensor, x: torch.Tensor, base: torch.Tensor, first: int
    ) -> None:
        """Noisy copies from the base draws of a block, from the first one on."""
        many = min(_TOGETHER, len(base))
        for start in range(first - first % many, first + len(out), many):
            made = out.new_empty(many, out.shape[1])
            write_perturbed(law, self._shape, made, x, base[start : start + many])
            low, high = max(start, first), min(start + many, first + len(out))
            out[low - first : high - first] = made[low - start : high - start]

    def copies(self, x: Any, count: int, first: int, start: int = 0) -> Any:
        # One block for many inputs, where `add` has one for many draws of an input: a training
        # step takes few draws of each. The draw takes the place of the input, and the row that of
        # the draw; the role keeps these streams apart from the others.
        out = self._like(x, (count, *x.shape))
        numbers = self._law.base_size(self._shape)
        size = _rows_of_block(numbers)
        for at in range(count):
            low = 0
            while low < len(x):
                block, inside = divmod(start + low, size)
                high = min(len(x), low + size - inside)
                base = self._base(self._law.base, (size, numbers), x, first + at, block)
                drawn = base[inside : inside + high - low]
                self._perturbed(out[at, low:high], x[low:high], drawn, low)
                low = high
        return out

    def _perturbed(self, out: Any, x: Any, base: torch.Tensor, start: int) -> None:
        """A noisy copy of each row of ``x``, the inputs from ``start`` on."""
        law, factors, _ = (None, None, None) if self._law.batch_shape else self._at(None, x[0])
        if factors is not None:
            torch.addcmul(x, base, factors.expand_as(x), out=out)
            return
        for row in range(len(x)):
            if law is None:
                own, own_factors, _ = self._at(start + row, x[row])
            else:
                own, own_factors = law, None
            if own_factors is not None:
                torch.addcmul(x[row], base[row], own_factors.expand_as(x[row]), out=out[row])
            else:
                write_perturbed(own, self._shape, out[row : row + 1], x[row], base[row : row + 1])

    def _base(
        self, base: str, shape: tuple[int, int], x: torch.Tensor, index: int, block: int
    ) -> torch.Tensor:
        """Base draws of one block, (draws, numbers)."""
        kind = x.dtype if base in ("normal", "uniform") else torch.int64
        wanted = index, block, base, shape, kind
        if self._kept == wanted:
            return self._block
        if self._block.shape != shape or self._block.dtype != kind:
            self._block = torch.empty(shape, dtype=kind, device=x.device)
        key = np.random.SeedSequence(self._seed, spawn_key=(self._role, index, block))
        self._generator.manual_seed(int(key.generate_state(1, np.uint64)[0]))
        drawn = self._block
        if base == "normal":
            drawn.normal_(generator=self._generator)
        elif base == "uniform":
            drawn.uniform_(-1.0, 1.0, generator=self._generator)
        elif base == "bits":
            drawn.random_(0, 2**32, generator=self._generator)
        else:
            first = block * shape[0]
            torch.arange(first, first + shape[0], out=drawn.view(-1))
        self._kept = wanted
        return drawn

    def _like(self, x: torch.Tensor, shape: tuple[int, ...]) -> torch.Tensor:
        return x.new_empty(shape)

    def _converted(self, values: NDArray[Any], x: torch.Tensor) -> torch.Tensor:
        return torch.from_numpy(values).to(x.device)


class LatticeStream(NoiseStream[torch.Tensor]):
    """Noise on a lattice by tensor operations on integers: the CPU's bits, on any device.

    Parameters
    ----------
    law, shape, seed, role
        As in `rsbounds.streams.CounterStream`; the law has a table.
    """

    def __init__(self, law: Law, shape: tuple[int, ...], *, seed: int, role: Purpose) -> None:
        super().__init__(law, shape)
        self._key: list[int] = stream_key(seed, role).tolist()
        self._held: tuple[Table, torch.Tensor, torch.Tensor] | None = None

    def add(
        self, out: torch.Tensor, x: torch.Tensor, index: int, first: int, row: int | None = None
    ) -> None:
        law, _, table = self._at(row, x)
        if table is None or law.spacing is None:
            raise ValueError(f"noise is {law}; allowed: noise on a lattice")
        if self._held is None or self._held[0] is not table:
            # Each threshold in words of 32 bits, the largest first.
            words = np.stack([table.rest >> np.uint64(32), table.rest & np.uint64(_LOW)], axis=-1)
            self._held = (
                table,
                torch.from_numpy(table.packed.astype(np.int64)).to(x.device),
                torch.from_numpy(words.reshape(-1, 4).astype(np.int64)).to(x.device),
            )
        _, packed, rest = self._held
        cells = lattice_point(x.cpu().numpy(), law.spacing, table.reach).astype(np.int64)
        point = torch.from_numpy(cells - table.reach).to(x.device)
        spacing = torch.tensor(law.spacing, dtype=x.dtype, device=x.device)
        some = max(1, _TOGETHER_NUMBERS // out.shape[1])
        for start in range(0, len(out), some):
            part = out[start : start + some]
            drawn = self._integers(part, table.bits, packed, rest, index, first + start)
            torch.mul((drawn + point).to(x.dtype), spacing, out=part)

    def _integers(
        self, out: torch.Tensor, bits: int, packed: torch.Tensor, rest: torch.Tensor, index: int,
        first: int,
    ) -> torch.Tensor:  # fmt: skip
        """Columns drawn for (m, d) numbers."""
        draws, width = out.shape
        columns = (width + 3) // 4
        at = torch.arange(columns, device=out.device)[None, :]
        draw = torch.arange(first, first + draws, device=out.device)[:, None]
        some = at.expand(draws, columns), draw & _LOW, index, draw >> 32
        word = torch.cat(philox(*some, self._key), dim=1)[:, :width]
        column, part = word >> (32 - bits), word & ((1 << (32 - bits)) - 1)
        held = packed[column]
        threshold = held >> bits
        cells = torch.where(part < threshold, column, held & ((1 << bits) - 1))
        row, number = (part == threshold).nonzero(as_tuple=True)
        if len(row):
            here = draw[row, 0]
            more = philox(number, here & _LOW, index, here >> 32 | FURTHER, self._key)
            keeps = torch.zeros_like(number, dtype=torch.bool)
            for word32, limit in zip(
                reversed(more), rest[column[row, number]].flip(1).T, strict=True
            ):
                keeps = (word32 < limit) | ((word32 == limit) & keeps)
            cells[row[keeps], number[keeps]] = column[row[keeps], number[keeps]]
        return cells

    def _like(self, x: torch.Tensor, shape: tuple[int, ...]) -> torch.Tensor:
        return x.new_empty(shape)

    def _converted(self, values: NDArray[Any], x: torch.Tensor) -> torch.Tensor:
        return torch.from_numpy(values).to(x.device)


def philox(a: Any, b: Any, c: Any, d: Any, key: Sequence[int]) -> tuple[torch.Tensor, ...]:
    """Four words of 32 bits, as int64, of counters (a, b, c, d): `rsbounds.streams`' generator."""
    x, y = key
    for _ in range(10):
        # Products wrap; the bits above 32 are those of the unsigned product.
        p, s = _M0 * a, _M1 * c
        a, b, c, d = s >> 32 & _LOW ^ b ^ x, s & _LOW, p >> 32 & _LOW ^ d ^ y, p & _LOW
        x, y = x + _W0 & _LOW, y + _W1 & _LOW
    return a, b, c, d


def noise_stream(
    law: Law, shape: tuple[int, ...], *, seed: int, role: Purpose, device: torch.device
) -> NoiseStream[torch.Tensor]:
    """The stream of a law, seed and role on a device, for inputs of that shape."""
    if device.type == "cpu":
        return CpuStream(law, shape, seed=seed, role=role)
    if law.spacing is not None:
        return LatticeStream(law, shape, seed=seed, role=role)
    return DeviceStream(law, shape, seed=seed, role=role, device=device)
