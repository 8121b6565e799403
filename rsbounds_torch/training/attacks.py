"""Attacks in an l2 ball: inputs near the given ones, on which an objective is larger.

Both take an objective, a function of the inputs, and know nothing of models, so that they serve
any loop; `asking` is how the losses here ask a model while they attack it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from torch.nn.parallel import DistributedDataParallel

from rsbounds import _validate
from rsbounds_torch._inputs import checked_bounds
from rsbounds_torch._modules import evaluating, find_modules
from rsbounds_torch.training._base import Model, TrainingNoise

#: (B, ...) inputs to (B,) values to be raised, each a function of its own input alone, and (B,)
#: booleans: is the input misclassified?
Objective = Callable[[torch.Tensor], tuple[torch.Tensor, torch.Tensor]]

#: What the rounding of norms and sums in float64 may add, and more.
_SLACK = 1.0 - 1e-9


def pgd(
    objective: Objective,
    x: torch.Tensor,
    *,
    epsilon: float,
    steps: int,
    step_size: float | None = None,
    input_bounds: tuple[float, float] | None = None,
    start: torch.Tensor | None = None,
) -> torch.Tensor:
    """Projected gradient ascent with steps of one length in l2 (Madry et al. 2018).

    A step goes ``step_size`` along the gradient, whatever the gradient's length; adre-t-certify
    (13) prints the gradient itself, which with its step size of 2 epsilon / steps would hardly
    move where the classifier is sure, and the attack that it extends (Salman et al. 2019)
    normalises. An input whose gradient is zero or not finite stays where it is.

    Parameters
    ----------
    objective : callable
        (B, ...) inputs to (B,) values, each to be raised and of its own input alone, and (B,)
        booleans that this attack does not need. It is called ``steps`` times.
    x : (B, ...) tensor of float32 or float64
        Centres of the balls.
    epsilon : float
        Radius in l2, >= 0; 0 gives the inputs back without a call.
    steps : int
        Gradient steps, >= 1.
    step_size : float, optional
        Length of a step; 2 epsilon / steps by default.
    input_bounds : (float, float), optional
        Range of the inputs, kept by the result too.
    start : (B, ...) tensor, optional
        Where to begin; ``x`` by default.

    Returns
    -------
    (B, ...) tensor
        Points within epsilon of ``x``, in exact arithmetic too, and within the bounds, that need
        no gradient.

    Raises
    ------
    ValueError
        Settings out of range, an input that is not finite or outside the bounds, or an objective
        that does not depend on its input.

    Examples
    --------
    >>> import torch
    >>> from rsbounds_torch.training.attacks import pgd
    >>> slope = torch.tensor([3.0, 4.0])
    >>> pgd(lambda at: (at @ slope, at[:, 0] > 9), torch.zeros(1, 2), epsilon=1.0, steps=4)
    tensor([[0.6000, 0.8000]])
    """
    bounds = _checked(x, epsilon, steps, input_bounds)
    length = 2.0 * epsilon / steps if step_size is None else step_size
    _validate.non_negative("step_size", length)
    point = x.detach() if start is None else start.detach()
    for _ in range(steps if epsilon > 0 else 0):
        ascent, _ = _ascent(objective, point)
        point = _placed(x, _wide(point) - _wide(x) + length * ascent, epsilon, bounds)
    return point.clone()


def ddn(
    objective: Objective,
    x: torch.Tensor,
    *,
    epsilon: float,
    steps: int,
    factor: float = 0.05,
    input_bounds: tuple[float, float] | None = None,
) -> torch.Tensor:
    """Decoupled direction and norm (Rony et al. 2019), inside of a ball as Salman et al. use it.

    The direction follows the gradient, with steps that shrink; the distance from the input is
    ``factor`` smaller after a point that is misclassified, and larger after one that is not, up
    to epsilon. The nearest misclassified point that was seen is the result (for an input that is
    misclassified itself, the input), and where none was, the last point: published code then
    takes the input back, which trains on no attack where the attack is too weak.

    Parameters
    ----------
    objective : callable
        (B, ...) inputs to (B,) values, each to be raised and of its own input alone, and (B,)
        booleans: is it misclassified? It is called ``steps`` times.
    x, epsilon, steps, input_bounds
        As in `pgd`.
    factor : float
        Relative change of the distance in a step, between 0 and 1.

    Returns
    -------
    (B, ...) tensor
        As `pgd` gives.

    Raises
    ------
    ValueError
        As `pgd` does.

    Examples
    --------
    >>> import torch
    >>> from rsbounds_torch.training.attacks import ddn
    >>> slope = torch.tensor([3.0, 4.0])
    >>> found = ddn(
    ...     lambda at: (at @ slope, at @ slope > 2.0), torch.zeros(1, 2), epsilon=1.0, steps=40
    ... )
    >>> bool(0.4 < found.norm() < 0.43)
    True
    """
    bounds = _checked(x, epsilon, steps, input_bounds)
    _validate.number("factor", factor, "a number with 0 < value < 1", lambda v: 0 < v < 1)
    point = x.detach()
    best, nearest = point, torch.full_like(_wide(x).flatten(1)[:, 0], math.inf)
    size = torch.full_like(nearest, epsilon)
    for step in range(steps if epsilon > 0 else 0):
        ascent, fooled = _ascent(objective, point)
        fooled = fooled.to(nearest.device)
        offset = _wide(point) - _wide(x)
        distance = torch.linalg.vector_norm(offset.flatten(1), dim=1)
        nearer = fooled & (distance < nearest)
        best = torch.where(_per_row(nearer, x).to(x.device), point, best)
        nearest = torch.where(nearer, distance, nearest)
        size = (size * torch.where(fooled, 1.0 - factor, 1.0 + factor)).clamp(max=epsilon)
        length = epsilon * (0.01 + 0.99 * (1.0 + math.cos(math.pi * step / steps)) / 2.0)
        offset = _per_row(size, x) * _unit(offset + length * ascent)
        point = _placed(x, offset, epsilon, bounds)
    return torch.where(_per_row(nearest < math.inf, x).to(x.device), best, point)


@contextmanager
def asking(model: Model) -> Iterator[None]:
    """The model as an attack asks it: in eval mode, and put back at the end.

    In eval mode batch norm uses its running statistics and leaves them as they are, and dropout
    is off, as in the code of Salman et al. (2019). Gradients of parameters are neither computed
    nor touched as long as only the input's are asked for (``torch.autograd.grad``). Copies of a
    `DistributedDataParallel` exchange nothing.

    Parameters
    ----------
    model : callable
        A module, or a function around one.
    """
    roots = [model] if isinstance(model, torch.nn.Module) else find_modules(model)
    with ExitStack() as stack:
        stack.enter_context(evaluating(roots))
        for root in roots:
            for part in root.modules():
                if isinstance(part, DistributedDataParallel):
                    stack.enter_context(part.no_sync())
        yield


def check_added(noise: TrainingNoise, x: torch.Tensor) -> None:
    """Raise ValueError where the law does not add noise that is the same wherever the input is.

    An attack moves the input under noise that stays; where a law hides part of the input, say,
    the gradient would be of something else.
    """
    law = noise.law[:1] if noise.law.batch_shape else noise.law
    at = torch.zeros_like(x[:1])
    low, high = (TrainingNoise(law, seed=noise.seed).copies(value, 1) for value in (at, at + 1.0))
    if not torch.allclose(
        high - low, at + 1.0, rtol=0.0, atol=1e-3 * (1.0 + float(low.abs().max()))
    ):
        raise ValueError(
            f"noise is {noise.law}, which is not added to the input; allowed: for an attack, laws "
            "whose noise is the same wherever the input is (Gaussian, Uniform, ...)"
        )


def _checked(
    x: torch.Tensor, epsilon: float, steps: int, input_bounds: Any
) -> tuple[float, float] | None:
    _validate.non_negative("epsilon", epsilon)
    _validate.integer("steps", steps, low=1)
    bounds = checked_bounds(input_bounds)
    if x.dtype not in (torch.float32, torch.float64) or x.ndim < 2:
        raise ValueError(
            f"x has shape {tuple(x.shape)}, type {x.dtype}; allowed: (B, ...) of float32 or "
            "float64 (autocast narrows inside of the model)"
        )
    low, high = bounds or (-math.inf, math.inf)
    bad = ~(torch.isfinite(x) & (x >= low) & (x <= high))
    if bool(bad.any()):
        where = tuple(int(i) for i in bad.nonzero()[0])
        allowed = "finite numbers" if bounds is None else f"{low:g} to {high:g} (input_bounds)"
        raise ValueError(f"x{list(where)} is {x[where].item()}; allowed: {allowed}")
    return bounds


def _wide(x: torch.Tensor) -> torch.Tensor:
    """In float64, which devices of the kind ``mps`` do not have."""
    return (x.cpu() if x.device.type == "mps" else x).detach().double()


def _per_row(values: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
    return values.reshape(-1, *(1 for _ in x.shape[1:]))


def _ascent(objective: Objective, point: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Unit gradients in float64, zero where there is none, and the booleans."""
    with torch.inference_mode(False), torch.enable_grad():
        at = point.detach().clone().requires_grad_()
        values, fooled = objective(at)
        gradient = None
        if values.requires_grad:
            # The sum, not the mean: a row's gradient does not shrink with the batch.
            (gradient,) = torch.autograd.grad(values.sum(), at, allow_unused=True)
    if gradient is None:
        raise ValueError(
            "objective does not depend on its input, as far as gradients tell; allowed: a model "
            "that is differentiable in its input"
        )
    return _unit(_wide(gradient)), fooled.detach()


