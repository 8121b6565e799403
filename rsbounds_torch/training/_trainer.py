"""The trainer: one loop around any loss, which can be stopped anywhere and goes on bit for bit."""

from __future__ import annotations

import dataclasses
import json
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.nn.parallel import DistributedDataParallel

from rsbounds import _validate
from rsbounds.noises import Noise
from rsbounds.runs._sqlite import acquire, release
from rsbounds_torch import _inputs
from rsbounds_torch._modules import find_modules
from rsbounds_torch._ranks import everywhere, on_first, ranks, same_everywhere
from rsbounds_torch.optimizers import NoiseOptimizer
from rsbounds_torch.training._base import LOSSES, TrainingLoss
from rsbounds_torch.training._checkpoint import (
    Values,
    architecture,
    read_checkpoint,
    refuse_other,
    write_checkpoint,
)
from rsbounds_torch.training._examples import examples_of
from rsbounds_torch.training._logs import Board, board_writer, write_table
from rsbounds_torch.training._loop import Diverged, Loop, Tools, answer_width, check_loss
from rsbounds_torch.training._per_input import input_noise
from rsbounds_torch.training._settings import TrainSettings, chosen_settings

#: Names of the files in the folder of a training.
CHECKPOINT, TABLE, BOARD = "checkpoint.pt", "log.csv", "tensorboard"


@dataclass(frozen=True, eq=False)
class Training:
    """What `train` did.

    Attributes
    ----------
    model : torch.nn.Module
        The model that was given, trained.
    epochs : int
        Epochs done.
    seed : int
        Seed of everything that was drawn.
    history : list of dict
        The rows of the table, one for each epoch: ``epoch``, ``step``, ``lr``, ``loss``,
        ``seconds``, and with held-out inputs ``noisy_accuracy``, ``certified_accuracy`` at
        ``radius``, and ``acr``, which are estimates.
    noise : Noise
        The law; with ``smoothing`` the one of each training input.
    checkpoint : Path or None
        The file that the training goes on from, and that ``rsbounds certify-model --weights``
        takes.
    """

    model: torch.nn.Module
    epochs: int
    seed: int
    history: list[dict[str, float]]
    noise: Noise
    checkpoint: Path | None


