"""What a plan starts from: votes of a pilot, or probabilities that are assumed."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from rsbounds import _validate
from rsbounds._types import Counts
from rsbounds.certificates.complete import sampled_only
from rsbounds.certificates.exact import law_of_sample
from rsbounds.noises import Noise, noise_from_dict
from rsbounds.runs import RunStore
from rsbounds.runs.kinds.scores import ScoresKind
from rsbounds.runs.rebounding import stored_labels

#: How far from 1 probabilities may add to.
_SUM = 1e-9


@dataclass(frozen=True, eq=False)
class Pilot:
    """What is known of some inputs.

    Attributes
    ----------
    votes : (B, K) int64 or None
        Votes; None where probabilities are assumed.
    p : (B, K) float64 or None
        Probabilities; None where there are votes.
    top : (B,) int64
        The class that each input is expected to be certified with.
    laws : tuple of Noise
        One law for all inputs, or one for each.
    usable : (B,) bool
        False for inputs without valid answers, which certify nothing.
    labels : (B,) int64 or None
        True classes.
    seed : int or None
        Seed of the estimation draws that the votes hold; None where they hold none, or it is
        not known.
    source : str
        Where it comes from, in words.
    """

    votes: NDArray[np.int64] | None
    p: NDArray[np.float64] | None
    top: NDArray[np.int64]
    laws: tuple[Noise, ...]
    usable: NDArray[np.bool_]
    labels: NDArray[np.int64] | None
    seed: int | None
    source: str

    def __len__(self) -> int:
        return len(self.top)

    def law(self, row: int) -> Noise:
        """The law of one input."""
        return self.laws[row if len(self.laws) > 1 else 0]

    @property
    def right(self) -> NDArray[np.bool_]:
        """(B,) whether a certificate would count: the class is the label, where there are any."""
        right = self.usable if self.labels is None else self.usable & (self.top == self.labels)
        return np.asarray(right)


def made_pilot(
    pilot: Any,
    p: ArrayLike | None,
    *,
    noise: Noise | None,
    num_classes: int | None,
    top: ArrayLike | None,
    labels: ArrayLike | None,
) -> Pilot:
    """What a caller gave, checked; the arguments are those of `rsbounds.plan`."""
    if (pilot is None) == (p is None):
        raise ValueError(
            f"pilot and p are {'both' if p is not None else 'not'} given; allowed: votes of a "
            "pilot, or probabilities p"
        )
    if num_classes is not None and p is None:
        raise ValueError(f"num_classes is {num_classes!r} with a pilot; allowed: with p")
    if isinstance(pilot, (str, os.PathLike)):
        with RunStore(pilot) as store:
            return _of_store(store, noise, top, labels)
    if isinstance(pilot, RunStore):
        return _of_store(pilot, noise, top, labels)
    if not isinstance(noise, Noise):
        raise ValueError(f"noise is {noise!r}; allowed: a noise law such as Gaussian(sigma=0.25)")
    sampled_only(noise, "plan")
    seed, votes, shares = None, None, None
    if p is not None:
        shares, source = _shares(p, num_classes), "probabilities that are assumed"
    else:
        # Votes that were drawn on another lattice than the law's are refused.
        noise, _ = law_of_sample(noise, pilot)
        table = _validate.count_table(pilot, "pilot")
        votes, draws = _validate.count_rows(table, name="pilot")
        source = f"a pilot of {_few(draws)} draws"
        if isinstance(pilot, Counts) and pilot.role == "estimate":
            seed = pilot.seed
    known = votes if shares is None else shares
    assert known is not None
    noise.check_rows(len(known))
    laws = tuple(noise[i] for i in range(len(known))) if noise.batch_shape else (noise,)
    return Pilot(
        votes, shares, _classes(top, known, "top"), laws, np.ones(len(known), dtype=bool),
        None if labels is None else _classes(labels, known, "labels"), seed, source,
    )  # fmt: skip


def _few(draws: NDArray[np.int64]) -> str:
    low, high = int(draws.min()), int(draws.max())
    return f"{low}" if low == high else f"{low} to {high}"


def _classes(given: ArrayLike | None, known: NDArray[Any], name: str) -> NDArray[np.int64]:
    """(B,) classes; the likeliest where none are given."""
    if given is None:
        return np.asarray(known.argmax(axis=1), dtype=np.int64)
    return _validate.class_indices(given, known.shape[0], known.shape[1], name)


def _shares(p: ArrayLike, num_classes: int | None) -> NDArray[np.float64]:
    """(B, K) probabilities; what is missing to 1 is spread over the classes that have none."""
    values = _validate.real_array("p", p)
    if values.ndim == 0:
        values = np.array([values, 1.0 - values])
    table = np.atleast_2d(values)
    if table.ndim != 2 or table.size == 0:
        raise ValueError(f"p has shape {values.shape}; allowed: (K,) or (B, K)")
    if not ((table >= 0) & (table <= 1)).all():
        raise ValueError(f"p is {p!r}; allowed: probabilities from 0 to 1")
    given = table.shape[1]
    classes = given
    if num_classes is not None:
        classes = _validate.integer("num_classes", num_classes, low=max(given, 2))
    total = table.sum(axis=1)
    left = 1.0 - total
    complete = np.abs(left) <= _SUM
    if classes > given:
        complete |= left > 0
    if not complete.all() or classes < 2:
        row = int(np.argmin(complete))
        raise ValueError(
            f"p row {row} has {given} entries that add to {total[row]:.12g}; allowed: at least 2 "
            "that add to 1, or to less with num_classes, over which the rest is spread"
        )
    spread = np.clip(left, 0.0, None)[:, None] / max(classes - given, 1)
    whole = np.concatenate([table, np.repeat(spread, classes - given, axis=1)], axis=1)
    return np.asarray(whole / whole.sum(axis=1, keepdims=True))


def _of_store(
    store: RunStore, noise: Noise | None, top: ArrayLike | None, labels: ArrayLike | None
) -> Pilot:
    """Votes of a stored run: both samples say what the probabilities are."""
    rows = list(store.rows())
    if not rows:
        raise ValueError(f"store {str(store.path)!r} holds no finished input yet")
    if store.config.get("kind") == ScoresKind.name:
        raise ValueError(
            f"store {str(store.path)!r} is a run of scores, which keeps no votes; allowed: a run "
            "of votes, decisions or adaptive looks"
        )
    held = [dict(row.law) for row in rows]
    laws = [noise_from_dict(law) for law in (held[:1] if _same(held) else held)]
    sampled_only(laws[0], "plan")
    # The law may have been asked for without a word of the lattice that it was drawn on.
    if noise is not None and (len(laws) > 1 or noise not in (laws[0], laws[0].in_floats())):
        raise ValueError(
            f"noise is {noise}, but the votes of {str(store.path)!r} are of "
            f"{laws[0] if len(laws) == 1 else 'a law for each input'}; allowed: no noise with a "
            "store (what another law's votes would be, only a pilot with it can say)"
        )
    votes = np.array([row.select + row.estimate for row in rows], dtype=np.int64)
    usable = np.array([row.invalid == 0 and row.n > 0 for row in rows])
    known = stored_labels(store) if labels is None else _classes(labels, votes, "labels")
    return Pilot(
        votes, None, _classes(top, votes, "top"), tuple(laws), usable, known,
        int(store.config["seed"]), f"the stored run {store.path.name}",
    )  # fmt: skip


def _same(held: Sequence[dict[str, Any]]) -> bool:
    return all(law == held[0] for law in held)
