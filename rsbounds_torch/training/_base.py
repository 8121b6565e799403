"""What a training loss is (`TrainingLoss` has the contract), and the noise it trains under."""

from __future__ import annotations

import abc
from collections.abc import Callable
from typing import Any, ClassVar

import torch

from rsbounds import _validate
from rsbounds._registry import Registry
from rsbounds.noises import Noise
from rsbounds.streams import MAX_INDEX, base_draws
from rsbounds_torch._inputs import chosen_seed
from rsbounds_torch.streams import noise_stream

LOSSES: Registry[type[TrainingLoss]] = Registry(
    "loss", "rsbounds.losses", "rsbounds_torch.contracts:loss_cases"
)

Model = Callable[[torch.Tensor], torch.Tensor]


class TrainingNoise:
    """Noisy copies for training: never those that certify, and the same for the same seed.

    What a row of a batch gets does not depend on how many rows there are.

    Parameters
    ----------
    law : Noise
        One law for all inputs, or one for each input of every batch.
    seed : int, optional
        Seed of the streams; a fresh one by default.

    Attributes
    ----------
    drawn : int
        Draws taken so far; set it to go on where a stopped training was.
    start : int
        Number of the first row, 0; the row's place in the whole batch where several processes
        share it.

    Examples
    --------
    >>> import torch, rsbounds
    >>> from rsbounds_torch.training import TrainingNoise
    >>> noise = TrainingNoise(rsbounds.Gaussian(0.5), seed=1)
    >>> x = torch.zeros(4, 3)
    >>> first, second = noise.copies(x, 2), noise.copies(x, 2)
    >>> first.shape, bool((first == second).any()), noise.drawn
    (torch.Size([2, 4, 3]), False, 4)
    """

    def __init__(self, law: Noise, *, seed: int | None = None) -> None:
        if not isinstance(law, Noise):
            raise ValueError(f"law is {law!r}; allowed: a noise law such as Gaussian(sigma=0.25)")
        # Certificates need the exact law; an attack wants the noise to be the same wherever x is.
        self.law = law.in_floats()
        self.seed = chosen_seed(seed)
        self.drawn = 0
        self.start = 0

    def copies(self, x: torch.Tensor, count: int) -> torch.Tensor:
        """(count, B, ...) noisy copies of a batch of inputs; their draws are used up.

        Raises
        ------
        ValueError
            Inputs that are not floating-point numbers, or a law for another number of inputs.
        """
        count = _validate.integer("count", count, low=1)
        if not x.is_floating_point() or x.ndim < 2:
            raise ValueError(
                f"x has shape {tuple(x.shape)}, type {x.dtype}; allowed: (B, ...) of floats"
            )
        self.law.check_rows(len(x))
        kind = torch.float64 if x.dtype == torch.float64 else torch.float32
        flat = x.detach().to(kind).reshape(len(x), -1)
        stream = noise_stream(
            self.law, tuple(x.shape[1:]), seed=self.seed, role="train", device=x.device
        )
        out: torch.Tensor = stream.copies(flat, count, self.drawn, self.start)
        self.drawn += count
        return out.reshape(count, *x.shape).to(x.dtype)

    def fractions(self, rows: int) -> torch.Tensor:
        """(rows,) numbers, uniform from 0 to 1, one for each input of a batch; uses up a draw."""
        # Streams of inputs that no batch has, so that they have nothing to do with the noise.
        drawn = base_draws(
            "uniform", rows, 1, seed=self.seed, role="train", index=MAX_INDEX - self.drawn,
            first=self.start,
        )  # fmt: skip
        self.drawn += 1
        return torch.from_numpy((drawn[:, 0] + 1.0) / 2.0)


