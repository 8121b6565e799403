"""``rsbounds demo``: train, sample, certify and compare on the digits."""

from __future__ import annotations

import argparse
from pathlib import Path

from rsbounds.commands._base import Command
from rsbounds.commands._output import add_force


def _arguments(parser: argparse.ArgumentParser) -> None:
    add_demo_arguments(parser, inputs=200)


def add_demo_arguments(parser: argparse.ArgumentParser, inputs: int) -> None:
    """The arguments of a demonstration."""
    parser.add_argument("--output", default="demo", metavar="DIR", help="folder for the results")
    parser.add_argument(
        "--inputs", type=int, default=inputs, help=f"test images (default {inputs})"
    )
    parser.add_argument("--n", type=int, default=10_000, help="draws per image (default 10000)")
    parser.add_argument("--alpha", type=float, default=0.001, help="error probability per image")
    parser.add_argument("--seed", type=int, default=0, help="seed of training and noise")
    add_force(parser)


def _run(given: argparse.Namespace) -> int:
    from rsbounds._demo import run_demo

    run_demo(
        Path(given.output), inputs=given.inputs, n=given.n, alpha=given.alpha, seed=given.seed,
        force=given.force,
    )  # fmt: skip
    return 0


DEMO = Command("train, sample, certify and compare on the digits", _arguments, _run)
