"""A PyTorch model under noise: votes, scores, certificates."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

import rsbounds
from rsbounds import _text, _validate
from rsbounds._parallel import Progress
from rsbounds.bounds.margin import MarginMethod, margin_method
from rsbounds.bounds.mean import MeanMethod, mean_method
from rsbounds.certificates import certify_votes, predict_votes, voted_top
from rsbounds.certificates.complete import draws_of, sampled_only
from rsbounds.certificates.exact import farther, law_of_sample
from rsbounds.certificates.scores import Scores, certify_score_rows, score_rows
from rsbounds.certificates.soft import Pair
from rsbounds.noises import Noise
from rsbounds.sequential._feed import feed
from rsbounds_torch._inputs import Inputs, chosen_seed, stream_numbers
from rsbounds_torch._outputs import Outputs
from rsbounds_torch.maps import SimplexMap, simplex_map

if TYPE_CHECKING:
    from rsbounds import Adaptive, Certificates, Decide, Predictions


class SmoothedClassifier(Outputs):
    """A model that answers under noise, and what can be certified of it.

    Noise is added to the raw input, before ``preprocess``; radii are in raw input units. The
    model is evaluated in eval mode without gradients and is left in the mode it was in, with
    the modules inside functions (`modules`), and from several threads at once. For each new
    shape of input a few noisy rows are evaluated first: a model whose answer to an input
    depends on the rest of its batch, or does not repeat, is refused. The global random state
    is left as it was.

    Parameters
    ----------
    model : callable
        A `torch.nn.Module` or function: a batch (m, ...) to (m, K) logits or probabilities,
        each row from its own input alone (or give ``batch_size=1``). It is not moved: it must
        be on ``device``.
    num_classes : int
        K >= 2.
    noise : Noise
        Law of the noise, such as ``rsbounds.Gaussian(sigma=0.25)``, in raw input units.
    lattice : float, "auto" or None
        Where the law says nothing of a lattice: the one that its noise is drawn on, exactly
        (`rsbounds.sample_counts`), so that certificates hold in floating point; None adds floats.
    input_bounds : (float, float), optional
        Range of raw inputs. An input outside is refused; noisy copies may leave it. Integers,
        such as pixels, are refused without it: it says in what units the noise is.
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
    stochastic : bool
        The model is meant to draw random numbers. Each draw is then a forward pass of its own,
        many times slower than in batches, with torch's, numpy's and Python's global random
        numbers seeded by (seed, role, input, draw), one thread at a time.

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

    def predict(
        self,
        inputs: Inputs,
        *,
        n: int | None = None,
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
        inputs, seed, index, progress
            As in `sample_counts`.
        n : int, optional
            Draws, 1000 unless given; all cells of a law that is enumerated, whose answer is known.
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

        See Also
        --------
        rsbounds.predict : The same for counts.

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
        draws, spent = draws_of(self.noise, n, 1000), _validate.alpha(alpha)
        counts = self.sample_counts(inputs, n=draws, seed=seed, index=index, progress=progress)
        _text.warn_invalid("the model", counts.invalid > 0)
        return predict_votes(counts, counts.invalid, alpha=spent)

    def certify(
        self,
        inputs: Inputs,
        *,
        n: int | None = None,
        n0: int | None = None,
        alpha: float = 0.001,
        method: str | MarginMethod | None = None,
        seed: int | None = None,
        index: int | Sequence[int] = 0,
        noise: Noise | None = None,
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
        n, n0 : int, optional
            Draws of the estimation and of the selection sample, 100,000 and 100 unless given; a
            law that is enumerated has all of its cells, which say the class, too.
        alpha, method, **options
            As in `rsbounds.certify`.

        noise : Noise, optional
            In place of the classifier's law; one with parameters for B inputs gives each its own.

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

        See Also
        --------
        rsbounds.certify : The same for counts.
        rsbounds_torch.certify_dataset : A data set, with a run store.

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
        source = self if noise is None else self.under(noise)
        named = source.noise.default_method if method is None else method
        level, chosen = _validate.alpha(alpha), margin_method(named, options)
        draws = draws_of(source.noise, n, 100_000)
        draws0 = draws_of(source.noise, n0, 100, name="n0")
        key = chosen_seed(seed)
        arguments: dict[str, Any] = {"seed": key, "index": index, "progress": progress}
        if source.noise.cells is None:
            select = source.sample_counts(inputs, n=draws0, role="select", **arguments)
        estimate = source.sample_counts(inputs, n=draws, role="estimate", **arguments)
        if source.noise.cells is not None:
            select = estimate
        invalid = select.invalid + estimate.invalid
        law, offset = law_of_sample(source.noise, estimate)
        result = certify_votes(
            select.values, estimate.values, invalid, noise=law, alpha=level, method=chosen,
            offset=offset,
        )  # fmt: skip
        _text.warn_invalid("the model", invalid > 0)
        return dataclasses.replace(
            result, n=estimate.n, index=np.array(stream_numbers(index, len(estimate)))
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
        pair: Pair = "split",
        share: float = 0.5,
        method: str | MeanMethod = "goal",
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
        alpha, pair, share, method, **options
            As in `rsbounds.certify_soft`.

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

        See Also
        --------
        rsbounds.certify_soft : The same for scores.

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
        sampled_only(self.noise, "scores")
        _validate.integer("n", n, low=2, high=_validate.MAX_N)
        _validate.integer("n0", n0, low=1, high=_validate.MAX_N)
        level, scored, key = (
            _validate.alpha(alpha),
            simplex_map(map, temperature),
            chosen_seed(seed),
        )
        mean = mean_method(method, options)
        x, _ = self._batch_of(inputs)
        self.noise.check_rows(len(x))
        streams = stream_numbers(index, len(x))
        invalid = np.zeros(len(x), dtype=np.int64)

        def samples() -> Iterator[Scores]:
            # One after the other: n times K numbers each.
            with Progress(len(x), "inputs", progress) as bar:
                for row, stream in enumerate(streams):
                    source = self.under(self.noise.at([row]))
                    one: Any = x[row : row + 1]
                    settings: Any = {"seed": key, "streams": [stream]}
                    first, nan0 = source.span_scores(one, n0, scored, role="select", **settings)
                    scores, nan = source.span_scores(one, n, scored, role="estimate", **settings)
                    invalid[row] = nan0[0] + nan[0]
                    yield Scores(first[0], scores[0], int(invalid[row]))
                    bar.advance(1)

        chosen: Any = {
            "noise": self.noise, "alpha": level, "method": mean, "pair": pair, "share": share
        }  # fmt: skip
        rows = score_rows(samples(), **chosen)
        result = certify_score_rows(rows, np.full(len(x), n), **chosen, offset=self._offset(inputs))
        _text.warn_invalid("the model", invalid > 0)
        return dataclasses.replace(result, index=np.array(streams))

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
        own (`rsbounds.Decide`, which names the theorem). An input with a NaN answer stays
        undecided.

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
            Further arguments of `rsbounds.Decide`, such as ``alpha`` and ``no``.

        Returns
        -------
        Decide
            Finished: ``status``, ``n`` and ``certificates()``.

        Raises
        ------
        ValueError
            As in `sample_counts` and `rsbounds.Decide`.

        Warns
        -----
        RuntimeWarning
            The model answered NaN on some inputs.

        See Also
        --------
        rsbounds.Decide : The stopping rule.

        Examples
        --------
        >>> import torch, rsbounds, rsbounds_torch
        >>> classifier = rsbounds_torch.SmoothedClassifier(
        ...     lambda batch: torch.stack([-batch[:, 0], batch[:, 0]], 1),
        ...     num_classes=2, noise=rsbounds.Gaussian(sigma=0.5))
        >>> classifier.decide([[0.9, 0.0], [0.2, 0.0]], radius=0.5, seed=1).status.tolist()
        ['yes', 'no']
        """
        key = chosen_seed(seed)
        top, draw = self._selected(inputs, n0, key, index)
        away = self._offset(inputs)
        about = farther(radius, away)
        test = rsbounds.Decide(about, top, noise=self.noise, limit=limit, **options)
        test.offset = away
        draw(test)
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
        (`rsbounds.Adaptive`: a union bound over its looks). An input with a NaN answer
        abstains.

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

        Warns
        -----
        RuntimeWarning
            The model answered NaN on some inputs.

        See Also
        --------
        rsbounds.Adaptive : The stopping rule.

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
        key = chosen_seed(seed)
        top, draw = self._selected(inputs, n0, key, index)
        run = rsbounds.Adaptive(top, noise=self.noise, **options)
        run.offset = self._offset(inputs)
        draw(run)
        return run

    def _offset(self, inputs: Inputs) -> NDArray[np.float64] | None:
        """How far inputs are from the law's lattice, in its norm."""
        if self.noise.spacing is None:
            return None
        found = self.offset_of(inputs, len(self.batch_of(inputs)))
        return None if found is None else found[self.noise.norm]

    def _selected(
        self, inputs: Inputs, n0: int, seed: int, index: int | Sequence[int]
    ) -> tuple[rsbounds.Selection, Callable[[Decide | Adaptive], None]]:
        """Top classes from a selection sample, and what feeds a stopping rule for them."""
        sampled_only(self.noise, "rules that stop")
        _validate.integer("n0", n0, low=1, high=_validate.MAX_N)
        x, _ = self._batch_of(inputs)
        streams = stream_numbers(index, len(x))
        whole = [(0, n0)] * len(x)
        votes, none = self.span_votes(x, whole, seed=seed, role="select", streams=streams)

        def draw(rows: Any, first: Any, stop: Any) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
            spans = [(0, 0)] * len(x)
            for row, a, b in zip(rows.tolist(), first.tolist(), stop.tolist(), strict=True):
                spans[row] = a, b
            found, bad = self.span_votes(x, spans, seed=seed, role="estimate", streams=streams)
            return found[rows], bad[rows]

        def feed_it(test: Decide | Adaptive) -> None:
            # An input with a NaN answer abstains.
            test.abstain(none > 0)
            bad = feed(test, draw)
            _text.warn_invalid("the model", bad | (none > 0), stacklevel=4)

        return voted_top(votes), feed_it
