"""Class probabilities under noise, and their gradients in the noise's parameters.

Votes have no gradient. The average of the class probabilities at x + noise(parameters, base
draw) has one, by the chain rule through the noise (Alfarra et al. 2022, section 3.4). What is to
be maximised is not that average but the certificate: `Foretold` says what n draws certify where
the probabilities are so, and how much less where they fall. It is bounded by what n votes of n
certify, and falls without a clamp, so that more noise pays only as long as the votes hold.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray

from rsbounds.noises import Gaussian, Uniform
from rsbounds.streams import Piece
from rsbounds_torch._loop import FAILURES, Draws, own_seeds
from rsbounds_torch.maps import check_scores, simplex_map
from rsbounds_torch.optimizers._base import NoiseProblem
from rsbounds_torch.streams import noise_stream

#: Draws for gradients begin here: behind those of a search without.
FIRST_DRAW = 1 << 24
#: Numbers in the noisy inputs of one pass with gradients, and in those that are held at a time.
_PASS_NUMBERS, _HELD_NUMBERS = 1 << 20, 1 << 24

#: Noise (b, m, d) from base draws (b, m, numbers), the rows of the inputs, and parameters.
Spread = Callable[..., torch.Tensor]


@dataclass(frozen=True, eq=False)
class SoftModel:
    """Averages of class probabilities over noisy copies, with gradients.

    Attributes
    ----------
    problem : NoiseProblem
        The inputs and the model.
    spread : callable
        ``spread(base, rows, *parameters)``: noise (b, m, d) of the inputs ``rows`` from base
        draws (b, m, numbers) and their rows of the parameters.
    draws : int
        Noisy copies per input.
    antithetic : bool
        Every second copy has the base draw of the one before with the other sign: what a
        gradient has at no noise at all cancels.
    scores : str or None
        From logits to probabilities, as in `NoisyModel.sample_scores`.
    temperature : float
        Logits are divided by it first.
    numbers : int, optional
        Base numbers per draw; as many as an input has by default.
    """

    problem: NoiseProblem
    spread: Spread
    draws: int
    antithetic: bool = True
    scores: str | None = "softmax"
    temperature: float = 1.0
    numbers: int | None = None

    def answers(
        self,
        parameters: Sequence[torch.Tensor],
        first: int,
        weights: NDArray[np.float64] | None = None,
    ) -> tuple[NDArray[np.float64], list[torch.Tensor]]:
        """(B, K + 1) average shares of the answers; the last is what was no answer.

        With (B, K + 1) ``weights`` also the gradient of the weighted sum of each input's shares
        in its row of every parameter, as float64, from one backward pass.
        """
        x = self.problem.x
        size = x[0].numel()
        held = max(1, _HELD_NUMBERS // (self.draws * max(size, self.numbers or 0)))
        shares, slopes = [], []
        for at in range(0, len(x), held):
            rows = range(at, min(at + held, len(x)))
            each = None if weights is None else weights[at : rows.stop]
            parts: list[torch.Tensor] = []
            total: list[torch.Tensor] = []
            # As many draws of one input as are held at a time; pairs stay together.
            most = max(2, _HELD_NUMBERS // max(size, self.numbers or 0) // 2 * 2)
            for done in range(0, self.draws, most):
                part = replace(self, draws=min(most, self.draws - done))
                p, g = part._rows_answers(parameters, rows, first + done, each)
                parts.append(p)
                total = [a + b for a, b in zip(total, g, strict=True)] if total else g
            shares.append(torch.cat(parts, dim=1).mean(dim=1).cpu().numpy())
            slopes.append([f / self.draws for f in total])
        joined = [torch.cat(parts) for parts in zip(*slopes, strict=True)]
        return np.concatenate(shares), joined

    def _rows_answers(
        self,
        parameters: Sequence[torch.Tensor],
        rows: range,
        first: int,
        weights: NDArray[np.float64] | None,
    ) -> tuple[torch.Tensor, list[torch.Tensor]]:
        """(b, m, K + 1) answers of some inputs, and gradients of their weighted sums."""
        x, wanted = self.problem.x[rows.start : rows.stop], weights is not None
        given = [p[rows.start : rows.stop].detach().to(x.dtype) for p in parameters]
        leaves = [p.requires_grad_(wanted) for p in given]
        base = self.base(rows, first)
        with torch.set_grad_enabled(wanted):
            noise = self.spread(base, rows, *leaves)
        noisy = x[:, None].reshape(len(rows), 1, -1) + noise.detach()
        p, g = self.row_answers(noisy, rows, first, weights)
        if g is None:
            return p, []
        return p, [f.double() for f in torch.autograd.grad(noise, leaves, g)]

    def base(self, rows: range, first: int) -> torch.Tensor:
        """(b, m, numbers) base draws of some inputs."""
        problem = self.problem
        numbers = self.numbers or problem.x[0].numel()
        law = Uniform(1.0) if problem.start.base == "uniform" else Gaussian(1.0)
        own = (self.draws + 1) // 2 if self.antithetic else self.draws
        device = problem.x.device
        stream = noise_stream(law, (numbers,), seed=problem.seed, role="optimize", device=device)
        drawn = problem.x.new_zeros((len(rows), own, numbers))
        nothing = problem.x.new_zeros(numbers)
        for i, row in enumerate(rows):
            stream.add(drawn[i], nothing, problem.streams[row], FIRST_DRAW + first)
        if not self.antithetic:
            return drawn
        return torch.cat([drawn, -drawn[:, : self.draws - own]], dim=1)

    def row_answers(
        self,
        noisy: torch.Tensor,
        rows: range,
        first: int,
        weights: NDArray[np.float64] | None,
    ) -> tuple[torch.Tensor, torch.Tensor | None]:
        """(b, m, K + 1) answers at (b, m, d) noisy inputs, and gradients of their weighted sums.

        The model sees no larger batches than its own batch size; each copy has its own gradient
        (b, m, d), so that what is summed does not depend on them.
        """
        problem = self.problem
        evaluation = problem.model._evaluation
        b, m, d = noisy.shape
        flat = noisy.reshape(b * m, *problem.x.shape[1:])
        size = max(1, min(problem.model._size(problem.x), _PASS_NUMBERS // d))
        seeds = None
        if evaluation.stochastic:
            draws = Draws(problem.start, problem.seed, "optimize", problem.streams)
            seeds = own_seeds(draws, [Piece(row, FIRST_DRAW + first, m) for row in rows])
        each = None
        if weights is not None:
            each = torch.as_tensor(weights, device=flat.device).repeat_interleave(m, dim=0)
        shares, slopes = [], []
        with evaluation.active(problem.seed, gradients=weights is not None):
            for at in range(0, b * m, size):
                part = slice(at, min(at + size, b * m))
                keys = None if seeds is None else seeds[part]
                p, g = self._pass(flat[part], keys, None if each is None else each[part])
                shares.append(p)
                slopes.append(g)
        gradient = torch.cat(slopes).reshape(b, m, d) if weights is not None else None
        return torch.cat(shares).reshape(b, m, -1), gradient

    def _pass(
        self, batch: torch.Tensor, keys: list[int] | None, weights: torch.Tensor | None
    ) -> tuple[torch.Tensor, torch.Tensor]:
        evaluation = self.problem.model._evaluation
        leaf = batch.detach().requires_grad_(weights is not None)
        try:
            logits = evaluation.answers(
                leaf, len(leaf), keys, plain=True, gradients=weights is not None
            )
            if weights is None:
                return self._seen(logits, self._probabilities(logits)), leaf
            if not logits.requires_grad:
                raise ValueError(_REFUSED.format("keeps no graph of what it computes"))
            p = self._probabilities(logits)
            (g,) = torch.autograd.grad(self._wanted(logits, p, weights), leaf)
        except FAILURES as error:
            what = str(error).strip().splitlines()[0] if str(error) else repr(error)
            raise ValueError(_REFUSED.format(f"failed with gradients: {what}")) from None
        # A draw whose gradient is no number has no say.
        return self._seen(logits.detach(), p.detach()), torch.where(torch.isfinite(g), g, 0.0)

    def _wanted(self, logits: torch.Tensor, p: torch.Tensor, weights: torch.Tensor) -> torch.Tensor:
        """What is differentiated: the weighted sum of all shares."""
        return (p * weights).sum()

    def _seen(self, logits: torch.Tensor, p: torch.Tensor) -> torch.Tensor:
        """Halfway between the vote, which is what is certified, and the smoother probabilities."""
        vote = torch.nn.functional.one_hot(logits.argmax(dim=1), p.shape[1]).to(p.dtype)
        return torch.where(p[:, -1:] > 0, p, 0.5 * (p + vote))

    def _probabilities(self, logits: torch.Tensor) -> torch.Tensor:
        """(m, K + 1) probabilities in float64; a row with NaN has them all in the last column."""
        double = logits.double()
        nan = torch.isnan(double).any(dim=1, keepdim=True)
        # Infinite logits are votes; their gradient is none.
        finite = torch.nan_to_num(double, nan=0.0, posinf=1e30, neginf=-1e30)
        p = simplex_map(self.scores, self.temperature)(finite)  # type: ignore[arg-type]
        check_scores(p.detach(), double.shape)
        return torch.cat([torch.where(nan, 0.0, p), nan.to(p.dtype)], dim=1)

    def check(self, parameters: Sequence[torch.Tensor]) -> None:
        """Raise ValueError where the scores have no gradient in the parameters."""
        problem = self.problem
        rows = np.arange(len(problem))
        weights = np.full((len(problem), problem.model.num_classes + 1), -1.0)
        weights[rows, problem.top] = problem.model.num_classes - 1.0
        raw = _Raw(problem, self.spread, 1, antithetic=False, numbers=self.numbers)
        _, slopes = raw.answers(parameters, 0, weights)
        if not any(bool((slope != 0).any()) for slope in slopes):
            raise ValueError(_REFUSED.format("has the gradient 0 everywhere"))


class _Raw(SoftModel):
    """Weighted sums of scores in place of probabilities."""

    def _wanted(self, logits: torch.Tensor, p: torch.Tensor, weights: torch.Tensor) -> torch.Tensor:
        return (torch.nan_to_num(logits.double()) * weights[:, :-1]).sum()


class GapModel(SoftModel):
    """The gap of log-probability between a class and the largest other, at each copy.

    The class is the one with the largest weight.
    """

    def _wanted(self, logits: torch.Tensor, p: torch.Tensor, weights: torch.Tensor) -> torch.Tensor:
        double = torch.nan_to_num(logits.double())
        if self.scores is None:
            double = torch.log(double.clamp_min(1e-30))
        top = weights.argmax(dim=1, keepdim=True)
        others = double.scatter(1, top, -torch.inf)
        return (double.gather(1, top)[:, 0] - others.amax(dim=1)).sum()


_REFUSED = (
    "model {}, and this method needs gradients; allowed: a model that is differentiable in its "
    "input, or method='search', which needs none"
)
