"""Draws of several inputs in batches: which rows of a batch are copies of which input."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass


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
