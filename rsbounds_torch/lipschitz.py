"""Upper bounds on a network's Lipschitz constant, l2 to l2.

The constant of a chain of layers is at most the product of theirs. That of a linear layer is
its largest singular value, which is bounded from above by Gram iteration (Delattre et al.
2023, "Efficient bound of Lipschitz constant for convolutional layers by Gram iteration"):
||W||_2^(2^t) <= ||G||_F for the (t-1) times squared Gram matrix G of W. Power iteration, the
usual way, approaches from below. Rounding errors are added at every step.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn
from torch.nn.utils import parametrize

from rsbounds import _validate
from rsbounds_torch._singular import EPS, spectral_norm_upper, up

#: An operator with no more entries than this is written out, which is exact at the borders.
_DENSE_ENTRIES = 1 << 22
_DENSE_SIDE = 1600

Shape = tuple[int, ...] | None
Rule = Callable[[Any, Shape], tuple[float, Shape]]


class _Unknown(ValueError):
    """Why a layer has no bound here."""


def lipschitz_upper_bound(model: nn.Module, input_shape: Sequence[int] | None = None) -> float:
    """Upper bound on the Lipschitz constant of a sequential network in eval mode, l2 to l2.

    ``||model(x) - model(y)|| <= L ||x - y||`` for all inputs, in exact arithmetic: the product
    of upper bounds on the layers' constants (of linear and convolution layers by Gram
    iteration, Delattre et al. 2023, never below the largest singular value). Together with
    the constant of the simplex map this is what `rsbounds.Lipschitz` needs.

    Parameters
    ----------
    model : nn.Sequential or a known layer
        Linear, Conv1d, Conv2d (zero or circular padding; stride, dilation, groups),
        BatchNorm1d and 2d with running statistics, average and maximum pooling, ReLU-like and
        other pointwise activations, Softmax, Flatten, Dropout, Identity; nested Sequentials.
    input_shape : tuple of int, optional
        Shape of one input, without batch dimension; needed by convolutions.

    Returns
    -------
    float
        L, rounded up; inf if it overflows.

    Raises
    ------
    ValueError
        A layer, or a setting of one, for which nothing is known here; the message names it.

    Examples
    --------
    >>> import torch, rsbounds_torch
    >>> layer = torch.nn.Linear(2, 2)
    >>> _ = layer.weight.data.copy_(torch.tensor([[3.0, 0.0], [0.0, 1.0]]))
    >>> model = torch.nn.Sequential(layer, torch.nn.ReLU())
    >>> bound = rsbounds_torch.lipschitz_upper_bound(model, (2,))
    >>> 3.0 <= bound < 3.001
    True
    """
    if not isinstance(model, nn.Module):
        raise ValueError(f"model is {model!r}; allowed: an nn.Sequential of known layers")
    shape: Shape = None
    if input_shape is not None:
        shape = tuple(_validate.integer("input_shape", side, low=1) for side in input_shape)
    bound, _ = _bound(model, shape, "model")
    return bound


def _bound(layer: nn.Module, shape: Shape, name: str) -> tuple[float, Shape]:
    if layer._forward_hooks or layer._forward_pre_hooks:
        raise ValueError(f"{name} is {_shown(layer)} with forward hooks; allowed: no hooks")
    kind = type(layer)
    if parametrize.is_parametrized(layer):
        kind = kind.__bases__[0]
    if kind is nn.Sequential:
        total = 1.0
        for key, child in layer.named_children():
            factor, shape = _bound(child, shape, f"{name}.{key}")
            total = _product(total, factor)
        return total, shape
    # Only the exact type: a subclass may override what the layer computes.
    if kind not in _RULES:
        known = ", ".join(sorted({"Sequential", *(k.__name__ for k in _RULES)}))
        raise ValueError(f"{name} is {_shown(layer)}, which has no bound here; known: {known}")
    try:
        for tensor in (*layer.parameters(), *layer.buffers()):
            if tensor.is_floating_point() and not bool(torch.isfinite(tensor).all()):
                raise _Unknown("its parameters hold NaN or infinity; allowed: finite numbers")
        factor, after = _RULES[kind](layer, shape)
    except _Unknown as error:
        raise ValueError(f"{name} is {_shown(layer)}: {error}") from None
    return factor, after


def _shown(layer: nn.Module) -> str:
    text = repr(layer)
    return text if "\n" not in text and len(text) < 200 else type(layer).__name__


def _product(a: float, b: float) -> float:
    return 0.0 if a == 0.0 or b == 0.0 else up(a * b)


# -- linear and convolution layers -------------------------------------------------------


def _weights(layer: Any) -> NDArray[np.float64]:
    was = layer.training
    layer.training = False
    try:
        with torch.no_grad():
            values = layer.weight.detach().double().cpu().numpy()
    finally:
        layer.training = was
    if not np.isfinite(values).all():
        raise _Unknown("its weights hold NaN or infinity; allowed: finite numbers")
    return np.asarray(values)


def _linear(layer: Any, shape: Shape) -> tuple[float, Shape]:
    if shape is not None and shape[-1] != layer.in_features:
        raise _Unknown(f"it gets inputs of shape {shape}; allowed: (..., {layer.in_features})")
    after = None if shape is None else (*shape[:-1], layer.out_features)
    return spectral_norm_upper(_weights(layer)), after


def _sides(value: Any, rank: int) -> tuple[int, ...]:
    return tuple(value) if isinstance(value, (tuple, list)) else (value,) * rank


def _convolution(layer: Any, shape: Shape) -> tuple[float, Shape]:
    rank = 1 if type(layer).__name__.endswith("1d") else 2
    shape = _needed(shape, rank)
    if shape[0] != layer.in_channels:
        raise _Unknown(f"it gets inputs of shape {shape}; allowed: {layer.in_channels} channels")
    if layer.padding_mode not in ("zeros", "circular"):
        raise _Unknown(f"padding_mode {layer.padding_mode!r}; allowed: 'zeros', 'circular'")
    kernel = _weights(layer)
    size, stride, dilation = (
        _sides(v, rank) for v in (layer.kernel_size, layer.stride, layer.dilation)
    )
    if layer.padding == "valid":
        pads = [(0, 0)] * rank
    elif layer.padding == "same":
        spare = [d * (k - 1) for d, k in zip(dilation, size, strict=True)]
        pads = [(s // 2, s - s // 2) for s in spare]
    else:
        pads = [(p, p) for p in _sides(layer.padding, rank)]
    if rank == 1:
        kernel = kernel[:, :, None, :]
        size, stride, dilation = (1, *size), (1, *stride), (1, *dilation)
        pads = [(0, 0), *pads]
        inner = (shape[0], 1, shape[1])
    else:
        inner = (shape[0], shape[1], shape[2])
    spread = np.zeros(
        (*kernel.shape[:2], *(d * (k - 1) + 1 for d, k in zip(dilation, size, strict=True)))
    )
    spread[:, :, :: dilation[0], :: dilation[1]] = kernel
    out = tuple(
        (side + sum(pad) - k) // s + 1
        for side, pad, k, s in zip(inner[1:], pads, spread.shape[2:], stride, strict=True)
    )
    if min(out) < 1:
        raise _Unknown(f"it gets inputs of shape {shape}, smaller than its kernel")
    circular = layer.padding_mode == "circular"
    bound = conv_norm_upper(spread, inner, out, stride, pads, layer.groups, circular)
    after = (layer.out_channels, *(out if rank == 2 else out[1:]))
    return bound, after


def conv_norm_upper(
    kernel: NDArray[np.float64],
    inner: tuple[int, int, int],
    out: tuple[int, ...],
    stride: tuple[int, ...],
    pads: Sequence[tuple[int, int]],
    groups: int,
    circular: bool,
) -> float:
    """Upper bound on the 2-norm of a convolution on inputs of shape ``inner``.

    The groups are blocks of a block-diagonal operator. A small block is written out as a
    matrix. A larger one with zero padding is part of a circular convolution on a torus that
    is no smaller than the padded input, whose blocks at the torus' frequencies have the
    singular values of the whole (Sedghi et al. 2019); a stride turns into more channels.

    Examples
    --------
    >>> import numpy as np
    >>> blur = np.full((1, 1, 2, 2), 0.25)
    >>> 0.9 < conv_norm_upper(blur, (1, 8, 8), (7, 7), (1, 1), [(0, 0), (0, 0)], 1, False) < 1.01
    True
    """
    height, width = inner[1:]
    each_in, each_out = inner[0] // groups, kernel.shape[0] // groups
    columns, rows = each_in * height * width, each_out * out[0] * out[1]
    dense = columns * rows <= _DENSE_ENTRIES and min(columns, rows) <= _DENSE_SIDE
    if (
        circular
        and not dense
        and any(
            side % s or o * s != side for side, s, o in zip(inner[1:], stride, out, strict=True)
        )
    ):
        raise _Unknown(
            "circular padding where stride times output differs from the input; allowed: an "
            "output that covers the input once"
        )
    bounds = []
    for group in range(groups):
        block = kernel[group * each_out : (group + 1) * each_out]
        if dense:
            bounds.append(_dense_norm(block, (each_in, height, width), stride, pads, circular))
        else:
            bounds.append(_torus_norm(block, (height, width), stride, pads, circular))
    return max(bounds)


def _dense_norm(
    block: NDArray[np.float64],
    inner: tuple[int, int, int],
    stride: tuple[int, ...],
    pads: Sequence[tuple[int, int]],
    circular: bool,
) -> float:
    """The operator as a matrix; its entries are kernel entries, or sums where it wraps."""
    size = math.prod(inner)
    basis = torch.eye(size, dtype=torch.float64).reshape(size, *inner)
    (top, bottom), (left, right) = pads
    mode = "circular" if circular else "constant"
    padded = nn.functional.pad(basis, (left, right, top, bottom), mode=mode)
    columns = nn.functional.conv2d(padded, torch.from_numpy(block), stride=(stride[0], stride[1]))
    matrix = columns.reshape(size, -1).numpy()
    # An entry adds products with zeros and ones: exact, unless several kernel entries meet.
    met = block.shape[2] * block.shape[3] * EPS if circular else 0.0
    return spectral_norm_upper(matrix, float(np.sqrt((matrix**2).sum())) * met)


def _torus_norm(
    block: NDArray[np.float64],
    inner: tuple[int, int],
    stride: tuple[int, ...],
    pads: Sequence[tuple[int, int]],
    circular: bool,
) -> float:
    torus = []
    for side, pad, s in zip(inner, pads, stride, strict=True):
        whole = side if circular else side + sum(pad)
        torus.append(-(-whole // s) * s)
    out_channels, in_channels = block.shape[:2]
    # Phase (a, b) of the input meets every stride-th kernel entry from (a, b) on.
    steps = [-(-k // s) for k, s in zip(block.shape[2:], stride, strict=True)]
    full = np.zeros((out_channels, in_channels, steps[0] * stride[0], steps[1] * stride[1]))
    full[:, :, : block.shape[2], : block.shape[3]] = block
    phased = full.reshape(out_channels, in_channels, steps[0], stride[0], steps[1], stride[1])
    phased = phased.transpose(0, 1, 3, 5, 2, 4).reshape(out_channels, -1, steps[0], steps[1])
    points = [n // s for n, s in zip(torus, stride, strict=True)]
    waves = [
        np.exp(-2j * np.pi * (np.outer(np.arange(n), np.arange(k)) % n) / n)
        for n, k in zip(points, steps, strict=True)
    ]
    # Real kernels: frequencies come in conjugate pairs with the same singular values.
    waves[0] = waves[0][: points[0] // 2 + 1]
    largest = 0.0
    # Each wave factor is right to 4 eps, and k numbers are added.
    lost = (16.0 + 2.0 * steps[0] * steps[1]) * EPS
    error = lost * float(np.sqrt((np.abs(phased).sum(axis=(2, 3)) ** 2).sum())) * (1 + 1e-6)
    step = max(_DENSE_ENTRIES // (points[1] * phased.shape[0] * phased.shape[1]), 1)
    for start in range(0, len(waves[0]), step):
        lines = np.einsum("oiyx,ey->oiex", phased, waves[0][start : start + step])
        blocks = np.einsum("oiex,fx->efoi", lines, waves[1])
        largest = max(largest, spectral_norm_upper(blocks, error))
    return largest


# -- the other layers --------------------------------------------------------------------


def _needed(shape: Shape, rank: int) -> tuple[int, ...]:
    if shape is None or len(shape) != rank + 1:
        raise _Unknown(
            f"it gets inputs of shape {shape}; allowed: {rank + 1} numbers (pass input_shape)"
        )
    return shape


def _batch_norm(layer: Any, shape: Shape) -> tuple[float, Shape]:
    if layer.running_var is None:
        raise _Unknown("it has no running statistics; allowed: track_running_stats=True")
    scale = 1.0 / np.sqrt(layer.running_var.detach().double().cpu().numpy() + layer.eps)
    if layer.weight is not None:
        scale = scale * _weights(layer)
    return float(np.abs(scale).max()) * (1.0 + 8.0 * EPS), shape


def _pooled(layer: Any, shape: tuple[int, ...], rank: int) -> tuple[int, ...]:
    size, padding = _sides(layer.kernel_size, rank), _sides(layer.padding, rank)
    stride = _sides(layer.kernel_size if layer.stride is None else layer.stride, rank)
    if layer.ceil_mode:
        raise _Unknown("ceil_mode=True; allowed: False")
    out = tuple(
        (side + 2 * p - k) // s + 1
        for side, p, k, s in zip(shape[1:], padding, size, stride, strict=True)
    )
    if min(out) < 1:
        raise _Unknown(f"it gets inputs of shape {shape}, smaller than its kernel")
    return (shape[0], *out)


def _rank_of(layer: Any) -> int:
    return 1 if type(layer).__name__.endswith("1d") else 2


def _overlap(layer: Any, rank: int) -> int:
    """In how many windows an input number can be."""
    size = _sides(layer.kernel_size, rank)
    stride = _sides(layer.kernel_size if layer.stride is None else layer.stride, rank)
    return math.prod(-(-k // s) for k, s in zip(size, stride, strict=True))


def _max_pool(layer: Any, shape: Shape) -> tuple[float, Shape]:
    # |max a - max b|^2 <= sum over the window of |a - b|^2, and each number is in so many.
    rank = _rank_of(layer)
    if _sides(layer.dilation, rank) != (1,) * rank or layer.return_indices:
        raise _Unknown("dilation or return_indices is set; allowed: neither")
    after = _pooled(layer, _needed(shape, rank), rank)
    times = _overlap(layer, rank)
    return (1.0 if times == 1 else up(math.sqrt(times))), after


def _average_pool(layer: Any, shape: Shape) -> tuple[float, Shape]:
    # A mean of k numbers moves by at most their distance over sqrt(k).
    rank = _rank_of(layer)
    size = _sides(layer.kernel_size, rank)
    if any(_sides(layer.padding, rank)) and not layer.count_include_pad:
        raise _Unknown("count_include_pad=False with padding; allowed: True")
    if getattr(layer, "divisor_override", None) is not None:
        raise _Unknown("divisor_override is set; allowed: None")
    after = _pooled(layer, _needed(shape, rank), rank)
    return up(math.sqrt(_overlap(layer, rank) / math.prod(size)), 2), after


def _adaptive(average: bool) -> Rule:
    def rule(layer: Any, shape: Shape) -> tuple[float, Shape]:
        rank = _rank_of(layer)
        before = _needed(shape, rank)
        out = tuple(
            side if want is None else want
            for side, want in zip(before[1:], _sides(layer.output_size, rank), strict=True)
        )
        if any(side % want for side, want in zip(before[1:], out, strict=True)):
            raise _Unknown(
                f"output_size {layer.output_size} of inputs of shape {before}; allowed: sizes "
                "that divide the input's"
            )
        if getattr(layer, "return_indices", False):
            raise _Unknown("return_indices is set; allowed: False")
        window = math.prod(before[1:]) // math.prod(out)
        return (up(math.sqrt(1.0 / window), 2) if average else 1.0), (before[0], *out)

    return rule


def _slope(constant: float) -> Rule:
    return lambda layer, shape: (constant, shape)


def _flatten(layer: Any, shape: Shape) -> tuple[float, Shape]:
    if layer.start_dim < 1:
        raise _Unknown(f"start_dim {layer.start_dim}; allowed: 1 or more")
    if shape is None:
        return 1.0, None
    last = layer.end_dim if layer.end_dim >= 0 else len(shape) + 1 + layer.end_dim
    first = layer.start_dim - 1
    return 1.0, (*shape[:first], math.prod(shape[first:last]), *shape[last:])


def _prelu(layer: Any, shape: Shape) -> tuple[float, Shape]:
    return max(1.0, float(np.abs(_weights(layer)).max())), shape


def _soft_max(layer: Any, shape: Shape) -> tuple[float, Shape]:
    # The largest singular value of diag(p) - p p' is at most 1/2.
    if layer.dim is None or layer.dim == 0:
        raise _Unknown(f"dim {layer.dim}; allowed: a dimension of the input other than the batch")
    return 0.5, shape


_RULES: dict[type, Rule] = {
    nn.Linear: _linear,
    nn.Conv1d: _convolution,
    nn.Conv2d: _convolution,
    nn.BatchNorm1d: _batch_norm,
    nn.BatchNorm2d: _batch_norm,
    nn.MaxPool1d: _max_pool,
    nn.MaxPool2d: _max_pool,
    nn.AvgPool1d: _average_pool,
    nn.AvgPool2d: _average_pool,
    nn.AdaptiveAvgPool1d: _adaptive(True),
    nn.AdaptiveAvgPool2d: _adaptive(True),
    nn.AdaptiveMaxPool1d: _adaptive(False),
    nn.AdaptiveMaxPool2d: _adaptive(False),
    nn.Flatten: _flatten,
    nn.Softmax: _soft_max,
    nn.PReLU: _prelu,
    nn.LeakyReLU: lambda layer, shape: (max(1.0, abs(float(layer.negative_slope))), shape),
    # The slope below zero is alpha exp(x), and 1 above.
    nn.ELU: lambda layer, shape: (max(1.0, abs(float(layer.alpha))), shape),
    # scale times alpha, 1.0507... times 1.6732...
    nn.SELU: _slope(1.7581),
    # The largest slopes are 1.12904 (at sqrt(2)) and 1.09984 (at 2.3994).
    nn.GELU: _slope(1.1291),
    nn.SiLU: _slope(1.0999),
    nn.Sigmoid: _slope(0.25),
    **dict.fromkeys(
        (nn.Identity, nn.Dropout, nn.Dropout2d, nn.ReLU, nn.ReLU6, nn.Hardtanh, nn.Tanh,
         nn.Softplus, nn.Softsign, nn.LogSigmoid),
        _slope(1.0),
    ),
}  # fmt: skip
