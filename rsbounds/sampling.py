"""Votes and scores of any Python callable on numpy batches.

The noise comes from `rsbounds.streams`: what is drawn does not depend on the batch size, on how
many inputs are sampled in one call, or on where a run was resumed.

Noise on a lattice, the default, is exactly its law, and certificates hold in floating point for any
classifier. Without one (``lattice=None``) they are about noise in real arithmetic: the parameters
and the computed x + noise are rounded to floats of the input's type (float64 inputs get noise with
53 bits), a classifier that looks at the last bits of its input can tell x by them, and nothing
rules that out. Everything from the counts on is rounded to the safe side.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from rsbounds import _text, _validate
from rsbounds._parallel import Progress
from rsbounds._types import BoundedSamples, Counts
from rsbounds.certificates.complete import draws_of, sampled_only
from rsbounds.certificates.exact import Offset, offset_of
from rsbounds.noises import Noise
from rsbounds.sequential import Adaptive, Decide
from rsbounds.sequential._feed import feed
from rsbounds.streams import MAX_INDEX, CounterStream, Piece, Role, batches, checked_role

Classifier = Callable[[NDArray[Any]], Any]


@dataclass(frozen=True, eq=False)
class _Source:
    """Noisy copies of some inputs, from one stream."""

    inputs: NDArray[Any]
    stream: CounterStream
    indices: Sequence[int]
    batch_size: int
    spacing: float | None
    offset: Offset | None

    def batches(self, pieces: Sequence[Piece]) -> Iterator[tuple[list[Piece], NDArray[Any]]]:
        """Full batches of the copies in ``pieces``, and what is in each."""
        shape = self.inputs.shape[1:]
        flat = self.inputs.reshape(len(self.inputs), -1)
        for group in batches(pieces, self.batch_size):
            batch = np.empty((sum(p.count for p in group), *shape), dtype=flat.dtype)
            self.stream.fill(batch.reshape(len(batch), -1), flat, group, self.indices)
            yield group, batch


def _source(
    inputs: ArrayLike,
    noise: Noise,
    role: Role,
    seed: int | None,
    index: int | Sequence[int],
    batch_size: int,
    lattice: float | Literal["auto"] | None = None,
) -> tuple[_Source, int]:
    """The inputs with their noise, (B, ...), and the seed; everything checked."""
    if not isinstance(noise, Noise):
        raise ValueError(f"noise is {noise!r}; allowed: a noise law such as Gaussian(sigma=0.25)")
    noise = noise.on_lattice(lattice)
    _validate.integer("batch_size", batch_size, low=1)
    chosen = secrets.randbits(63) if seed is None else _validate.integer("seed", seed, low=0)
    array = _validate.array("inputs", inputs)
    if array.dtype == np.uint8:
        raise ValueError(
            "inputs have type uint8 and nothing says their scale, which is that of the noise and "
            "of the radii; allowed: pixels as floating-point numbers, such as inputs / 255.0"
        )
    if array.dtype.kind in "iub":
        array = array.astype(np.float64)
    if array.dtype not in (np.float32, np.float64):
        raise ValueError(f"inputs have type {array.dtype}; allowed: numbers (float32, float64)")
    if array.ndim < 2 or array.size == 0:
        raise ValueError(f"inputs have shape {array.shape}; allowed: (B, ...) with B >= 1")
    if not np.isfinite(array).all():
        where = tuple(int(i) for i in np.argwhere(~np.isfinite(array))[0])
        raise ValueError(f"inputs{list(where)} is {array[where]}; allowed: finite numbers")
    indices: Sequence[int]
    if isinstance(index, (list, tuple, np.ndarray)):
        given = np.asarray(index)
        if given.shape != (len(array),) or given.dtype.kind not in "iu":
            raise ValueError(f"index is {index!r}; allowed: an integer, or {len(array)} of them")
        for value in (given.min(), given.max()):
            _validate.integer("index", value, low=0, high=MAX_INDEX)
        indices = given.tolist()
    else:
        last = MAX_INDEX - len(array) + 1
        first = _validate.integer("index", index, low=0, high=last)
        indices = range(first, first + len(array))
    noise.check_rows(len(array))
    # The kernels take only contiguous arrays in the machine's byte order.
    array = np.array(array, dtype=np.float64 if array.itemsize == 8 else np.float32, order="C")
    stream = CounterStream(noise, array.shape[1:], seed=chosen, role=checked_role(role))
    offset = offset_of(noise, array)
    return _Source(array, stream, indices, batch_size, noise.spacing, offset), chosen


def _votes_of(
    answer: Any, size: int, num_classes: int | None
) -> tuple[NDArray[Any], int, NDArray[np.bool_] | None]:
    """Classes, K, and which rows hold NaN, from what a classifier returned for a batch."""
    values = _validate.array("the classifier's answer", answer)
    if values.ndim == 2 and values.shape[0] == size and values.shape[1] >= 2:
        if num_classes is not None and values.shape[1] != num_classes:
            raise ValueError(
                f"classifier returned {values.shape[1]} scores per input; allowed: "
                f"num_classes = {num_classes}"
            )
        if values.dtype.kind not in "iuf":
            raise ValueError(f"classifier returned scores of type {values.dtype}; allowed: numbers")
        votes = values.argmax(axis=1)
        # NaN is larger than every number to argmax.
        bad = np.isnan(values[np.arange(size), votes])
        return votes, values.shape[1], bad if bad.any() else None
    if values.shape != (size,):
        raise ValueError(
            f"classifier returned shape {values.shape} for a batch of {size}; allowed: "
            f"({size},) class indices or ({size}, K) scores"
        )
    if num_classes is None:
        raise ValueError("num_classes is None; allowed: an integer >= 2 where labels are returned")
    if values.dtype.kind not in "iu" or values.min() < 0 or values.max() >= num_classes:
        raise ValueError(
            f"classifier returned {values[:3]} ...; allowed: class indices from 0 to "
            f"{num_classes - 1}"
        )
    return values, num_classes, None


def _tally(
    classifier: Classifier,
    source: _Source,
    pieces: Sequence[Piece],
    num_classes: int | None,
    bar: Progress | None = None,
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """(B, K) votes, and (B,) draws whose scores held NaN; each input is in one piece."""
    rows = len(source.inputs)
    table, invalid = np.zeros((rows, 0), np.int64), np.zeros(rows, np.int64)
    for group, batch in source.batches(pieces):
        votes, num_classes, bad = _votes_of(classifier(batch), len(batch), num_classes)
        if not table.size:
            table = np.zeros((rows, num_classes), np.int64)
        here = np.array([p.row for p in group])
        place = np.repeat(np.arange(len(group)), [p.count for p in group])
        if bad is not None:
            invalid[here] += np.bincount(place[bad], minlength=len(group))
            place, votes = place[~bad], votes[~bad]
        flat = np.bincount(place * num_classes + votes, minlength=len(group) * num_classes)
        table[here] += flat.reshape(len(group), num_classes)
        if bar is not None:
            bar.advance(len(batch))
    return table, invalid


def sample_counts(
    classifier: Classifier,
    inputs: ArrayLike,
    *,
    noise: Noise,
    n: int | None = None,
    lattice: float | Literal["auto"] | None = "auto",
    num_classes: int | None = None,
    role: Role = "estimate",
    seed: int | None = None,
    index: int | Sequence[int] = 0,
    batch_size: int = 1024,
    progress: bool | None = None,
) -> Counts:
    """Votes of a classifier on noisy copies of each input.

    The draws are independent given the seed; ``role`` separates the streams of the selection
    and of the estimation sample, so the two are independent of one another.

    Parameters
    ----------
    classifier : callable
        Takes a batch (m, ...) of noisy inputs; returns (m,) class indices or (m, K) scores
        whose argmax is the vote. A scikit-learn model's ``predict`` or ``predict_proba``, or
        a function around an ONNX session.
    inputs : (B, ...) array_like
        Inputs in raw units; float32 stays float32, integers become float64.
    noise : Noise
        Law of the noise; one with parameters for B inputs gives each its own.
    n : int, optional
        Draws per input. A law that is enumerated has all of its cells, and nothing is drawn.
    lattice : float, "auto" or None
        Where the law says nothing of a lattice: the one that its noise is drawn on, exactly, so
        that certificates hold in floating point. "auto" (`Gaussian`) costs inputs of 8 bits
        nothing; of others it takes their distance from the lattice off the radius. None adds
        floats, and certificates are then proven in real arithmetic.
    num_classes : int, optional
        K; needed where the classifier returns class indices.
    role : {"estimate", "select"}
        What the counts are for.
    seed : int, optional
        Seed of the streams; a fresh one by default, recorded in the result.
    index : int or (B,) integers
        Stream number of each input; the first one's, if one number is given, and the others
        follow. Give a part of a data set its indices and it gets the noise it would get in one
        call.
    batch_size : int
        Copies per call of the classifier, of several inputs together; does not affect what is
        drawn.
    progress : bool, optional
        Show a progress line; None shows it where stderr is a terminal.

    Returns
    -------
    Counts
        (B, K) votes with their role and seed, and the lattice, which `certify` goes by.

    Raises
    ------
    ValueError
        Bad arguments, or answers of the classifier that are not votes.

    See Also
    --------
    rsbounds.select_top : The class, from counts with the role "select".
    rsbounds.certify : Radii, from counts with the role "estimate".
    rsbounds.sample_until : As many draws as a stopping rule asks for.

    Examples
    --------
    >>> import numpy as np, rsbounds
    >>> classifier = lambda batch: (batch[:, 0] > 0).astype(int)
    >>> x = np.array([[0.3, 0.1], [-0.4, 0.2]])
    >>> law = rsbounds.Gaussian(sigma=0.25)
    >>> select = rsbounds.sample_counts(
    ...     classifier, x, noise=law, n=100, num_classes=2, role="select", seed=1)
    >>> estimate = rsbounds.sample_counts(
    ...     classifier, x, noise=law, n=10_000, num_classes=2, seed=1)
    >>> certificates = rsbounds.certify(estimate, rsbounds.select_top(select), noise=law)
    >>> certificates.top
    array([1, 0])
    >>> bool((certificates.radius < [0.3, 0.4]).all())
    True
    """
    source, chosen = _source(inputs, noise, role, seed, index, batch_size, lattice)
    draws = draws_of(noise, n)
    if num_classes is not None:
        num_classes = _validate.integer("num_classes", num_classes, low=2)
    pieces = [Piece(row, 0, draws) for row in range(len(source.inputs))]
    with Progress(len(pieces) * draws, f"{role} votes", progress) as bar:
        table, invalid = _tally(classifier, source, pieces, num_classes, bar)
    if invalid.any():
        row = int(np.argmax(invalid > 0))
        raise ValueError(
            f"classifier returned NaN scores at input {row}, on {invalid[row]} of {draws} draws; "
            "allowed: numbers"
        )
    return Counts(
        table, role, chosen, lattice=source.spacing, offset=source.offset, cells=noise.cells
    )


def sample_pieces(
    classifier: Classifier,
    inputs: ArrayLike,
    spans: Sequence[tuple[int, int]],
    *,
    noise: Noise,
    role: Role,
    seed: int,
    index: Sequence[int],
    num_classes: int,
    batch_size: int,
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Votes on draws ``first`` to ``stop`` of each input, as `sample_counts` would count them.

    Returns
    -------
    (B, K) and (B,) int64 arrays
        Votes, and draws whose scores held NaN.
    """
    source, _ = _source(inputs, noise, role, seed, index, batch_size)
    pieces = [Piece(row, first, stop - first) for row, (first, stop) in enumerate(spans)]
    return _tally(classifier, source, pieces, num_classes)


