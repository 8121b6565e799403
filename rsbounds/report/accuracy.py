"""Certified accuracy and average certified radius."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from rsbounds import _text, _validate
from rsbounds._types import Certificates
from rsbounds.report.limit import LimitCurve


def _correct(
    certificates: Certificates | LimitCurve, labels: ArrayLike | None
) -> NDArray[np.bool_]:
    if labels is None:
        return np.asarray(certificates.radius > 0)
    known = _validate.class_indices(labels, len(certificates), 2**62, "labels")
    return np.asarray(certificates.top == known)


def certified_accuracy(
    certificates: Certificates | LimitCurve, labels: ArrayLike | None, radii: ArrayLike
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

    Returns
    -------
    (R,) ndarray
        Shares in [0, 1].

    Raises
    ------
    ValueError
        Labels of another length, or a negative or NaN radius.

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
    reached = np.sort(certificates.radius[correct])
    return np.asarray((reached.size - np.searchsorted(reached, at, side="left")) / len(correct))


def average_certified_radius(certificates: Certificates | LimitCurve, labels: ArrayLike) -> float:
    """ACR: mean radius, where a wrong class or an abstention counts as 0.

    Parameters
    ----------
    certificates : Certificates
        One entry per input (or the curve of a `LikelihoodLimit`).
    labels : (B,) integers
        True classes.

    Returns
    -------
    float
        The mean (Zhai et al. 2020, MACER), exact and rounded down.

    Raises
    ------
    ValueError
        Labels of another length.

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
    radii = np.where(_correct(certificates, labels), certificates.radius, 0.0)
    return _text.mean_down(radii.tolist())
