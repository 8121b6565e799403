"""What is certified: a data set and a model, as the driver of runs sees them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from rsbounds.noises import Noise

T = TypeVar("T")


class Answers(NamedTuple):
    """What a model says of a batch.

    Attributes
    ----------
    values : (m,) or (m, K) array
        Class indices, or scores.
    kind : str
        The arithmetic behind them, such as "float32".
    weights : str
        A hash of the weights behind them, "" where they are not known.
    """

    values: NDArray[Any]
    kind: str
    weights: str = ""


class Subject(Protocol):
    """Inputs and the model's answers on them."""

    def item(self, index: int, /) -> tuple[NDArray[Any], Any]:
        """Input and label (or None) of an index."""

    def votes(
        self,
        inputs: NDArray[Any],
        indices: Sequence[int],
        role: Any,
        spans: Sequence[tuple[int, int]],
        /,
    ) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """(b, K) counts of draws ``first`` to ``stop`` of each input, which ``spans`` says.

        And (b,) draws among them that had no valid answer.
        """

    def scores(
        self, inputs: NDArray[Any], indices: Sequence[int], role: Any, n: int, scoring: Any, /
    ) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
        """(b, n, K) scores in [0, 1], and (b,) draws that had no valid answer.

        ``scoring`` is the run's `rsbounds.runs.kinds.Scoring`. Asked of runs of scores only.
        """

    def answers(self, batch: NDArray[Any], /) -> Answers:
        """What the model says of each row, without further noise."""

    def batch_size(self, x: NDArray[Any], index: int, /) -> int:
        """Copies of an input in a full batch. Asked of runs whose rules stop the draws only."""


class SmoothedSubject(Subject, Protocol):
    """A subject that finds a noise law for each input, as runs with ``smoothing`` need."""

    def smoothed(self, inputs: NDArray[Any], indices: Sequence[int], /) -> tuple[Subject, Noise]:
        """The subject that answers for these inputs under the laws found for them, and those.

        A law depends on its input and the seed alone, never on a draw that selects or certifies.
        """


@dataclass(frozen=True, eq=False)
class Item:
    """An input that was read and has finite numbers."""

    index: int
    x: NDArray[Any]
    label: int | None


@dataclass(frozen=True, eq=False)
class Failure:
    """An input that could not be read or answered, and why."""

    index: int
    reason: str
    cause: BaseException | None = None
    label: int | None = None
    seconds: float = 0.0

    def sentence(self) -> str:
        """The reason with the index of the input."""
        return f"input {self.index}: {self.reason}"


def attempt(index: int, work: Callable[[], T]) -> T | Failure:
    """The result, or the failure of that input. What no input is to blame for is raised."""
    try:
        return work()
    except (MemoryError, ImportError):
        raise
    except LabelError:
        raise
    except Exception as error:
        text = str(error).strip().split("\n")[0]
        if "out of memory" in text.lower():
            raise MemoryError(
                f"{text}; a smaller batch_size needs less, and the same call resumes the run"
            ) from error
        # Refusals of ours are sentences; others need their name.
        ours = isinstance(error, ValueError) and text
        return Failure(index, text if ours else f"{type(error).__name__}: {text}", error)


class LabelError(ValueError):
    """A label that is no class: the data set or num_classes is not what was meant."""


def read(subject: Subject, classes: int, index: int) -> Item | Failure:
    """An input of the data set.

    Raises
    ------
    ValueError
        A label that is no class.
    """
    pair = attempt(index, lambda: subject.item(index))
    if isinstance(pair, Failure):
        return pair
    label = _label(pair[1], index, classes)
    x = np.asarray(pair[0])
    if x.dtype.kind not in "iubf":
        return Failure(index, f"it has type {x.dtype}; allowed: numbers", label=label)
    if not np.isfinite(x).all():
        where = tuple(int(i) for i in np.argwhere(~np.isfinite(x))[0])
        return Failure(
            index, f"its value at {list(where)} is {x[where]}; allowed: finite numbers", label=label
        )
    return Item(index, x, label)


def _label(given: Any, index: int, classes: int) -> int | None:
    if given is None:
        return None
    value = np.asarray(given)
    if value.size == 1 and value.dtype.kind in "iuf":
        number = value.reshape(-1)[0]
        if 0 <= number < classes and number == int(number):
            return int(number)
    shown = value.tolist() if value.size == 1 else f"of shape {value.shape}"
    raise LabelError(
        f"label of input {index} is {shown}; allowed: a class from 0 to {classes - 1}, or None"
    )
