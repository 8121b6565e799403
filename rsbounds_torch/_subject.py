"""A data set and a model as the driver of runs sees them, and the model's fingerprint."""

from __future__ import annotations

import copy
import dataclasses
import hashlib
import json
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from rsbounds import _validate
from rsbounds.noises import Noise
from rsbounds.runs import Answers, RunPlan
from rsbounds.runs.kinds import Scoring
from rsbounds_torch._inputs import as_tensor
from rsbounds_torch.data import InputSet
from rsbounds_torch.maps import simplex_map
from rsbounds_torch.model import SmoothedClassifier
from rsbounds_torch.optimizers import OPTIMIZERS, NoiseOptimizer, optimize_noise
from rsbounds_torch.optimizers._ascent import chosen_optimizer


class ModelSubject:
    """Inputs of a data set of (input, label), and the votes of a smoothed classifier."""

    def __init__(self, classifier: SmoothedClassifier, data: InputSet, seed: int) -> None:
        self.classifier, self._data, self._seed = classifier, data, seed
        # A user chose float64 for a tensor; an array may have it because numpy does that to lists.
        self._tensors = False
        self._weights: str | None = None
        # The law of each of some inputs, by its place.
        self._found: tuple[dict[int, int], Noise] | None = None

    def item(self, index: int) -> tuple[NDArray[Any], Any]:
        x, label = self._data[index]
        if not isinstance(x, torch.Tensor):
            return x, label
        self._tensors = True
        return x.numpy(), label

    def votes(
        self,
        inputs: NDArray[Any],
        indices: Sequence[int],
        role: Any,
        spans: Sequence[tuple[int, int]],
    ) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        return self._under(indices).span_votes(
            self._given(inputs), spans, seed=self._seed, role=role, streams=list(indices)
        )

    def scores(
        self, inputs: NDArray[Any], indices: Sequence[int], role: Any, n: int, scoring: Scoring
    ) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
        return self._under(indices).span_scores(
            self._given(inputs), n, simplex_map(scoring.map, scoring.temperature),
            seed=self._seed, role=role, streams=list(indices),
        )  # fmt: skip

    def batch_size(self, x: NDArray[Any], index: int) -> int:
        under = self._under([index])
        return under._size(under.batch_of(self._given(x[None])))

    def _under(self, indices: Sequence[int]) -> SmoothedClassifier:
        """The classifier with the laws of some inputs."""
        if self._found is not None:
            places, found = self._found
            return self.classifier.under(found[[places[i] for i in indices]])
        law = self.classifier.noise
        return self.classifier.under(law.at(list(indices))) if law.batch_shape else self.classifier

    def answers(self, batch: NDArray[Any]) -> Answers:
        classifier = self.classifier
        evaluation = classifier._evaluation
        x = as_tensor(
            self._given(batch), bounds=None, kind=evaluation.kind, device=classifier.device
        )
        full = x
        if evaluation.padded:
            # A compiled model would be compiled again for another batch size.
            full = x.new_zeros((max(classifier._size(x), len(x)), *x.shape[1:]))
            full[: len(x)] = x
        with evaluation.active(self._seed):
            scores = evaluation.answers(full, len(x))
        kind = str(scores.dtype).removeprefix("torch.")
        if classifier.autocast is not None:
            kind += f" under autocast to {str(classifier.autocast).removeprefix('torch.')}"
        if self._weights is None:
            # Now that the model was called, its modules are known.
            self._weights = weights_hash(evaluation.modules())
        return Answers(scores.double().cpu().numpy(), kind, self._weights)

    def _given(self, inputs: NDArray[Any]) -> Any:
        return torch.from_numpy(inputs) if self._tensors else inputs


