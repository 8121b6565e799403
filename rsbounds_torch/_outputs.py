"""What is certified of a model besides its answer: top-k, and many components."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray

from rsbounds import _text, _validate
from rsbounds._types import NO_CLASS, Counts, Selection
from rsbounds.bounds.margin import MarginMethod, margin_method
from rsbounds.certificates import certify_components, certify_votes
from rsbounds.certificates.complete import sampled_only
from rsbounds.certificates.exact import law_of_sample
from rsbounds.claims import checked_k
from rsbounds.noises import Noise
from rsbounds.streams import Piece, Role
from rsbounds_torch import _inputs, _loop
from rsbounds_torch._inputs import Inputs, chosen_seed, stream_numbers
from rsbounds_torch._loop import Draws
from rsbounds_torch._sampler import NoisyModel

if TYPE_CHECKING:
    from rsbounds import Certificates


class Outputs(NoisyModel):
    """A part of `rsbounds_torch.SmoothedClassifier`."""

    def certify_top_k(
        self,
        inputs: Inputs,
        k: int,
        *,
        n: int = 100_000,
        n0: int = 100,
        alpha: float = 0.001,
        method: str | MarginMethod = "runner-up",
        seed: int | None = None,
        index: int | Sequence[int] = 0,
        noise: Noise | None = None,
        progress: bool | None = None,
        **options: Any,
    ) -> Certificates:
        """Certified radii in which the class stays among the k most probable, at each input.

        With probability at least ``1 - alpha``, for each input on its own, at every perturbation
        smaller than its radius fewer than k classes are at least as probable
        (`rsbounds.certify_top_k`, which names the theorem). The class comes from ``n0`` draws, the
        bound from ``n`` others. An input with a NaN answer abstains.

        Parameters
        ----------
        inputs, n, n0, alpha, seed, index, noise, progress
            As in `certify`.
        k : int
            Among how many classes, 2 to K - 1.
        method, **options
            As in `rsbounds.certify_top_k`.

        Returns
        -------
        Certificates
            One entry per input; ``index`` holds the stream numbers.

        Raises
        ------
        ValueError
            As in `sample_counts` and `rsbounds.certify_top_k`.

        Warns
        -----
        RuntimeWarning
            The model answered NaN on some inputs.

        Examples
        --------
        >>> import torch, rsbounds, rsbounds_torch
        >>> classifier = rsbounds_torch.SmoothedClassifier(
        ...     lambda batch: batch, num_classes=3, noise=rsbounds.Gaussian(sigma=0.5))
        >>> found = classifier.certify_top_k([[1.0, 0.9, 0.0]], 2, n=10_000, seed=1)
        >>> bool(0.2 < found.radius[0] < 1.0), found.k
        (True, 2)
        """
        source = self if noise is None else self.under(noise)
        _validate.integer("k", k, low=2)
        checked_k(k, self.num_classes)
        sampled_only(source.noise, "top-k")
        level, chosen = _validate.alpha(alpha), margin_method(method, options)
        _validate.integer("n", n, low=1, high=_validate.MAX_N)
        _validate.integer("n0", n0, low=1, high=_validate.MAX_N)
        arguments: dict[str, Any] = {"seed": chosen_seed(seed), "index": index}
        arguments["progress"] = progress
        select = source.sample_counts(inputs, n=n0, role="select", **arguments)
        estimate = source.sample_counts(inputs, n=n, role="estimate", **arguments)
        invalid = select.invalid + estimate.invalid
        law, offset = law_of_sample(source.noise, estimate)
        result = certify_votes(
            select.values, estimate.values, invalid, noise=law, alpha=level, method=chosen,
            offset=offset, k=k,
        )  # fmt: skip
        _text.warn_invalid("the model", invalid > 0)
        return dataclasses.replace(
            result, n=estimate.n, index=np.array(stream_numbers(index, len(estimate)))
        )

    def certify_components(
        self,
        x: Inputs,
        *,
        n: int = 300,
        n0: int = 30,
        alpha: float = 0.001,
        family: Literal["bonferroni", "holm"] = "bonferroni",
        radius: float | None = None,
        tau: float | None = None,
        method: str | MarginMethod = "runner-up",
        seed: int | None = None,
        index: int = 0,
        progress: bool | None = None,
        **options: Any,
    ) -> Certificates:
        """Certified radii of all components of the answer to one input, which hold together.

        With probability at least ``1 - alpha``, for all components at once, no perturbation smaller
        than a component's radius changes its answer (`rsbounds.certify_components`, which names the
        theorems). The classes come from ``n0`` draws, the bounds from ``n`` others. A component
        with a NaN answer abstains. For a model whose answers are (m, K, ...): K scores for each
        component.

        Parameters
        ----------
        x : tensor or array_like
            One input, in raw units.
        n, n0 : int
            Draws of the estimation and of the selection sample.
        alpha, family, radius, tau, method, **options
            As in `rsbounds.certify_components`.
        seed : int, optional
            Seed of the streams; a fresh one by default.
        index : int
            Stream number of the input.
        progress : bool, optional
            Show a progress line; None shows it where stderr is a terminal.

        Returns
        -------
        Certificates
            One entry per component, in order: ``top.reshape(height, width)`` is the certified map.

        Raises
        ------
        ValueError
            As in `rsbounds.certify_components`, or answers that are not (m, K, ...).

        Examples
        --------
        >>> import torch, rsbounds, rsbounds_torch
        >>> segmenter = rsbounds_torch.SmoothedClassifier(   # a class for each of four pixels
        ...     lambda batch: torch.stack([-batch, batch], 1),
        ...     num_classes=2, noise=rsbounds.Gaussian(sigma=0.5))
        >>> found = segmenter.certify_components([[1.0, 0.1], [-0.8, -2.0]], seed=1)
        >>> bool((found.radius < [1.0, 0.1, 0.8, 2.0]).all())
        True
        >>> found.certified.reshape(2, 2)[:, 0]
        array([ True,  True])
        """
        _validate.integer("n", n, low=1, high=_validate.MAX_N)
        _validate.integer("n0", n0, low=1, high=_validate.MAX_N)
        key = chosen_seed(seed)
        flat, given = _flattened(self, x)
        settings: Any = {"seed": key, "index": index, "progress": progress}
        select, none0 = _component_votes(flat, given, self.num_classes, n0, "select", **settings)
        votes, none = _component_votes(flat, given, self.num_classes, n, "estimate", **settings)
        bad = (none0 + none) > 0
        # Nothing is known of a component without an answer: as if all votes were another's.
        votes[bad], top = 0, np.where(bad, 1, select.argmax(axis=1))
        votes[bad, 0] = n
        offset = self.offset_of(x, 1)
        counts = Counts(
            votes, "estimate", key, lattice=self.noise.spacing,
            offset=None if offset is None
            else {norm: np.repeat(away, len(votes)) for norm, away in offset.items()},
        )  # fmt: skip
        found = certify_components(
            counts, Selection(top, select, True), noise=self.noise, alpha=alpha, family=family,
            radius=radius, tau=tau, method=method, **options,
        )  # fmt: skip
        _text.warn_invalid("the model", bad)
        return dataclasses.replace(found, candidate=np.where(bad, NO_CLASS, found.candidate))


class _Flat(torch.nn.Module):
    """A model with (m, K, ...) answers, as one with a row of them for each input."""

    def __init__(self, model: Callable[[torch.Tensor], torch.Tensor]) -> None:
        super().__init__()
        self.model = model

    def forward(self, batch: torch.Tensor) -> torch.Tensor:
        return self.model(batch).flatten(1)


def _flattened(source: NoisyModel, x: Inputs) -> tuple[NoisyModel, torch.Tensor]:
    """The same model with flat answers, and the input as a batch of one."""
    given = _inputs.as_tensor(
        x, bounds=source.input_bounds, kind=source._evaluation.kind, device=source.device
    )
    shape: tuple[int, ...] = ()
    refused: Exception | None = None
    for one in (given[None], given):
        try:
            with source._evaluation.active(0):
                ready = one if source.preprocess is None else source.preprocess(one)
                shape = tuple(source.model(ready).shape)
        except _loop.FAILURES as error:
            refused = error
            continue
        if len(one) == shape[0] == 1 and len(shape) > 2 and shape[1] == source.num_classes:
            break
    else:
        raise ValueError(
            f"model returned shape {shape} for one input of shape {tuple(given.shape)}; allowed: "
            f"(1, {source.num_classes}, ...), scores for each component ({refused})"
        )
    flat = NoisyModel(
        _Flat(source.model), num_classes=int(np.prod(shape[1:])), noise=source.noise,
        input_bounds=source.input_bounds, preprocess=source.preprocess, input_shape=one.shape[1:],
        device=source.device, batch_size=source.batch_size, autocast=source.autocast,
        compile=source._evaluation.padded, stochastic=source._evaluation.stochastic,
    )  # fmt: skip
    return flat, one


def _component_votes(
    flat: NoisyModel,
    x: torch.Tensor,
    classes: int,
    n: int,
    role: Role,
    *,
    seed: int,
    index: int,
    progress: bool | None,
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """(M, K) votes of n draws, and (M,) draws whose scores held NaN."""
    components = flat.num_classes // classes
    table = torch.zeros(components * (classes + 1), dtype=torch.int32, device=flat.device)
    first = torch.arange(components, device=flat.device) * (classes + 1)
    one = torch.ones((), dtype=torch.int32, device=flat.device)

    def count(answers: torch.Tensor, pieces: list[Piece]) -> None:
        best, vote = answers.reshape(len(answers), classes, components).max(dim=1)
        vote.masked_fill_(torch.isnan(best), classes)
        for draw in vote:
            table.index_put_((first + draw,), one, accumulate=True)

    draws = Draws(flat.noise, seed, role, stream_numbers(index, 1))
    flat.sample_into(x, n, draws, count, progress)
    found = table.cpu().numpy().reshape(components, classes + 1).astype(np.int64)
    return found[:, :-1], found[:, -1]