def train(
    model: torch.nn.Module,
    data: Any,
    *,
    noise: Noise,
    loss: str | TrainingLoss = "gaussian",
    loss_options: Mapping[str, Any] | None = None,
    validation: Any = None,
    folder: str | os.PathLike[str] | None = None,
    seed: int | None = None,
    smoothing: str | NoiseOptimizer[Any] | None = None,
    smoothing_options: Mapping[str, Any] | None = None,
    input_bounds: tuple[float, float] | None = None,
    tensorboard: bool = False,
    progress: bool | None = None,
    stop: Callable[[int], bool] | None = None,
    **settings: Any,
) -> Training:
    """Train a classifier to be certified; stop it anywhere, and the same call goes on.

    SGD on any loss of `rsbounds_torch.training.LOSSES`, under the noise that will certify. Nothing
    is guaranteed of the result: what it is worth is what its certificates say. On a CPU the
    weights are the same, bit for bit, for the same seed, initial weights and number of threads,
    whether the training was stopped in between or not, and whatever is logged or shown. Batches
    are drawn and cut by the seed and ``batch_size``, so another batch size is another training;
    with another number of ranks the noise is the same, and the weights are the same up to
    rounding unless the model or the loss looks at other rows of a batch (batch normalisation, or
    inputs that are mixed: a rank has its rows only) or the model draws random numbers (dropout).

    Parameters
    ----------
    model : torch.nn.Module
        (m, ...) raw inputs to (m, K) logits; a normalisation is its first layer. Trained in place
        on the device where it is, in training mode; afterwards each module is in the mode it was
        in.
    data : (inputs, labels) or sequence of (input, label)
        Two tensors or arrays, (N, ...) and (N,) integers from 0 to K - 1; or a data set
        (`rsbounds_torch.data.items_of`), whose items are read anew in every epoch, with what
        their transforms draw seeded by (seed, epoch, index).
    noise : Noise
        Law of the noise, one for all inputs, such as ``rsbounds.Gaussian(sigma=0.25)``.
    loss : str or TrainingLoss
        A name in `rsbounds_torch.training.LOSSES`, or a loss with its settings.
    loss_options : mapping, optional
        Settings of the loss, such as ``{"copies": 2}``.
    validation : like ``data``, optional
        Held-out inputs, on which noisy accuracy, certified accuracy and ACR under ``noise`` are
        estimated from few draws after each epoch. They are no certificates.
    folder : str or path, optional
        Where ``checkpoint.pt`` and ``log.csv`` are kept, made if it is not there. Without it
        nothing is written. Under torchrun every rank must see it.
    seed : int, optional
        Seed of noise, order, and what the model draws itself; that of the checkpoint where there
        is one, else a fresh one.
    smoothing : str or NoiseOptimizer, optional
        "ddrs" or "search": each input has a noise of its own, found from that of the epoch before
        by an ascent of the certified radius (Alfarra et al. 2022, Algorithm 2). By default it
        takes one step on four draws ("search": up to four scales, sixteen draws each). No
        input's noise is beyond 4 times the law or below a quarter of it.
    smoothing_options : mapping, optional
        Settings of the optimizer, such as ``{"steps": 2}``.
    input_bounds : (float, float), optional
        Range of raw inputs; needed for integers, such as pixels, and checked.
    tensorboard : bool
        Write ``folder``/tensorboard too; needs ``rsbounds[tensorboard]``.
    progress : bool, optional
        Show a progress line; None shows it where stderr is a terminal (on rank 0).
    stop : callable, optional
        Called with the number of epochs done before each further one; True ends the training there.
    **settings
        Fields of `rsbounds_torch.training.TrainSettings`: ``epochs``, ``batch_size``, ``lr``,
        ``momentum``, ``weight_decay``, ``schedule``, ``warmup``, ``clip``, ``autocast``, ...

    Returns
    -------
    Training
        The model with its history, on every rank.

    Raises
    ------
    ValueError
        Bad arguments, before anything is written; a checkpoint of another model, data or
        settings (the first difference is named); a loss or weights that are not finite, with the
        step (the checkpoint of the last good epoch stays).
    KeyboardInterrupt
        On Ctrl-C, with a sentence on how to go on; finished epochs are kept.

    See Also
    --------
    rsbounds_torch.certify_dataset : What the model is worth.

    Examples
    --------
    >>> import torch, rsbounds, rsbounds_torch
    >>> _ = torch.manual_seed(0)
    >>> x = torch.randn(200, 2)
    >>> model = torch.nn.Linear(2, 2)
    >>> done = rsbounds_torch.train(
    ...     model, (x, (x[:, 0] > 0).long()), noise=rsbounds.Gaussian(sigma=0.5),
    ...     validation=(x[:50], (x[:50, 0] > 0).long()), epochs=4, lr=0.5, seed=1)
    >>> done.epochs, done.history[-1]["loss"] < done.history[0]["loss"]
    (4, True)
    """
    given = everywhere(lambda: chosen_settings(settings))
    key = on_first(lambda: training_seed(folder, seed))
    tools = everywhere(
        lambda: _tools(
            model, data, noise, loss, loss_options, validation, smoothing, smoothing_options,
            input_bounds, given, key,
        )
    )  # fmt: skip
    if tensorboard:
        board_writer()
        if folder is None:
            raise ValueError("tensorboard is True without folder; allowed: both")
    wanted = {"architecture": architecture(model), "configuration": _configuration(tools)}
    same_everywhere({**wanted["architecture"], **wanted["configuration"]})
    place = None if folder is None else Path(folder)
    shown = progress if ranks()[0] == 0 else False
    with _kept(place) as path, _modes(model):
        loop = Loop(tools, shown)
        held = everywhere(lambda: _held(path, wanted))
        if held is not None:
            loop.load(held)
        _run(loop, path, wanted, held is None, tensorboard, stop)
    return Training(
        model, loop.epoch, tools.seed, loop.history, loop.law(), path
    )  # fmt: skip


