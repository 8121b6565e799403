"""The sampling loop: draw, evaluate, count or keep, batch by batch in one buffer."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from rsbounds._parallel import Progress
from rsbounds.noises import Noise
from rsbounds.streams import Piece, Purpose, batches, role_number
from rsbounds_torch._modules import evaluating, find_modules
from rsbounds_torch._random import (
    drawing_operations,
    own_random,
    same_state,
    seed_all,
    set_torch_state,
    torch_state,
)
from rsbounds_torch.maps import check_scores
from rsbounds_torch.sampling import Tally
from rsbounds_torch.streams import noise_stream

#: Winning classes kept before they are added to the table.
KEPT_VOTES = 1 << 16
#: Errors that a model raises when it does not accept a batch.
FAILURES = (RuntimeError, TypeError, IndexError, AssertionError)
#: What to do instead, for the message about a model that draws random numbers.
RANDOM = (
    "allowed: a model whose answers repeat, or stochastic=True for one that is meant to be random"
)

#: Added to the number of a role: the seeds of a model's own randomness, apart from its noise.
_OWN_RANDOMNESS = 1000


#: What looks at a batch and its answers.
Look = Callable[[torch.Tensor, torch.Tensor], None]


@dataclass(frozen=True, eq=False)
class Draws:
    """Where noise comes from: a law, a seed, a role, and the stream number of each input."""

    noise: Noise
    seed: int
    role: Purpose
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
    stochastic : bool
        The model draws random numbers itself: each row is evaluated by itself, with numbers of
        its own.
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
        stochastic: bool,
    ) -> None:
        self.num_classes = num_classes
        self.device, self.kind = device, kind
        self.padded, self.stochastic = compile, stochastic
        self._model = model
        self._preprocess = preprocess
        self._autocast = autocast
        # A compiled model is compiled again for each new batch size.
        self._plain = getattr(model, "_orig_mod", model)
        self._call: Callable[[torch.Tensor], Any] = model
        if compile:
            self._call = torch.compile(model, dynamic=False)
        self._noticed: list[weakref.ref[torch.nn.Module]] = []

    def modules(self) -> list[torch.nn.Module]:
        """The outermost modules of the model and of what comes before it, as they are now."""
        noticed = [module for ref in self._noticed if (module := ref()) is not None]
        return find_modules(self._model, self._preprocess, *noticed)

    def notice(self, modules: list[torch.nn.Module]) -> None:
        """Treat further modules as the model's, as long as they live."""
        self._noticed.extend(weakref.ref(module) for module in modules)

    @contextmanager
    def active(self, seed: int, *, gradients: bool = False) -> Iterator[None]:
        """Eval mode, no gradients unless asked for; a stochastic model's random numbers, seeded.

        All is as it was afterwards, or once the last thread that evaluates a module is done.
        """
        with ExitStack() as stack:
            if self.stochastic:
                stack.enter_context(own_random(self.device))
                seed_all(self.device, seed)
            # Not inference_mode: a model that caches a tensor could not train on it later.
            stack.enter_context(torch.set_grad_enabled(gradients))
            if self._autocast is not None:
                stack.enter_context(torch.autocast(self.device.type, dtype=self._autocast))
            held = stack.enter_context(evaluating(self.modules()))
            yield
            moved = [type(module).__name__ for module in held if module.training]
            if moved and not self.stochastic:
                raise ValueError(
                    f"model has its {moved[0]} put in training mode while it is evaluated; "
                    "allowed: a model that stays in eval mode"
                )

    def answers(
        self,
        batch: torch.Tensor,
        used: int,
        keys: Sequence[int] | None = None,
        *,
        plain: bool = False,
        gradients: bool = False,
    ) -> torch.Tensor:
        """(used, K) scores for the first rows of a batch; call it within `active`.

        ``keys`` are the seeds of a stochastic model's own numbers, one for each row. ``plain``
        leaves out the compiler, for batches of other sizes than the loop's. ``gradients`` keeps
        the scores differentiable in the batch.
        """
        given = batch if self.padded and not plain and not self.stochastic else batch[:used]
        if not self.stochastic:
            before = torch_state(self.device)
            try:
                scores = self._scores(given, plain)
            except BaseException:
                if not same_state(before, torch_state(self.device)):
                    set_torch_state(self.device, before)
                raise
            if not same_state(before, torch_state(self.device)):
                self._refuse_drawing(given, before)
            return scores[:used] if gradients else scores[:used].detach()
        parts = []
        for i in range(used):
            if keys is not None:
                seed_all(self.device, keys[i])
            parts.append(self._scores(given[i : i + 1], plain))
        return torch.cat(parts) if gradients else torch.cat(parts).detach()

    def _scores(self, given: torch.Tensor, plain: bool) -> torch.Tensor:
        ready = given if self._preprocess is None else self._preprocess(given)
        # A plain function gets the tensor as it is: it may convert by itself.
        cast = isinstance(self._model, torch.nn.Module) and self._autocast is None
        if cast and self.kind is not None and ready.dtype != self.kind:
            ready = ready.to(self.kind)
        scores = (self._plain if plain else self._call)(ready)
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
        return scores

    def _refuse_drawing(self, given: torch.Tensor, before: list[torch.Tensor]) -> None:
        """Refuse a model that draws; it may have been another thread that did."""
        drawn = drawing_operations(self.device, lambda: self._scores(given, True))
        if drawn:
            set_torch_state(self.device, before)
            raise ValueError(f"model draws random numbers ({drawn[0]}); {RANDOM}")

    def buffers(self) -> list[tuple[str, torch.Tensor, torch.Tensor]]:
        """Name, buffer and a copy of it, of all modules."""
        return [
            (name, buffer, buffer.clone())
            for root in self.modules()
            for name, buffer in root.named_buffers()
            # Sparse ones cannot be compared, and nothing updates them in passing.
            if buffer.layout == torch.strided
        ]

    def put_back(self, kept: list[tuple[str, torch.Tensor, torch.Tensor]]) -> list[str]:
        """Undo changes of buffers; the names of those with other real numbers."""
        changed = []
        for name, buffer, copy in kept:
            if not torch.equal(torch.nan_to_num(buffer), torch.nan_to_num(copy)):
                changed.append(name)
                buffer.copy_(copy)
        return changed

    def rounding(self, answers: torch.Tensor) -> float:
        """Relative rounding error of one operation of the model, about."""
        kinds = (self._autocast or self.kind or torch.float32, answers.dtype)
        return max((torch.finfo(k).eps for k in kinds if k.is_floating_point), default=0.0)

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
    look: Look | None = None,
) -> NDArray[np.int64]:
    """(B, K + 1) votes of the draws in ``pieces``; the last column is draws with NaN."""
    tally = Tally(len(x), evaluation.num_classes, max(size, KEPT_VOTES), evaluation.device)
    _run(evaluation, x, pieces, draws, size, tally.add, f"{draws.role} votes", progress, look)
    return tally.result()