class SearchingSubject(ModelSubject):
    """The same with a noise law found for each input, by a method with its settings.

    Parameters
    ----------
    classifier, data
        As above; the search starts from the classifier's law.
    plan : RunPlan
        Says the seed, and the certificates to come.
    method : NoiseOptimizer
        What finds the laws.
    """

    def __init__(
        self,
        classifier: SmoothedClassifier,
        data: InputSet,
        plan: RunPlan,
        method: NoiseOptimizer[Any],
    ) -> None:
        super().__init__(classifier, data, plan.seed)
        self._method, self._plan = method, plan

    def smoothed(self, inputs: NDArray[Any], indices: Sequence[int]) -> tuple[ModelSubject, Noise]:
        # One by one: in a batch with others a model's gradients round otherwise, and which
        # others those are depends on the clock and on the ranks.
        laws = [
            optimize_noise(
                self.classifier, self._given(x[None]), method=self._method,
                noise0=self.classifier.noise.at(index), n=self._plan.n, alpha=self._plan.alpha,
                seed=self._plan.seed, index=[index], progress=False,
            )
            for x, index in zip(inputs, indices, strict=True)
        ]  # fmt: skip
        every = laws[0].at([0] * len(laws))
        for place, law in enumerate(laws[1:], start=1):
            mine = np.arange(len(laws)) == place
            every = law.at([0] * len(laws)).where(mine, every)
        under = copy.copy(self)
        under._found = {index: place for place, index in enumerate(indices)}, every
        return under, every


def subject_of(
    classifier: SmoothedClassifier,
    data: InputSet,
    plan: RunPlan,
    method: NoiseOptimizer[Any] | None,
) -> ModelSubject:
    """What a run of that plan asks."""
    if method is None:
        return ModelSubject(classifier, data, plan.seed)
    return SearchingSubject(classifier, data, plan, method)


def finder_of(smoothing: str | NoiseOptimizer[Any] | None) -> NoiseOptimizer[Any] | None:
    """What finds the laws, where something does."""
    if smoothing is not None and not isinstance(smoothing, NoiseOptimizer):
        _validate.choice("smoothing", smoothing, tuple(OPTIMIZERS))
    return None if smoothing is None else chosen_optimizer(smoothing, {})


def described(
    method: NoiseOptimizer[Any] | None, classifier: SmoothedClassifier
) -> dict[str, Any] | None:
    """What laws found depend on, as plain values that a store keeps and compares."""
    if method is None:
        return None
    settings = dataclasses.asdict(method)  # type: ignore[call-overload]
    try:
        plain = json.loads(json.dumps(settings, allow_nan=False))
    except (TypeError, ValueError):
        raise ValueError(
            f"smoothing is {method!r}; allowed: an optimizer whose settings are plain values"
        ) from None
    bounds = classifier.input_bounds
    return {
        "method": method.name,
        "settings": plain,
        "input_bounds": None if bounds is None else list(bounds),
    }


def indices_of(given: Sequence[int] | None, inputs: int) -> list[int]:
    """The inputs asked for, checked; all by default."""
    if given is None:
        return list(range(inputs))
    wanted = list(given)
    for i in wanted:
        if isinstance(i, bool) or not isinstance(i, (int, np.integer)) or not 0 <= i < inputs:
            raise ValueError(f"indices contains {i!r}; allowed: 0 to {inputs - 1}")
    if len(set(wanted)) != len(wanted):
        twice = next(i for i in wanted if wanted.count(i) > 1)
        raise ValueError(f"indices contains {twice} twice; allowed: each input once")
    if not wanted:
        raise ValueError("indices is empty; allowed: at least one input")
    return [int(i) for i in wanted]


def fingerprint(model: Any) -> str:
    """Name of a model, and for a module the hash of its weights and buffers."""
    if not isinstance(model, torch.nn.Module):
        return repr(model).split(" at 0x")[0]
    return f"{type(model).__name__} {weights_hash([model])}"


def weights_hash(modules: Sequence[torch.nn.Module]) -> str:
    """Start of the SHA-256 of the weights and buffers of modules, in whatever order they are."""
    parts = sorted(_state_hash(module) for module in modules)
    return hashlib.sha256("".join(parts).encode()).hexdigest()[:16] if parts else ""


def _state_hash(module: torch.nn.Module) -> str:
    digest = hashlib.sha256()
    for key, value in module.state_dict().items():
        digest.update(key.encode())
        _update(digest, value)
    return digest.hexdigest()


def _update(digest: Any, value: Any) -> None:
    if isinstance(value, torch.Tensor):
        if value.is_quantized:
            # The dequantised values stand for the integers, their scale and their zero point.
            digest.update(str((value.dtype, value.qscheme())).encode())
            value = value.dequantize()
        elif value.layout != torch.strided:
            value = value.to_dense()
        digest.update(
            value.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes()
        )
    elif isinstance(value, (tuple, list)):
        # Quantised layers keep their weights packed.
        for part in value:
            _update(digest, part)
    elif value is not None:
        digest.update(repr(value).split(" at 0x")[0].encode())