def _unit(offset: torch.Tensor) -> torch.Tensor:
    """Each row at length 1; zero where it is zero, or not finite."""
    flat = offset.flatten(1)
    # By the largest first: squares of small numbers would be zero.
    size = flat.abs().amax(1, keepdim=True)
    good = torch.isfinite(size) & (size > 0)
    flat = torch.where(good, flat / torch.where(good, size, 1.0), 0.0)
    norm: torch.Tensor = torch.linalg.vector_norm(flat, dim=1, keepdim=True)
    return (flat / norm.clamp(min=1.0)).reshape(offset.shape)


def _placed(
    x: torch.Tensor, offset: torch.Tensor, epsilon: float, bounds: tuple[float, float] | None
) -> torch.Tensor:
    """``x + offset``, pulled into ball and box; the ball in exact arithmetic."""
    norm = torch.linalg.vector_norm(offset.flatten(1), dim=1)
    shrink = (epsilon * _SLACK / norm.clamp(min=1e-300)).clamp(max=_SLACK)
    offset = offset * _per_row(shrink, x)
    centre = _wide(x)
    narrow = x.to(centre.device)
    point = (centre + offset).to(x.dtype)
    # Where rounding carried a coordinate out further than the offset, one number back.
    out = (point.double() - centre).abs() > offset.abs()
    point = torch.where(out, torch.nextafter(point, narrow), point)
    if bounds is not None:
        point = point.clamp(*bounds)
    return point.to(x.device)
