"""Certify a whole data set of any callable on numpy batches, resumably."""

from __future__ import annotations

import os
import warnings
from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from rsbounds import _validate
from rsbounds._types import Certificates
from rsbounds.noises import Noise
from rsbounds.runs.driver import begin, failures_note, refuse_hopeless, resumable, run_inputs
from rsbounds.runs.kinds import Scoring
from rsbounds.runs.kinds.decisions import asked
from rsbounds.runs.kinds.scores import ScoresKind
from rsbounds.runs.plan import RunPlan, resumed_seed
from rsbounds.runs.rebounding import certificates_of
from rsbounds.runs.store import RunStore
from rsbounds.runs.subject import Answers
from rsbounds.sampling import Classifier, sample_pieces, score_table


class _ArraySubject:
    """Rows of an array, and a callable on numpy batches."""

    def __init__(
        self,
        classifier: Classifier,
        inputs: NDArray[Any],
        labels: NDArray[np.int64] | None,
        plan: RunPlan,
        batch_size: int,
    ) -> None:
        self._classifier, self._inputs, self._labels = classifier, inputs, labels
        self._plan, self._batch_size = plan, batch_size

    def item(self, index: int) -> tuple[NDArray[Any], int | None]:
        return self._inputs[index], None if self._labels is None else int(self._labels[index])

    def votes(
        self,
        inputs: NDArray[Any],
        indices: Sequence[int],
        role: Any,
        spans: Sequence[tuple[int, int]],
    ) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        return sample_pieces(
            self._classifier, inputs, spans, role=role, seed=self._plan.seed,
            noise=self._plan.noise.at(list(indices)), index=list(indices),
            num_classes=self._plan.num_classes, batch_size=self._batch_size,
        )  # fmt: skip

    def scores(
        self, inputs: NDArray[Any], indices: Sequence[int], role: Any, n: int, scoring: Scoring
    ) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
        values, invalid = score_table(
            self._classifier, inputs, n=n, role=role, seed=self._plan.seed,
            noise=self._plan.noise.at(list(indices)), index=list(indices),
            batch_size=self._batch_size,
        )  # fmt: skip
        if values.shape[2] != self._plan.num_classes:
            raise ValueError(
                f"classifier returned {values.shape[2]} scores per input; allowed: num_classes = "
                f"{self._plan.num_classes}"
            )
        return values, invalid

    def batch_size(self, x: NDArray[Any], index: int) -> int:
        return self._batch_size

    def answers(self, batch: NDArray[Any]) -> Answers:
        parts = [
            np.asarray(self._classifier(batch[start : start + self._batch_size]))
            for start in range(0, len(batch), self._batch_size)
        ]
        values = np.concatenate(parts)
        kind = "classes" if values.ndim == 1 else str(values.dtype)
        return Answers(values, kind)


