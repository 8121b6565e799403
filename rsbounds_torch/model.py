"""A PyTorch model under noise: votes, scores, certificates."""

from __future__ import annotations

import dataclasses
import secrets
import time
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray

import rsbounds
from rsbounds import _validate
from rsbounds._parallel import Progress
from rsbounds.bounds.margin import MarginMethod, margin_method
from rsbounds.certificates import certify_votes
from rsbounds.noises import Noise
from rsbounds_torch.sampling import (
    MAX_INDEX,
    ROLES,
    Piece,
    Role,
    SampledCounts,
    Tally,
    batches,
    checked_role,
    noise_stream,
)

if TYPE_CHECKING:
    from rsbounds import Adaptive, BoundedSamples, Certificates, Decide, Predictions

SimplexMap = Literal["softmax", "sparsemax", "hardmax"] | Callable[[torch.Tensor], torch.Tensor]
Inputs = torch.Tensor | ArrayLike

_MAPS = ("softmax", "sparsemax", "hardmax")
#: Winning classes kept before they are added to the table.
_KEPT_VOTES = 1 << 16
#: Bytes of noisy inputs that "auto" does not exceed, per kind of device.
_BATCH_BYTES = {"cpu": 1 << 28}
_BATCH_BYTES_ACCELERATOR = 1 << 31
#: Seconds after which "auto" tries no larger size.
_TUNING_SECONDS = 3.0


