"""The program around the subcommands: parsing, errors, pipes, interrupts, warnings."""

from __future__ import annotations

import argparse
import io
import os
import sys
import warnings
from collections.abc import Sequence
from typing import Any, Protocol

from rsbounds._version import __version__
from rsbounds.commands._base import COMMANDS, Command

#: What a shell reports for a program that Ctrl-C ended.
INTERRUPTED = 130


class Commands(Protocol):
    """Names and commands: a registry, or a dictionary."""

    def __iter__(self) -> Any: ...

    def __contains__(self, name: object, /) -> bool: ...

    def __getitem__(self, name: str, /) -> Command: ...


def main(arguments: Sequence[str] | None = None) -> int:
    """Run ``rsbounds``.

    Parameters
    ----------
    arguments : sequence of str, optional
        Words of the command line; those of the process by default.

    Returns
    -------
    int
        Exit code: 0, 2 for bad input, 1 for a missing extra or a closed pipe, 130 after Ctrl-C.

    Examples
    --------
    >>> from rsbounds.commands import main
    >>> main(["certify", "no-such-file.tsv", "--sigma", "0.5"])
    2
    """
    return run_program(
        "rsbounds",
        "Votes of a classifier under noise, turned into certified radii.",
        COMMANDS,
        sys.argv[1:] if arguments is None else arguments,
    )


def run_program(
    program: str, description: str, commands: Commands, arguments: Sequence[str]
) -> int:
    """Run the subcommand that the first word names; exit codes as in `main`."""
    words = list(arguments)
    for stream in (sys.stdout, sys.stderr):
        # A class name that the terminal cannot show is escaped, not an error.
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    if not words or words[0] not in commands:
        _overview(program, description, commands).parse_args(words)
        raise AssertionError("the overview ends the program")
    who = f"{program} {words[0]}"
    command: Command | None = None
    given = argparse.Namespace()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("always", RuntimeWarning)
            warnings.showwarning = _warner(who)
            command = commands[words[0]]
            given = parser_of(who, command).parse_args(words[1:])
            code = command.run(given)
            if sys.stdout is not None:
                # Here, where a reader that has left or a full disk can still be told.
                sys.stdout.flush()
            return int(code)
    except KeyboardInterrupt:
        how = command.resume(given) if command is not None and command.resume else "interrupted"
        if how:
            print(f"\n{who}: {how}", file=sys.stderr)
        return INTERRUPTED
    except BrokenPipeError:
        # The reader of our output has left; nothing more to say to it.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except (ValueError, OSError) as error:
        return _refused(who, error, 2)
    except (ImportError, MemoryError) as error:
        return _refused(who, error, 1)


def parser_of(who: str, command: Command) -> argparse.ArgumentParser:
    """The parser of one command; options are spelled out, so that a typing error is one."""
    parser = argparse.ArgumentParser(prog=who, description=command.summary, allow_abbrev=False)
    command.arguments(parser)
    return parser


def _overview(program: str, description: str, commands: Commands) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog=program, description=description, allow_abbrev=False)
    parser.add_argument("--version", action="version", version=f"rsbounds {__version__}")
    listed = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for name in commands:
        try:
            summary = commands[name].summary
        except Exception as error:
            # Somebody else's command that cannot be loaded must not take the others along.
            summary = f"cannot be loaded: {error}"
        listed.add_parser(name, help=summary.replace("%", "%%"))
    return parser


def _refused(who: str, error: BaseException, code: int) -> int:
    words = " ".join(str(error).splitlines()) or type(error).__name__
    print(f"{who}: {words}", file=sys.stderr)
    return code


def _warner(who: str) -> Any:
    said = set()

    def show(message: Warning | str, *_: Any, **__: Any) -> None:
        # Each sentence once: a plug-in that cannot be loaded is met wherever a registry is read.
        if str(message) not in said:
            said.add(str(message))
            print(f"{who}: {message}", file=sys.stderr)

    return show
