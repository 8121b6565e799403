"""Certified accuracy and average certified radius."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from rsbounds import _text, _validate
from rsbounds._types import Certificates
from rsbounds.report.limit import LimitCurve

#: What can be counted: the radius in the law's own norm, and those of balls in units of the input.
SIZES = ("radius", "inscribed_radius", "proxy_radius")


def sizes(certificates: Certificates | LimitCurve, size: str) -> NDArray[np.float64]:
    """(B,) radii of the kind that is asked for, where they are known."""
    _validate.choice("size", size, SIZES)
    if isinstance(certificates, LimitCurve) and not certificates.norm.startswith("scaled "):
        size = "radius"
    values = getattr(certificates, size, None)
    if values is None or np.isnan(values).any():
        raise ValueError(
            f"size is {size!r}, which {certificates.norm} certificates of noise without a region "
            "do not have; allowed: 'radius'"
        )
    return np.asarray(values)


def _correct(
    certificates: Certificates | LimitCurve, labels: ArrayLike | None
) -> NDArray[np.bool_]:
    if labels is None:
        return np.asarray(certificates.radius > 0)
    known = _validate.class_indices(labels, len(certificates), 2**62, "labels")
    return np.asarray(certificates.top == known)


def certified_accuracy(
    certificates: Certificates | LimitCurve,
    labels: ArrayLike | None,
    radii: ArrayLike,
    *,
    size: str = "radius",
) -> NDArray[np.float64]:
    """Share of inputs certified with the right class at radius r or more.

    Each certificate holds with its own error probability alpha; the share is the usual
    approximate certified accuracy of the field (Cohen et al. 2019, section 4), not a joint
    statement.

    Parameters
    ----------
    certificates : Certificates
        One entry per input (or the curve of a `LikelihoodLimit`).
    labels : (B,) integers or None
        True classes; None takes every certified class for right: the share certified.
    radii : (R,) float array_like
        Radii, at least 0.
    size : {"radius", "inscribed_radius", "proxy_radius"}
        Which radius of the certificates. Where noise has axes of its own for each input, those in
        the law's norm cannot be compared; a share at proxy radii is about the volume of regions,
        not about every perturbation of that length.

    Returns
    -------
    (R,) ndarray
        Shares in [0, 1].

    Raises
    ------
    ValueError
        Labels of another length, a negative or NaN radius, or a size that is not known.

    See Also
    --------
    rsbounds.average_certified_radius : One number in place of a curve.
    rsbounds.plot_certified_accuracy : The curve.

    References
    ----------
    .. [1] J. Cohen, E. Rosenfeld and J. Z. Kolter, "Certified adversarial robustness via randomized
       smoothing", ICML 2019.

    Examples
    --------
    >>> import rsbounds
    >>> certificates = rsbounds.certify(
    ...     [[990, 8, 2], [20, 970, 10]], [0, 1], noise=rsbounds.Gaussian(sigma=0.5))
    >>> rsbounds.certified_accuracy(certificates, labels=[0, 0], radii=[0.0, 0.5, 2.0])
    array([0.5, 0.5, 0. ])
    """
    at = np.atleast_1d(_validate.real_array("radii", radii))
    bad = ~(at >= 0)
    if bad.any():
        raise ValueError(f"radii contains {at[bad][0]}; allowed: numbers >= 0")
    correct = _correct(certificates, labels)
    reached = np.sort(sizes(certificates, size)[correct])
    return np.asarray((reached.size - np.searchsorted(reached, at, side="left")) / len(correct))


def average_certified_radius(
    certificates: Certificates | LimitCurve, labels: ArrayLike, *, size: str = "radius"
) -> float:
    """ACR: mean radius, where a wrong class or an abstention counts as 0.

    Parameters
    ----------
    certificates : Certificates
        One entry per input (or the curve of a `LikelihoodLimit`).
    labels : (B,) integers
        True classes.
    size : {"radius", "inscribed_radius", "proxy_radius"}
        As in `certified_accuracy`.

    Returns
    -------
    float
        The mean (Zhai et al. 2020, MACER), exact and rounded down.

    Raises
    ------
    ValueError
        Labels of another length, or a size that is not known.

    See Also
    --------
    rsbounds.certified_accuracy : The share at given radii.

    References
    ----------
    .. [1] R. Zhai et al., "MACER: attack-free and scalable robust training via maximizing certified
       radius", ICLR 2020.

    Examples
    --------
    >>> import rsbounds
    >>> certificates = rsbounds.certify([990, 8, 2], 0, noise=rsbounds.Gaussian(sigma=0.5))
    >>> rsbounds.average_certified_radius(certificates, labels=[1])
    0.0
    """
    radii = np.where(_correct(certificates, labels), sizes(certificates, size), 0.0)
    return _text.mean_down(radii.tolist())