class TrainingLoss(abc.ABC):
    """Base of the losses: what to go backward from, for a classifier that is to be certified.

    Contract
    --------
    A loss is a frozen dataclass: its fields are its settings. Called with a model, a batch of raw
    inputs, their labels and a `TrainingNoise`, it returns a scalar tensor to go backward from. It
    changes neither the model's mode nor the noise it is given but for taking draws from it. Noise
    is added to the raw input; a normalisation is the model's first layer, or its ``preprocess`` in
    `rsbounds_torch.SmoothedClassifier`, so that training and certificate see the same noise.

    - **Laws.** A law may have parameters for each row of the batch. A loss that holds for some
      laws only raises ValueError for the others, with the reason.
    - **Numbers.** Probabilities are handled as logarithms, in float32, or in float64 where the
      logits are: under autocast too. Logits up to 1e30 in size give a finite loss and finite
      gradients. A logit that is NaN or +inf makes the loss NaN, never a number; a loop refuses to
      step on a loss that is not finite.
    - **Attacks.** A loss that looks for a worse input asks the model in eval mode, as the papers
      do, and puts the mode back; parameters, their ``.grad`` and buffers stay as they are until
      the caller goes backward.

    What you write: a frozen dataclass below this class with the texts ``name``, ``source``,
    ``cost`` and ``choose``, and ``__call__``. Of `rsbounds_torch.training`, `check_arguments`
    refuses what is no batch, `logits_of_copies` asks the model about all copies in one pass, and
    `checked_logits` refuses bad logits and labels; the losses here as functions of logits
    (`gaussian_loss` and the others) can be parts of yours.

    What is checked: at registration, that all of that is there; by the checks of
    `rsbounds_torch.contracts.LOSS_CHECKS` (on the command line ``rsbounds check-plugin NAME``)
    that loss and gradients are finite, that the seed decides, that extreme logits, single inputs
    and float64 work, that NaN stays NaN, that a batch that is none is refused, and that thirty
    steps descend.

    Examples
    --------
    >>> from dataclasses import dataclass
    >>> import rsbounds, torch
    >>> from rsbounds_torch.training import (
    ...     TrainingLoss, TrainingNoise, check_arguments, checked_logits, logits_of_copies)
    >>> @dataclass(frozen=True)
    ... class Worst(TrainingLoss):
    ...     '''Cross-entropy of the copy that is worst for each input.'''
    ...     copies: int = 4
    ...     name, source = "worst-copy", "nobody: an example"
    ...     cost, choose = "copies forward-backward passes", "never: smoothadv looks for worse"
    ...     def __call__(self, model, x, y, noise):
    ...         check_arguments(x, y)
    ...         logits, y = checked_logits(logits_of_copies(model, noise.copies(x, self.copies)), y)
    ...         chosen = logits.log_softmax(dim=2)[:, torch.arange(len(y)), y]
    ...         return -chosen.amin(dim=0).mean()
    >>> model = torch.nn.Linear(3, 2)
    >>> noise = TrainingNoise(rsbounds.Gaussian(0.25), seed=0)
    >>> loss = Worst()(model, torch.zeros(4, 3), torch.tensor([0, 1, 1, 0]), noise)
    >>> loss.backward()
    >>> model.weight.grad.shape
    torch.Size([2, 3])

    By its name: ``LOSSES.register("worst-copy", Worst)``, or an entry point of the group
    ``rsbounds.losses``.
    """

    #: Registered name.
    name: ClassVar[str]
    #: Paper and equation that it follows, in one line.
    source: ClassVar[str]
    #: What a step costs, in words ("copies forward-backward passes").
    cost: ClassVar[str]
    #: When to choose it, in one sentence.
    choose: ClassVar[str]

    @abc.abstractmethod
    def __call__(
        self, model: Model, x: torch.Tensor, y: torch.Tensor, noise: TrainingNoise
    ) -> torch.Tensor:
        """The loss of a batch.

        Parameters
        ----------
        model : callable
            (m, ...) noisy inputs to (m, K) logits.
        x : (B, ...) tensor
            Raw inputs.
        y : (B,) int64 tensor
            Labels.
        noise : TrainingNoise
            Where noisy copies come from.

        Returns
        -------
        () tensor
        """


LOSSES.require(TrainingLoss, "name", "source", "cost", "choose")


def logits_of_copies(model: Model, noisy: torch.Tensor) -> torch.Tensor:
    """(k, B, K) logits of (k, B, ...) noisy copies, in one pass.

    Raises
    ------
    ValueError
        The model returned something else than a row of numbers for each copy.
    """
    copies, size = noisy.shape[:2]
    scores = model(noisy.flatten(0, 1))
    if not isinstance(scores, torch.Tensor) or scores.shape[:1] != (copies * size,):
        got = tuple(scores.shape) if isinstance(scores, torch.Tensor) else type(scores).__name__
        raise ValueError(f"model returned {got}; allowed: ({copies * size}, K) logits")
    if scores.ndim != 2:
        raise ValueError(
            f"model returned shape {tuple(scores.shape)}; allowed: ({copies * size}, K) logits"
        )
    return scores.reshape(copies, size, scores.shape[1])


def checked_logits(logits: torch.Tensor, y: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """(k, B, K) logits, in float32 or float64 also under autocast, and their (B,) labels.

    Raises
    ------
    ValueError
        Another shape or type, fewer than two classes, or labels that `checked_labels` refuses.
    """
    if not isinstance(logits, torch.Tensor) or not logits.is_floating_point():
        what = f"type {getattr(logits, 'dtype', type(logits).__name__)}"
        raise ValueError(f"logits have {what}; allowed: a tensor of floats")
    if logits.ndim != 3 or logits.shape[2] < 2 or 0 in logits.shape:
        raise ValueError(
            f"logits have shape {tuple(logits.shape)}; allowed: (copies, inputs, classes), at "
            "least 2 classes"
        )
    wide = logits if logits.dtype == torch.float64 else logits.float()
    return wide, checked_labels(y, logits.shape[1], logits.shape[2])


def checked_labels(y: torch.Tensor, size: int, classes: int) -> torch.Tensor:
    """(B,) int64 labels from 0 to K - 1.

    Raises
    ------
    ValueError
        Another shape or type, or a label out of range.
    """
    if y.shape != (size,) or y.is_floating_point() or y.dtype == torch.bool:
        raise ValueError(f"y has shape {tuple(y.shape)}, type {y.dtype}; allowed: ({size},) labels")
    labels = y.long()
    bad = (labels < 0) | (labels >= classes)
    if bool(bad.any()):
        row = int(bad.nonzero()[0])
        raise ValueError(f"y[{row}] is {int(labels[row])}; allowed: 0 to {classes - 1}")
    return labels


def check_arguments(x: Any, y: Any) -> None:
    """Raise ValueError where a batch is not a pair of tensors of the same length."""
    for name, value in (("x", x), ("y", y)):
        if not isinstance(value, torch.Tensor):
            raise ValueError(f"{name} has type {type(value).__name__}; allowed: a tensor")
    if len(x) == 0 or len(x) != len(y):
        raise ValueError(f"x has {len(x)} inputs and y {len(y)} labels; allowed: as many, >= 1")
