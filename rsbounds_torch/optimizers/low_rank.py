"""A few directions with axes of their own beside those of the coordinates, for large inputs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch

from rsbounds import _validate
from rsbounds.noises import DiagonalGaussian, Gaussian, LowRankGaussian, Noise
from rsbounds_torch.optimizers._axes import AxesAscent, AxesState
from rsbounds_torch.optimizers._base import NoiseProblem
from rsbounds_torch.optimizers._soft import SoftModel, Spread
from rsbounds_torch.optimizers.rotated import gap_gradients, least_felt

#: Numbers in the gradients that are held at a time.
_HELD_NUMBERS = 1 << 24
#: Times as many directions as are wanted are kept between blocks of gradients.
_KEPT = 2
#: No axis of a law is smaller than this times its largest: the law has a proof for 1e-8.
_NARROWEST = 1e-6


@dataclass(frozen=True)
class LowRank(AxesAscent):
    """Finds axes for the leading directions, as `rotated` does, and beside them as `ancer` does.

    With V the leading ``rank`` eigenvectors of M = E[g g^T], g as in
    `rsbounds_torch.optimizers.rotated`, each column of V has an axis s_j of its own, usually a
    small one. What is orthogonal to them has an axis for each coordinate,
    C = P diag(t) P + V diag(s) V^T with P = 1 - V V^T, or one axis, C = t 1 + V diag(s - t) V^T;
    with one axis the region turns with the inputs. Drawing, volume and smallest axis cost O(d r)
    or O(d r^2); no d x d matrix is formed. M is never formed either: its eigenvectors come from
    the gradients' products with one another, exactly where they are held at once (d x gradients
    up to 2^24), else block by block, of which the leading 2 x rank directions are kept. The axes
    are found as in ANCER.

    Parameters
    ----------
    rank : int
        Directions with an axis of their own; all, from d on.
    complement : {"diagonal", "shared"}
        An axis for each coordinate beside those directions, or one for all (half the numbers).
    gradients : int
        Gradients that tell the directions, one half, and how much they are felt, the other.
    draws, steps, rate, kappa, slack, first, antithetic, scores, temperature
        As in `rsbounds_torch.optimizers.ancer.Ancer`.
    """

    rank: int = 16
    complement: str = "diagonal"
    gradients: int = 1000

    name: ClassVar[str] = "low-rank"
    source: ClassVar[str] = "axes of Eiras et al. 2022 along leading eigenvectors of E[g g^T]"
    cost: ClassVar[str] = "as ancer, and gradients more passes; O(d rank) numbers per input"
    choose: ClassVar[str] = (
        "the largest volume for inputs of any size: coordinates, and directions felt most"
    )
    needs_gradients: ClassVar[bool] = True

    def __post_init__(self) -> None:
        super().__post_init__()
        _validate.integer("rank", self.rank, low=1)
        _validate.choice("complement", self.complement, ("diagonal", "shared"))
        _validate.integer("gradients", self.gradients, low=1)

    # -- laws ------------------------------------------------------------------------------

    def start(self, law: Noise, shape: tuple[int, ...]) -> Noise:
        d = int(np.prod(shape))
        width = min(self.rank, d) * (2 if self.complement == "diagonal" and self.rank < d else 1)
        if isinstance(law, LowRankGaussian):
            more = max(0, width - law.factors.shape[2])
            return LowRankGaussian(
                law.diagonal,
                np.pad(law.factors, ((0, 0), (0, 0), (0, more))),
                np.pad(law.weights, ((0, 0), (0, more)), constant_values=1.0),
            )
        if isinstance(law, Gaussian):
            sigma = np.asarray(law.sigma, dtype=np.float64).reshape(-1, *(1 for _ in shape))
            diagonal = np.broadcast_to(sigma, (len(sigma), *shape))
        elif isinstance(law, DiagonalGaussian):
            diagonal = law.axes
        else:
            raise ValueError(
                f"noise0 is {law}; allowed with low-rank: gaussian, diagonal-gaussian, "
                "low-rank-gaussian"
            )
        return LowRankGaussian(diagonal, np.zeros((len(diagonal), d, width)))

    def _law(self, problem: NoiseProblem, basis: torch.Tensor | None, axes: torch.Tensor) -> Noise:
        assert basis is not None
        d, rank = basis.shape[1:]
        axes = torch.maximum(axes, _NARROWEST * axes.amax(dim=1, keepdim=True))
        own, rest = axes[:, :rank], axes[:, rank:]
        if rest.shape[1] == 0:
            # All directions: what is the same in all of them is the diagonal.
            rest = own.amin(dim=1, keepdim=True)
        if self._shared(basis, axes):
            diagonal, factors, weights = rest.expand(-1, d), basis, own - rest
        else:
            diagonal, (factors, weights) = rest, _projected(basis, own, rest)
        start = problem.start
        assert isinstance(start, LowRankGaussian)
        more = start.factors.shape[2] - factors.shape[2]
        factors, weights = (torch.nn.functional.pad(v, (0, more)) for v in (factors, weights))
        return LowRankGaussian(
            diagonal.cpu().numpy().reshape(start.diagonal.shape),
            factors.cpu().numpy(),
            weights.cpu().numpy(),
        )

    @staticmethod
    def _shared(basis: torch.Tensor, axes: torch.Tensor) -> bool:
        return axes.shape[1] <= basis.shape[2] + 1

    # -- directions ------------------------------------------------------------------------

    def init(self, problem: NoiseProblem) -> AxesState:
        diagonal, factors, weights = _start_parts(problem)
        basis, felt = self._leading(problem)
        d, rank = basis.shape[1:]
        # What the start's matrix has on the diagonal in the basis, and on average beside it. What
        # all coordinates share is left as it is, so that an isotropic start is met exactly.
        low = diagonal.amin(dim=1, keepdim=True)
        along = basis.mT @ factors
        own = (basis**2 * (diagonal - low)[:, :, None]).sum(dim=1)
        own = own + (along**2 * weights[:, None]).sum(dim=2)
        each = diagonal - low + (factors**2 * weights[:, None]).sum(dim=2)
        if rank == d:
            rest = each[:, :0]
        elif self.complement == "shared":
            rest = (each.sum(dim=1) - own.sum(dim=1))[:, None] / (d - rank)
        else:
            rest = each
        return self._survey(problem, basis, low + torch.cat([own, rest], dim=1), felt)

    def _leading(self, problem: NoiseProblem) -> tuple[torch.Tensor, torch.Tensor]:
        """(B, d, r) leading eigenvectors of the mean of g g^T, and how much axes are felt.

        As in `rsbounds_torch.optimizers.rotated.directions`, half of the gradients tell the one
        and half the other.
        """
        diagonal, factors, weights = (v.to(problem.x.dtype) for v in _start_parts(problem))

        def spread(base: torch.Tensor, rows: range) -> torch.Tensor:
            part = slice(rows.start, rows.stop)
            U = factors[part]
            return base * diagonal[part, None] + ((base @ U) * weights[part, None]) @ U.mT

        found = [self._of_one(problem, spread, row) for row in range(len(problem))]
        bases, felt = zip(*found, strict=True)
        return torch.stack(bases), torch.stack(felt)

    def _of_one(
        self, problem: NoiseProblem, spread: Spread, row: int
    ) -> tuple[torch.Tensor, torch.Tensor]:
        d = problem.x[0].numel()
        rank = min(self.rank, d)
        block = max(_KEPT * rank, _HELD_NUMBERS // d) // 2 * 2
        kept = problem.x.new_zeros((0, d), dtype=torch.float64)
        unit: torch.Tensor | None = None
        half = (self.gradients + 1) // 2
        for first in range(0, half, block):
            count = min(block, half - first)
            slopes = gap_gradients(self, problem, spread, row, first, count)
            # One scale for the input keeps products from over- and underflow.
            unit = slopes.abs().amax().clamp_min(1e-300) if unit is None else unit
            kept = _strongest(torch.cat([kept, slopes / unit]), _KEPT * rank)
        kept = kept[:rank]
        length = torch.linalg.vector_norm(kept, dim=1)
        # Fewer directions than asked for are felt: the others are as good as any.
        strong = kept[length > 1e-12 * length.amax()]
        any_base = SoftModel(problem, spread, rank, antithetic=False).base(range(row, row + 1), 0)
        found = torch.cat([strong, any_base[0].double()])[:rank]
        basis: torch.Tensor = torch.linalg.qr(found.mT)[0]
        assert unit is not None
        felt = torch.zeros(rank + self._others(d, rank), dtype=torch.float64, device=basis.device)
        for first in range(half, 2 * half, block):
            count = min(block, 2 * half - first)
            felt += self._felt(
                gap_gradients(self, problem, spread, row, first, count) / unit, basis
            )
        return basis, least_felt(felt / half)

    def _others(self, d: int, rank: int) -> int:
        """How many axes there are beside those of the leading directions."""
        if rank == d:
            return 0
        return 1 if self.complement == "shared" else d

    def _felt(self, slopes: torch.Tensor, basis: torch.Tensor) -> torch.Tensor:
        """Sums of squares of gradients along what each axis stretches."""
        inner = slopes @ basis
        across = (slopes - inner @ basis.mT).square().sum(dim=0)
        others = self._others(*basis.shape)
        rest = across.sum()[None] if others == 1 else across[:others]
        return torch.cat([inner.square().sum(dim=0), rest])

    # -- the ascent ------------------------------------------------------------------------

    def _model(self, problem: NoiseProblem, basis: torch.Tensor | None) -> SoftModel:
        assert basis is not None
        turned = basis.to(problem.x.dtype)
        rank = turned.shape[2]

        def spread(base: torch.Tensor, rows: range, axes: torch.Tensor) -> torch.Tensor:
            V = turned[rows.start : rows.stop]
            own, rest = axes[:, None, :rank], axes[:, None, rank:]
            inner = base @ V
            if rest.shape[2] == 0:
                return (inner * own) @ V.mT
            if rest.shape[2] == 1:
                return base * rest + (inner * (own - rest)) @ V.mT
            across = (base - inner @ V.mT) * rest
            return across + (inner * own - across @ V) @ V.mT

        return self._soft(problem, spread)

    def _volume_slope(self, basis: torch.Tensor | None, axes: torch.Tensor) -> torch.Tensor | float:
        assert basis is not None
        d, rank = basis.shape[1:]
        found = torch.full_like(axes, 1.0 / d)
        rest = axes[:, rank:]
        if self._shared(basis, axes):
            found[:, rank:] = (d - rank) / d
            return found
        # det C = prod(own) det(diag(rest)) det(V^T diag(rest)^-1 V): the lever of a coordinate.
        part = basis / torch.sqrt(rest)[:, :, None]
        lever = (part * torch.linalg.solve(part.mT @ part, part.mT).mT).sum(dim=2)
        found[:, rank:] = (1.0 - lever) / d
        return found


def _start_parts(problem: NoiseProblem) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """(B, d) diagonals, (B, d, r) factors and (B, r) weights of the start, in float64."""
    start = problem.start
    assert isinstance(start, LowRankGaussian)
    device = problem.x.device
    return (
        torch.tensor(start.diagonal.reshape(len(start), -1), device=device),
        torch.tensor(start.factors, device=device),
        torch.tensor(start.weights, device=device),
    )


def _strongest(rows: torch.Tensor, most: int) -> torch.Tensor:
    """Rows B with B^T B about G^T G, the longest first and orthogonal: at most so many."""
    turn: torch.Tensor = torch.linalg.eigh(rows @ rows.mT)[1]
    return turn[:, -most:].flip(1).mT @ rows


def _projected(
    basis: torch.Tensor, own: torch.Tensor, rest: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """Factors and weights of P diag(rest) P + V diag(own) V^T - diag(rest), P = 1 - V V^T.

    It is [V, D V] core [V, D V]^T; the eigenvectors of the core turn it into a sum of squares.
    """
    scale = rest.mean(dim=1)[:, None, None]
    scaled = basis * rest[:, :, None]
    unit = torch.eye(basis.shape[2], dtype=basis.dtype, device=basis.device) * scale
    inner = basis.mT @ scaled + torch.diag_embed(own)
    core = torch.cat(
        [torch.cat([inner, -unit], dim=2), torch.cat([-unit, torch.zeros_like(inner)], dim=2)],
        dim=1,
    )
    weights, turn = torch.linalg.eigh(core)
    return torch.cat([basis, scaled / scale], dim=2) @ turn, weights