class SmoothedClassifier:
    """A model that answers under noise, and what can be certified of it.

    Noise is added to the raw input, before ``preprocess``; radii are in raw input units. The
    model is evaluated in eval mode without gradients, and is left in the mode it was in. No
    method touches the global random state: a model that draws random numbers itself finds them
    seeded by (seed, role, input).

    Parameters
    ----------
    model : callable
        A `torch.nn.Module` or function: a batch (m, ...) to (m, K) logits or probabilities,
        each row from its own input alone. It is not moved: it must be on ``device``.
    num_classes : int
        K >= 2.
    noise : Noise
        Law of the noise, such as ``rsbounds.Gaussian(sigma=0.25)``, in raw input units.
    input_bounds : (float, float), optional
        Range of raw inputs. An input outside is refused; noisy copies may leave it.
    preprocess : callable, optional
        Applied to each noisy batch, such as a normalisation.
    input_shape : tuple of int, optional
        Shape of one input, without batch dimension. It tells one input from a batch; where it
        is not given, the reading that the model accepts is taken, a batch first.
    device : str or torch.device, optional
        Where to draw and count; by default where the model's parameters are (else the CPU).
    batch_size : int or "auto"
        Noisy copies per forward pass. "auto" times a few sizes on the model, noise included,
        once per shape of input. Neither changes what is drawn.
    autocast : torch.dtype, optional
        Evaluate under `torch.autocast` in that type, such as ``torch.bfloat16``.
    compile : bool
        Evaluate ``torch.compile(model)``; the last batch is then filled up to full size.

    Notes
    -----
    Draws depend on (seed, role, input index, number of the draw) alone, so counts do not depend
    on the batch size, on the number of ranks or on where a run was resumed, except where the
    model's own arithmetic does: matrix products of another size round differently, and a tie
    between two logits that close may fall the other way. Inputs are converted to the model's
    type: float64 for a float64 model, or for float64 tensors given to a model without
    parameters; else float32.

    Examples
    --------
    >>> import torch, rsbounds, rsbounds_torch
    >>> model = torch.nn.Linear(2, 2, bias=False)
    >>> _ = torch.nn.init.eye_(model.weight)
    >>> classifier = rsbounds_torch.SmoothedClassifier(
    ...     model, num_classes=2, noise=rsbounds.Gaussian(sigma=0.5))
    >>> x = torch.tensor([[1.0, 0.0], [0.0, 0.7]])
    >>> certificates = classifier.certify(x, n=10_000, seed=1)
    >>> certificates.top
    array([0, 1])
    >>> bool((certificates.radius < [1 / 2**0.5, 0.7 / 2**0.5]).all())  # the true distances
    True
    """

    def __init__(
        self,
        model: Callable[[torch.Tensor], torch.Tensor],
        *,
        num_classes: int,
        noise: Noise,
        input_bounds: tuple[float, float] | None = None,
        preprocess: Callable[[torch.Tensor], torch.Tensor] | None = None,
        input_shape: Sequence[int] | None = None,
        device: str | torch.device | None = None,
        batch_size: int | Literal["auto"] = "auto",
        autocast: torch.dtype | None = None,
        compile: bool = False,
    ) -> None:
        if not callable(model):
            raise ValueError(f"model is {model!r}; allowed: a torch.nn.Module or a function")
        if not isinstance(noise, Noise):
            raise ValueError(
                f"noise is {noise!r}; allowed: a noise law such as Gaussian(sigma=0.25)"
            )
        if preprocess is not None and not callable(preprocess):
            raise ValueError(f"preprocess is {preprocess!r}; allowed: a callable, or None")
        if batch_size != "auto":
            try:
                batch_size = _validate.integer("batch_size", batch_size, low=1)
            except ValueError as error:
                raise ValueError(f"{error}, or 'auto'") from None
        if autocast is not None and autocast not in (torch.bfloat16, torch.float16):
            raise ValueError(
                f"autocast is {autocast!r}; allowed: torch.bfloat16, torch.float16 or None"
            )
        self.model = model
        self.num_classes = _validate.integer("num_classes", num_classes, low=2)
        self.noise = noise
        self.input_bounds = _bounds(input_bounds)
        self.preprocess = preprocess
        self.batch_size = batch_size
        self.autocast = autocast
        self.device, self._kind = _placement(model, device)
        self._shapes: set[tuple[int, ...]] = set()
        self._fixed_shape = input_shape is not None
        if input_shape is not None:
            self._shapes.add(
                tuple(_validate.integer("input_shape", side, low=1) for side in input_shape)
            )
        self._sizes: dict[tuple[tuple[int, ...], torch.dtype], int] = {}
        self._call: Callable[[torch.Tensor], Any] = model
        self._padded = bool(compile)
        if compile:
            self._call = torch.compile(model, dynamic=False)

    # -- sampling ------------------------------------------------------------------------

    def sample_counts(
        self,
        inputs: Inputs,
        *,
        n: int,
        role: Role = "estimate",
        seed: int | None = None,
        index: int | Sequence[int] = 0,
        draws: tuple[int, int] | None = None,
        progress: bool | None = None,
    ) -> SampledCounts:
        """Votes of the model on noisy copies of each input.

        The draws are independent given the seed; ``role`` separates the streams of the
        selection and of the estimation sample. Copies of several inputs share a batch, votes
        are counted on the device, and memory does not grow with n.

        Parameters
        ----------
        inputs : (B, ...) or (...) tensor or array_like
            A batch of inputs, or one input, in raw units.
        n : int
            Draws per input.
        role : {"estimate", "select"}
            What the counts are for.
        seed : int, optional
            Seed of the streams; a fresh one by default, recorded in the result.
        index : int or (B,) integers
            Stream number of each input; the first one's, if one number is given, and the
            others follow.
        draws : (int, int), optional
            Take only draws ``draws[0]`` to ``draws[1] - 1`` of the n, as one of several
            processes that share them.
        progress : bool, optional
            Show a progress line; None shows it where stderr is a terminal.

        Returns
        -------
        SampledCounts
            (B, K) votes with their role and seed, and the draws that gave NaN (``invalid``).

        Raises
        ------
        ValueError
            Bad arguments, or answers of the model that are not (m, K) numbers.

        Examples
        --------
        >>> import torch, rsbounds, rsbounds_torch
        >>> classifier = rsbounds_torch.SmoothedClassifier(
        ...     lambda batch: torch.stack([-batch[:, 0], batch[:, 0]], 1),
        ...     num_classes=2, noise=rsbounds.Gaussian(sigma=0.5))
        >>> counts = classifier.sample_counts([[0.4, 0.0], [-0.1, 0.3]], n=1000, seed=1)
        >>> counts.n, counts.values.argmax(axis=1)
        (array([1000, 1000]), array([1, 0]))
        """
        _validate.integer("n", n, low=1, high=_validate.MAX_N)
        first, stop = _share("draws", draws, n)
        chosen, kind = _seed(seed), checked_role(role)
        x, _ = self._inputs(inputs)
        streams = _streams(index, len(x))
        table = self._votes(
            x, [Piece(row, first, stop - first) for row in range(len(x))], kind, chosen, streams,
            progress,
        )  # fmt: skip
        return SampledCounts(table[:, :-1], kind, chosen, table[:, -1])

    def sample_scores(
        self,
        inputs: Inputs,
        *,
        n: int,
        map: SimplexMap | None = "softmax",
        temperature: float = 1.0,
        role: Role = "estimate",
        seed: int | None = None,
        index: int | Sequence[int] = 0,
        progress: bool | None = None,
    ) -> BoundedSamples:
        """Scores in [0, 1] of the model on noisy copies of each input.

        Parameters
        ----------
        inputs, n, role, seed, index, progress
            As in `sample_counts`, with the same draws.
        map : {"softmax", "sparsemax", "hardmax"} or callable, optional
            From (m, K) float64 logits to (m, K) scores in [0, 1]; None for a model that
            returns probabilities.
        temperature : float
            Logits are divided by it first.

        Returns
        -------
        BoundedSamples
            (n, K) scores for one input, (B, n, K) for a batch; support (0, 1).

        Raises
        ------
        ValueError
            Bad arguments, or scores that are NaN or outside [0, 1].

        Examples
        --------
        >>> import torch, rsbounds, rsbounds_torch
        >>> classifier = rsbounds_torch.SmoothedClassifier(
        ...     lambda batch: torch.stack([-batch[:, 0], batch[:, 0]], 1),
        ...     num_classes=2, noise=rsbounds.Gaussian(sigma=0.5))
        >>> classifier.sample_scores([[0.4, 0.0]], n=1000, seed=1).values.shape
        (1, 1000, 2)
        """
        from rsbounds import BoundedSamples

        _validate.integer("n", n, low=1, high=_validate.MAX_N)
        chosen, kind = _seed(seed), checked_role(role)
        scored = _simplex_map(map, temperature)
        x, single = self._inputs(inputs)
        streams = _streams(index, len(x))
        values, invalid = self._scores(x, n, scored, kind, chosen, streams, progress)
        if invalid.any():
            row = int(np.argmax(invalid > 0))
            raise ValueError(
                f"model returned NaN on {invalid[row]} of {n} draws of inputs[{row}]; allowed: "
                "numbers (certify_soft abstains on such inputs)"
            )
        return BoundedSamples(values[0] if single else values, (0.0, 1.0), chosen)

    def share_of_draws(self, n: int, rank: int, size: int) -> tuple[int, int]:
        """First draw and end of the part that one of ``size`` processes takes of n draws.

        Parameters
        ----------
        n, rank, size : int
            Draws, the process, and the number of processes.

        Returns
        -------
        (int, int)
            The parts of all processes together are 0 to n.

        Raises
        ------
        ValueError
            rank is not below size.

        Examples
        --------
        >>> import torch, rsbounds, rsbounds_torch
        >>> classifier = rsbounds_torch.SmoothedClassifier(
        ...     torch.nn.Linear(2, 2), num_classes=2, noise=rsbounds.Gaussian(sigma=0.5))
        >>> [classifier.share_of_draws(100, rank, 3) for rank in range(3)]
        [(0, 33), (33, 66), (66, 100)]
        """
        _validate.integer("n", n, low=1, high=_validate.MAX_N)
        _validate.integer("size", size, low=1)
        _validate.integer("rank", rank, low=0, high=size - 1)
        return n * rank // size, n * (rank + 1) // size

    # -- statistics: thin calls of the core -----------------------------------------------

    def predict(
        self,
        inputs: Inputs,
        *,
        n: int = 1000,
        alpha: float = 0.001,
        seed: int | None = None,
        index: int | Sequence[int] = 0,
        progress: bool | None = None,
    ) -> Predictions:
        """The smoothed classifier's answer at each input, or an abstention.

        With probability at least ``1 - alpha`` each row abstains or returns the class of
        largest probability under noise (Cohen et al. 2019, Proposition 2; `rsbounds.predict`).
        An input with a NaN answer abstains.

        Parameters
        ----------
        inputs, n, seed, index, progress
            As in `sample_counts`.
        alpha : float
            Probability of a wrong answer, in (0, 1).

        Returns
        -------
        Predictions
            Class, abstention and p-value for each input.

        Raises
        ------
        ValueError
            As in `sample_counts`, or a bad alpha.

        Examples
        --------
        >>> import torch, rsbounds, rsbounds_torch
        >>> classifier = rsbounds_torch.SmoothedClassifier(
        ...     lambda batch: torch.stack([-batch[:, 0], batch[:, 0]], 1),
        ...     num_classes=2, noise=rsbounds.Gaussian(sigma=0.5))
        >>> answers = classifier.predict([[0.4, 0.0], [0.0, 0.3]], seed=1)
        >>> answers.top[0], answers.abstained
        (np.int64(1), array([False,  True]))
        """
        _validate.alpha(alpha)
        counts = self.sample_counts(inputs, n=n, seed=seed, index=index, progress=progress)
        bad = counts.invalid > 0
        votes = np.where(bad[:, None], 1, counts.values)
        answers = rsbounds.predict(votes, alpha=alpha)
        _warn_invalid(bad, "they abstain")
        return dataclasses.replace(
            answers,
            abstained=answers.abstained | bad,
            p_value=np.where(bad, 1.0, answers.p_value),
        )

    def certify(
        self,
        inputs: Inputs,
        *,
        n: int = 100_000,
        n0: int = 100,
        alpha: float = 0.001,
        method: str | MarginMethod = "exact",
        seed: int | None = None,
        index: int | Sequence[int] = 0,
        progress: bool | None = None,
        **options: Any,
    ) -> Certificates:
        """Certified radii at each input.

        With probability at least ``1 - alpha``, for each input on its own, no perturbation
        smaller than its radius changes the smoothed classifier's answer (the margin method's
        theorem together with the noise law's, as in `rsbounds.certify`). The class comes from
        ``n0`` draws, the bound from ``n`` others. An input with a NaN answer abstains.

        Parameters
        ----------
        inputs, seed, index, progress
            As in `sample_counts`.
        n, n0 : int
            Draws of the estimation and of the selection sample.
        alpha, method, **options
            As in `rsbounds.certify`.

        Returns
        -------
        Certificates
            One entry per input; ``index`` holds the stream numbers.

        Raises
        ------
        ValueError
            As in `sample_counts` and `rsbounds.certify`.

        Warns
        -----
        RuntimeWarning
            The model answered NaN on some inputs.

        Examples
        --------
        >>> import torch, rsbounds, rsbounds_torch
        >>> classifier = rsbounds_torch.SmoothedClassifier(
        ...     lambda batch: torch.stack([-batch[:, 0], batch[:, 0]], 1),
        ...     num_classes=2, noise=rsbounds.Gaussian(sigma=0.5))
        >>> result = classifier.certify([[0.4, 0.0], [-0.9, 0.3]], n=10_000, seed=1)
        >>> bool((result.radius < [0.4, 0.9]).all())
        True
        """
        level, chosen = _validate.alpha(alpha), margin_method(method, options)
        _validate.integer("n", n, low=1, high=_validate.MAX_N)
        _validate.integer("n0", n0, low=1, high=_validate.MAX_N)
        key = _seed(seed)
        arguments: dict[str, Any] = {"seed": key, "index": index, "progress": progress}
        select = self.sample_counts(inputs, n=n0, role="select", **arguments)
        estimate = self.sample_counts(inputs, n=n, role="estimate", **arguments)
        invalid = select.invalid + estimate.invalid
        result = certify_votes(
            select.values, estimate.values, invalid, noise=self.noise, alpha=level, method=chosen
        )
        _warn_invalid(invalid > 0, "they abstain")
        return dataclasses.replace(
            result, n=estimate.n, index=np.array(_streams(index, len(estimate)))
        )

    def certify_soft(
        self,
        inputs: Inputs,
        *,
        n: int = 10_000,
        n0: int = 100,
        alpha: float = 0.001,
        map: SimplexMap | None = "softmax",
        temperature: float = 1.0,
        seed: int | None = None,
        index: int | Sequence[int] = 0,
        progress: bool | None = None,
        **options: Any,
    ) -> Certificates:
        """Certified radii of the mean scores under noise, at each input.

        With probability at least ``1 - alpha``, for each input on its own, the class has the
        largest mean score under noise at every point closer than its radius
        (`rsbounds.certify_soft`, which names the theorem). The class comes from the mean of
        ``n0`` draws, the bound from ``n`` others. An input with a NaN answer abstains.

        Parameters
        ----------
        inputs, seed, index, progress
            As in `sample_counts`.
        n, n0 : int
            Draws of the estimation and of the selection sample, n >= 2.
        map, temperature
            As in `sample_scores`.
        alpha, **options
            As in `rsbounds.certify_soft`: ``method``, ``pair``, ``share``.

        Returns
        -------
        Certificates
            One entry per input; ``index`` holds the stream numbers.

        Raises
        ------
        ValueError
            As in `sample_scores` and `rsbounds.certify_soft`.

        Warns
        -----
        RuntimeWarning
            The model answered NaN on some inputs.

        Examples
        --------
        >>> import torch, rsbounds, rsbounds_torch
        >>> classifier = rsbounds_torch.SmoothedClassifier(
        ...     lambda batch: torch.stack([-batch[:, 0], batch[:, 0]], 1),
        ...     num_classes=2, noise=rsbounds.Gaussian(sigma=0.5))
        >>> result = classifier.certify_soft([[1.5, 0.0]], n=2000, seed=1)
        >>> bool(0.4 < result.radius[0] < 1.5)
        True
        """
        _validate.integer("n", n, low=2, high=_validate.MAX_N)
        _validate.integer("n0", n0, low=1, high=_validate.MAX_N)
        scored, key = _simplex_map(map, temperature), _seed(seed)
        x, _ = self._inputs(inputs)
        streams = _streams(index, len(x))
        rows: list[Certificates] = []
        bad = np.zeros(len(x), dtype=bool)
        with Progress(len(x), "inputs", progress) as bar:
            for row, stream in enumerate(streams):
                one = x[row : row + 1]
                first, nan0 = self._scores(one, n0, scored, "select", key, [stream], False)
                scores, nan = self._scores(one, n, scored, "estimate", key, [stream], False)
                bad[row] = nan0[0] > 0 or nan[0] > 0
                if bad[row]:
                    # Equal scores certify nothing.
                    scores = np.full((1, n, self.num_classes), 1.0 / self.num_classes)
                top = 0 if bad[row] else int(first[0].mean(axis=0).argmax())
                rows.append(
                    rsbounds.certify_soft(scores[0], top, noise=self.noise, alpha=alpha, **options)
                )
                bar.advance(1)
        _warn_invalid(bad, "they abstain")
        joined: dict[str, Any] = {
            f.name: np.concatenate([getattr(r, f.name) for r in rows])
            for f in dataclasses.fields(rows[0])
            if isinstance(getattr(rows[0], f.name), np.ndarray)
        }
        joined["abstained"] = joined["abstained"] | bad
        joined["radius"] = np.where(bad, 0.0, joined["radius"])
        return dataclasses.replace(rows[0], **{**joined, "index": np.array(streams)})

    def decide(
        self,
        inputs: Inputs,
        radius: ArrayLike,
        *,
        n0: int = 100,
        limit: int = 1_000_000,
        seed: int | None = None,
        index: int | Sequence[int] = 0,
        **options: Any,
    ) -> Decide:
        """Is the certified radius at least ``radius``? Draws until either answer is proven.

        The probability of ever giving a wrong answer is at most alpha, for each input on its
        own (`rsbounds.Decide`, which names the theorem). A NaN answer counts as a vote against
        the class, which keeps the guarantee.

        Parameters
        ----------
        inputs, seed, index
            As in `sample_counts`.
        radius : float or (B,) floats
            The radius in question, > 0.
        n0 : int
            Draws of the selection sample.
        limit : int
            Draws after which an input without an answer stays undecided.
        **options
            Further arguments of `rsbounds.Decide`, such as ``alpha``.

        Returns
        -------
        Decide
            Finished: ``status``, ``n`` and ``certificates()``.

        Raises
        ------
        ValueError
            As in `sample_counts` and `rsbounds.Decide`.

        Examples
        --------
        >>> import torch, rsbounds, rsbounds_torch
        >>> classifier = rsbounds_torch.SmoothedClassifier(
        ...     lambda batch: torch.stack([-batch[:, 0], batch[:, 0]], 1),
        ...     num_classes=2, noise=rsbounds.Gaussian(sigma=0.5))
        >>> classifier.decide([[0.9, 0.0], [0.2, 0.0]], radius=0.5, seed=1).status.tolist()
        ['yes', 'no']
        """
        key = _seed(seed)
        x, _ = self._inputs(inputs)
        streams = _streams(index, len(x))
        top = self._select(x, n0, key, streams)
        test = rsbounds.Decide(radius, top, noise=self.noise, limit=limit, **options)
        invalid = np.zeros(len(x), dtype=np.int64)
        while test.active.any():
            counts, nan = self._further(x, test.n, test.wanted, top.top, key, streams)
            invalid += nan
            test.update(counts)
        _warn_invalid(invalid > 0, "those draws count against the class")
        return test

    def adaptive(
        self,
        inputs: Inputs,
        *,
        n0: int = 100,
        seed: int | None = None,
        index: int | Sequence[int] = 0,
        **options: Any,
    ) -> Adaptive:
        """Certified radii with as many draws as each input is worth.

        With probability at least ``1 - alpha``, for each input on its own, its radius is valid
        (`rsbounds.Adaptive`: a union bound over its looks). A NaN answer counts as a vote for
        another class, which keeps the guarantee.

        Parameters
        ----------
        inputs, seed, index
            As in `sample_counts`.
        n0 : int
            Draws of the selection sample.
        **options
            Arguments of `rsbounds.Adaptive`: ``alpha``, ``looks``, ``gain``, ``method``, ...

        Returns
        -------
        Adaptive
            Finished: ``n`` and ``certificates()``.

        Raises
        ------
        ValueError
            As in `sample_counts` and `rsbounds.Adaptive`.

        Examples
        --------
        >>> import torch, rsbounds, rsbounds_torch
        >>> classifier = rsbounds_torch.SmoothedClassifier(
        ...     lambda batch: torch.stack([-batch[:, 0], batch[:, 0]], 1),
        ...     num_classes=2, noise=rsbounds.Gaussian(sigma=0.5))
        >>> run = classifier.adaptive([[0.9, 0.0], [0.05, 0.0]], looks=(100, 1000, 5000), seed=1)
        >>> bool((run.certificates().radius < [0.9, 0.05]).all())
        True
        """
        key = _seed(seed)
        x, _ = self._inputs(inputs)
        streams = _streams(index, len(x))
        top = self._select(x, n0, key, streams)
        run = rsbounds.Adaptive(top, noise=self.noise, **options)
        invalid = np.zeros(len(x), dtype=np.int64)
        while run.active.any():
            counts, nan = self._further(x, run.n, run.wanted, top.top, key, streams)
            invalid += nan
            run.update(counts)
        _warn_invalid(invalid > 0, "those draws count against the class")
        return run

    def _select(
        self, x: torch.Tensor, n0: int, seed: int, streams: list[int]
    ) -> rsbounds.Selection:
        """Top classes from a selection sample; a NaN is a vote for nothing."""
        _validate.integer("n0", n0, low=1, high=_validate.MAX_N)
        pieces = [Piece(row, 0, n0) for row in range(len(x))]
        table = self._votes(x, pieces, "select", seed, streams, False)[:, :-1].copy()
        table[table.sum(axis=1) == 0, 0] = 1
        return rsbounds.select_top(table)

    def _further(
        self,
        x: torch.Tensor,
        first: NDArray[np.int64],
        more: NDArray[np.int64],
        top: NDArray[np.int64],
        seed: int,
        streams: list[int],
    ) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Votes of draws ``first`` to ``first + more``; NaN goes to a class that is not top."""
        rows = np.flatnonzero(more).tolist()
        pieces = [Piece(row, int(first[row]), int(more[row])) for row in rows]
        table = self._votes(x, pieces, "estimate", seed, streams, False)
        votes, invalid = table[:, :-1].copy(), table[:, -1]
        # Of the classifier that answers that class instead of NaN this is an honest count, and
        # its margin is no larger.
        votes[np.arange(len(x)), (top + 1) % self.num_classes] += invalid
        return votes, invalid

    # -- the loop ------------------------------------------------------------------------

    def _votes(
        self,
        x: torch.Tensor,
        pieces: list[Piece],
        role: Role,
        seed: int,
        streams: list[int],
        progress: bool | None,
    ) -> NDArray[np.int64]:
        size = self._size(x)
        tally = Tally(len(x), self.num_classes, max(size, _KEPT_VOTES), self.device)
        self._run(x, pieces, size, role, seed, streams, tally.add, f"{role} votes", progress)
        return tally.result()

    def _scores(
        self,
        x: torch.Tensor,
        n: int,
        scored: Callable[[torch.Tensor], torch.Tensor],
        role: Role,
        seed: int,
        streams: list[int],
        progress: bool | None,
    ) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
        """(B, n, K) scores, and (B,) draws with NaN, whose scores are zero."""
        values = torch.empty((len(x), n, self.num_classes), dtype=torch.float64)
        invalid = torch.zeros(len(x), dtype=torch.int64)

        def keep(answers: torch.Tensor, pieces: list[Piece]) -> None:
            logits = answers.double()
            nan = torch.isnan(logits).any(dim=1)
            scores = scored(torch.where(nan[:, None], 0.0, logits))
            _check_scores(scores, logits.shape)
            part = torch.where(nan[:, None], 0.0, scores.clamp(0.0, 1.0)).cpu()
            missing = nan.cpu()
            at = 0
            for p in pieces:
                span = slice(at, at + p.count)
                values[p.row, p.first : p.first + p.count] = part[span]
                invalid[p.row] += missing[span].sum()
                at += p.count

        pieces = [Piece(row, 0, n) for row in range(len(x))]
        size = self._size(x)
        self._run(x, pieces, size, role, seed, streams, keep, f"{role} scores", progress)
        return values.numpy(), invalid.numpy()

    def _run(
        self,
        x: torch.Tensor,
        pieces: Iterable[Piece],
        size: int,
        role: Role,
        seed: int,
        streams: list[int],
        sink: Callable[[torch.Tensor, list[Piece]], None],
        label: str,
        progress: bool | None,
    ) -> None:
        """Draw, evaluate and hand on, batch by batch, in one buffer."""
        pieces = list(pieces)
        total = sum(p.count for p in pieces)
        size = size if self._padded else max(min(size, total), 1)
        shape = tuple(x.shape[1:])
        flat = x.reshape(len(x), -1)
        batch = x.new_zeros((size, *shape))
        rows = batch.view(size, -1)
        stream = noise_stream(self.noise, shape, seed=seed, role=role, device=self.device)
        key = np.random.SeedSequence(
            seed, spawn_key=(len(ROLES) + ROLES.index(role), streams[0], pieces[0].first)
        )
        own = int(key.generate_state(1, np.uint64)[0])
        with self._evaluating(own), Progress(total, label, progress) as bar:
            for group in batches(pieces, size):
                at = 0
                for p in group:
                    stream.add(rows[at : at + p.count], flat[p.row], streams[p.row], p.first)
                    at += p.count
                sink(self._answers(batch, at), group)
                bar.advance(at)

    def _answers(self, batch: torch.Tensor, used: int) -> torch.Tensor:
        """(used, K) scores for the first rows of a batch."""
        given = batch if self._padded else batch[:used]
        ready = given if self.preprocess is None else self.preprocess(given)
        if self._kind is not None and self.autocast is None and ready.dtype != self._kind:
            ready = ready.to(self._kind)
        scores = self._call(ready)
        if not isinstance(scores, torch.Tensor):
            raise ValueError(
                f"model returned {type(scores).__name__}; allowed: a tensor of shape "
                f"(m, {self.num_classes})"
            )
        if scores.ndim == 2 and len(scores) == len(given) and scores.shape[1] != self.num_classes:
            raise ValueError(
                f"model returned {scores.shape[1]} scores per input; allowed: num_classes = "
                f"{self.num_classes}"
            )
        if scores.shape != (len(given), self.num_classes) or scores.is_complex():
            raise ValueError(
                f"model returned shape {tuple(scores.shape)}, type {scores.dtype}, for a batch of "
                f"{len(given)}; allowed: ({len(given)}, {self.num_classes}) numbers"
            )
        if scores.device != self.device:
            raise ValueError(
                f"model returned scores on {scores.device}; allowed: device = {self.device}"
            )
        return scores.detach()[:used]

    @contextmanager
    def _evaluating(self, seed: int) -> Iterator[None]:
        """Eval mode, no gradients, the model's own random numbers seeded; all undone after."""
        modules = list(self.model.modules()) if isinstance(self.model, torch.nn.Module) else []
        modes = [module.training for module in modules]
        on_cuda = self.device.type == "cuda"
        with ExitStack() as stack:
            stack.enter_context(torch.random.fork_rng([self.device] if on_cuda else []))
            torch.default_generator.manual_seed(seed)
            if on_cuda:
                torch.cuda.default_generators[self.device.index].manual_seed(seed)
            # Not inference_mode: a model that caches a tensor could not train on it later.
            stack.enter_context(torch.no_grad())
            if self.autocast is not None:
                stack.enter_context(torch.autocast(self.device.type, dtype=self.autocast))
            if any(modes) and isinstance(self.model, torch.nn.Module):
                self.model.eval()
            try:
                yield
            finally:
                for module, mode in zip(modules, modes, strict=True):
                    module.training = mode

    # -- inputs --------------------------------------------------------------------------

    def _inputs(self, inputs: Inputs) -> tuple[torch.Tensor, bool]:
        """(B, ...) inputs on the device, and whether one input was given."""
        if isinstance(inputs, torch.Tensor):
            given = inputs.detach()
        else:
            try:
                array = np.asarray(inputs)
                if array.dtype.kind not in "iubf" or array.dtype.itemsize > 8:
                    raise TypeError
                # A copy where torch would warn that it cannot write; torch knows few unsigned
                # types.
                if array.dtype.kind == "u" and array.dtype.itemsize > 1:
                    array = array.astype(np.float64)
                given = torch.from_numpy(np.array(array, order="C"))
            except (TypeError, ValueError):
                raise ValueError(
                    f"inputs has type {type(inputs).__name__}; allowed: a tensor or array of "
                    "numbers"
                ) from None
        if given.is_complex() or given.is_quantized:
            raise ValueError(f"inputs have type {given.dtype}; allowed: real numbers")
        if given.numel() == 0:
            raise ValueError(f"inputs have shape {tuple(given.shape)}; allowed: at least one")
        _check_values(given, self.input_bounds)
        kind = self._kind
        if kind is None:
            # A list of numbers becomes float64 in numpy without anybody asking for it.
            wide = isinstance(inputs, torch.Tensor) and inputs.dtype == torch.float64
            kind = torch.float64 if wide else torch.float32
        kind = torch.float64 if kind == torch.float64 else torch.float32
        x = given.to(self.device, kind).contiguous()
        single = self._is_single(x)
        return (x[None] if single else x), single

    def _is_single(self, x: torch.Tensor) -> bool:
        shape = tuple(x.shape)
        if shape[1:] in self._shapes and len(shape) > 0:
            return False
        if shape in self._shapes:
            return True
        if self._fixed_shape:
            (known,) = self._shapes
            raise ValueError(
                f"inputs have shape {shape}; allowed: {known} or (B, {', '.join(map(str, known))})"
            )
        refusals = []
        for single in (False, True):
            batch = x[None] if single else x[:2]
            if batch.ndim < 2:
                continue
            try:
                with self._evaluating(0):
                    self._answers(batch.clone(), len(batch))
            except ValueError as error:
                refusals.append(error)
            except (RuntimeError, TypeError, IndexError) as error:
                what = str(error).strip().splitlines()[0] if str(error) else repr(error)
                refusals.append(
                    ValueError(
                        f"model failed on inputs of shape {tuple(batch.shape)}, type "
                        f"{batch.dtype}, device {batch.device}: {what}; allowed: what the model "
                        "takes, (B, ...) or one input"
                    )
                )
            else:
                self._shapes.add(tuple(batch.shape[1:]))
                return single
        raise refusals[0]

    # -- batch size ----------------------------------------------------------------------

    def _size(self, x: torch.Tensor) -> int:
        if self.batch_size != "auto":
            return int(self.batch_size)
        key = (tuple(x.shape[1:]), x.dtype)
        if key not in self._sizes:
            self._sizes[key] = self._tuned(x[:1])
        return self._sizes[key]

    def _tuned(self, x: torch.Tensor) -> int:
        """The fastest of the sizes tried."""
        limit = _BATCH_BYTES.get(self.device.type, _BATCH_BYTES_ACCELERATOR)
        largest = max(min(limit // (x.numel() * x.element_size()), _KEPT_VOTES), 1)
        start = time.perf_counter()
        best: dict[int, float] = {}
        size, idle, slow = 1, 0, 0
        while size <= largest and idle < 3 and slow < 2:
            took = self._timed(x, size, 0.03)
            if took is None:
                break
            # One slow size may be other work on the machine; two are the end of a cache.
            slow = slow + 1 if best and took > 1.3 * min(best.values()) else 0
            idle = idle + 1 if best and took > 0.97 * min(best.values()) else 0
            best[size] = took
            if time.perf_counter() - start > _TUNING_SECONDS and size >= 8:
                break
            # Far from full: the step may be larger.
            size *= 4 if size <= 4 and took * size < 0.002 else 2
        if not best:
            return 1
        # Sizes near the best once more, in turns, because other work on the machine disturbs.
        for _ in range(3):
            fastest = min(best.values())
            for near in [s for s, t in best.items() if t < 1.15 * fastest]:
                again = self._timed(x, near, 0.03)
                best[near] = min(best[near], again or best[near])
        return min(best, key=lambda s: best[s])

    def _timed(self, x: torch.Tensor, size: int, seconds: float) -> float | None:
        """Seconds per copy at a batch size, the best of a few runs; None where memory ends."""
        piece = [Piece(0, 0, size)]
        taken: list[float] = []
        # On a busy machine a long batch is always interrupted and a short one is not: the time
        # of this thread, which works or spins throughout, ranks sizes as a quiet machine does.
        clock = time.thread_time if self.device.type == "cpu" else time.perf_counter
        try:
            tally = Tally(1, self.num_classes, _KEPT_VOTES + size, self.device)
            batch = x.new_zeros((size, *x.shape[1:]))
            rows, flat = batch.view(size, -1), x.reshape(-1)
            stream = noise_stream(
                self.noise, tuple(x.shape[1:]), seed=0, role="estimate", device=self.device
            )
            with self._evaluating(0):
                begin = time.perf_counter()
                while len(taken) < 3 or time.perf_counter() - begin < seconds:
                    before = clock()
                    stream.add(rows, flat, 0, 0)
                    tally.add(self._answers(batch, size), piece)
                    self._wait()
                    taken.append(clock() - before)
                    if taken[-1] > 10 * seconds and len(taken) > 1:
                        break
        except RuntimeError as error:
            if "out of memory" not in str(error).lower() and "allocate" not in str(error).lower():
                raise
            return None
        return min(taken) / size

    def _wait(self) -> None:
        if self.device.type != "cpu":
            getattr(torch, self.device.type).synchronize()


def _bounds(bounds: Any) -> tuple[float, float] | None:
    if bounds is None:
        return None
    try:
        low, high = (float(value) for value in bounds)
    except (TypeError, ValueError):
        raise ValueError(f"input_bounds is {bounds!r}; allowed: (low, high), or None") from None
    if not low < high:
        raise ValueError(f"input_bounds is {bounds!r}; allowed: (low, high) with low < high")
    return low, high


def _placement(model: Any, device: Any) -> tuple[torch.device, torch.dtype | None]:
    """Device to work on, and the type of the model's parameters (None where it has none)."""
    tensors: list[torch.Tensor] = []
    if isinstance(model, torch.nn.Module):
        tensors = [*model.parameters(), *model.buffers()]
    kinds = [t.dtype for t in tensors if t.is_floating_point()]
    kind = kinds[0] if kinds else None
    if device is None:
        chosen = tensors[0].device if tensors else torch.device("cpu")
    else:
        try:
            chosen = torch.device(device)
            # The tensor knows which of several devices "cuda" means, and that it is there.
            chosen = torch.empty(0, device=chosen).device
        except (RuntimeError, TypeError, AssertionError) as error:
            what = str(error).strip().splitlines()[0]
            raise ValueError(
                f"device is {device!r}; allowed: a device of this machine ({what})"
            ) from None
        if tensors and all(t.device != chosen for t in tensors):
            raise ValueError(
                f"device is {device!r} but the model is on {tensors[0].device}; allowed: the "
                f"model's device (move it first: model.to({str(chosen)!r}))"
            )
    return chosen, kind


def _check_values(given: torch.Tensor, bounds: tuple[float, float] | None) -> None:
    """Refuse numbers that are not finite, or outside the bounds."""
    low, high = (-np.inf, np.inf) if bounds is None else bounds
    allowed = "finite numbers" if bounds is None else f"numbers from {low:g} to {high:g}"
    if given.dtype == torch.bool:
        given = given.to(torch.uint8)
    bad = ~((given >= low) & (given <= high))
    if given.is_floating_point():
        bad |= ~torch.isfinite(given)
    if bool(bad.any()):
        where = tuple(int(i) for i in bad.nonzero()[0])
        reason = "" if bounds is None else " (input_bounds)"
        raise ValueError(
            f"inputs{list(where)} is {given[where].item()}; allowed: {allowed}{reason}"
        )


def _seed(seed: int | None) -> int:
    return secrets.randbits(63) if seed is None else _validate.integer("seed", seed, low=0)


def _streams(index: int | Sequence[int], rows: int) -> list[int]:
    if isinstance(index, (int, np.integer)):
        first = _validate.integer("index", index, low=0, high=MAX_INDEX - rows + 1)
        return list(range(first, first + rows))
    try:
        values = [_validate.integer("index", i, low=0, high=MAX_INDEX) for i in index]
    except TypeError:
        raise ValueError(f"index is {index!r}; allowed: an integer, or one per input") from None
    if len(values) != rows:
        raise ValueError(f"index has {len(values)} entries; allowed: {rows}, one per input")
    if len(set(values)) != rows:
        raise ValueError("index has equal entries; allowed: a stream number of its own per input")
    return values


def _share(name: str, draws: tuple[int, int] | None, n: int) -> tuple[int, int]:
    if draws is None:
        return 0, n
    try:
        first, stop = (int(value) for value in draws)
    except (TypeError, ValueError):
        first, stop = 0, 0
    if not 0 <= first < stop <= n:
        raise ValueError(f"{name} is {draws!r}; allowed: (first, stop), 0 <= first < stop <= {n}")
    return first, stop


def _warn_invalid(bad: NDArray[np.bool_], what: str) -> None:
    if bad.any():
        rows = np.flatnonzero(bad)
        shown = ", ".join(map(str, rows[:5])) + (", ..." if len(rows) > 5 else "")
        warnings.warn(
            f"the model answered NaN on {len(rows)} of {len(bad)} inputs ({shown}); {what}",
            RuntimeWarning,
            stacklevel=3,
        )


def _simplex_map(
    given: SimplexMap | None, temperature: float
) -> Callable[[torch.Tensor], torch.Tensor]:
    scale = _validate.positive("temperature", temperature)
    if given is None:
        return lambda scores: scores
    if callable(given):
        return lambda logits: given(logits / scale)
    _validate.choice("map", given, _MAPS)
    if given == "softmax":
        return lambda logits: torch.softmax(logits / scale, dim=1)
    if given == "sparsemax":
        return lambda logits: sparsemax(logits / scale)
    return lambda logits: torch.nn.functional.one_hot(logits.argmax(1), logits.shape[1]).double()


def sparsemax(logits: torch.Tensor) -> torch.Tensor:
    """Euclidean projection of each row onto the simplex (Martins and Astudillo 2016, Alg. 1).

    Parameters
    ----------
    logits : (m, K) tensor
        Finite numbers.

    Returns
    -------
    (m, K) tensor
        Scores >= 0 that add to 1.

    Examples
    --------
    >>> import torch
    >>> sparsemax(torch.tensor([[2.0, 0.0, 1.5]])).tolist()
    [[0.75, 0.0, 0.25]]
    """
    shifted = logits - logits.max(dim=1, keepdim=True).values
    ordered = torch.sort(shifted, dim=1, descending=True).values
    sums = ordered.cumsum(1) - 1.0
    rank = torch.arange(1, logits.shape[1] + 1, device=logits.device, dtype=logits.dtype)
    kept = (ordered * rank > sums).sum(dim=1, keepdim=True)
    threshold = sums.gather(1, kept - 1) / kept
    return (shifted - threshold).clamp(min=0.0)


def _check_scores(scores: Any, shape: torch.Size) -> None:
    if not isinstance(scores, torch.Tensor) or scores.shape != shape:
        got = tuple(scores.shape) if isinstance(scores, torch.Tensor) else type(scores).__name__
        raise ValueError(f"map returned {got}; allowed: scores of shape {tuple(shape)}")
    # A sum of rounded terms may pass 1 by a little; that is clipped.
    outside = ~((scores >= -1e-6) & (scores <= 1.0 + 1e-6))
    if bool(outside.any()):
        row, column = (int(i) for i in outside.nonzero()[0])
        raise ValueError(
            f"map returned {scores[row, column].item()} for class {column}; allowed: scores in "
            "[0, 1] (map=None is for models that return probabilities)"
        )
