"""``rsbounds check-plugin``: a registered member, of whoever, against the contract of its role."""

from __future__ import annotations

import argparse
import json
import warnings
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

from rsbounds._registry import Registry, attribute
from rsbounds.commands._base import Command
from rsbounds.commands.methods import REGISTRIES

if TYPE_CHECKING:
    from rsbounds.testing.contracts import Case


def _arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("name", metavar="NAME", help="the registered name")
    parser.add_argument("--role", help="its role, where several have that name (rsbounds methods)")
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")


def _found(name: str, role: str | None) -> tuple[str, Registry[Any]]:
    """Role and registry of the name; ValueError where there is none, or more than one."""
    if role is not None and role not in REGISTRIES:
        raise ValueError(f"--role is {role!r}; allowed: {', '.join(REGISTRIES)}")
    registries = {}
    for each in REGISTRIES if role is None else [role]:
        try:
            registries[each] = REGISTRIES[each]
        except ValueError as error:
            if role is not None:
                raise
            warnings.warn(f"left out: {error}", RuntimeWarning, stacklevel=2)
    roles = [each for each, registry in registries.items() if name in registry]
    if not roles:
        known = [f"{each}: {', '.join(registry)}" for each, registry in registries.items()]
        raise ValueError(f"NAME is {name!r}; known: {'; '.join(known)}")
    if len(roles) > 1:
        raise ValueError(f"NAME is {name!r}, of several roles; allowed: --role {'|'.join(roles)}")
    if registries[roles[0]].checks is None:
        raise ValueError(f"NAME is {name!r}, a {roles[0]}; that role announces no contract")
    return roles[0], registries[roles[0]]


def _outcome(case: Case) -> dict[str, Any]:
    """A check that was run: its name, the options, and what it said where it failed."""
    error = None
    try:
        case.run()
    except Exception as raised:
        # Somebody else's code: whatever it raises, the other checks are run.
        said = " ".join(str(raised).split())
        error = said if isinstance(raised, AssertionError) else f"{type(raised).__name__}: {said}"
        error = error or "it is not so"
    return {"check": case.check, "options": case.options, "passed": error is None, "error": error}


def _outcomes(registry: Registry[Any], name: str) -> list[dict[str, Any]]:
    loads = "is loaded, and declares what its role asks for"
    try:
        entry = registry[name]
    except ValueError as error:
        return [{"check": loads, "options": {}, "passed": False, "error": str(error)}]
    if hasattr(entry, "usable") and not entry.usable():
        raise ImportError(f"{registry.kind} {name!r} needs packages that are not installed")
    cases: Callable[[Any], Iterable[Case]] = attribute(str(registry.checks))
    passed = {"check": loads, "options": {}, "passed": True, "error": None}
    try:
        listed = list(cases(entry))
    except Exception as error:
        said = f"{type(error).__name__}: {' '.join(str(error).split())}"
        return [passed, {**passed, "check": "has variants", "passed": False, "error": said}]
    return [passed, *map(_outcome, listed)]


def _run(given: argparse.Namespace) -> int:
    role, registry = _found(given.name, given.role)
    with warnings.catch_warnings():
        # Overflow and the like in a member under test is for the checks to judge.
        warnings.filterwarnings("ignore", category=RuntimeWarning, module="(?!rsbounds)")
        outcomes = _outcomes(registry, given.name)
    failed = [one for one in outcomes if not one["passed"]]
    if given.json:
        told = {"name": given.name, "role": role, "from": registry.origin(given.name)}
        print(json.dumps({**told, "passed": not failed, "checks": outcomes}, default=str))
        return 1 if failed else 0
    print(f"{given.name}  ({role}, {registry.origin(given.name)})")
    for one in outcomes:
        options = ", ".join(f"{key}={value}" for key, value in one["options"].items())
        where = f" [{options}]" if options else ""
        print(f"{'passed' if one['passed'] else 'BROKEN'}  {one['check']}{where}")
        if not one["passed"]:
            print(f"        {one['error']}")
    print(f"{len(outcomes) - len(failed)} of {len(outcomes)} checks passed")
    return 1 if failed else 0


CHECK_PLUGIN = Command("put a registered member through the contract of its role", _arguments, _run)
