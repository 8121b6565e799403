"""A model under noise: its settings, votes and scores."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Literal, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray

from rsbounds import _validate
from rsbounds.certificates.complete import draws_of, sampled_only
from rsbounds.certificates.exact import Offset, offset_of
from rsbounds.noises import Noise
from rsbounds.streams import Piece, checked_role
from rsbounds_torch import _inputs, _loop
from rsbounds_torch._batch_size import tuned_size
from rsbounds_torch._inputs import Inputs
from rsbounds_torch._loop import FAILURES, Draws, Evaluation
from rsbounds_torch._modules import find_modules
from rsbounds_torch._probe import check_company, probe, read_shape
from rsbounds_torch._random import undone_on_error
from rsbounds_torch.maps import SimplexMap, simplex_map
from rsbounds_torch.sampling import SampledCounts

if TYPE_CHECKING:
    from rsbounds import BoundedSamples
    from rsbounds.streams import Purpose, Role

#: For a stochastic model, which sees one draw per pass: draws whose noise is made in one go.
_STOCHASTIC_SIZE = 64


Self = TypeVar("Self", bound="NoisyModel")


class NoisyModel:
    """Samples a model under noise; `rsbounds_torch.SmoothedClassifier` says what of it follows.

    The parameters are documented there.
    """

    #: Answers to an input that there are at least.
    _fewest = 2

    def __init__(
        self,
        model: Callable[[torch.Tensor], torch.Tensor],
        *,
        num_classes: int,
        noise: Noise,
        lattice: float | Literal["auto"] | None = "auto",
        input_bounds: tuple[float, float] | None = None,
        preprocess: Callable[[torch.Tensor], torch.Tensor] | None = None,
        input_shape: Sequence[int] | None = None,
        device: str | torch.device | None = None,
        batch_size: int | Literal["auto"] = "auto",
        autocast: torch.dtype | None = None,
        compile: bool = False,
        stochastic: bool = False,
    ) -> None:
        if isinstance(model, torch.export.ExportedProgram):
            raise ValueError("model is an ExportedProgram; allowed: its module, model.module()")
        if not callable(model):
            raise ValueError(f"model is {model!r}; allowed: a torch.nn.Module or a function")
        if not isinstance(noise, Noise):
            raise ValueError(
                f"noise is {noise!r}; allowed: a noise law such as Gaussian(sigma=0.25)"
            )
        if preprocess is not None and not callable(preprocess):
            raise ValueError(f"preprocess is {preprocess!r}; allowed: a callable, or None")
        if batch_size != "auto":
            try:
                batch_size = _validate.integer("batch_size", batch_size, low=1)
            except ValueError as error:
                raise ValueError(f"{error}, or 'auto'") from None
        if autocast is not None and autocast not in (torch.bfloat16, torch.float16):
            raise ValueError(
                f"autocast is {autocast!r}; allowed: torch.bfloat16, torch.float16 or None"
            )
        self.model = model
        self.num_classes = _validate.integer("num_classes", num_classes, low=self._fewest)
        self.noise = noise.on_lattice(lattice)
        self.input_bounds = _inputs.checked_bounds(input_bounds)
        self.preprocess = preprocess
        self.batch_size = batch_size
        self.autocast = autocast
        self.device, kind = _inputs.placement(find_modules(model), find_modules(preprocess), device)
        self._evaluation = Evaluation(
            model, num_classes=self.num_classes, preprocess=preprocess, device=self.device,
            kind=kind, autocast=autocast, compile=bool(compile), stochastic=bool(stochastic),
        )  # fmt: skip
        self._shapes: set[tuple[int, ...]] = set()
        self._fixed_shape = input_shape is not None
        if input_shape is not None:
            self._shapes.add(
                tuple(_validate.integer("input_shape", side, low=1) for side in input_shape)
            )
        self._probed: set[tuple[tuple[int, ...], torch.dtype]] = set()
        #: Rows of the largest batch that was compared with a small one.
        self._company: dict[tuple[tuple[int, ...], torch.dtype], int] = {}
        self._sizes: dict[tuple[tuple[int, ...], torch.dtype], int] = {}

    def modules(self) -> list[torch.nn.Module]:
        """The outermost modules of the model and of its preprocessing.

        They are put in eval mode while the model is evaluated, and back. Modules are found in
        closures, globals that a function names, partials, bound methods, attributes and
        containers, and, from the first call on, wherever else the model calls them from.

        Returns
        -------
        list of torch.nn.Module
            In the order they are met; no one of them is part of another.

        Examples
        --------
        >>> import torch, rsbounds, rsbounds_torch
        >>> layer = torch.nn.Linear(2, 2)
        >>> classifier = rsbounds_torch.SmoothedClassifier(
        ...     lambda batch: layer(2 * batch), num_classes=2, noise=rsbounds.Gaussian(sigma=0.5))
        >>> classifier.modules() == [layer]
        True
        """
        return self._evaluation.modules()

    def sample_counts(
        self,
        inputs: Inputs,
        *,
        n: int | None = None,
        role: Role = "estimate",
        seed: int | None = None,
        index: int | Sequence[int] = 0,
        draws: tuple[int, int] | None = None,
        progress: bool | None = None,
    ) -> SampledCounts:
        """Votes of the model on noisy copies of each input.

        The draws are independent given the seed; ``role`` separates the streams of the
        selection and of the estimation sample. Copies of several inputs share a batch, votes
        are counted on the device, and memory does not grow with n.

        Parameters
        ----------
        inputs : (B, ...) or (...) tensor or array_like
            A batch of inputs, or one input, in raw units.
        n : int, optional
            Draws per input. A law that is enumerated has all of its cells, and nothing is drawn.
        role : {"estimate", "select"}
            What the counts are for.
        seed : int, optional
            Seed of the streams; a fresh one by default, recorded in the result.
        index : int or (B,) integers
            Stream number of each input; the first one's, if one number is given, and the
            others follow.
        draws : (int, int), optional
            Take only draws ``draws[0]`` to ``draws[1] - 1`` of the n, as one of several
            processes that share them.
        progress : bool, optional
            Show a progress line; None shows it where stderr is a terminal.

        Returns
        -------
        SampledCounts
            (B, K) votes with their role and seed, and the draws that gave NaN (``invalid``).

        Raises
        ------
        ValueError
            Bad arguments, or answers of the model that are not (m, K) numbers.

        Examples
        --------
        >>> import torch, rsbounds, rsbounds_torch
        >>> classifier = rsbounds_torch.SmoothedClassifier(
        ...     lambda batch: torch.stack([-batch[:, 0], batch[:, 0]], 1),
        ...     num_classes=2, noise=rsbounds.Gaussian(sigma=0.5))
        >>> counts = classifier.sample_counts([[0.4, 0.0], [-0.1, 0.3]], n=1000, seed=1)
        >>> counts.n, counts.values.argmax(axis=1)
        (array([1000, 1000]), array([1, 0]))
        """
        first, stop = _inputs.checked_share("draws", draws, draws_of(self.noise, n))
        chosen, kind = _inputs.chosen_seed(seed), checked_role(role)
        x, _ = self._batch_of(inputs)
        source = Draws(self.noise, chosen, kind, _inputs.stream_numbers(index, len(x)))
        pieces = [Piece(row, first, stop - first) for row in range(len(x))]
        table = self._votes(x, pieces, source, progress)
        return SampledCounts(
            table[:, :-1], kind, chosen, table[:, -1], lattice=self.noise.spacing,
            offset=self.offset_of(inputs, len(x)), cells=self.noise.cells,
        )  # fmt: skip

    def sample_scores(
        self,
        inputs: Inputs,
        *,
        n: int,
        map: SimplexMap | None = "softmax",
        temperature: float = 1.0,
        role: Role = "estimate",
        seed: int | None = None,
        index: int | Sequence[int] = 0,
        progress: bool | None = None,
    ) -> BoundedSamples:
        """Scores in [0, 1] of the model on noisy copies of each input.

        Parameters
        ----------
        inputs, n, role, seed, index, progress
            As in `sample_counts`, with the same draws.
        map : {"softmax", "sparsemax", "hardmax"} or callable, optional
            From (m, K) float64 logits to (m, K) scores in [0, 1]; None for a model that
            returns probabilities.
        temperature : float
            Logits are divided by it first.

        Returns
        -------
        BoundedSamples
            (n, K) scores for one input, (B, n, K) for a batch; support (0, 1).

        Raises
        ------
        ValueError
            Bad arguments, or scores that are NaN or outside [0, 1].

        Examples
        --------
        >>> import torch, rsbounds, rsbounds_torch
        >>> classifier = rsbounds_torch.SmoothedClassifier(
        ...     lambda batch: torch.stack([-batch[:, 0], batch[:, 0]], 1),
        ...     num_classes=2, noise=rsbounds.Gaussian(sigma=0.5))
        >>> classifier.sample_scores([[0.4, 0.0]], n=1000, seed=1).values.shape
        (1, 1000, 2)
        """
        from rsbounds import BoundedSamples

        sampled_only(self.noise, "scores")
        _validate.integer("n", n, low=1, high=_validate.MAX_N)
        chosen, kind = _inputs.chosen_seed(seed), checked_role(role)
        scored = simplex_map(map, temperature)
        x, single = self._batch_of(inputs)
        source = Draws(self.noise, chosen, kind, _inputs.stream_numbers(index, len(x)))
        values, invalid = self._scores(x, n, scored, source, progress)
        if invalid.any():
            row = int(np.argmax(invalid > 0))
            raise ValueError(
                f"model returned NaN on {invalid[row]} of {n} draws of inputs[{row}]; allowed: "
                "numbers (certify_soft abstains on such inputs)"
            )
        return BoundedSamples(
            values[0] if single else values, (0.0, 1.0), chosen, lattice=self.noise.spacing,
            offset=self.offset_of(inputs, len(x)),
        )  # fmt: skip

    def share_of_draws(self, n: int, rank: int, size: int) -> tuple[int, int]:
        """First draw and end of the part that one of ``size`` processes takes of n draws.

        Parameters
        ----------
        n, rank, size : int
            Draws, the process, and the number of processes.

        Returns
        -------
        (int, int)
            The parts of all processes together are 0 to n.

        Raises
        ------
        ValueError
            rank is not below size.

        Examples
        --------
        >>> import torch, rsbounds, rsbounds_torch
        >>> classifier = rsbounds_torch.SmoothedClassifier(
        ...     torch.nn.Linear(2, 2), num_classes=2, noise=rsbounds.Gaussian(sigma=0.5))
        >>> [classifier.share_of_draws(100, rank, 3) for rank in range(3)]
        [(0, 33), (33, 66), (66, 100)]
        """
        _validate.integer("n", n, low=1, high=_validate.MAX_N)
        _validate.integer("size", size, low=1)
        _validate.integer("rank", rank, low=0, high=size - 1)
        return n * rank // size, n * (rank + 1) // size

    def votes_on(
        self, x: torch.Tensor, draws: int, *, seed: int, role: Purpose, streams: list[int]
    ) -> NDArray[np.int64]:
        """(B, K) votes on the first draws of a stream; those with NaN are in no column."""
        return self.span_votes(x, [(0, draws)] * len(x), seed=seed, role=role, streams=streams)[0]

    def span_votes(
        self,
        inputs: Inputs,
        spans: Sequence[tuple[int, int]],
        *,
        seed: int,
        role: Purpose,
        streams: list[int],
    ) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """(B, K) votes on draws ``first`` to ``stop`` of each input, and (B,) draws with NaN."""
        x = self.batch_of(inputs)
        pieces = [Piece(row, first, stop - first) for row, (first, stop) in enumerate(spans)]
        table = self._votes(x, pieces, Draws(self.noise, seed, role, streams), False)
        return table[:, :-1], table[:, -1]

    def span_scores(
        self,
        inputs: Inputs,
        n: int,
        scored: Callable[[torch.Tensor], torch.Tensor],
        *,
        seed: int,
        role: Purpose,
        streams: list[int],
    ) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
        """(B, n, K) scores, and (B,) draws with NaN, whose scores are zero."""
        draws = Draws(self.noise, seed, role, streams)
        return self._scores(self.batch_of(inputs), n, scored, draws, False)

    def offset_of(self, inputs: Inputs, rows: int) -> Offset | None:
        """How far inputs, as they were given, are from the law's lattice; None where it has none.

        As in `rsbounds.Counts`.
        """
        if self.noise.spacing is None:
            return None
        held = inputs.detach().double().cpu() if isinstance(inputs, torch.Tensor) else inputs
        return offset_of(self.noise, np.asarray(held, dtype=np.float64).reshape(rows, -1))

    def batch_of(self, inputs: Inputs) -> torch.Tensor:
        """(B, ...) checked inputs on the device, from a batch or one input."""
        return self._batch_of(inputs)[0]

    def under(self: Self, noise: Noise) -> Self:
        """The same model under another law; nothing else changes, and nothing is copied.

        Parameters
        ----------
        noise : Noise
            The law; one with parameters for B inputs is for calls with B inputs.

        Returns
        -------
        NoisyModel
            Of the same class as this one.

        Raises
        ------
        ValueError
            ``noise`` is not a noise law.

        Examples
        --------
        >>> import torch, rsbounds, rsbounds_torch
        >>> classifier = rsbounds_torch.SmoothedClassifier(
        ...     lambda batch: torch.stack([-batch[:, 0], batch[:, 0]], 1),
        ...     num_classes=2, noise=rsbounds.Gaussian(sigma=0.5))
        >>> each = classifier.under(rsbounds.Gaussian(sigma=[0.25, 1.0]))
        >>> each.sample_counts([[0.4, 0.0], [0.4, 0.3]], n=1000, seed=1).values[:, 1] > 800
        array([ True, False])
        """
        if not isinstance(noise, Noise):
            raise ValueError(
                f"noise is {noise!r}; allowed: a noise law such as Gaussian(sigma=0.25)"
            )
        other = copy.copy(self)
        other.noise = noise
        return other

    # -- what every call does first --------------------------------------------------------

    def _batch_of(self, inputs: Inputs) -> tuple[torch.Tensor, bool]:
        """(B, ...) inputs on the device, and whether one input was given."""
        x = _inputs.as_tensor(
            inputs, bounds=self.input_bounds, kind=self._evaluation.kind, device=self.device
        )
        if x.ndim > 0 and (tuple(x.shape[1:]), x.dtype) in self._probed:
            return x, False
        with undone_on_error():
            single = self._is_single(x)
            x = x[None] if single else x
            key = (tuple(x.shape[1:]), x.dtype)
            if key not in self._probed:
                if self._fixed_shape:
                    read_shape(self._evaluation, self._few(x))
                probe(self._evaluation, self.noise, x, alone=self.batch_size == 1)
                self._probed.add(key)
        return x, single

    def _few(self, x: torch.Tensor) -> torch.Tensor:
        """A batch to begin with: batch statistics need two rows."""
        return x[:1] if self.batch_size == 1 else torch.cat([x[:1], x[:1]])

    def _is_single(self, x: torch.Tensor) -> bool:
        shape = tuple(x.shape)
        if shape[1:] in self._shapes and len(shape) > 0:
            return False
        if shape in self._shapes:
            return True
        if self._fixed_shape:
            (known,) = self._shapes
            raise ValueError(
                f"inputs have shape {shape}; allowed: {known} or (B, {', '.join(map(str, known))})"
            )
        refusals = []
        for single in (False, True):
            given = x[None] if single else x
            if given.ndim < 2:
                continue
            batch = self._few(given)
            try:
                read_shape(self._evaluation, batch)
            except ValueError as error:
                refusals.append(error)
            except FAILURES as error:
                what = str(error).strip().splitlines()[0] if str(error) else repr(error)
                refusals.append(
                    ValueError(
                        f"model failed on inputs of shape {tuple(batch.shape)}, type "
                        f"{batch.dtype}, device {batch.device}: {what}; allowed: what the model "
                        "takes, (B, ...) or one input"
                    )
                )
            else:
                self._shapes.add(tuple(batch.shape[1:]))
                return single
        raise refusals[0]

    # -- batch size ----------------------------------------------------------------------

    def _size(self, x: torch.Tensor) -> int:
        if self.batch_size != "auto":
            return int(self.batch_size)
        if self._evaluation.stochastic:
            # Every draw is a forward pass of its own; this many are noised together.
            return _STOCHASTIC_SIZE
        key = (tuple(x.shape[1:]), x.dtype)
        if key not in self._sizes:
            self._sizes[key] = tuned_size(self._evaluation, self.noise, x[:1])
        return self._sizes[key]

    # -- draws -----------------------------------------------------------------------------

    def _votes(
        self, x: torch.Tensor, pieces: list[Piece], draws: Draws, progress: bool | None
    ) -> NDArray[np.int64]:
        if self._evaluation.stochastic and draws.noise.cells is not None:
            raise ValueError(
                f"stochastic is True with noise {draws.noise}, whose cells are all counted; "
                "allowed: a model whose answers repeat (what it draws itself is a sample)"
            )
        size = self._size(x)
        look = self._look(x, min(size, sum(piece.count for piece in pieces)))
        return _loop.sample_votes(self._evaluation, x, pieces, draws, size, progress, look)

    def _scores(
        self,
        x: torch.Tensor,
        n: int,
        scored: Callable[[torch.Tensor], torch.Tensor],
        draws: Draws,
        progress: bool | None,
    ) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
        size = self._size(x)
        look = self._look(x, min(size, n * len(x)))
        return _loop.sample_scores(self._evaluation, x, n, scored, draws, size, progress, look)

    def sample_into(
        self,
        x: torch.Tensor,
        n: int,
        draws: Draws,
        sink: Callable[[torch.Tensor, list[Piece]], None],
        progress: bool | None,
    ) -> None:
        """Hand the answers to n draws of each input of a checked batch on, as they come."""
        x, _ = self._batch_of(x)
        size = self._size(x)
        look = self._look(x, min(size, n * len(x)))
        pieces = [Piece(row, 0, n) for row in range(len(x))]
        _loop.sample_into(self._evaluation, x, pieces, draws, size, sink, progress, look)

    def _look(self, x: torch.Tensor, rows: int) -> _loop.Look | None:
        """What compares a first batch of so many rows with a small one; None where it was done."""
        key = tuple(x.shape[1:]), x.dtype
        if self._evaluation.stochastic or rows <= self._company.get(key, 1):
            return None

        def look(batch: torch.Tensor, answers: torch.Tensor) -> None:
            check_company(self._evaluation, batch, answers)
            self._company[key] = rows

        return look