Test = TypeVar("Test", Decide, Adaptive)


def sample_until(
    test: Test,
    classifier: Classifier,
    inputs: ArrayLike,
    *,
    num_classes: int,
    seed: int | None = None,
    index: int = 0,
    batch_size: int = 1024,
    progress: bool | None = None,
) -> Test:
    """Feed a stopping rule with votes until every input has its answer.

    The guarantee is that of the rule (`Decide`, `Adaptive`), whose law says whether noise is drawn
    on a lattice. The draws are those of `sample_counts` under that law with the role "estimate": a
    rule that stops after n of them saw the first n.

    Parameters
    ----------
    test : Decide or Adaptive
        The rule, with one row for each input; its noise law is the one sampled.
    classifier, inputs, num_classes, seed, index, batch_size, progress
        As in `sample_counts`.

    Returns
    -------
    Decide or Adaptive
        ``test``, finished: ``test.n`` says how many draws each input took. Inputs with NaN
        scores abstain.

    Raises
    ------
    ValueError
        Bad arguments, or answers of the classifier that are not votes.

    Warns
    -----
    RuntimeWarning
        The classifier's scores held NaN on some inputs.

    See Also
    --------
    rsbounds.sample_counts : A number of draws fixed in advance.

    Examples
    --------
    >>> import numpy as np, rsbounds
    >>> classifier = lambda batch: (batch[:, 0] > 0).astype(int)
    >>> x = np.array([[0.9, 0.1], [0.1, 0.2]])
    >>> law = rsbounds.Gaussian(sigma=0.25)
    >>> select = rsbounds.sample_counts(
    ...     classifier, x, noise=law, n=100, num_classes=2, role="select", seed=1)
    >>> test = rsbounds.Decide(0.5, rsbounds.select_top(select), noise=law)
    >>> rsbounds.sample_until(test, classifier, x, num_classes=2, seed=1).status.tolist()
    ['yes', 'no']
    >>> bool((test.n < 1000).all())
    True
    """
    if np.ndim(inputs) < 2 or np.shape(inputs)[0] != len(test):
        raise ValueError(
            f"inputs have shape {np.shape(inputs)}; allowed: ({len(test)}, ...), one for each row "
            "of the test"
        )
    source, _ = _source(inputs, test.noise, "estimate", seed, index, batch_size)
    test.offset = None if source.offset is None else source.offset[test.noise.norm]
    classes = _validate.integer("num_classes", num_classes, low=2)

    def draw(rows: Any, first: Any, stop: Any) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        spans = zip(rows.tolist(), first.tolist(), (stop - first).tolist(), strict=True)
        pieces = [Piece(row, at, count) for row, at, count in spans]
        votes, invalid = _tally(classifier, source, pieces, classes)
        return votes[rows], invalid[rows]

    with Progress(len(test), "inputs decided", progress) as bar:
        bad = feed(test, draw, bar)
    _text.warn_invalid("the classifier", bad)
    return test


