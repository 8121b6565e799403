"""What a run is: everything that two calls must share to be the same run."""

from __future__ import annotations

import hashlib
import json
import os
import secrets
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from rsbounds import _validate
from rsbounds.certificates.complete import draws_of
from rsbounds.noises import Noise
from rsbounds.runs.kinds import KINDS, VOTES, Kind, kind_of_run
from rsbounds.runs.store import RunStore
from rsbounds.streams import VERSION

#: Characters of a law that a configuration holds as it is. Matrices for hundreds of inputs are
#: longer than what a database takes for one value.
_LONG_LAW = 1 << 20


@dataclass(frozen=True, kw_only=True)
class RunPlan:
    """A run over a data set, before its first draw.

    Attributes
    ----------
    noise : Noise
        Law of the noise.
    num_classes : int
        K.
    inputs : int
        Inputs of the data set.
    n, n0 : int
        Draws of the estimation and of the selection sample (100 unless given); where a rule stops
        the draws, at most n. A law that is enumerated has all of its cells as both.
    seed : int
        Seed of the noise streams.
    kind : {"votes", "scores", "decide", "adaptive"}
        What is done with each input; see `rsbounds.runs.kinds`.
    alpha, method, options
        As in `rsbounds.certify`, `certify_soft`, `Decide` or `Adaptive`, by kind.
    model : str
        What tells the model from others: a hash of its weights, or a name.
    model_id : str, optional
        A further name, given by the user.
    smoothing : mapping, optional
        Each input is certified under a law of its own, found before it is certified: the name of
        the method and its settings, as plain values. ``noise`` is where the search starts.

    Raises
    ------
    ValueError
        A value out of range.

    Examples
    --------
    >>> import rsbounds
    >>> from rsbounds.runs import RunPlan
    >>> law = rsbounds.Gaussian(sigma=0.5)
    >>> plan = RunPlan(noise=law, num_classes=10, inputs=500, n=1000, seed=1)
    >>> plan.config()["method"]
    'exact'
    """

    noise: Noise
    num_classes: int
    inputs: int
    seed: int
    # Filled in where they are not given.
    n: int = None  # type: ignore[assignment]
    n0: int = None  # type: ignore[assignment]
    alpha: float = 0.001
    kind: str = VOTES
    method: str | None = None
    options: Mapping[str, Any] = field(default_factory=dict)
    model: str = ""
    model_id: str | None = None
    smoothing: Mapping[str, Any] | None = None

    def __post_init__(self) -> None:
        if not isinstance(self.noise, Noise):
            raise ValueError(
                f"noise is {self.noise!r}; allowed: a noise law such as Gaussian(sigma=0.25)"
            )
        for name, default in (("n0", 100), ("n", None)):
            draws = draws_of(self.noise, getattr(self, name), default, name=name)
            object.__setattr__(self, name, draws)
        _validate.integer("num_classes", self.num_classes, low=2)
        _validate.integer("inputs", self.inputs, low=1)
        _validate.integer("seed", self.seed, low=0)
        object.__setattr__(self, "alpha", _validate.alpha(self.alpha))
        for name in ("model", "model_id"):
            value = getattr(self, name)
            if not (isinstance(value, str) or (name == "model_id" and value is None)):
                raise ValueError(f"{name} is {value!r}; allowed: a text")
        self.noise.check_rows(self.inputs)
        _validate.choice("kind", self.kind, tuple(KINDS))
        if self.method is None:
            object.__setattr__(
                self, "method", KINDS[self.kind].default or self.noise.default_method
            )
        made = self.work()
        made.check_law(self.noise)
        object.__setattr__(self, "options", made.options)

    def work(self) -> Kind:
        """What is done with each input."""
        return kind_of_run(self.config())

    def config(self) -> dict[str, Any]:
        """Plain values that a store keeps and compares."""
        values = {
            "model": self.model,
            "inputs": self.inputs,
            "num_classes": self.num_classes,
            "noise": _known_by(self.noise),
            "n0": self.n0,
            "n": self.n,
            "alpha": self.alpha,
            "method": self.method,
            "options": dict(self.options),
            "seed": self.seed,
            # Another version of the streams draws other noise for the same seed.
            "streams": VERSION,
        }
        # Stores of earlier versions have no such keys, and a call without them resumes those.
        if self.kind != VOTES:
            values["kind"] = self.kind
        for key in ("model_id", "smoothing"):
            if getattr(self, key) is not None:
                values[key] = getattr(self, key)
        return values


def _known_by(noise: Noise) -> dict[str, Any]:
    """The law, or a hash of one that has many numbers for each input: rows hold them."""
    values = noise.to_dict()
    text = json.dumps(values, sort_keys=True)
    if not noise.batch_shape or len(text) < _LONG_LAW:
        return values
    digest = hashlib.sha256(text.encode()).hexdigest()
    return {"name": noise.name, "inputs": len(noise), "sha256": digest}


def resumed_seed(stores: Iterable[str | os.PathLike[str]], seed: int | None) -> int:
    """The seed given, else that of the first store that is there, else a fresh one."""
    if seed is not None:
        return _validate.integer("seed", seed, low=0)
    for path in stores:
        if os.path.exists(path):
            with RunStore(path) as held:
                return int(held.config["seed"])
    return secrets.randbits(63)
