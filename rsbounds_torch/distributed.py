"""Data-set runs of a PyTorch model, on one process or on many under torchrun.

Inputs are dealt to the ranks; where there are fewer inputs than ranks, the draws of each input
are. Each rank keeps its finished inputs in a shard of the store beside it, and the shards are
merged at the end (or by the next call, after a crash), so a run can be resumed with another
number of ranks. Noise is keyed by input and block of draws: the counts are the same however
they were dealt.
"""

from __future__ import annotations

import glob
import os
import warnings
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from rsbounds import Certificates, RunStore
from rsbounds.runs import RunPlan, merge_stores, remove_store, run_inputs
from rsbounds.runs import probes as _probes
from rsbounds.runs.driver import begin, failed, failures_note, refuse_hopeless, resumable
from rsbounds.runs.kinds.decisions import asked
from rsbounds.runs.plan import resumed_seed
from rsbounds.runs.rebounding import certificates_of
from rsbounds_torch._ranks import (
    Elsewhere,
    everywhere,
    gather,
    on_first,
    outcome,
    ranks,
    same_everywhere,
)
from rsbounds_torch._subject import (
    ModelSubject,
    described,
    finder_of,
    fingerprint,
    indices_of,
    subject_of,
)
from rsbounds_torch.data import items_of
from rsbounds_torch.model import SmoothedClassifier
from rsbounds_torch.optimizers import NoiseOptimizer


def certify_dataset(
    classifier: SmoothedClassifier,
    dataset: Any,
    *,
    store: str | os.PathLike[str],
    n: int | None = None,
    n0: int | None = None,
    alpha: float = 0.001,
    kind: Literal["votes", "scores", "adaptive", "top-k"] = "votes",
    decide: ArrayLike | None = None,
    method: str | None = None,
    indices: Sequence[int] | None = None,
    seed: int | None = None,
    model_id: str | None = None,
    smoothing: str | NoiseOptimizer[Any] | None = None,
    on_error: Literal["record", "stop"] = "record",
    progress: bool | None = None,
    **options: Any,
) -> Certificates:
    """Certify every input of a data set; stop it anywhere, and the same call resumes.

    With probability at least ``1 - alpha``, for each input on its own, no perturbation smaller
    than its radius changes the smoothed classifier's answer (the margin method's theorem
    together with the noise law's, as in `rsbounds.certify`; of other kinds as in
    `rsbounds.certify_soft` and `rsbounds.Adaptive`; with ``decide`` as in
    `rsbounds.sequential.Ladder`, all radii of an input together). The rows of a run that was
    stopped and resumed, with any batch size and any number of ranks, are those of one that
    was not (up to floating-point ties of the model): the store keeps digests of the inputs and
    what the model answers on a few of them, raw and noisy, and a call with another model, data
    set or labels is refused.

    Parameters
    ----------
    classifier : SmoothedClassifier
        The model with its noise.
    dataset : sequence of (input, label)
        Anything with a length and an index, such as a `torch.utils.data.Dataset`; labels may
        be None, items may be dicts (`rsbounds_torch.data.items_of`).
    store : str or path
        SQLite file of the run, made if it is not there. Under torchrun every rank must see it.
    n, n0 : int, optional
        Draws of the estimation and of the selection sample (100 unless given); with
        ``decide`` and of "adaptive" at most n. A law that is enumerated has all of its cells, and
        no samples.
    alpha : float
        Error probability for each input.
    kind : {"votes", "scores", "adaptive", "top-k"}
        What is done with each input. "votes": its radius from n votes. "scores": its radius from
        the means of n scores in [0, 1]. "adaptive": its radius,
        from as many looks as are worth their draws. "top-k": the radius in which the class stays
        among the ``k`` most probable, from n votes.
    decide : float or increasing floats, optional
        In place of a radius: is it at least so large? All radii of an input are decided from the
        same draws, which end with the last answer, and inputs are interleaved so that batches stay
        full. The certificate has the largest radius with a "yes"; `rsbounds.runs.stored_answers`
        has all answers, `rsbounds report` the certified accuracy at each radius.
    method, **options
        As in `rsbounds.certify`; of "scores" as in `rsbounds.certify_soft`, with ``map`` and
        ``temperature`` as in `SmoothedClassifier.certify_soft`; of
        "adaptive" ``looks``, ``shares``, ``gain`` and the margin method's; of "top-k" ``k`` and as
        in `rsbounds.certify_top_k`; with ``decide`` those of `rsbounds.Decide`, ``no`` being
        "futile" unless given.
    indices : sequence of int, optional
        Inputs to certify; all by default. An input's index is its noise stream.
    seed : int, optional
        Seed of the streams; that of the store where it exists, else a fresh one.
    model_id : str, optional
        A name for the model, such as that of a checkpoint; a store made with another is refused.
    smoothing : str or NoiseOptimizer, optional
        Find a noise law for each input, from the classifier's on (`optimize_noise`), and certify
        the input under it. The law is fixed before any draw that certifies and is stored with the
        input. Each certificate is then about the classifier smoothed with that one law in the
        whole neighbourhood; only a memory (`rsbounds.runs.remember`) makes them one classifier.
    on_error : {"record", "stop"}
        What to do with an input that cannot be read, has NaN or that the model fails on: keep it
        as invalid with the reason (it abstains, and the next call tries it again), or stop.
        Either way a run stops where none of the first inputs, or 100 in a row, can be certified.
    progress : bool, optional
        Show a progress line; None shows it where stderr is a terminal (on rank 0).

    Returns
    -------
    Certificates
        One entry per stored input, on every rank.

    Raises
    ------
    ValueError
        Bad arguments, a store of another run (the first difference is named), or one that
        another process writes to; under torchrun on every rank, whichever of them failed.
    KeyboardInterrupt
        On Ctrl-C, with a sentence on how to resume; finished inputs are stored.

    Warns
    -----
    RuntimeWarning
        Inputs that failed, or on which the model answered NaN: they abstain.

    See Also
    --------
    rsbounds.rebound : Another method or alpha for what is stored.
    SmoothedClassifier.certify : One input or a batch.

    Examples
    --------
    >>> import torch, rsbounds, rsbounds_torch, tempfile, pathlib
    >>> model = torch.nn.Linear(2, 2, bias=False)
    >>> _ = torch.nn.init.eye_(model.weight)
    >>> classifier = rsbounds_torch.SmoothedClassifier(
    ...     model, num_classes=2, noise=rsbounds.Gaussian(sigma=0.5))
    >>> data = [(torch.tensor([1.0, 0.0]), 0), (torch.tensor([0.0, 0.7]), 1)]
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     certificates = rsbounds_torch.certify_dataset(
    ...         classifier, data, store=pathlib.Path(folder, "run.sqlite"), n=1000, seed=1)
    >>> certificates.top
    array([0, 1])
    """
    data = items_of(dataset)
    wanted = indices_of(indices, len(data))
    path = os.fspath(store)
    finder = finder_of(smoothing)
    asked_kind, options = asked(kind, decide, options)
    with resumable(path):
        chosen = on_first(lambda: resumed_seed([path, *_shards(path)], seed))
        plan = everywhere(
            lambda: RunPlan(
                noise=classifier.noise, n0=n0, n=n,  # type: ignore[arg-type]
                alpha=alpha, kind=asked_kind, method=method,
                options=options,
                seed=chosen, num_classes=classifier.num_classes, inputs=len(data),
                model=fingerprint(classifier.model), model_id=model_id,
                smoothing=described(finder, classifier),
            )
        )  # fmt: skip
        same_everywhere(plan.config())
        return _run(
            subject_of(classifier, data, plan, finder), plan, wanted, path, on_error, progress
        )