def sample_scores(
    classifier: Classifier,
    x: ArrayLike,
    *,
    noise: Noise,
    n: int,
    lattice: float | Literal["auto"] | None = "auto",
    support: tuple[float, float] = (0.0, 1.0),
    role: Role = "estimate",
    seed: int | None = None,
    index: int = 0,
    batch_size: int = 1024,
    progress: bool | None = None,
) -> BoundedSamples:
    """Scores of a soft classifier on noisy copies of one input.

    Parameters
    ----------
    classifier : callable
        Takes a batch (m, ...) of noisy inputs; returns (m, K) scores inside ``support``.
    x : array_like
        One input in raw units.
    noise, n, lattice, role, seed, index, batch_size, progress
        As in `sample_counts`; ``index`` is the input's stream number.
    support : (float, float)
        Interval that contains every score.

    Returns
    -------
    BoundedSamples
        (n, K) scores with their support and seed.

    Raises
    ------
    ValueError
        Bad arguments, or scores that are NaN or outside the support.

    See Also
    --------
    rsbounds.certify_soft : Radii from scores.

    Examples
    --------
    >>> import numpy as np, rsbounds
    >>> def classifier(batch):
    ...     p = 1 / (1 + np.exp(-batch[:, 0]))
    ...     return np.column_stack([1 - p, p])
    >>> scores = rsbounds.sample_scores(
    ...     classifier, [0.3, 0.1], noise=rsbounds.Gaussian(sigma=0.25), n=1000, seed=1)
    >>> scores.values.shape
    (1000, 2)
    """
    _validate.integer("n", n, low=1, high=_validate.MAX_N)
    inputs = _validate.array("x", x)[None]
    source, chosen = _source(inputs, noise, role, seed, index, batch_size, lattice)
    sampled_only(noise, "scores")
    low, high = float(support[0]), float(support[1])
    if not low < high:
        raise ValueError(f"support is {support!r}; allowed: (a, b) with a < b")
    with Progress(n, "scores", progress) as bar:
        values = _scores(classifier, source, n, (low, high), bar)[0]
    if np.isnan(values).any():
        column = int(np.argwhere(np.isnan(values))[0][1])
        raise ValueError(
            f"classifier returned nan for class {column}; allowed: scores in the support "
            f"[{low:g}, {high:g}]"
        )
    return BoundedSamples(values, (low, high), chosen, lattice=source.spacing, offset=source.offset)


