"""The loop of a training: batches, steps, epochs, and the state between two epochs."""

from __future__ import annotations

import inspect
import time
from contextlib import ExitStack
from dataclasses import dataclass
from types import TracebackType
from typing import Any

import numpy as np
import torch
import torch.distributed as dist
from numpy.typing import NDArray
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from rsbounds._parallel import Progress
from rsbounds.noises import Noise
from rsbounds_torch._loop import FAILURES
from rsbounds_torch._modules import evaluating
from rsbounds_torch._random import own_random, seed_all
from rsbounds_torch._ranks import ranks, together
from rsbounds_torch._sampler import NoisyModel
from rsbounds_torch.training._base import TrainingLoss, TrainingNoise
from rsbounds_torch.training._checkpoint import Values
from rsbounds_torch.training._estimates import estimates
from rsbounds_torch.training._examples import Examples
from rsbounds_torch.training._logs import sentence
from rsbounds_torch.training._per_input import InputNoise
from rsbounds_torch.training._seeds import derived
from rsbounds_torch.training._settings import TrainSettings


@dataclass(frozen=True, eq=False)
class Tools:
    """What a training is given, checked.

    Attributes
    ----------
    steps : int
        Batches of an epoch.
    digests : list
        Of the data and of the held-out inputs.
    """

    model: nn.Module
    examples: Examples
    held: Examples | None
    noise: Noise
    loss: TrainingLoss
    finder: InputNoise | None
    settings: TrainSettings
    seed: int
    device: torch.device
    classes: int
    steps: int
    bounds: tuple[float, float] | None
    digests: list[str | None]


class Diverged(ValueError):
    """A loss or weights that are not finite."""


