"""What quantiles of real-valued outputs are certified to be."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from rsbounds import _text
from rsbounds._types._common import Guarantee, frozen
from rsbounds._version import __version__


@dataclass(frozen=True, eq=False, repr=False)
class CertifiedQuantiles:
    """Values that a quantile under noise keeps to: with probability at least 1 - alpha, at every
    perturbation of size at most ``radii[j]`` each q-quantile of an output is in
    [``lower[..., j]``, ``upper[..., j]``].

    The arrays cannot be changed.

    Attributes
    ----------
    lower, upper : (B, R) or (B, m, R) float64
        The values; -inf and inf where nothing is certified, or the side was not asked for.
    estimate : (B,) or (B, m) float64
        The quantiles of the samples themselves, of which nothing is guaranteed.
    radii : (R,) float64
        Radii in the norm ``norm``, in units of the raw input.
    q : float
        Which quantile.
    n : int
        Draws that each rests on.
    alpha : float
        Error probability of the statement about ``family``.
    side : {"lower", "upper", "both"}
        Which sides hold together.
    family : {"output", "input", "all"}
        What holds together at all radii: each output on its own, all outputs of an input, or all.
    noise, norm, law, version
        As in `Certificates`.
    guarantee : {"proven", "enumerated", "none"}
        See `rsbounds.Guarantee`.
    input_hash : str
        SHA-256 of the samples.
    details : mapping
        What was drawn on a lattice, as in `Certificates`.
    """

    lower: NDArray[np.float64]
    upper: NDArray[np.float64]
    estimate: NDArray[np.float64]
    radii: NDArray[np.float64]
    q: float
    n: int
    alpha: float
    side: Literal["lower", "upper", "both"]
    family: Literal["output", "input", "all"]
    noise: str
    norm: str
    input_hash: str
    law: Mapping[str, Any] | None = None
    guarantee: Guarantee = "proven"
    version: str = __version__
    details: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name in ("lower", "upper", "estimate", "radii"):
            object.__setattr__(self, name, frozen(getattr(self, name)))

    def __len__(self) -> int:
        return len(self.lower)

    def __repr__(self) -> str:
        return (
            f"CertifiedQuantiles({self.estimate.size} outputs, q {self.q:g}, {len(self.radii)} "
            f"radii, {self.noise}, {self.norm}, alpha {self.alpha:g}, {self.guarantee})"
        )

    def __str__(self) -> str:
        return self.table(20)

    def records(self) -> Iterator[dict[str, Any]]:
        """One dictionary per output and radius, plain values that JSON can carry.

        ``lower`` and ``upper`` are None where nothing is certified.
        """
        for place in np.ndindex(*self.estimate.shape):
            for j, radius in enumerate(self.radii.tolist()):
                low, high = float(self.lower[*place, j]), float(self.upper[*place, j])
                yield {
                    "index": place[0],
                    **({"output": place[1]} if len(place) > 1 else {}),
                    "radius": radius,
                    "lower": low if np.isfinite(low) else None,
                    "estimate": float(self.estimate[place]),
                    "upper": high if np.isfinite(high) else None,
                }

    def table(self, rows: int | None = None, names: list[str] | None = None) -> str:
        """A table for a terminal; values are rounded outward.

        Parameters
        ----------
        rows : int, optional
            Show no more than the first ``rows``.
        names : list of str, optional
            What the B inputs are called.
        """
        total = self.lower.size
        body: list[list[str]] = []
        for row in self.records():
            if len(body) == rows:
                break
            who = str(row["index"]) if names is None else names[row["index"]]
            body.append([
                f"{who}.{row['output']}" if "output" in row else who,
                repr(row["radius"]),
                "-" if row["lower"] is None else _text.down(row["lower"]),
                repr(row["estimate"]),
                "-" if row["upper"] is None else _text.up(row["upper"]),
            ])  # fmt: skip
        text = _text.table(["output", "radius", "lower", "estimate", "upper"], body)
        if len(body) < total:
            text += f"\n... {total - len(body)} more rows"
        together = {
            "output": "each output on its own", "input": "all outputs of an input together",
            "all": "all outputs together",
        }[self.family]  # fmt: skip
        return (
            f"{text}\nq {self.q:g}, n {self.n}, {self.norm} radius, side {self.side}, "
            f"{together}\n{self.noise}, alpha {self.alpha:g}, guarantee: {self.assurance}"
        )

    @property
    def assurance(self) -> str:
        """The guarantee in words, as in `Certificates`."""
        if not self.details:
            return f"{self.guarantee} in real arithmetic"
        spent, offset = self.details["alpha_of_noise"], self.details["offset"]
        about = " about inputs rounded to its lattice" if offset is None else ""
        return f"{self.guarantee}, exact noise{about}, alpha spent on it {_text.size_up(spent)}"