def _run(
    loop: Loop,
    path: Path | None,
    wanted: Values,
    fresh: bool,
    tensorboard: bool,
    stop: Callable[[int], bool] | None,
) -> None:
    """Every epoch that is left, each with its checkpoint."""
    kept = loop.epoch

    def save(anew: bool) -> None:
        if path is None:
            return
        if anew:
            write_checkpoint(path, {**wanted, **loop.state()})
        write_table(path.with_name(TABLE), loop.history)

    def ended() -> bool:
        if stop is None or loop.epoch == 0:
            return False
        return on_first(lambda: bool(stop(loop.epoch)))

    board: Board | None = None
    if tensorboard and path is not None and ranks()[0] == 0:
        board = Board(path.with_name(BOARD), loop.epoch)
    try:
        with loop:
            on_first(lambda: save(fresh))
            while loop.epoch < loop.settings.epochs and not ended():
                loop.run_epoch()
                on_first(lambda: save(True))
                kept = loop.epoch
                if board is not None:
                    board.add(loop.history[-1])
    except KeyboardInterrupt:
        how = "nothing was to be kept" if path is None else (
            f"epoch {kept} is kept in {str(path)!r}, and the same call goes on from there"
        )  # fmt: skip
        raise KeyboardInterrupt(f"stopped after epoch {kept}; {how}") from None
    except Diverged as error:
        where = "" if path is None else f"; epoch {kept} is kept in {str(path)!r}"
        raise ValueError(f"{error}{where}") from None
    finally:
        if board is not None:
            board.close()


