"""What became of inputs: done, or failed; how they are read, and the model asked about them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, cast

from rsbounds._types import Certificates
from rsbounds.noises import Noise
from rsbounds.runs import probes
from rsbounds.runs.kinds import Drawn
from rsbounds.runs.plan import RunPlan
from rsbounds.runs.subject import Failure, Item, SmoothedSubject, Subject, attempt, read


@dataclass(frozen=True, eq=False)
class Done:
    """An input with what was drawn of it, one of a group, and its certificate."""

    item: Item
    drawn: Drawn
    made: Certificates
    place: int
    noise: Noise
    seconds: float

    def law(self) -> Noise:
        """The law that this input was certified under."""
        return self.noise.at(self.place)


class Refusal(Exception):
    """An input that the model failed on."""

    def __init__(self, failure: Failure) -> None:
        super().__init__(failure.reason)
        self.failure = failure


class Asked:
    """A subject whose failures are told from those of what is made of its answers."""

    def __init__(self, subject: Subject) -> None:
        self._subject = subject
        self.item, self.answers = subject.item, subject.answers

    def smoothed(self, inputs: Any, indices: Any) -> tuple[Asked, Noise]:
        subject = cast(SmoothedSubject, self._subject)
        found, noise = checked(indices, lambda: subject.smoothed(inputs, indices))
        return Asked(found), noise

    def votes(self, inputs: Any, indices: Any, role: Any, spans: Any) -> Any:
        return checked(indices, lambda: self._subject.votes(inputs, indices, role, spans))

    def batch_size(self, x: Any, index: int) -> int:
        return self._subject.batch_size(x, index)

    def scores(self, inputs: Any, indices: Any, role: Any, n: int, scoring: Any) -> Any:
        return checked(indices, lambda: self._subject.scores(inputs, indices, role, n, scoring))


def checked(indices: Sequence[int], ask: Callable[[], Any]) -> Any:
    """What the model answers, or a refusal."""
    answer = attempt(indices[0], ask)
    if isinstance(answer, Failure):
        raise Refusal(answer)
    return answer


Outcome = Done | Failure


def index_of(outcome: Outcome) -> int:
    """The index of the input."""
    return outcome.index if isinstance(outcome, Failure) else outcome.item.index


class Source(Protocol):
    """Takes inputs through what is done with each, some at a time."""

    @property
    def left(self) -> bool:
        """Whether any input is not done yet."""

    def advance(self) -> list[Outcome]:
        """Work for a while; the inputs that were done by it, in any order."""

    def took(self, seconds: float, outcomes: Sequence[Outcome]) -> None:
        """Told how long that took, with keeping what came of it."""


class Reader:
    """Reads inputs, and compares those that were read once before, when the model was probed."""

    def __init__(
        self, subject: Subject, plan: RunPlan, known: dict[int, str], path: Any, on_error: str
    ) -> None:
        self.subject, self.plan = subject, plan
        self._known, self._path, self._on_error = known, path, on_error

    def read(self, index: int) -> Item | Failure:
        """An input of the data set."""
        item = read(self.subject, self.plan.num_classes, index)
        if isinstance(item, Failure):
            return self.refused(item)
        if index in self._known:
            probes.check_digest(self._path, index, self._known[index], item.x)
        return item

    def refused(self, failure: Failure) -> Failure:
        """The failure, unless it ends the run."""
        if self._on_error == "stop":
            raise ValueError(failure.sentence()) from failure.cause
        return failure