def _run(
    subject: ModelSubject,
    plan: RunPlan,
    wanted: list[int],
    path: str,
    on_error: str,
    progress: bool | None,
) -> Certificates:
    """Every wanted input into the store, and what it then holds."""
    rank, size = ranks()
    held: list[RunStore] = []
    shown = progress if rank == 0 else False

    def opened() -> dict[str, Any]:
        # Held open to the end: a second run on this store is refused.
        store = RunStore(path, plan.config())
        held.append(store)
        _flag(path).unlink(missing_ok=True)
        _absorb(path, store)
        fresh = _probes.held_probes(store) is None
        if size == 1 or fresh:
            begin(subject, plan, wanted, store=store, on_error=on_error, progress=shown)
        met = [] if size == 1 else _probes.finished(r for r in store.rows() if not failed(r))
        return {"facts": store.facts(), "met": met}

    try:
        shared = on_first(opened)
        if size == 1:
            bounded = run_inputs(
                subject, plan, wanted, store=held[0], on_error=on_error, progress=progress
            ).bounded
        else:
            everywhere(lambda: _check(subject, plan, path, shared, shown))
            done = on_first(lambda: _retry(held[0]))
            todo = [i for i in wanted if i not in done]
            # Where a rule stops the draws, or they are scores, the ranks cannot share them; a law
            # found on two ranks might not be the same to the last digit.
            few = plan.work().votes and plan.smoothing is None and len(todo) < size
            deal = _deal_draws if few else _deal_inputs
            bounded = deal(subject, plan, todo, path, held, shared["facts"], on_error, shown)
        note, certificates = on_first(lambda: _finish(path, held[0], bounded))
        if note is not None and rank == 0:
            warnings.warn(note, RuntimeWarning, stacklevel=3)
    finally:
        for store in held:
            # A seed that nobody gave must be there for the next call.
            store.keep_empty = store.keep_empty or bool(_shards(path))
            store.close()
    everywhere(lambda: None)
    return certificates


def _check(
    subject: ModelSubject, plan: RunPlan, path: str, shared: dict[str, Any], shown: bool | None
) -> None:
    """The model of this rank, and its share of the finished inputs."""
    rank, size = ranks()
    _probes.check_model(subject, plan, path, shared["facts"]["probes"])
    _probes.check_rows(subject, plan, path, shared["met"][rank::size], shown)