def _tools(
    model: Any, data: Any, noise: Any, loss: Any, loss_options: Any, validation: Any,
    smoothing: Any, smoothing_options: Any, input_bounds: Any, settings: TrainSettings, seed: int,
) -> Tools:  # fmt: skip
    """Everything that was given, checked and read."""
    if not isinstance(model, torch.nn.Module):
        raise ValueError(f"model has type {type(model).__name__}; allowed: a torch.nn.Module")
    if isinstance(model, DistributedDataParallel):
        raise ValueError("model is a DistributedDataParallel; allowed: its module (model.module)")
    if not isinstance(noise, Noise) or noise.batch_shape:
        raise ValueError(
            f"noise is {noise!r}; allowed: one noise law, such as Gaussian(sigma=0.25)"
        )
    chosen = chosen_loss(loss, loss_options)
    device, kind = _inputs.placement(find_modules(model), [], None)
    if kind is None or not any(p.requires_grad for p in model.parameters()):
        raise ValueError("model has no parameters to train; allowed: at least one")
    if settings.autocast == "float16" and device.type != "cuda":
        raise ValueError(f"autocast is 'float16' on {device}; allowed: 'bfloat16', or a GPU")
    bounds = _inputs.checked_bounds(input_bounds)
    read = partial(examples_of, seed=seed, kind=kind, device=device, bounds=bounds)
    examples = read("data", data)
    held = None if validation is None else read("validation", validation)
    first = examples.first()
    classes = answer_width(model, first)
    shape = tuple(first.shape[1:])
    digests = [None if each is None else each.check(shape, classes) for each in (examples, held)]
    some = np.arange(min(2, examples.size))
    check_loss(chosen, model, examples.batch(some, 0), noise)
    finder = input_noise(smoothing, smoothing_options, noise, shape, examples.size, seed)
    _, size = ranks()
    steps = -(-examples.size // settings.batch_size)
    if examples.size // steps < size:
        raise ValueError(
            f"batch_size is {settings.batch_size} for {examples.size} inputs; allowed: at least "
            f"one input in each batch for each of {size} ranks"
        )
    return Tools(
        model, examples, held, noise, chosen, finder, settings, seed, device, classes, steps,
        bounds, digests,
    )  # fmt: skip


def chosen_loss(loss: str | TrainingLoss, options: Mapping[str, Any] | None) -> TrainingLoss:
    """The loss of that name with some settings, or the one that is built already."""
    given = dict(options or {})
    if isinstance(loss, TrainingLoss):
        LOSSES.refuse_impostor(loss)
        _validate.known_options(f"{loss.name} (already built)", given, ())
        return loss
    if not isinstance(loss, str) or loss not in LOSSES:
        raise ValueError(f"loss is {loss!r}; allowed: {', '.join(LOSSES)}")
    kind: Any = LOSSES[loss]
    _validate.known_options(loss, given, (field.name for field in dataclasses.fields(kind)))
    built: TrainingLoss = kind(**given)
    return built


def _configuration(tools: Tools) -> Values:
    """What a training depends on besides the model, as plain values."""
    finder = tools.finder
    return {
        "noise": _plain("noise", tools.noise.to_dict()),
        "loss": {"name": tools.loss.name, **_plain("loss", _fields(tools.loss))},
        "seed": tools.seed,
        "data": {"inputs": tools.examples.size, "digest": tools.digests[0]},
        "validation": tools.digests[1],
        "smoothing": None if finder is None else (
            {"method": finder.method.name, **_plain("smoothing", _fields(finder.method))}
        ),
        "input_bounds": None if tools.bounds is None else list(tools.bounds),
        **_plain("settings", _fields(tools.settings)),
    }  # fmt: skip


def _fields(value: Any) -> Values:
    return dataclasses.asdict(value)


def _plain(name: str, settings: Values) -> Values:
    """Settings as a checkpoint keeps them: numbers of numpy would not be read without pickle."""

    def number(value: Any) -> Any:
        if isinstance(value, np.generic):
            return value.item()
        raise TypeError

    try:
        plain: Values = json.loads(json.dumps(settings, default=number))
    except (TypeError, ValueError):
        raise ValueError(
            f"{name} has the settings {settings!r}; allowed: plain values, which a checkpoint keeps"
        ) from None
    return plain


# -- the folder ----------------------------------------------------------------------------


def training_seed(folder: str | os.PathLike[str] | None, seed: int | None) -> int:
    """The seed given, that of the checkpoint, or a fresh one."""
    path = None if folder is None else Path(folder) / CHECKPOINT
    if seed is None and path is not None and path.is_file():
        return int(read_checkpoint(path)["configuration"]["seed"])
    return _inputs.chosen_seed(seed)


@contextmanager
def _kept(folder: Path | None) -> Iterator[Path | None]:
    """The checkpoint's path in its folder, held against another training."""
    if folder is None:
        yield None
        return

    def opened() -> None:
        if folder.exists() and not folder.is_dir():
            raise ValueError(f"folder is {str(folder)!r}, a file; allowed: a folder")
        folder.mkdir(parents=True, exist_ok=True)

    on_first(opened)
    path = folder / CHECKPOINT
    held: list[Any] = []
    on_first(lambda: held.append(acquire(path)))
    try:
        yield path
    finally:
        for lock in held:
            release(path, lock)


def _held(path: Path | None, wanted: Values) -> Values | None:
    """The checkpoint that is there, if it is of this training."""
    if path is None or not path.exists():
        return None
    held = read_checkpoint(path)
    refuse_other(path, held, wanted)
    return held


@contextmanager
def _modes(model: torch.nn.Module) -> Iterator[None]:
    """Training mode; each module is in the mode it was in afterwards."""
    before = {module: module.training for module in model.modules()}
    model.train()
    try:
        yield
    finally:
        for module, mode in before.items():
            module.training = mode
