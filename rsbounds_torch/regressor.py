"""A PyTorch model with real-valued outputs under noise: quantiles that are certified."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray

from rsbounds import _text, _validate
from rsbounds._types import BoundedSamples
from rsbounds.certificates import certify_quantile
from rsbounds.noises import Noise
from rsbounds.streams import Piece, Role, checked_role
from rsbounds_torch._inputs import Inputs, chosen_seed, stream_numbers
from rsbounds_torch._loop import Draws
from rsbounds_torch._sampler import NoisyModel

if TYPE_CHECKING:
    from rsbounds import CertifiedQuantiles


class SmoothedRegressor(NoisyModel):
    """A model with real-valued outputs under noise, and what can be certified of its quantiles.

    Parameters
    ----------
    model : callable
        A `torch.nn.Module` or function: a batch (m, ...) to (m, outputs) real numbers, each row
        from its own input alone.
    outputs : int
        Numbers that the model returns for each input.
    noise : Noise
        Law of the noise, in raw input units.
    **settings
        ``input_bounds``, ``preprocess``, ``input_shape``, ``device``, ``batch_size``, ``autocast``,
        ``compile`` and ``stochastic``, as in `SmoothedClassifier`.

    Raises
    ------
    ValueError
        As in `SmoothedClassifier`.

    Examples
    --------
    >>> import rsbounds, rsbounds_torch
    >>> model = rsbounds_torch.SmoothedRegressor(
    ...     lambda batch: batch.sum(1, keepdim=True), outputs=1, noise=rsbounds.Gaussian(0.25))
    >>> found = model.certify_quantile([[1.0, 2.0]], 0.1, n=10_000, seed=1)
    >>> found.lower.shape, bool(2.8 < found.lower[0, 0, 0] < 3 - 0.1 * 2**0.5)
    ((1, 1, 1), True)
    """

    _fewest = 1

    def __init__(
        self,
        model: Callable[[torch.Tensor], torch.Tensor],
        *,
        outputs: int,
        noise: Noise,
        **settings: Any,
    ) -> None:
        _validate.integer("outputs", outputs, low=1)
        super().__init__(model, num_classes=outputs, noise=noise, **settings)

    def sample_outputs(
        self,
        inputs: Inputs,
        *,
        n: int,
        role: Role = "estimate",
        seed: int | None = None,
        index: int | Sequence[int] = 0,
        progress: bool | None = None,
    ) -> BoundedSamples:
        """Outputs of the model on noisy copies of each input.

        Parameters
        ----------
        inputs, n, role, seed, index, progress
            As in `SmoothedClassifier.sample_counts`, with the same draws.

        Returns
        -------
        BoundedSamples
            (B, n, outputs) numbers; their support is (-inf, inf).

        Raises
        ------
        ValueError
            As in `SmoothedClassifier.sample_counts`.

        Examples
        --------
        >>> import rsbounds, rsbounds_torch
        >>> model = rsbounds_torch.SmoothedRegressor(
        ...     lambda batch: batch, outputs=2, noise=rsbounds.Gaussian(0.25))
        >>> model.sample_outputs([[1.0, 2.0]], n=1000, seed=1).values.shape
        (1, 1000, 2)
        """
        _validate.integer("n", n, low=1, high=_validate.MAX_N)
        chosen, kind = chosen_seed(seed), checked_role(role)
        x = self.batch_of(inputs)
        values = np.empty((len(x), n, self.num_classes))

        def keep(answers: torch.Tensor, pieces: list[Piece]) -> None:
            part = answers.double().cpu().numpy()
            at = 0
            for p in pieces:
                values[p.row, p.first : p.first + p.count] = part[at : at + p.count]
                at += p.count

        draws = Draws(self.noise, chosen, kind, stream_numbers(index, len(x)))
        self.sample_into(x, n, draws, keep, progress)
        return BoundedSamples(
            values, (-np.inf, np.inf), chosen, lattice=self.noise.spacing,
            offset=self.offset_of(inputs, len(x)),
        )  # fmt: skip

    def certify_quantile(
        self,
        inputs: Inputs,
        radii: ArrayLike,
        *,
        n: int = 10_000,
        q: float = 0.5,
        alpha: float = 0.001,
        side: Literal["lower", "upper", "both"] = "both",
        family: Literal["output", "input", "all"] = "output",
        seed: int | None = None,
        index: int | Sequence[int] = 0,
        progress: bool | None = None,
    ) -> CertifiedQuantiles:
        """Values between which a quantile of each output stays, at given radii.

        With probability at least ``1 - alpha``, for what ``family`` says, each q-quantile of an
        output under noise stays between ``lower`` and ``upper`` at every perturbation of size at
        most the radius (`rsbounds.certify_quantile`, which names the theorem). Nothing is certified
        of an input on which an output was not finite.

        Parameters
        ----------
        inputs, seed, index, progress
            As in `SmoothedClassifier.sample_counts`.
        n : int
            Draws per input.
        radii, q, alpha, side, family
            As in `rsbounds.certify_quantile`.

        Returns
        -------
        CertifiedQuantiles
            (B, outputs, R) values.

        Raises
        ------
        ValueError
            As in `SmoothedClassifier.sample_counts` and `rsbounds.certify_quantile`.

        Warns
        -----
        RuntimeWarning
            The model's answer was not finite on some inputs.

        Examples
        --------
        >>> import rsbounds, rsbounds_torch
        >>> model = rsbounds_torch.SmoothedRegressor(
        ...     lambda batch: batch, outputs=2, noise=rsbounds.Gaussian(0.25))
        >>> found = model.certify_quantile([[1.0, 2.0]], [0.1, 0.2], n=10_000, family="all", seed=1)
        >>> bool((found.lower[0, :, 1] < [0.8, 1.8]).all())
        True
        """
        samples = self.sample_outputs(inputs, n=n, seed=seed, index=index, progress=progress)
        bad = np.array([not np.isfinite(rows).all() for rows in samples.values])
        held = dataclasses.replace(samples, values=_finite(samples.values, bad))
        found = certify_quantile(
            held, radii, noise=self.noise, q=q, alpha=alpha, side=side, family=family
        )
        _text.warn_invalid("the model", bad)
        rows = bad[:, None, None]
        return dataclasses.replace(
            found, lower=np.where(rows, -np.inf, found.lower),
            upper=np.where(rows, np.inf, found.upper),
        )  # fmt: skip


def _finite(values: NDArray[np.float64], bad: NDArray[np.bool_]) -> NDArray[np.float64]:
    """The samples, with zeros for inputs of which nothing will be said."""
    return np.where(bad[:, None, None], 0.0, values) if bad.any() else values
