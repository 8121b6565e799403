"""The command line of the PyTorch adapter: certify a model on a data set; the demonstration."""

from __future__ import annotations

import argparse
import json
import sys
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

import rsbounds
from rsbounds import _text
from rsbounds.cli import method_options
from rsbounds.runs.rebounding import stored_labels
from rsbounds_torch.data import InputSet, load_data, load_object
from rsbounds_torch.distributed import certify_dataset, process_group
from rsbounds_torch.model import SmoothedClassifier


def main(arguments: Sequence[str] | None = None, program: str = "python -m rsbounds_torch") -> int:
    """Run the command line; returns the exit code (2 for bad input, 1 for a missing extra)."""
    given = _parser(program).parse_args(arguments)
    try:
        return int(given.run(given))
    except (ValueError, OSError) as error:
        print(f"{program} {given.command}: {error}", file=sys.stderr)
        return 2
    except ImportError as error:
        print(f"{program} {given.command}: {error}", file=sys.stderr)
        return 1


def _parser(program: str) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog=program, description="Certify a PyTorch model under noise, resumably."
    )
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    certify = commands.add_parser(
        "certify",
        help="certify a model on a data set into a run store",
        description="Certify a model on a data set. Stop it anywhere: the same command resumes. "
        "Under torchrun the inputs are dealt to the ranks.",
    )
    certify.set_defaults(run=_certify)
    certify.add_argument("--model", required=True, metavar="MODULE:FACTORY",
                         help="function that returns the model, in raw input units")  # fmt: skip
    certify.add_argument("--weights", metavar="FILE",
                         help="state dict, loaded with weights_only=True")  # fmt: skip
    certify.add_argument("--data", required=True, metavar="DATA",
                         help=".npz, IDX (MNIST format), a folder of pictures, "
                         "or MODULE:FACTORY")  # fmt: skip
    certify.add_argument("--labels", metavar="FILE", help="IDX file of labels")
    law = certify.add_mutually_exclusive_group(required=True)
    law.add_argument("--sigma", type=float, help="Gaussian noise, l2 radius: standard deviation")
    law.add_argument("--half-width", type=float, help="uniform noise, l1 radius: half-width")
    certify.add_argument("--num-classes", type=int, required=True, help="classes K")
    certify.add_argument("--n", "--draws", dest="n", type=int, default=100_000,
                         help="draws (default 100000); spell it --draws under torchrun, which "
                         "takes --n for an option of its own")  # fmt: skip
    certify.add_argument("--n0", type=int, default=100, help="selection draws (default 100)")
    certify.add_argument("--alpha", type=float, default=0.001, help="error probability per input")
    certify.add_argument("--method", default="exact", help="margin method (default exact)")
    certify.add_argument("--option", action="append", default=[], metavar="NAME=VALUE",
                         help="an option of the method; may be repeated")  # fmt: skip
    certify.add_argument("--store", required=True, metavar="FILE", help="SQLite file of the run")
    certify.add_argument(
        "--seed", type=int, help="seed of the noise (default: the store's, or fresh)"
    )
    certify.add_argument("--first", type=int, default=0, help="first input (default 0)")
    certify.add_argument("--inputs", type=int, help="number of inputs (default: to the end)")
    certify.add_argument("--every", type=int, default=1, help="take every so-manieth input")
    certify.add_argument("--device", help="torch device (default: a GPU where there is one)")
    certify.add_argument("--batch-size", default="auto", help="copies per batch, or auto")
    certify.add_argument("--json", action="store_true", help="print a summary as JSON")

    demo = commands.add_parser("demo", help="train a small CNN on the digits and certify it")
    demo.set_defaults(run=_demo)
    demo.add_argument("--output", default="demo", metavar="DIR", help="folder for the results")
    demo.add_argument("--inputs", type=int, default=300, help="test images (default 300)")
    demo.add_argument("--n", type=int, default=10_000, help="draws per image (default 10000)")
    demo.add_argument("--alpha", type=float, default=0.001, help="error probability per image")
    demo.add_argument("--seed", type=int, default=0, help="seed of training and noise")
    return parser


def _model(given: argparse.Namespace) -> Any:
    model = load_object(given.model, "--model")()
    if given.weights is None:
        return model
    if not Path(given.weights).is_file():
        raise ValueError(f"--weights is {given.weights!r}; allowed: a file that exists")
    if not isinstance(model, torch.nn.Module):
        raise ValueError(f"--model {given.model!r} made no torch.nn.Module; --weights needs one")
    try:
        state = torch.load(given.weights, map_location="cpu", weights_only=True)
        model.load_state_dict(state)
    except Exception as error:
        first = str(error).strip().splitlines()[0]
        raise ValueError(f"--weights {given.weights!r} cannot be loaded: {first}") from None
    return model


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


def _certify(given: argparse.Namespace) -> int:
    size: Any = given.batch_size
    if size != "auto":
        if not size.isdigit():
            raise ValueError(f"--batch-size is {size!r}; allowed: an integer >= 1, or auto")
        size = int(size)
    noise: Any
    if given.sigma is not None:
        noise = rsbounds.Gaussian(given.sigma)
    else:
        noise = rsbounds.Uniform(given.half_width)
    data = load_data(given.data, given.labels)
    indices = _indices(given, data)
    with process_group() as (rank, _), warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", RuntimeWarning)
        classifier = SmoothedClassifier(
            _model(given), num_classes=given.num_classes, noise=noise, device=given.device,
            batch_size=size,
        )  # fmt: skip
        result = certify_dataset(
            classifier, data, store=given.store, n=given.n, n0=given.n0, alpha=given.alpha,
            method=given.method, indices=indices, seed=given.seed, **method_options(given.option),
        )  # fmt: skip
    if rank != 0:
        return 0
    for warning in caught:
        print(f"rsbounds: {warning.message}", file=sys.stderr)
    with rsbounds.RunStore(given.store) as store:
        labels = stored_labels(store)
    acr = None if labels is None else rsbounds.average_certified_radius(result, labels)
    if given.json:
        print(json.dumps({
            "store": given.store, "rows": len(result), "acr": acr,
            "certified": int((~result.abstained).sum()),
            "mean_radius": float(result.radius.mean()), "alpha": result.alpha,
            "method": result.method, "guarantee": result.guarantee, "noise": result.noise,
        }))  # fmt: skip
        return 0
    print(result.table(20))
    if acr is not None:
        print(f"average certified radius against the labels: {_text.down(acr, 5)}")
    print(
        f"all rows, with their counts: {given.store} (rsbounds report, rebound and export read it)"
    )
    return 0


def _demo(given: argparse.Namespace) -> int:
    from rsbounds_torch._demo import run_demo

    run_demo(Path(given.output), inputs=given.inputs, n=given.n, alpha=given.alpha, seed=given.seed)
    return 0