def sample_scores(
    evaluation: Evaluation,
    x: torch.Tensor,
    n: int,
    scored: Callable[[torch.Tensor], torch.Tensor],
    draws: Draws,
    size: int,
    progress: bool | None,
    look: Look | None = None,
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
    _run(evaluation, x, pieces, draws, size, keep, f"{draws.role} scores", progress, look)
    return values.numpy(), invalid.numpy()


def sample_into(
    evaluation: Evaluation,
    x: torch.Tensor,
    pieces: list[Piece],
    draws: Draws,
    size: int,
    sink: Callable[[torch.Tensor, list[Piece]], None],
    progress: bool | None,
    look: Look | None = None,
) -> None:
    """Hand the answers to the draws in ``pieces`` on, batch by batch."""
    _run(evaluation, x, pieces, draws, size, sink, f"{draws.role} answers", progress, look)


def _run(
    evaluation: Evaluation,
    x: torch.Tensor,
    pieces: Iterable[Piece],
    draws: Draws,
    size: int,
    sink: Callable[[torch.Tensor, list[Piece]], None],
    label: str,
    progress: bool | None,
    look: Look | None,
) -> None:
    """Draw, evaluate and hand on; ``look`` sees the first batch and its answers."""
    draws.noise.check_rows(len(x))
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
    with evaluation.active(0), Progress(total, label, progress) as bar:
        for group in batches(pieces, size):
            at = sum(p.count for p in group)
            stream.fill(rows[:at], flat, group, draws.streams)
            keys = own_seeds(draws, group) if evaluation.stochastic else None
            answers = evaluation.answers(batch, at, keys)
            if look is not None:
                look(batch[:at], answers)
                look = None
            sink(answers, group)
            bar.advance(at)


def own_seeds(draws: Draws, group: list[Piece]) -> list[int]:
    """Seeds of a stochastic model's own numbers, one for each draw."""
    role = _OWN_RANDOMNESS + role_number(draws.role)
    return [
        int(
            np.random.SeedSequence(
                draws.seed, spawn_key=(role, draws.streams[piece.row], piece.first + i)
            ).generate_state(1, np.uint64)[0]
        )
        for piece in group
        for i in range(piece.count)
    ]