def _retry(store: RunStore) -> set[int]:
    """Take failed inputs out; the inputs that remain."""
    store.forget([row.index for row in store.rows() if failed(row)])
    return store.done()


def _finish(
    path: str, store: RunStore, bounded: Sequence[Certificates]
) -> tuple[str | None, Certificates]:
    _absorb(path, store)
    for leftover in glob.glob(f"{glob.escape(path)}.rank*"):
        # Locks of ranks that were killed; those that live have closed their shards.
        Path(leftover).unlink(missing_ok=True)
    refuse_hopeless(store)
    return failures_note(store), certificates_of(store, bounded)


def _deal_inputs(
    subject: ModelSubject,
    plan: RunPlan,
    todo: Sequence[int],
    path: str,
    held: Sequence[RunStore],
    facts: dict[str, Any],
    on_error: str,
    shown: bool | None,
) -> tuple[Certificates, ...]:
    """Every rank takes a share of the inputs into a shard of its own."""
    rank, size = ranks()
    flag = _flag(path)

    def watch() -> None:
        if flag.exists():
            raise Elsewhere

    def share() -> tuple[Certificates, ...]:
        try:
            with RunStore(f"{path}.rank{rank}", plan.config()) as shard:
                for key, value in facts.items():
                    shard.set_fact(key, value)
                return run_inputs(
                    subject, plan, todo[rank::size], store=shard, on_error=on_error,
                    progress=shown, watch=watch,
                ).bounded  # fmt: skip
        except Exception:
            # Where even this fails, the others go on to their end first.
            with suppress(OSError):
                flag.touch()
            raise

    try:
        mine = everywhere(share)
    except Exception:
        if rank == 0:
            # What was finished belongs in one file; what cannot be merged now is by the next call.
            with suppress(ValueError, OSError):
                _absorb(path, held[0])
            flag.unlink(missing_ok=True)
        raise
    return tuple(part for parts in gather(mine) for part in parts)


def _deal_draws(
    subject: ModelSubject,
    plan: RunPlan,
    todo: Sequence[int],
    path: str,
    held: Sequence[RunStore],
    facts: dict[str, Any],
    on_error: str,
    shown: bool | None,
) -> tuple[Certificates, ...]:
    """Fewer inputs than ranks: every rank takes a share of each input's draws."""
    bounded: list[Certificates] = []
    for i in todo:
        votes = {
            role: _shared_votes(subject, i, role, n)
            for role, n in (("select", plan.n0), ("estimate", plan.n))
        }
        bounded += on_first(
            lambda votes=votes, i=i: (
                run_inputs(  # type: ignore[misc]
                    _Dealt(subject, votes),
                    plan,
                    [i],
                    store=held[0],
                    on_error=on_error,
                    progress=False,
                ).bounded
            )
        )
    return tuple(bounded)


def _shared_votes(subject: ModelSubject, index: int, role: Any, n: int) -> Any:
    """(counts, invalid) of all ranks together, or the exception of one of them."""
    rank, size = ranks()
    share = subject.classifier.share_of_draws(n, rank, size)
    nothing = np.zeros((1, subject.classifier.num_classes), np.int64), np.zeros(1, np.int64)

    def sampled() -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        if share[0] == share[1]:
            return nothing
        x = np.asarray(subject.item(index)[0])
        return subject.votes(x[None], [index], role, [share])

    outcomes = gather(outcome(sampled))
    for _, error in outcomes:
        if error is not None:
            return error
    parts = [part for part, _ in outcomes if part is not None]
    return sum(counts for counts, _ in parts), sum(invalid for _, invalid in parts)


class _Dealt:
    """A subject whose votes on one input are there already."""

    def __init__(self, subject: ModelSubject, votes: dict[str, Any]) -> None:
        self._votes = votes
        self.item, self.answers, self.scores = subject.item, subject.answers, subject.scores
        self.batch_size = subject.batch_size

    def votes(
        self,
        inputs: NDArray[Any],
        indices: Sequence[int],
        role: Any,
        spans: Sequence[tuple[int, int]],
    ) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        votes = self._votes[role]
        if isinstance(votes, Exception):
            raise votes
        return votes  # type: ignore[no-any-return]


# -- shards --------------------------------------------------------------------------------


def _shards(path: str) -> list[str]:
    return sorted(glob.glob(f"{glob.escape(path)}.rank*[0-9]"))


def _flag(path: str) -> Path:
    """A file that is there while a rank has failed and others still work."""
    return Path(f"{path}.stop")


def _absorb(path: str, store: RunStore) -> None:
    """Merge the shards that are there, and remove them."""
    shards = _shards(path)
    for shard in shards:
        with RunStore(shard) as part:
            held, given = _probes.held_probes(store), _probes.held_probes(part)
        if given is not None and held is None:
            _probes.keep_probes(store, given)
        elif given is not None and held != given:
            raise ValueError(
                f"stores {shard!r} and {path!r} were made by different models; allowed: shards of "
                "one run"
            )
    merge_stores(shards, store)
    for shard in shards:
        remove_store(shard)
