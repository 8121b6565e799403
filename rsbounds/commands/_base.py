"""The contract of a subcommand, and the registry of them.

Contract
--------
A subcommand is a `Command`, registered under its name here or through an entry point of the group
``rsbounds.commands`` in any other package. ``arguments`` describes its options; ``run`` gets them
parsed and returns the exit code. What goes wrong is raised, not printed: ValueError for bad input,
OSError for files, ImportError for a missing extra. The program around it (`_program`) turns errors,
closed pipes and interrupts into one sentence and an exit code, the same for every command. Its
module is imported to print the list of commands, so it imports what is heavy inside ``run``.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import dataclass

from rsbounds._registry import Registry

COMMANDS: Registry[Command] = Registry("command", "rsbounds.commands")


@dataclass(frozen=True)
class Command:
    """One subcommand; see the module's text for the contract.

    Attributes
    ----------
    summary : str
        What it does, in one line.
    arguments : callable
        Adds the command's arguments to a parser.
    run : callable
        Runs the parsed arguments and returns the exit code.
    resume : callable, optional
        From the parsed arguments, how to go on after an interrupt; "" where there is nothing to
        say (a rank that is not the first).
    """

    summary: str
    arguments: Callable[[argparse.ArgumentParser], None]
    run: Callable[[argparse.Namespace], int]
    resume: Callable[[argparse.Namespace], str] | None = None


COMMANDS.require(Command, instances=True)