class Loop:
    """A training between two epochs; run it within its own ``with``.

    Attributes
    ----------
    epoch : int
        Epochs done.
    history : list of dict
        A row for each.
    """

    def __init__(self, tools: Tools, progress: bool | None) -> None:
        self.settings, self.epoch = tools.settings, 0
        self.history: list[dict[str, float]] = []
        self._tools, self._progress = tools, progress
        self._rank, self._size = ranks()
        self._noise = TrainingNoise(tools.noise, seed=tools.seed)
        self._parameters = [p for p in tools.model.parameters() if p.requires_grad]
        given = self.settings
        self._optimizer = torch.optim.SGD(
            self._parameters, lr=given.lr, momentum=given.momentum,
            weight_decay=given.weight_decay, nesterov=given.momentum > 0,
        )  # fmt: skip
        self._type = None if given.autocast is None else getattr(torch, given.autocast)
        # Elsewhere a scaler does nothing; its state is kept all the same.
        scaled = given.autocast == "float16"
        self._scaler = torch.amp.GradScaler(tools.device.type, enabled=scaled)
        self._sampled = NoisyModel(
            tools.model, num_classes=tools.classes, noise=tools.noise, autocast=self._type,
            batch_size=max(given.batch_size, 256),
        )  # fmt: skip
        self._net: nn.Module = tools.model
        if self._size > 1:
            on = [tools.device] if tools.device.type == "cuda" else None
            # Buffers go round after each epoch: a loss may call the model many times in a step.
            known = inspect.signature(DistributedDataParallel.__init__).parameters
            # The second is its name in older versions of PyTorch, which the newer ones warn of.
            names = ("forward_sync_buffers", "broadcast_buffers")
            off: Any = {next(name for name in names if name in known): False}
            self._net = DistributedDataParallel(tools.model, on, **off)
        # Some buffers are meant to have infinities, such as masks.
        self._finite = finite_tensors(tools.model)
        #: The losses of an epoch, summed where they are, and the last one, not looked at yet.
        self._sum = torch.zeros((), device=tools.device)
        self._last: tuple[int, torch.Tensor] | None = None

    # -- state ---------------------------------------------------------------------------

    def law(self) -> Noise:
        """The law of the noise, or that of each input."""
        finder = self._tools.finder
        return self._tools.noise if finder is None else finder.law.scaled(finder.factor)

    def state(self) -> Values:
        """What the next epoch depends on."""
        finder = self._tools.finder
        return {
            "model": self._tools.model.state_dict(),
            "optimizer": self._optimizer.state_dict(),
            "scaler": self._scaler.state_dict(),
            "epoch": self.epoch,
            "drawn": self._noise.drawn,
            "factor": None if finder is None else torch.from_numpy(finder.factor.copy()),
            "history": self.history,
        }

    def load(self, held: Values) -> None:
        """Go on from there."""
        self._tools.model.load_state_dict(held["model"])
        self._optimizer.load_state_dict(held["optimizer"])
        if self._scaler.is_enabled():
            self._scaler.load_state_dict(held["scaler"])
        self.epoch, self.history = held["epoch"], held["history"]
        self._noise.drawn = held["drawn"]
        if self._tools.finder is not None:
            self._tools.finder.factor = held["factor"].numpy()

    # -- epochs --------------------------------------------------------------------------

    def __enter__(self) -> Loop:
        left = max(0, self.settings.epochs - self.epoch) * self._tools.steps
        self._stack = ExitStack()
        # The model's own random numbers, seeded at each step.
        self._stack.enter_context(own_random(self._tools.device))
        self._bar = self._stack.enter_context(Progress(left, "training steps", self._progress))
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stack.__exit__(kind, error, trace)

    def run_epoch(self) -> None:
        """One pass through the data, and what the held-out inputs say after it."""
        tools, began = self._tools, time.monotonic()
        self._sum.zero_()
        order = np.random.default_rng(derived(tools.seed, "order", self.epoch))
        shares = []
        batches = np.array_split(order.permutation(tools.examples.size), tools.steps)
        for step, rows in enumerate(batches, start=self.epoch * tools.steps):
            shares.append(self._step(rows, step))
            self._bar.advance(1)
        self._look(None)
        self._agree(np.concatenate(shares))
        row: dict[str, float] = {
            "epoch": self.epoch + 1,
            "step": (self.epoch + 1) * tools.steps,
            "lr": self.settings.rate(self.epoch * tools.steps, tools.steps),
            "loss": float(self._sum) / tools.steps,
        }
        if tools.held is not None:
            row |= estimates(
                self._sampled, tools.held, self.settings.draws, self.settings.estimate_alpha,
                tools.seed,
            )  # fmt: skip
        if tools.finder is not None:
            row["mean_factor"] = float(np.exp(np.log(tools.finder.factor).mean()))
        row["seconds"] = time.monotonic() - began
        self.epoch += 1
        self.history = [*self.history, row]
        self._bar.note = sentence(row, self.settings.epochs)

    def _step(self, batch: NDArray[np.int64], step: int) -> NDArray[np.int64]:
        """One step of SGD on a batch; the rows that were this rank's."""
        tools = self._tools
        low = len(batch) * self._rank // self._size
        rows = batch[low : len(batch) * (self._rank + 1) // self._size]
        x, y = tools.examples.batch(rows, self.epoch)
        seed_all(tools.device, derived(tools.seed, "model", step, self._rank))
        if tools.finder is not None and self.epoch >= self._fixed_epochs():
            self._noise.law = tools.finder.update(self._sampled, x, rows, self.epoch)
        elif tools.finder is not None:
            self._noise.law = tools.noise
        self._noise.start = low
        for group in self._optimizer.param_groups:
            group["lr"] = self.settings.rate(step, tools.steps)
        self._optimizer.zero_grad()
        with torch.autocast(tools.device.type, self._type, enabled=self._type is not None):
            loss = tools.loss(self._net, x, y, self._noise)
        # DDP averages over ranks, each of which averaged over its own rows.
        part = loss if self._size == 1 else loss * (len(rows) * self._size / len(batch))
        self._backward(self._scaler.scale(part))
        if self.settings.clip is not None:
            self._scaler.unscale_(self._optimizer)
            nn.utils.clip_grad_norm_(self._parameters, self.settings.clip)
        self._scaler.step(self._optimizer)
        self._scaler.update()
        whole = part.detach().float()
        if self._size > 1:
            whole = whole / self._size
            with together():
                dist.all_reduce(whole)
        self._sum += whole
        self._look((step, whole))
        return rows

    def _backward(self, loss: torch.Tensor) -> None:
        if self._size == 1:
            loss.backward()  # type: ignore[no-untyped-call]
            return
        # Here the ranks meet, or one of them is left alone.
        with together():
            loss.backward()  # type: ignore[no-untyped-call]

    def _fixed_epochs(self) -> int:
        given = self.settings.smoothing_after
        return self.settings.epochs // 4 if given is None else given

    def _look(self, new: tuple[int, torch.Tensor] | None) -> None:
        """Refuse a loss that is not finite: the one before, so that a device need not wait."""
        last, self._last = self._last, new
        if last is not None and not bool(torch.isfinite(last[1])):
            raise Diverged(
                f"loss is {float(last[1])} at step {last[0]} (epoch {self.epoch + 1}); "
                "allowed: a training that does not diverge (a smaller lr, warmup or clip)"
            )

    def _agree(self, rows: NDArray[np.int64]) -> None:
        """Buffers and found noise the same on all ranks; weights that are not finite refused."""
        finder = self._tools.finder
        if self._size > 1:
            with together():
                # As DDP does before each pass: those of the first rank.
                for buffer in self._tools.model.buffers():
                    dist.broadcast(buffer, 0)
        if finder is not None and self.epoch >= self._fixed_epochs():
            finder.share(rows)
        for name in sorted(self._finite - finite_tensors(self._tools.model)):
            raise Diverged(
                f"model has {name} not finite after epoch {self.epoch + 1}; allowed: a "
                "training that does not diverge (a smaller lr, warmup or clip)"
            )


def finite_tensors(model: nn.Module) -> set[str]:
    """Names of the parameters and buffers without NaN and infinities."""
    return {
        name
        for name, value in model.state_dict().items()
        if isinstance(value, torch.Tensor) and bool(torch.isfinite(value).all())
    }


def check_loss(
    loss: TrainingLoss, model: nn.Module, batch: tuple[torch.Tensor, torch.Tensor], noise: Noise
) -> None:
    """Raise ValueError where a loss is not for this model, this law or these inputs.

    It is asked about a few inputs; nothing is kept of it.
    """
    try:
        with own_random(batch[0].device), evaluating([model]):
            with torch.no_grad():
                rows = model(TrainingNoise(noise, seed=0).copies(batch[0], 2).flatten(0, 1))
            value = loss(model, *batch, TrainingNoise(noise, seed=0))
    except FAILURES as error:
        what = (str(error).strip().splitlines() or [repr(error)])[0]
        raise ValueError(
            f"model or loss {loss.name!r} failed on a few noisy inputs: {what}; allowed: a model "
            "that takes any batch size, and a loss for it"
        ) from None
    if bool((rows >= 0).all() & ((rows.double().sum(dim=1) - 1).abs() < 1e-3).all()):
        raise ValueError(
            "model returned rows that sum to 1, which are probabilities; allowed: logits (no "
            "softmax at the end)"
        )
    if not isinstance(value, torch.Tensor) or value.shape != () or not value.requires_grad:
        got = f"shape {tuple(value.shape)}" if isinstance(value, torch.Tensor) else f"{value!r}"
        raise ValueError(
            f"loss {loss.name!r} returned {got}; allowed: a scalar tensor with a gradient"
        )


def answer_width(model: nn.Module, x: torch.Tensor) -> int:
    """K, the number of logits that the model gives for each of a few inputs."""
    try:
        with evaluating([model]), torch.no_grad():
            answer: Any = model(x)
    except FAILURES as error:
        what = (str(error).strip().splitlines() or [repr(error)])[0]
        raise ValueError(
            f"model failed on the first input, of shape {tuple(x.shape[1:])}: {what}; allowed: a "
            "model for this data"
        ) from None
    if not isinstance(answer, torch.Tensor) or answer.ndim != 2 or answer.shape[1] < 2:
        got = tuple(answer.shape) if isinstance(answer, torch.Tensor) else type(answer).__name__
        raise ValueError(f"model returned {got} for one input; allowed: (1, K) logits, K >= 2")
    return int(answer.shape[1])
