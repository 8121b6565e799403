"""A classifier that a memory of certified regions makes sound (Alfarra et al. 2022, section 3.5).

Noise that is chosen for an input certifies the classifier smoothed with that very noise. The
classifier that chooses new noise for every input may answer differently next to it, so its
answers have no certificate. A memory gives it one: it keeps every certified region with its
class, answers inside of a region with the region's class, and keeps regions of different classes
from meeting. The paper's procedure is carried out for every stored region, not only the nearest:

- A new input inside a stored region of another class gets that class, and its region is shrunk
  until it lies inside the stored one (of several, in the one where it stays largest).
- Otherwise its region is shrunk until it meets no stored region of another class.
- Regions of the same class may overlap.

Every step is proven in floating point (`rsbounds.regions.disjoint`), so that no two stored regions
with different classes meet. The result depends on the order of inputs, which is kept.
"""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from rsbounds import _validate
from rsbounds._types import NO_CLASS, Certificates
from rsbounds.certificates._memory_index import Column, Index
from rsbounds.noises import Noise
from rsbounds.regions import Ball, Region, inside, shrink_into, shrink_to_avoid

Numbers = NDArray[np.float64]
Rows = NDArray[np.intp]

#: Numbers of stored inputs that are compared at once.
_AT_ONCE = 1 << 21


@dataclass(frozen=True)
class MemoryAnswer:
    """What a memory says of one input.

    Attributes
    ----------
    position : int
        Its place in the order of the memory.
    candidate : int
        Its class; `rsbounds.NO_CLASS` where it never had one. It is certified where ``radius``
        is above 0.
    radius : float
        Radius of its region, in the region's own gauge; 0 where it abstained.
    adjusted : {"no", "shrunk", "relabelled"}
        Whether the region was made smaller to avoid others, or the class is another's.
    by : int or None
        Position of the stored input because of which it was adjusted.
    own_candidate, own_radius : int, float
        Class and radius before, those of the classifier smoothed with the input's own noise.
    """

    position: int
    candidate: int
    radius: float
    adjusted: Literal["no", "shrunk", "relabelled"]
    by: int | None
    own_candidate: int
    own_radius: float

    @property
    def abstained(self) -> bool:
        """True where nothing is certified."""
        return not self.radius > 0

    @property
    def top(self) -> int | None:
        """The certified class; None where it abstained."""
        return None if self.abstained else self.candidate