def certify_dataset(
    classifier: Classifier,
    inputs: ArrayLike,
    labels: ArrayLike | None = None,
    *,
    store: str | os.PathLike[str],
    noise: Noise,
    num_classes: int,
    n: int | None = None,
    n0: int | None = None,
    lattice: float | Literal["auto"] | None = "auto",
    alpha: float = 0.001,
    kind: Literal["votes", "scores", "adaptive", "top-k"] = "votes",
    decide: ArrayLike | None = None,
    method: str | None = None,
    seed: int | None = None,
    batch_size: int = 1024,
    model_id: str | None = None,
    on_error: Literal["record", "stop"] = "record",
    progress: bool | None = None,
    **options: Any,
) -> Certificates:
    """Certify every input of a data set; stop it anywhere, and the same call resumes.

    With probability at least ``1 - alpha``, for each input on its own, no perturbation
    smaller than its radius changes the smoothed classifier's answer (as in `certify`; of other
    kinds as in `certify_soft` and `Adaptive`; with ``decide`` as in `rsbounds.sequential.Ladder`,
    all radii of an input together). The rows of a run that was stopped
    and resumed are those of one that was not: the store keeps digests of the inputs and what the
    classifier answers on a few of them, raw and noisy, and a call with other inputs, labels or
    another classifier is refused.

    Parameters
    ----------
    classifier : callable
        As in `sample_counts`.
    inputs : (B, ...) array_like
        Inputs in raw units.
    labels : (B,) integers, optional
        True classes, kept with the rows.
    store : str or path
        SQLite file of the run, made if it is not there.
    noise : Noise
        Law of the noise.
    n, n0 : int, optional
        Draws of the estimation and of the selection sample (100 unless given); with
        ``decide`` and of "adaptive" at most n. A law that is enumerated has all of its cells, and
        no samples.
    num_classes : int
        K.
    lattice : float, "auto" or None
        As in `sample_counts`.
    alpha : float
        Error probability for each input.
    kind : {"votes", "scores", "adaptive", "top-k"}
        What is done with each input. "votes": its radius from n votes. "scores": its radius from
        the means of n scores in [0, 1], which the classifier returns. "adaptive": its radius,
        from as many looks as are worth their draws. "top-k": the radius in which the class stays
        among the ``k`` most probable, from n votes.
    decide : float or increasing floats, optional
        In place of a radius: is it at least so large? All radii of an input are decided from the
        same draws, which end with the last answer, and inputs are interleaved so that batches stay
        full. The certificate has the largest radius with a "yes"; `rsbounds.runs.stored_answers`
        has all answers, `rsbounds report` the certified accuracy at each radius.
    method, **options
        As in `certify`; of "scores" as in `certify_soft`; of
        "adaptive" ``looks``, ``shares``, ``gain`` and the margin method's; of "top-k" ``k`` and as
        in `certify_top_k`; with ``decide`` those of `Decide`, ``no`` being "futile" unless given.
    seed : int, optional
        Seed of the streams; that of the store where it exists, else a fresh one.
    batch_size : int
        Copies per call of the classifier.
    model_id : str, optional
        A name for the model; a store made with another name is refused.
    on_error : {"record", "stop"}
        What to do with an input that has NaN or that the classifier fails on: keep it as
        invalid with the reason (it abstains, and the next call tries it again), or stop.
    progress : bool, optional
        Show a progress line; None shows it where stderr is a terminal.

    Returns
    -------
    Certificates
        One entry per input.

    Raises
    ------
    ValueError
        Bad arguments, a store of another run (the first difference is named), or a classifier
        that fails on every input.
    KeyboardInterrupt
        On Ctrl-C, with a sentence on how to resume; finished inputs are stored.

    Warns
    -----
    RuntimeWarning
        Inputs that failed.

    See Also
    --------
    rsbounds.rebound : Another method or alpha for what is stored.
    rsbounds.certify : Counts that are there already.

    Examples
    --------
    >>> import numpy as np, rsbounds, tempfile, pathlib
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     certificates = rsbounds.certify_dataset(
    ...         lambda batch: (batch[:, 0] > 0).astype(int), np.array([[0.4], [-0.7]]), [1, 0],
    ...         noise=rsbounds.Gaussian(sigma=0.5), n=1000, num_classes=2, seed=1,
    ...         store=pathlib.Path(folder, "run.sqlite"))
    >>> certificates.top
    array([1, 0])
    """
    array = _validate.array("inputs", inputs)
    if array.ndim < 2 or array.shape[0] == 0:
        raise ValueError(f"inputs have shape {array.shape}; allowed: (B, ...) with B >= 1")
    _validate.integer("num_classes", num_classes, low=2)
    known = None
    if labels is not None:
        known = _validate.class_indices(labels, len(array), num_classes, "labels")
    asked_kind, options = asked(kind, decide, options)
    if kind == ScoresKind.name:
        if options.get("map") is not None or "temperature" in options:
            raise ValueError(
                "map or temperature is given; allowed: none, the classifier returns its scores"
            )
        options["map"] = None
    if not isinstance(noise, Noise):
        raise ValueError(f"noise is {noise!r}; allowed: a noise law such as Gaussian(sigma=0.25)")
    plan = RunPlan(
        noise=noise.on_lattice(lattice), n0=n0, n=n,  # type: ignore[arg-type]
        alpha=alpha, kind=asked_kind, method=method, options=options,
        seed=resumed_seed([store], seed), num_classes=num_classes, inputs=len(array),
        # A name, where there is no hash of weights, is all that tells the model.
        model="" if model_id is None else model_id,
    )  # fmt: skip
    _validate.integer("batch_size", batch_size, low=1)
    subject = _ArraySubject(classifier, array, known, plan, batch_size)
    indices = range(len(array))
    with resumable(store), RunStore(store, plan.config()) as run:
        begin(subject, plan, indices, store=run, on_error=on_error, progress=progress)
        done = run_inputs(subject, plan, indices, store=run, on_error=on_error, progress=progress)
        refuse_hopeless(run)
        note = failures_note(run)
        if note is not None:
            warnings.warn(note, RuntimeWarning, stacklevel=2)
        return certificates_of(run, done.bounded)
