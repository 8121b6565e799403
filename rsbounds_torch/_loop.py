"""The sampling loop: draw, evaluate, count or keep, batch by batch in one buffer."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from rsbounds._parallel import Progress
from rsbounds.noises import Noise
from rsbounds.streams import ROLES, Role
from rsbounds_torch.maps import check_scores
from rsbounds_torch.sampling import Piece, Tally, batches
from rsbounds_torch.streams import noise_stream

#: Winning classes kept before they are added to the table.
KEPT_VOTES = 1 << 16


@dataclass(frozen=True, eq=False)
class Draws:
    """Where noise comes from: a law, a seed, a role, and the stream number of each input."""

    noise: Noise
    seed: int
    role: Role
    streams: list[int]


class Evaluation:
    """A model as the loop sees it: a batch of raw noisy inputs in, checked scores out.

    Attributes
    ----------
    num_classes : int
        K.
    device : torch.device
        Where inputs are and scores must be.
    kind : torch.dtype or None
        Type of the model's parameters, None where it has none.
    padded : bool
        Every batch has the full size, because another would be compiled anew.
    """

    def __init__(
        self,
        model: Callable[[torch.Tensor], torch.Tensor],
        *,
        num_classes: int,
        preprocess: Callable[[torch.Tensor], torch.Tensor] | None,
        device: torch.device,
        kind: torch.dtype | None,
        autocast: torch.dtype | None,
        compile: bool,
    ) -> None:
        self.num_classes = num_classes
        self.device, self.kind = device, kind
        self.padded = compile
        self._model = model
        self._preprocess = preprocess
        self._autocast = autocast
        self._call: Callable[[torch.Tensor], Any] = model
        if compile:
            self._call = torch.compile(model, dynamic=False)

    @contextmanager
    def active(self, seed: int) -> Iterator[None]:
        """Eval mode, no gradients, the model's own random numbers seeded; all undone after."""
        modules = list(self._model.modules()) if isinstance(self._model, torch.nn.Module) else []
        modes = [module.training for module in modules]
        on_cuda = self.device.type == "cuda"
        with ExitStack() as stack:
            stack.enter_context(torch.random.fork_rng([self.device] if on_cuda else []))
            torch.default_generator.manual_seed(seed)
            if on_cuda:
                torch.cuda.default_generators[self.device.index].manual_seed(seed)
            # Not inference_mode: a model that caches a tensor could not train on it later.
            stack.enter_context(torch.no_grad())
            if self._autocast is not None:
                stack.enter_context(torch.autocast(self.device.type, dtype=self._autocast))
            if any(modes) and isinstance(self._model, torch.nn.Module):
                self._model.eval()
            try:
                yield
            finally:
                for module, mode in zip(modules, modes, strict=True):
                    module.training = mode

    def answers(self, batch: torch.Tensor, used: int) -> torch.Tensor:
        """(used, K) scores for the first rows of a batch."""
        given = batch if self.padded else batch[:used]
        ready = given if self._preprocess is None else self._preprocess(given)
        if self.kind is not None and self._autocast is None and ready.dtype != self.kind:
            ready = ready.to(self.kind)
        scores = self._call(ready)
        if not isinstance(scores, torch.Tensor):
            raise ValueError(
                f"model returned {type(scores).__name__}; allowed: a tensor of shape "
                f"(m, {self.num_classes})"
            )
        if scores.ndim == 2 and len(scores) == len(given) and scores.shape[1] != self.num_classes:
            raise ValueError(
                f"model returned {scores.shape[1]} scores per input; allowed: num_classes = "
                f"{self.num_classes}"
            )
        if scores.shape != (len(given), self.num_classes) or scores.is_complex():
            raise ValueError(
                f"model returned shape {tuple(scores.shape)}, type {scores.dtype}, for a batch of "
                f"{len(given)}; allowed: ({len(given)}, {self.num_classes}) numbers"
            )
        if scores.device != self.device:
            raise ValueError(
                f"model returned scores on {scores.device}; allowed: device = {self.device}"
            )
        return scores.detach()[:used]

    def wait(self) -> None:
        """Return when the device has done what it was asked for."""
        if self.device.type != "cpu":
            getattr(torch, self.device.type).synchronize()


def sample_votes(
    evaluation: Evaluation,
    x: torch.Tensor,
    pieces: list[Piece],
    draws: Draws,
    size: int,
    progress: bool | None,
) -> NDArray[np.int64]:
    """(B, K + 1) votes of the draws in ``pieces``; the last column is draws with NaN."""
    tally = Tally(len(x), evaluation.num_classes, max(size, KEPT_VOTES), evaluation.device)
    _run(evaluation, x, pieces, draws, size, tally.add, f"{draws.role} votes", progress)
    return tally.result()


def sample_scores(
    evaluation: Evaluation,
    x: torch.Tensor,
    n: int,
    scored: Callable[[torch.Tensor], torch.Tensor],
    draws: Draws,
    size: int,
    progress: bool | None,
) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """(B, n, K) scores, and (B,) draws with NaN, whose scores are zero."""
    values = torch.empty((len(x), n, evaluation.num_classes), dtype=torch.float64)
    invalid = torch.zeros(len(x), dtype=torch.int64)

    def keep(answers: torch.Tensor, pieces: list[Piece]) -> None:
        logits = answers.double()
        nan = torch.isnan(logits).any(dim=1)
        scores = scored(torch.where(nan[:, None], 0.0, logits))
        check_scores(scores, logits.shape)
        part = torch.where(nan[:, None], 0.0, scores.clamp(0.0, 1.0)).cpu()
        missing = nan.cpu()
        at = 0
        for p in pieces:
            span = slice(at, at + p.count)
            values[p.row, p.first : p.first + p.count] = part[span]
            invalid[p.row] += missing[span].sum()
            at += p.count

    pieces = [Piece(row, 0, n) for row in range(len(x))]
    _run(evaluation, x, pieces, draws, size, keep, f"{draws.role} scores", progress)
    return values.numpy(), invalid.numpy()


def _run(
    evaluation: Evaluation,
    x: torch.Tensor,
    pieces: Iterable[Piece],
    draws: Draws,
    size: int,
    sink: Callable[[torch.Tensor, list[Piece]], None],
    label: str,
    progress: bool | None,
) -> None:
    """Draw, evaluate and hand on."""
    pieces = list(pieces)
    total = sum(p.count for p in pieces)
    size = size if evaluation.padded else max(min(size, total), 1)
    shape = tuple(x.shape[1:])
    flat = x.reshape(len(x), -1)
    batch = x.new_zeros((size, *shape))
    rows = batch.view(size, -1)
    stream = noise_stream(
        draws.noise, shape, seed=draws.seed, role=draws.role, device=evaluation.device
    )
    key = np.random.SeedSequence(
        draws.seed,
        spawn_key=(len(ROLES) + ROLES.index(draws.role), draws.streams[0], pieces[0].first),
    )
    own = int(key.generate_state(1, np.uint64)[0])
    with evaluation.active(own), Progress(total, label, progress) as bar:
        for group in batches(pieces, size):
            at = 0
            for p in group:
                part = rows[at : at + p.count]
                stream.add(part, flat[p.row], draws.streams[p.row], p.first, p.row)
                at += p.count
            sink(evaluation.answers(batch, at), group)
            bar.advance(at)
