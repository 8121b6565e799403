"""What a subcommand is (`Command` has the contract), and the registry of them."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import dataclass

from rsbounds._registry import Registry

COMMANDS: Registry[Command] = Registry("command", "rsbounds.commands")


@dataclass(frozen=True)
class Command:
    """One subcommand of ``rsbounds``.

    Contract
    --------
    A subcommand is an object of this class, registered under its name here or through an entry
    point of the group ``rsbounds.commands`` in any other package. ``arguments`` describes its
    options; ``run`` gets them parsed and returns the exit code. What goes wrong is raised, not
    printed: ValueError for bad input, OSError for files, ImportError for a missing extra. The
    program around it (`run_program`) turns errors, closed pipes and interrupts into one sentence
    and an exit code, the same for every command. Its module is imported to print the list of
    commands, so it imports what is heavy inside ``run``.

    Examples
    --------
    >>> from rsbounds.commands import Command, run_program
    >>> def arguments(parser):
    ...     parser.add_argument("number", type=int)
    >>> def run(given):
    ...     if given.number < 0:
    ...         raise ValueError(f"NUMBER is {given.number}; allowed: 0 and above")
    ...     print(given.number**2)
    ...     return 0
    >>> commands = {"square": Command("the square of a number", arguments, run)}
    >>> run_program("mine", "What this program does.", commands, ["square", "12"])
    144
    0
    >>> run_program("mine", "What this program does.", commands, ["square", "--", "-1"])
    2

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
