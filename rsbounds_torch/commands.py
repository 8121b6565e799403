"""``rsbounds certify-model``: a PyTorch model on a data set, resumably; the demonstration.

Read to print the list of commands, so nothing here loads torch before a command runs.
"""

from __future__ import annotations

import argparse
import os
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import rsbounds
from rsbounds.commands import Command, run_program
from rsbounds.commands._laws import add_law_flags, law_of
from rsbounds.commands._output import (
    add_certificates,
    add_method,
    checked_output,
    method_options,
    show_certificates,
    write_certificates,
)
from rsbounds.commands.demo import add_demo_arguments
from rsbounds_torch._train_command import TRAIN, needs_torch

if TYPE_CHECKING:
    import torch

    from rsbounds_torch.data import InputSet
    from rsbounds_torch.optimizers import NoiseOptimizer

_KEYS_SHOWN = 5
#: What certificates under laws that were found say, and what they do not.
_OWN_LAW = (
    "each certificate is about the classifier smoothed with that one law, in the whole "
    "neighbourhood; a memory makes one classifier of them"
)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run ``python -m rsbounds_torch``; exit codes as `rsbounds.commands.main`."""
    import sys

    return run_program(
        "python -m rsbounds_torch",
        "Train and certify a PyTorch model under noise, resumably.",
        {"train": TRAIN, "certify": CERTIFY_MODEL, "demo": DEMO},
        sys.argv[1:] if arguments is None else arguments,
    )


def _arguments(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("--model", required=True, metavar="MODULE:FACTORY",
        help="function that returns the model, in raw input units")  # fmt: skip
    add("--weights", metavar="FILE",
        help="state dict, or a checkpoint of rsbounds train; no pickle is run")  # fmt: skip
    add("--data", required=True, metavar="DATA",
        help=".npz with 'inputs' (and 'label'), IDX (MNIST format), a folder of pictures, or "
        "MODULE:FACTORY")  # fmt: skip
    add("--labels", metavar="FILE", help="IDX file of labels")
    add("--num-classes", type=int, required=True, help="classes K")
    add("--n", "--draws", dest="n", type=int,
        help="draws (default 100000, or all cells of an enumerated law), at most so many with "
        "--radius and --adaptive; spell it --draws under torchrun, which takes --n for an option "
        "of its own")  # fmt: skip
    add("--n0", type=int, help="selection draws (default 100)")
    add("--alpha", type=float, default=0.001, help="error probability per input")
    kind = parser.add_mutually_exclusive_group()
    kind.add_argument("--radius", type=float, nargs="+", metavar="R",
        help="certified accuracy at these radii: is the radius at least R, for each? The draws of "
        "an input end with its last answer")  # fmt: skip
    kind.add_argument(
        "--adaptive",
        action="store_true",
        help="radii from a few looks at growing numbers of draws, until another would gain little",
    )
    kind.add_argument("--soft", nargs="?", const="softmax", metavar="MAP",
        help="radii of mean scores in place of votes: softmax (default), sparsemax or hardmax of "
        "the logits, or none where the model returns scores in [0, 1]")  # fmt: skip
    kind.add_argument("--top-k", type=int, metavar="K",
        help="radii in which the class stays among the K most probable")  # fmt: skip
    add("--temperature", type=float, help="logits are divided by it first, with --soft")
    add_method(parser, None, "margin method, with --soft a mean method",
               "exact; runner-up with --adaptive and --top-k, goal with --soft")  # fmt: skip
    add("--smoothing", metavar="NAME",
        help="find a noise law for each input from the given one on, and certify it under that: an "
        "optimizer that rsbounds methods lists, such as search")  # fmt: skip
    add("--smoothing-option", action="append", default=[], metavar="NAME=VALUE",
        help="a setting of the optimizer, such as steps=40; may be repeated")  # fmt: skip
    add("--store", required=True, metavar="FILE", help="SQLite file of the run")
    add("--seed", type=int, help="seed of the noise (default: the store's, or fresh)")
    add("--input-bounds", type=float, nargs=2, metavar=("LOW", "HIGH"),
        help="range of raw inputs; needed for integers, such as pixels: 0 255 where the noise is "
        "in units of the pixels")  # fmt: skip
    add("--first", type=int, default=0, help="first input (default 0)")
    add("--inputs", type=int, help="number of inputs (default: to the end)")
    add("--every", type=int, default=1, metavar="K", help="take every K-th input")
    add("--device", help="torch device: cpu, cuda, cuda:1 (default: a GPU where there is one, and "
        "under torchrun each process its own)")  # fmt: skip
    add("--floats", action="store_true",
        help="noise in floats, where it is else on a lattice that makes it exact")  # fmt: skip
    add("--batch-size", default="auto", help="copies per batch, or auto")
    add("--model-id", metavar="NAME", help="a name for the model; a store of another is refused")
    add("--on-error", default="record", metavar="WHAT",
        help="record: keep an input that fails as invalid and go on (default); stop")  # fmt: skip
    add_certificates(parser)
    add_law_flags(parser)


def _model(given: argparse.Namespace, device: torch.device) -> Any:
    """The model with its weights, on its device."""
    import torch

    from rsbounds_torch.data import made_by

    model = made_by(given.model, "--model")
    if given.weights is not None:
        if not Path(given.weights).is_file():
            raise ValueError(f"--weights is {given.weights!r}; allowed: a file that exists")
        if not isinstance(model, torch.nn.Module):
            raise ValueError(
                f"--model {given.model!r} made no torch.nn.Module; --weights needs one"
            )
        _load_weights(model, given.weights)
    return model.to(device) if isinstance(model, torch.nn.Module) else model


def _load_weights(model: torch.nn.Module, path: str) -> None:
    import torch

    from rsbounds_torch.training._checkpoint import is_checkpoint

    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:
        first = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise ValueError(f"--weights {path!r} cannot be loaded: {first}") from None
    if is_checkpoint(state):
        state = state["model"]
    if not isinstance(state, dict):
        raise ValueError(
            f"--weights {path!r} holds a {type(state).__name__}; allowed: a state dict"
        )
    wanted = model.state_dict()
    missing = [str(key) for key in wanted if key not in state]
    unexpected = [str(key) for key in state if key not in wanted]
    faults = [
        f"{what} keys: {_some(keys)}"
        for what, keys in (("missing", missing), ("unexpected", unexpected))
        if keys
    ]
    if not faults:
        faults = [
            f"{key} has shape {tuple(state[key].shape)}, the model's has {tuple(value.shape)}"
            for key, value in wanted.items()
            if isinstance(value, torch.Tensor) and isinstance(state[key], torch.Tensor)
            and value.shape != state[key].shape
        ][:_KEYS_SHOWN]  # fmt: skip
    if faults:
        raise ValueError(f"--weights {path!r} are not this model's; {'; '.join(faults)}")
    try:
        model.load_state_dict(state)
    except Exception as error:
        words = " ".join(str(error).split())
        raise ValueError(f"--weights {path!r} cannot be loaded: {words}") from None


def _some(keys: Sequence[str]) -> str:
    shown = ", ".join(keys[:_KEYS_SHOWN])
    return shown if len(keys) <= _KEYS_SHOWN else f"{shown} and {len(keys) - _KEYS_SHOWN} more"


def _indices(given: argparse.Namespace, data: InputSet) -> list[int]:
    if given.every < 1:
        raise ValueError(f"--every is {given.every}; allowed: an integer >= 1")
    if not 0 <= given.first < len(data):
        raise ValueError(f"--first is {given.first}; allowed: 0 to {len(data) - 1}")
    chosen = list(range(given.first, len(data), given.every))
    if given.inputs is not None:
        if given.inputs < 1:
            raise ValueError(f"--inputs is {given.inputs}; allowed: an integer >= 1")
        chosen = chosen[: given.inputs]
    return chosen


def _batch_size(text: str) -> Any:
    if text != "auto" and not (text.isascii() and text.isdigit()):
        raise ValueError(f"--batch-size is {text!r}; allowed: an integer >= 1, or auto")
    return text if text == "auto" else int(text)


def _certify(given: argparse.Namespace) -> int:
    needs_torch()
    from rsbounds.certificates.complete import draws_of
    from rsbounds.report.answers import answer_lines, answers_table
    from rsbounds.runs.rebounding import stored_labels
    from rsbounds_torch._device import own_device
    from rsbounds_torch._ranks import process_group
    from rsbounds_torch.data import load_data
    from rsbounds_torch.distributed import certify_dataset
    from rsbounds_torch.model import SmoothedClassifier

    files = [f for f in (given.store, given.weights, given.data, given.labels) if f is not None]
    path = checked_output(given, given.output, (".tsv", ".jsonl"), files)
    size, law = _batch_size(given.batch_size), law_of(given)
    if given.floats and law.spacing is not None:
        raise ValueError("--floats is given together with --lattice; allowed: one of them")
    draws = draws_of(law, given.n, 100_000)
    kind, options = _kind(given)
    smoothing = _smoothing(given)
    try:
        device = own_device(given.device)
    except ValueError as error:
        raise ValueError(f"--{error}") from None
    data = load_data(given.data, given.labels)
    indices = _indices(given, data)
    with process_group(device) as (rank, _), warnings.catch_warnings():
        if rank != 0:
            warnings.simplefilter("ignore", RuntimeWarning)
        classifier = SmoothedClassifier(
            _model(given, device), num_classes=given.num_classes, noise=law, device=device,
            batch_size=size, input_bounds=given.input_bounds,
            lattice=None if given.floats else "auto",
        )  # fmt: skip
        result = certify_dataset(
            classifier, data, store=given.store, n=draws, n0=given.n0, alpha=given.alpha,
            kind=kind, method=given.method, indices=indices, seed=given.seed,
            model_id=given.model_id, smoothing=smoothing, on_error=given.on_error, **options,
        )  # fmt: skip
    if rank != 0:
        return 0
    with rsbounds.RunStore(given.store) as store:
        labels = stored_labels(store)
        told = None if given.radius is None else answer_lines(store)
    write_certificates(result, path)
    more: dict[str, Any] = {} if told is None else {"answers": told}
    if smoothing is not None:
        more |= {"smoothing": smoothing.name, "about": _OWN_LAW}
    show_certificates(given, result, labels, path=path, store=given.store, **more)
    if given.json:
        return 0
    if told is not None:
        print(answers_table(told))
    if smoothing is not None:
        print(f"each input has a noise law of its own, found by {smoothing.name}; {_OWN_LAW}")
    held = "bounds" if kind == "scores" else "counts"
    print(f"with their {held}: {given.store} (rsbounds report, rebound and export read it)")
    return 0


def _kind(given: argparse.Namespace) -> tuple[Any, dict[str, Any]]:
    """What is done with each input, and its options."""
    from rsbounds.runs.kinds.decisions import checked_radii

    options = method_options(given.option)
    own: dict[str, Any] = {}
    kind = "adaptive" if given.adaptive else "votes"
    if given.radius is not None:
        own = {"radius": checked_radii("--radius", given.radius)}
    elif given.soft is not None:
        kind, own = "scores", {"map": None if given.soft == "none" else given.soft}
    elif given.top_k is not None:
        kind, own = "top-k", {"k": given.top_k}
    if given.temperature is not None:
        if kind != "scores":
            raise ValueError("--temperature is given without --soft; allowed: both")
        own["temperature"] = given.temperature
    twice = sorted(set(own) & set(options))
    if twice:
        raise ValueError(f"--option {twice[0]} is given besides its own flag; allowed: one of them")
    if "radius" in own:
        own = {"decide": own["radius"]}
    return kind, {**options, **own}


def _smoothing(given: argparse.Namespace) -> NoiseOptimizer[Any] | None:
    """What finds a law for each input, with its settings."""
    from rsbounds_torch.optimizers import OPTIMIZERS
    from rsbounds_torch.optimizers._ascent import chosen_optimizer

    options = method_options(given.smoothing_option, "--smoothing-option")
    if given.smoothing is None:
        if options:
            raise ValueError("--smoothing-option is given without --smoothing; allowed: both")
        return None
    try:
        return chosen_optimizer(given.smoothing, options)
    except ValueError as error:
        if given.smoothing not in OPTIMIZERS:
            raise ValueError(
                f"--smoothing is {given.smoothing!r}; allowed: {', '.join(OPTIMIZERS)}"
            ) from None
        raise ValueError(f"--smoothing-option: {error}") from None


def _resume(given: argparse.Namespace) -> str:
    if os.environ.get("RANK", "0") != "0":
        return ""
    return f"interrupted; finished inputs are in {given.store}, and the same command resumes"


def _demo_arguments(parser: argparse.ArgumentParser) -> None:
    add_demo_arguments(parser, inputs=300)


def _demo(given: argparse.Namespace) -> int:
    needs_torch()
    from rsbounds_torch._demo import run_demo

    run_demo(
        Path(given.output), inputs=given.inputs, n=given.n, alpha=given.alpha, seed=given.seed,
        force=given.force,
    )  # fmt: skip
    return 0


CERTIFY_MODEL = Command(
    "certify a PyTorch model on a data set into a run store (radii, certified accuracy at given "
    "radii, adaptive radii, radii of scores or of top-k); the same command resumes, and under "
    "torchrun the inputs are dealt to the processes",
    _arguments,
    _certify,
    _resume,
)
DEMO = Command("train a small CNN on the digits and certify it", _demo_arguments, _demo)
