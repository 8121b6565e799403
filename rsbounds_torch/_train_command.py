"""``rsbounds train``: a PyTorch model, trained to be certified, resumably.

Read to print the list of commands, so nothing here loads torch before the command runs.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rsbounds import _text
from rsbounds.commands import Command
from rsbounds.commands._laws import add_law_flags, law_of
from rsbounds.commands._output import method_options

if TYPE_CHECKING:
    from rsbounds_torch.training import Training

#: Bytes of data files that are read once and kept.
_IN_MEMORY = 2**31
#: Fields of `TrainSettings` by what they take, with their help.
_INTEGERS = {
    "epochs": "passes through the data (default 10)",
    "batch_size": "inputs per step at most, over all processes (default 128)",
    "step_epochs": "epochs between falls, with --schedule step (default a third of them)",
    "draws": "noisy copies of each held-out input for the estimates (default 100)",
    "smoothing_after": "epochs before noise is found for each input (default a quarter)",
}
_NUMBERS = {
    "lr": "largest step size (default 0.05)",
    "momentum": "Nesterov momentum (default 0.9)",
    "weight_decay": "weight decay (default 0.0001)",
    "step_factor": "factor at each fall, with --schedule step (default 0.1)",
    "warmup": "epochs in which the step size grows from zero (default 0)",
    "clip": "largest l2 norm of the gradient (default none)",
}
_WORDS = {
    "schedule": "cosine (default), step or constant",
    "autocast": "compute in bfloat16, or in float16 on a GPU",
}


def _arguments(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("--model", required=True, metavar="MODULE:FACTORY",
        help="function that returns the model, in raw input units, such as "
        "rsbounds_torch.models:lenet (small_cnn, resnet20, resnet110)")  # fmt: skip
    add("--data", required=True, metavar="DATA",
        help=".npz with 'inputs' and 'labels', IDX (MNIST format), a folder of pictures, or "
        "MODULE:FACTORY")  # fmt: skip
    add("--labels", metavar="FILE", help="IDX file of labels")
    add("--first", type=int, default=0, help="first input (default 0)")
    add("--inputs", type=int, help="number of inputs (default: to the end)")
    add("--held-out", type=int, metavar="K", default=0,
        help="train on all but the last K; each epoch's estimates are on those")  # fmt: skip
    add("--folder", required=True, metavar="DIR",
        help="checkpoint.pt and log.csv; the same command goes on from what is there")  # fmt: skip
    add("--loss", default="gaussian", metavar="NAME",
        help="a loss that rsbounds methods lists (default gaussian)")  # fmt: skip
    add("--loss-option", action="append", default=[], metavar="NAME=VALUE",
        help="a setting of the loss, such as copies=2; may be repeated")  # fmt: skip
    add("--smoothing", metavar="NAME", help="find noise for each input, by ddrs or search")
    add("--smoothing-option", action="append", default=[], metavar="NAME=VALUE",
        help="a setting of that, such as steps=2; may be repeated")  # fmt: skip
    kinds: tuple[tuple[dict[str, str], Any], ...] = ((_INTEGERS, int), (_NUMBERS, float))
    for texts, kind in (*kinds, (_WORDS, str)):
        for field, text in texts.items():
            add(f"--{field.replace('_', '-')}", type=kind, metavar="X", help=text)
    add("--seed", type=int,
        help="seed of weights, order and noise (default: the checkpoint's, or fresh)")  # fmt: skip
    add("--stop-after", type=int, metavar="EPOCHS",
        help="end when so many are done; the same command without it goes on")  # fmt: skip
    add("--input-bounds", type=float, nargs=2, metavar=("LOW", "HIGH"),
        help="range of raw inputs; needed for integers, such as pixels")  # fmt: skip
    add("--device", help="torch device: cpu, cuda, cuda:1 (default: a GPU where there is one, and "
        "under torchrun each process its own)")  # fmt: skip
    add("--tensorboard", action="store_true", help="write DIR/tensorboard too")
    add("--json", action="store_true", help="print JSON instead of a table")
    add_law_flags(parser)


def needs_torch() -> None:
    """Say what is missing."""
    if importlib.util.find_spec("torch") is None:
        raise ImportError("PyTorch is missing; install rsbounds[torch]")


def _data(given: argparse.Namespace) -> tuple[Any, Any]:
    """What is trained on, and what is held out."""
    from rsbounds_torch.data import InputSet, load_data

    held = load_data(given.data, given.labels)
    if not 0 <= given.first < len(held):
        raise ValueError(f"--first is {given.first}; allowed: 0 to {len(held) - 1}")
    left = len(held) - given.first
    size = left if given.inputs is None else given.inputs
    if not 1 <= size <= left:
        raise ValueError(f"--inputs is {given.inputs}; allowed: 1 to {left}")
    if not 0 <= given.held_out < size:
        raise ValueError(f"--held-out is {given.held_out}; allowed: 0 to {size - 1}")
    # Nothing in files changes from epoch to epoch, so that they need not be read in each.
    files = Path(given.data).exists() and size * held[given.first][0].nbytes <= _IN_MEMORY
    some = _columns if files else InputSet
    cut = size - given.held_out

    def part(first: int, count: int) -> Any:
        return some(count, lambda i: held[first + i])

    train = part(given.first, cut)
    return train, part(given.first + cut, given.held_out) if given.held_out else None


def _columns(size: int, get: Any) -> tuple[Any, Any]:
    """All inputs and all labels."""
    import numpy as np

    inputs, labels = zip(*(get(i) for i in range(size)), strict=True)
    shapes = sorted({np.shape(x) for x in inputs})
    if len(shapes) > 1:
        raise ValueError(f"data has inputs of shape {shapes[0]} and {shapes[1]}; allowed: one")
    if None in labels:
        raise ValueError(
            f"data has no label for input {labels.index(None)}; allowed: a label for every input"
        )
    return np.stack([np.asarray(x) for x in inputs]), np.array(labels)


def _model(given: argparse.Namespace, seed: int, device: Any) -> Any:
    """The model, whose first weights are of the seed."""
    import torch

    from rsbounds_torch.data import made_by

    torch.manual_seed(seed % 2**63)
    model = made_by(given.model, "--model")
    if not isinstance(model, torch.nn.Module):
        raise ValueError(
            f"--model {given.model!r} made a {type(model).__name__}; allowed: a torch.nn.Module"
        )
    return model.to(device)


def _train(given: argparse.Namespace) -> int:
    needs_torch()
    from rsbounds_torch._device import own_device
    from rsbounds_torch._ranks import on_first, process_group
    from rsbounds_torch.training import train
    from rsbounds_torch.training._trainer import training_seed

    law = law_of(given)
    settings = {
        field: value
        for field in (*_INTEGERS, *_NUMBERS, *_WORDS)
        if (value := getattr(given, field)) is not None
    }
    last = given.stop_after
    if last is not None and last < 1:
        raise ValueError(f"--stop-after is {last}; allowed: an integer >= 1")
    try:
        device = own_device(given.device)
    except ValueError as error:
        raise ValueError(f"--{error}") from None
    data, held = _data(given)
    with process_group(device) as (rank, _):
        seed = on_first(lambda: training_seed(given.folder, given.seed))
        done = train(
            _model(given, seed, device), data, noise=law, loss=given.loss,
            loss_options=method_options(given.loss_option, "--loss-option"), validation=held,
            folder=given.folder, seed=seed, smoothing=given.smoothing,
            smoothing_options=method_options(given.smoothing_option, "--smoothing-option"),
            input_bounds=given.input_bounds, tensorboard=given.tensorboard,
            stop=None if last is None else lambda epochs: epochs >= last, **settings,
        )  # fmt: skip
    if rank == 0:
        _show(given, done)
    return 0


def _show(given: argparse.Namespace, done: Training) -> None:
    if given.json:
        print(json.dumps({
            "epochs": done.epochs, "seed": done.seed, "checkpoint": str(done.checkpoint),
            "history": done.history,
        }))  # fmt: skip
        return
    names = [name for name in done.history[-1] if name != "step"]
    rows = [
        [_text.down(v, 4) if k in ("radius", "acr") else f"{v:.4g}" for k, v in row.items()
         if k in names]
        for row in done.history
    ]  # fmt: skip
    print(_text.table(names, rows))
    if "acr" in names:
        print(f"accuracies and acr are estimates from {given.draws or 100} draws of each input")
    print(f"rsbounds certify-model --model {given.model} --weights {done.checkpoint} ...")


def _resume(given: argparse.Namespace) -> str:
    if os.environ.get("RANK", "0") != "0":
        return ""
    return f"interrupted; finished epochs are in {given.folder}, and the same command goes on"


TRAIN = Command(
    "train a PyTorch model to be certified, with any registered loss; the same command resumes, "
    "and under torchrun each batch is shared by the processes",
    _arguments,
    _train,
    _resume,
)