class MemoryClassifier:
    """The classifier that answers from a memory of disjoint certified regions.

    Where every stored region holds for the classifier smoothed with its input's own noise (with
    probability at least 1 - alpha each; together with shares of `family_alpha`), the memory's
    answer is constant on each stored region: no perturbation of a stored input within its region
    changes it (Alfarra et al. 2022, section 3.5). Regions that are stored later never change an
    answer inside of one that is there. All this is of the regions in real numbers: `predict`
    cannot prove that a point within rounding of a border is inside (a few d times 1e-16 of the
    region's size, more where turned axes are far from equal), and asks ``base`` there.

    Parameters
    ----------
    model : str
        What tells the model from others: a hash of its weights, or a name.
    noise : str
        Name of the family of noise laws, such as "gaussian".
    dimension : int
        d, the number of coordinates of an input.
    base : callable, optional
        Takes (m, ...) inputs outside of all regions and returns (m,) classes, NO_CLASS where it
        abstains: the data-dependent smoothed classifier itself.

    Raises
    ------
    ValueError
        Bad arguments.

    See Also
    --------
    rsbounds.runs.remember : The memory of a stored run, in a file.
    rsbounds.certify : The certificates that go into it.

    References
    ----------
    .. [1] M. Alfarra, A. Bibi, P. H. S. Torr and B. Ghanem, "Data dependent randomized smoothing",
       UAI 2022.
    .. [2] P. Súkeník, A. Kuvshinov and S. Günnemann, "Intriguing properties of input-dependent
       randomized smoothing", ICML 2022.

    Examples
    --------
    >>> import rsbounds
    >>> from rsbounds.regions import Ball
    >>> memory = rsbounds.MemoryClassifier(model="m", noise="gaussian", dimension=2)
    >>> memory.add([0.0, 0.0], 1, Ball([1.0], norm="l2")).radius
    1.0
    >>> answer = memory.add([1.5, 0.0], 2, Ball([1.0], norm="l2"))
    >>> answer.adjusted, answer.by, round(answer.radius, 6)
    ('shrunk', 0, 0.5)
    >>> answer = memory.add([0.5, 0.0], 2, Ball([1.0], norm="l2"))
    >>> answer.adjusted, answer.candidate, round(answer.radius, 6)
    ('relabelled', 1, 0.5)
    >>> memory.predict([[0.2, 0.3], [1.8, 0.0]])
    array([1, 2])
    """

    def __init__(
        self,
        *,
        model: str,
        noise: str,
        dimension: int,
        base: Callable[[NDArray[Any]], ArrayLike] | None = None,
    ) -> None:
        for name, value in (("model", model), ("noise", noise)):
            if not isinstance(value, str):
                raise ValueError(f"{name} is {value!r}; allowed: a text")
        self.fingerprint: dict[str, Any] = {
            "model": model,
            "noise": noise,
            "dimension": _validate.integer("dimension", dimension, low=1),
        }
        if base is not None and not callable(base):
            raise ValueError(f"base is {base!r}; allowed: a callable on inputs (m, ...)")
        self._base = base
        self._dimension = dimension
        self._answers: list[MemoryAnswer] = []
        self._positions: dict[bytes, int] = {}
        self._index = Index(dimension)
        self._classes = Column((), np.int64)
        self._kind: Region | None = None
        self._columns: dict[str, Column] = {}

    def __len__(self) -> int:
        return len(self._answers)

    def __getitem__(self, position: int) -> MemoryAnswer:
        return self._answers[position]

    def __iter__(self) -> Iterator[MemoryAnswer]:
        return iter(self._answers)

    def __repr__(self) -> str:
        return f"MemoryClassifier({len(self)} inputs, {self.fingerprint})"

    def add(self, x: ArrayLike, candidate: int | None, region: Region) -> MemoryAnswer:
        """Answer an input whose own certificate is there, and store the answer.

        An input that is stored already gets the same answer again, whatever comes with it. One
        that abstained is kept with an empty region, which keeps nobody away; `predict` answers
        there with the class of a region that came to hold it.

        Parameters
        ----------
        x : (...) float array_like
            The input, d finite numbers.
        candidate : int or None
            Its class; None or `rsbounds.NO_CLASS` where there is none.
        region : Region
            One region, at radius 0 where the input abstained.

        Returns
        -------
        MemoryAnswer

        Raises
        ------
        ValueError
            Another number of coordinates, numbers that are not finite, or a region of another
            kind than those stored.
        """
        point = self._checked_point(x)
        key = _key(point)
        if key in self._positions:
            return self._answers[self._positions[key]]
        own = self._checked_class(candidate)
        given = self._checked_region(region, own)
        answer, kept = self._adjusted(point, own, given)
        self.restore(point, kept, answer)
        return answer

    def certify(
        self, inputs: ArrayLike, certificates: Certificates, *, noise: Noise
    ) -> Certificates:
        """Answers to inputs with certificates of their own, in order.

        Parameters
        ----------
        inputs : (B, ...) float array_like
            The inputs.
        certificates : Certificates
            (B,) of the classifiers smoothed with each input's own noise.
        noise : Noise
            The law they were made with, for all inputs or with parameters for each.

        Returns
        -------
        Certificates
            The same with the memory's classes and radii, about the memory: ``about`` says so.

        Raises
        ------
        ValueError
            Certificates that are about a memory already, of another noise, or not one per input;
            or as `add`.

        Examples
        --------
        >>> import numpy as np, rsbounds
        >>> law = rsbounds.Gaussian(sigma=[0.5, 0.25])
        >>> own = rsbounds.certify([[990, 10], [10, 990]], [0, 1], noise=law)
        >>> memory = rsbounds.MemoryClassifier(model="m", noise="gaussian", dimension=1)
        >>> found = memory.certify([[0.0], [1.2]], own, noise=law)
        >>> found.top, bool(found.radius.sum() < 1.2 < own.radius.sum()), found.about
        (array([0, 1]), True, 'memory')
        """
        array = _validate.real_array("inputs", inputs)
        self._check_certificates(certificates, noise)
        if len(array) != len(certificates):
            raise ValueError(
                f"inputs have shape {array.shape}; allowed: one for each of {len(certificates)} "
                "certificates"
            )
        for x in array:
            self._checked_point(x)
        found = [
            self.add(x, int(top), self._certified_region(noise.at([i]), float(radius)))
            for i, (x, top, radius) in enumerate(
                zip(array, certificates.candidate, certificates.radius, strict=True)
            )
        ]
        sizes: dict[str, Any] = {"radius": np.array([a.radius for a in found], dtype=np.float64)}
        if certificates.norm.startswith("scaled "):
            regions = [self.region_of(answer.position) for answer in found]
            for name in ("inscribed_radius", "proxy_radius"):
                sizes[name] = np.array([getattr(region, name)()[0] for region in regions])
        candidate = np.array([answer.candidate for answer in found], dtype=np.int64)
        return dataclasses.replace(certificates, candidate=candidate, about="memory", **sizes)

    def _check_certificates(self, certificates: Certificates, noise: Noise) -> None:
        if certificates.about != "fixed noise" or certificates.k > 1:
            what = "top k" if certificates.k > 1 else f"classifier with a {certificates.about}"
            raise ValueError(
                f"certificates are about the {what}; allowed: answers under each input's own noise"
            )
        if noise.name != self.fingerprint["noise"] or noise.norm != certificates.norm:
            raise ValueError(
                f"noise is {noise}; allowed: {self.fingerprint['noise']} noise, that of the "
                "memory, with certificates in its norm"
            )
        noise.check_rows(len(certificates))
        if certificates.law is not None and certificates.law != noise.to_dict():
            raise ValueError(f"noise is {noise}; allowed: {certificates.noise}, as certified")

    def _certified_region(self, noise: Noise, radius: float) -> Region:
        """The region of one certificate, from the law of its input."""
        if noise.curve_only:
            return Ball([radius], norm=noise.norm, dimension=self._dimension)
        return noise.region(np.zeros(1)).with_radius([radius])

    def position(self, x: ArrayLike) -> int | None:
        """Place of an input that was added; None where it was not."""
        return self._positions.get(_key(self._checked_point(x)))

    def find(self, x: ArrayLike) -> int | None:
        """Position of a stored input whose region holds a point; None where there is none.

        Parameters
        ----------
        x : (...) float array_like
            The point.
        """
        point = self._checked_point(x)
        hosts, _ = self._hosts(point, self._index.near(point, 0.0))
        return int(hosts[0]) if len(hosts) else None

    def predict(self, x: ArrayLike) -> NDArray[np.int64]:
        """Answers of the classifier that the certificates are about.

        A point in a stored region gets the region's class, a stored input that abstained and
        lies in none abstains, and every other point gets what ``base`` answers. Nothing is stored.

        Parameters
        ----------
        x : (m, ...) float array_like
            Points.

        Returns
        -------
        (m,) int64 ndarray
            Classes; `rsbounds.NO_CLASS`, which equals no label, where the answer is to abstain.

        Raises
        ------
        ValueError
            Bad points, a point outside of all regions where there is no ``base``, or answers of
            ``base`` that are not classes.
        """
        array = _validate.array("x", x)
        if array.ndim < 2:
            raise ValueError(f"x has shape {array.shape}; allowed: (m, ...)")
        found = np.full(len(array), NO_CLASS, dtype=np.int64)
        open_rows = []
        for row, one in enumerate(array):
            point = self._checked_point(one)
            hosts, classes = self._hosts(point, self._index.near(point, 0.0))
            if len(hosts):
                found[row] = classes[0]
            elif _key(point) not in self._positions:
                open_rows.append(row)
        if open_rows:
            if self._base is None:
                raise ValueError(
                    f"x[{open_rows[0]}] lies in no stored region; allowed: points in one, or a "
                    "memory with a base classifier"
                )
            answers = np.asarray(self._base(array[open_rows]))
            good = answers.dtype.kind in "iu" and answers.shape == (len(open_rows),)
            if not good or not ((answers >= 0) | (answers == NO_CLASS)).all():
                raise ValueError(
                    f"base returned {answers!r}; allowed: ({len(open_rows)},) classes >= 0 or "
                    "NO_CLASS"
                )
            found[open_rows] = answers
        return found

    def point_of(self, position: int) -> NDArray[Any]:
        """(d,) the stored input, float32 where every stored one is."""
        return np.asarray(self._index.points[np.array([position])][0])

    def region_of(self, position: int) -> Region:
        """The stored region of an input; empty where it abstained."""
        return self._stored(np.array([position]))

    def restore(self, x: ArrayLike, region: Region, answer: MemoryAnswer) -> None:
        """Store an answer that was given before, as a file of the memory holds it.

        Nothing is adjusted: the same inputs in the same order must have led to it.

        Raises
        ------
        ValueError
            An input that is stored already, or an answer out of order.
        """
        point = self._checked_point(x)
        key = _key(point)
        if answer.position != len(self) or key in self._positions:
            raise ValueError(f"answer is {answer}; allowed: the next one, of a new input")
        self._keep_kind(region)
        for name, column in self._columns.items():
            column.append(region.arrays()[name][0])
        self._classes.append(answer.candidate)
        reach = -np.inf if answer.abstained else self._reach(region)
        self._index.append(point, reach)
        self._positions[key] = answer.position
        self._answers.append(answer)

    def _adjusted(self, point: Numbers, own: int, region: Region) -> tuple[MemoryAnswer, Region]:
        rows = self._index.near(point, self._reach(region))
        hosts, classes = self._hosts(point, rows)
        candidate, kept, by = own, region, None
        adjusted: Literal["no", "shrunk", "relabelled"] = "no"
        if len(hosts) and int(classes[0]) != own:
            adjusted, candidate = "relabelled", int(classes[0])
            kept, by = self._best_host(point, region, hosts)
        elif region.radius[0] > 0:
            kept, by = self._avoiding(point, own, region, rows)
            adjusted = "no" if by is None else "shrunk"
        radius = float(kept.radius[0])
        return (
            MemoryAnswer(len(self), candidate, radius, adjusted, by, own, float(region.radius[0])),
            kept,
        )

    def _hosts(self, point: Numbers, rows: Rows) -> tuple[Rows, NDArray[np.int64]]:
        """Positions and classes of stored regions, of some, that are proven to hold a point."""
        found = [np.zeros(0, dtype=np.intp)]
        for part, places in self._chunks(rows):
            found.append(part[inside(self._stored(part), places, point)])
        hosts = np.concatenate(found)
        classes = np.asarray(self._classes[hosts], dtype=np.int64)
        if len(set(classes.tolist())) > 1:
            raise RuntimeError(f"stored regions at {hosts.tolist()} overlap; their file is damaged")
        return hosts, classes

    def _best_host(self, point: Numbers, region: Region, hosts: Rows) -> tuple[Region, int]:
        """The region shrunk into the stored one where it stays largest."""
        best, by = region.with_radius([0.0]), int(hosts[0])
        for part, places in self._chunks(hosts):
            many = shrink_into(region, point, self._stored(part), places)
            largest = int(np.argmax(many.radius))
            if many.radius[largest] > best.radius[0]:
                best, by = many[largest], int(part[largest])
        return best, by

    def _avoiding(
        self, point: Numbers, own: int, region: Region, rows: Rows
    ) -> tuple[Region, int | None]:
        """The region shrunk until it meets no stored one, of some, of another class."""
        by = None
        for part, places in self._chunks(rows[self._classes[rows] != own]):
            if region.radius[0] == 0:
                break
            # A smaller region still avoids what a larger one was proven to avoid.
            region, nearest = shrink_to_avoid(region, point, self._stored(part), places)
            by = by if nearest is None else int(part[nearest])
        return region, by

    def _chunks(self, rows: Rows) -> Iterator[tuple[Rows, Numbers]]:
        """Positions and places, some at a time."""
        size = max(1, _AT_ONCE // self._dimension)
        for start in range(0, len(rows), size):
            part = rows[start : start + size]
            yield part, np.asarray(self._index.points[part], dtype=np.float64)

    def _stored(self, rows: Rows) -> Region:
        assert self._kind is not None
        return self._kind.of_arrays({name: held[rows] for name, held in self._columns.items()})

    def _reach(self, region: Region) -> float:
        return float(region.circumscribed_radius(self._dimension)[0])

    def _keep_kind(self, region: Region) -> None:
        if self._kind is None:
            self._kind = region
            self._columns = {
                name: Column(value.shape[1:], np.float64) for name, value in region.arrays().items()
            }

    def _checked_point(self, x: ArrayLike) -> Numbers:
        point = _validate.real_array("x", x).reshape(-1)
        if len(point) != self._dimension:
            raise ValueError(
                f"x has {len(point)} numbers; allowed: {self._dimension}, those of the memory"
            )
        if not np.isfinite(point).all():
            raise ValueError(f"x holds {point[~np.isfinite(point)][0]}; allowed: finite numbers")
        # Two signs of zero are one point.
        return point + 0.0

    def _checked_class(self, candidate: int | None) -> int:
        if candidate is None or candidate == NO_CLASS:
            return NO_CLASS
        return _validate.integer("candidate", candidate, low=0)

    def _checked_region(self, region: Region, candidate: int) -> Region:
        if not isinstance(region, Region) or len(region) != 1:
            raise ValueError(f"region is {region!r}; allowed: one region")
        if region.dimension not in (None, self._dimension):
            raise ValueError(
                f"region has {region.dimension} coordinates; allowed: {self._dimension}"
            )
        if self._kind is not None and _kind(region) != _kind(self._kind):
            raise ValueError(
                f"region is {' '.join(map(str, _kind(region)))}; allowed: "
                f"{' '.join(map(str, _kind(self._kind)))}, as the others in the memory"
            )
        return region.with_radius([0.0]) if candidate == NO_CLASS else region


def _kind(region: Region) -> tuple[Any, ...]:
    """What two regions of one memory share."""
    shapes = ((name, value.shape[1:]) for name, value in sorted(region.arrays().items()))
    return (type(region).__name__, region.norm, *shapes)


def _key(point: Numbers) -> bytes:
    return hashlib.sha256(point.tobytes()).digest()