def score_table(
    classifier: Classifier,
    inputs: ArrayLike,
    *,
    noise: Noise,
    n: int,
    role: Role,
    seed: int,
    index: Sequence[int],
    batch_size: int,
) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """(B, n, K) scores in [0, 1], and (B,) draws with NaN, whose scores are zero."""
    source, _ = _source(inputs, noise, role, seed, index, batch_size)
    values = _scores(classifier, source, n, (0.0, 1.0))
    bad = np.isnan(values).any(axis=2)
    values[bad] = 0.0
    return values, bad.sum(axis=1)


def _scores(
    classifier: Classifier,
    source: _Source,
    n: int,
    support: tuple[float, float],
    bar: Progress | None = None,
) -> NDArray[np.float64]:
    """(B, n, K) scores inside the support, or NaN."""
    low, high = support
    table = np.empty((len(source.inputs), n, 0))
    for group, batch in source.batches([Piece(i, 0, n) for i in range(len(source.inputs))]):
        scores = _validate.real_array("the classifier's answer", classifier(batch))
        if scores.ndim != 2 or scores.shape[0] != len(batch):
            raise ValueError(
                f"classifier returned shape {scores.shape} for a batch of {len(batch)}; "
                f"allowed: ({len(batch)}, K) scores"
            )
        if not table.size:
            table = np.empty((len(source.inputs), n, scores.shape[1]))
        if scores.shape[1] != table.shape[2]:
            raise ValueError(
                f"classifier returned {scores.shape[1]} scores per input and {table.shape[2]} "
                "before; allowed: the same K every time"
            )
        outside = (scores < low) | (scores > high)
        if outside.any():
            row, column = (int(i) for i in np.argwhere(outside)[0])
            raise ValueError(
                f"classifier returned {scores[row, column]} for class {column}; allowed: "
                f"scores in the support [{low:g}, {high:g}]"
            )
        at = 0
        for p in group:
            table[p.row, p.first : p.first + p.count] = scores[at : at + p.count]
            at += p.count
        if bar is not None:
            bar.advance(len(batch))
    return table
