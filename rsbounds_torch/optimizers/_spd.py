"""Steps on the manifold of symmetric positive definite matrices."""

from __future__ import annotations

from typing import NamedTuple

import torch

METRICS = ("affine-invariant", "log-euclidean")


class Eigen(NamedTuple):
    """C = vectors diag(values) vectors^T, batched."""

    values: torch.Tensor
    vectors: torch.Tensor


def eigen(matrix: torch.Tensor) -> Eigen:
    """The decomposition of (B, d, d) matrices, symmetric but for rounding."""
    return Eigen(*torch.linalg.eigh(0.5 * (matrix + matrix.mT)))


def composed(values: torch.Tensor, vectors: torch.Tensor) -> torch.Tensor:
    """Vectors diag(values) vectors^T."""
    return (vectors * values[:, None]) @ vectors.mT


def ascent_direction(at: Eigen, slope: torch.Tensor, metric: str) -> torch.Tensor:
    """The Riemannian gradient in the frame in which `moved` takes it, symmetric.

    ``slope`` is the Euclidean gradient in C, symmetric. Affine-invariant: the gradient C S C of
    the metric tr(C^-1 A C^-1 B), brought to the identity: C^1/2 S C^1/2. Log-Euclidean: the
    gradient in log C, by Daleckii and Krein's divided differences. Both in the eigenbasis of C.
    """
    turned = at.vectors.mT @ slope @ at.vectors
    if metric == "affine-invariant":
        root = torch.sqrt(at.values)
        return root[:, :, None] * turned * root[:, None, :]
    logs = torch.log(at.values)
    half = 0.5 * (logs[:, :, None] - logs[:, None, :])
    # (e^a - e^b) / (a - b) = e^((a + b) / 2) sinh(h) / h, h half of the difference.
    near = half.abs() < 1e-4
    ratio = torch.where(near, 1.0 + half**2 / 6.0, torch.sinh(half) / torch.where(near, 1.0, half))
    mean = torch.exp(0.5 * (logs[:, :, None] + logs[:, None, :]))
    return mean * ratio * turned


def moved(at: Eigen, step: torch.Tensor, longest: float, metric: str) -> torch.Tensor:
    """C after a step in the frame of `ascent_direction`, none of its eigenvalues above a length.

    Affine-invariant: Exp_C(D) = C^1/2 exp(C^-1/2 D C^-1/2) C^1/2. Log-Euclidean: exp(log C + D).
    """
    inner = eigen(step)
    bounded = inner.values.clamp(-longest, longest)
    if metric == "affine-invariant":
        root = torch.sqrt(at.values)[:, :, None] * inner.vectors
        found = composed(torch.exp(bounded), root)
    else:
        logs = torch.diag_embed(torch.log(at.values)) + composed(bounded, inner.vectors)
        turned = eigen(logs)
        found = composed(torch.exp(turned.values), turned.vectors)
    return at.vectors @ found @ at.vectors.mT


def between(start: torch.Tensor, end: torch.Tensor, part: float) -> torch.Tensor:
    """The point of the affine-invariant geodesic from one matrix (part 0) to another (part 1)."""
    first = eigen(start)
    root = first.vectors * torch.sqrt(first.values)[:, None]
    back = first.vectors / torch.sqrt(first.values)[:, None]
    inner = eigen(back.mT @ end @ back)
    return composed(inner.values**part, root @ inner.vectors)
