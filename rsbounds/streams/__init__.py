"""Streams of noise: what is drawn depends on (seed, role, input, draw) and the law alone.

Not on the batch size, on how many inputs or ranks share the work, or on where a run was
resumed; numpy and PyTorch on the CPU draw the same bits. A model whose arithmetic depends on
the batch size can still flip a floating-point tie.

A stream knows no law. It reads from the law what a draw starts from (`Law.base`) and asks it
for the noisy input; a plain multiple of the base draw (`Law.multiplier`) is written by the
generator's own kernel in one pass. A new base draw is one function in `_base._BASES`. A law with a
`Table` gets integers instead, added to the input's place on the lattice and then turned into
floats: noise that is exactly its law, the same bits on every device.

To put noise on another device: a class with the method ``add`` of `NoiseStream`.
"""

from __future__ import annotations

from rsbounds.streams._base import (
    BASES,
    MAX_INDEX,
    PURPOSES,
    ROLES,
    VERSION,
    CounterStream,
    Law,
    NoiseStream,
    Purpose,
    Role,
    base_draws,
    checked_role,
    role_number,
)
from rsbounds.streams._cells import (
    DISTANCE,
    GAUSSIAN_REACH,
    LAPLACE_REACH,
    MAX_BITS,
    NUMBERS,
    Table,
    gaussian_table,
    laplace_table,
    uniform_table,
)
from rsbounds.streams._pieces import Piece, batches

__all__ = [
    "BASES",
    "DISTANCE",
    "GAUSSIAN_REACH",
    "LAPLACE_REACH",
    "MAX_BITS",
    "MAX_INDEX",
    "NUMBERS",
    "PURPOSES",
    "ROLES",
    "VERSION",
    "CounterStream",
    "Law",
    "NoiseStream",
    "Piece",
    "Purpose",
    "Role",
    "Table",
    "base_draws",
    "batches",
    "checked_role",
    "gaussian_table",
    "laplace_table",
    "role_number",
    "uniform_table",
]
