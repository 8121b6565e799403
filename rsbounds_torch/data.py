"""Data sets: what `certify_dataset` takes, and the files that the command line names."""

from __future__ import annotations

import gzip
import importlib
import operator
import struct
import sys
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch.utils.data import (
    DataLoader,
    IterableDataset,
    SequentialSampler,
    default_collate,
    default_convert,
)

Item = tuple[torch.Tensor | NDArray[Any], int | None]

#: Names under which an item that is a dict may hold its input and its label.
INPUT_KEYS = ("image", "images", "img", "input", "inputs", "x", "pixel_values", "data", "features")
LABEL_KEYS = ("label", "labels", "target", "targets", "y", "class")

_PICTURES = {".png", ".jpg", ".jpeg", ".bmp", ".gif", ".webp"}


@dataclass(frozen=True)
class InputSet:
    """Inputs in raw units, with labels where they are known.

    Attributes
    ----------
    size : int
        Number of inputs.
    get : callable
        Index to (input, label or None); the input a CPU tensor or an array, in its own type.
    """

    size: int
    get: Callable[[int], Item]

    def __len__(self) -> int:
        return self.size

    def __getitem__(self, i: int) -> Item:
        # Without this a loop over the data set would never end.
        if not 0 <= i < self.size:
            raise IndexError(f"input {i} of {self.size}")
        return self.get(i)


def items_of(dataset: Any) -> InputSet:
    """A data set as inputs and labels by index, where its meaning is plain.

    Parameters
    ----------
    dataset : sequence
        Anything with a length and an index. Its items are inputs; (input, label) pairs; longer
        tuples whose further entries are no integers; or dicts that name one input (such as
        "image", "inputs", "x") and at most one label (such as "label", "target", "y"). Inputs
        are tensors, arrays or nested lists; labels are integers or None. A DataLoader that
        does not shuffle stands for its data set.

    Returns
    -------
    InputSet
        Items are read as they are asked for.

    Raises
    ------
    ValueError
        No data set of this kind, or, when it is read, an item that is not.

    Examples
    --------
    >>> data = items_of([{"image": [[0.5, 1.0]], "label": 3}])
    >>> data[0]
    (array([[0.5, 1. ]]), 3)
    """
    if isinstance(dataset, InputSet):
        return dataset
    if isinstance(dataset, DataLoader):
        dataset = _behind(dataset)
    kind = type(dataset).__name__
    if isinstance(dataset, (IterableDataset, Iterator)) or not hasattr(dataset, "__getitem__"):
        raise ValueError(
            f"dataset is of type {kind}, which has no index to resume at; allowed: a data set with "
            "a length and an index, such as a list of its items"
        )
    if isinstance(dataset, (Mapping, str, bytes)):
        raise ValueError(
            f"dataset is of type {kind}; allowed: a sequence of (input, label), such as "
            "torch.utils.data.TensorDataset(inputs, labels)"
        )
    try:
        size = len(dataset)
    except (TypeError, NotImplementedError):
        raise ValueError(
            f"dataset is of type {kind}, which has no length; allowed: a data set with a length "
            "and an index"
        ) from None
    if size == 0:
        raise ValueError("dataset is empty; allowed: at least one input")
    if size == 2 and isinstance(dataset, (tuple, list)) and _is_columns(*dataset):
        raise ValueError(
            f"dataset is a {kind} of inputs and their labels; allowed: a sequence of (input, "
            "label), such as torch.utils.data.TensorDataset(inputs, labels)"
        )
    return InputSet(size, lambda i: _item(dataset[i], i))


def _behind(loader: DataLoader[Any]) -> Any:
    """The data set of a loader that takes its items as they are and in their order."""
    sampler: Any = getattr(loader.batch_sampler, "sampler", loader.sampler)
    if isinstance(loader.dataset, IterableDataset):
        return loader.dataset
    source: Any = loader.dataset
    if type(sampler) is not SequentialSampler or sampler.data_source is not source:
        raise ValueError(
            f"dataset is a DataLoader with a {type(sampler).__name__}, which may give another "
            "order in another run; allowed: its data set (loader.dataset), or a loader that does "
            "not shuffle"
        )
    if loader.collate_fn not in (default_collate, default_convert):
        raise ValueError(
            "dataset is a DataLoader with a collate_fn of its own, which may change its inputs; "
            "allowed: a data set that gives them as the model takes them"
        )
    return source


def _is_columns(inputs: Any, labels: Any) -> bool:
    """Whether these are all inputs and all labels, given where one item each was asked for."""
    arrays = (torch.Tensor, np.ndarray)
    return (
        isinstance(inputs, arrays)
        and isinstance(labels, (*arrays, list))
        and inputs.ndim > 1
        and all(_is_scalar(label) for label in labels)
        and len(inputs) == len(labels)
    )


def _item(item: Any, i: int) -> Item:
    if isinstance(item, Mapping):
        return _named(item, i)
    if not isinstance(item, (tuple, list)):
        return _input(item, i), None
    shown = f"({', '.join(type(part).__name__ for part in item)})"
    if len(item) > 0 and all(isinstance(part, float) for part in item):
        return _input(item, i), None
    if len(item) == 0 or _is_scalar(item[0]):
        raise ValueError(
            f"dataset[{i}] is {shown}; allowed: an input as a tensor or array, or (input, label)"
        )
    nested = isinstance(item, list) and isinstance(item[0], Sequence)
    if nested and not (len(item) == 2 and _is_scalar(item[1])):
        return _input(item, i), None
    if len(item) == 1:
        return _input(item[0], i), None
    # Nothing tells (input, label, index) from (input, index, label).
    if any(_is_integer(part) for part in item[2:]):
        raise ValueError(
            f"dataset[{i}] is {shown} with more than one integer; allowed: (input, label)"
        )
    return _input(item[0], i), _label(item[1], i)


def _named(item: Mapping[Any, Any], i: int) -> Item:
    names = [str(key) for key in item]
    inputs = [key for key in item if str(key).lower() in INPUT_KEYS]
    labels = [key for key in item if str(key).lower() in LABEL_KEYS]
    if len(inputs) != 1:
        raise ValueError(
            f"dataset[{i}] has the keys {names}; allowed: one input under one of "
            f"{', '.join(INPUT_KEYS)}"
        )
    unclear = not labels and any(word in n.lower() for n in names for word in ("label", "target"))
    if len(labels) > 1 or unclear:
        raise ValueError(
            f"dataset[{i}] has the keys {names}; allowed: at most one label, under one of "
            f"{', '.join(LABEL_KEYS)}"
        )
    return _input(item[inputs[0]], i), _label(item[labels[0]], i) if labels else None


def _is_scalar(part: Any) -> bool:
    if isinstance(part, (torch.Tensor, np.ndarray)):
        return part.ndim == 0
    return isinstance(part, (int, float, np.generic, str, bytes)) or part is None


def _input(x: Any, i: int) -> torch.Tensor | NDArray[Any]:
    if type(x).__module__.startswith("PIL."):
        raise ValueError(
            f"dataset[{i}] is a picture ({type(x).__name__}), whose scale and axes nothing says; "
            "allowed: tensors or arrays (such as a transform of the data set makes)"
        )
    if isinstance(x, torch.Tensor):
        if x.layout != torch.strided or x.is_quantized:
            what = "quantized" if x.is_quantized else str(x.layout)
            raise ValueError(f"dataset[{i}] is a {what} tensor; allowed: plain dense tensors")
        x = x.detach().cpu()
        # numpy, which keeps and compares the inputs of a run, does not know bfloat16.
        whole: torch.Tensor = x.float() if x.dtype == torch.bfloat16 else x
        return whole
    try:
        array = np.asarray(x)
    except ValueError:  # a list whose rows have different lengths
        array = np.empty(0, dtype=object)
    if array.dtype.kind not in "iubf":
        raise ValueError(
            f"dataset[{i}] is of type {type(x).__name__}; allowed: a tensor or array of numbers"
        )
    return array


def _is_integer(part: Any) -> bool:
    try:
        operator.index(part)
    except (TypeError, ValueError, RuntimeError):
        return False
    return True


def _label(label: Any, i: int) -> int | None:
    if label is None:
        return None
    if isinstance(label, (torch.Tensor, np.ndarray, np.generic)) and label.ndim <= 1:
        # A number, or an array of one number; a float such as 3.0 means the integer.
        values = np.asarray(label.tolist()).reshape(-1)
        label = values[0].item() if values.size == 1 else label
    if isinstance(label, float) and label.is_integer():
        label = int(label)
    if isinstance(label, bool) or not _is_integer(label):
        shown = repr(label) if isinstance(label, (str, float, bool)) else type(label).__name__
        raise ValueError(f"the label of dataset[{i}] is {shown}; allowed: an integer, or None")
    return operator.index(label)


def made_by(spec: str, argument: str) -> Any:
    """What the function that ``package.module:name`` names returns.

    Raises
    ------
    ValueError
        No such function, or one that fails: its error is somebody else's, and needs its name.
    """
    factory = load_object(spec, argument)
    try:
        return factory()
    except Exception as error:
        words = " ".join(str(error).split())
        raise ValueError(
            f"{argument} is {spec!r}, which failed: {type(error).__name__}: {words}"
        ) from error


def load_object(spec: str, argument: str) -> Any:
    """What ``package.module:name`` names; modules of the working folder are found."""
    module, sign, name = spec.partition(":")
    if not sign or not module or not name:
        raise ValueError(f"{argument} is {spec!r}; allowed: package.module:name")
    if "" not in sys.path:
        sys.path.insert(0, "")
    try:
        found = importlib.import_module(module)
    except Exception as error:
        who = "" if isinstance(error, ImportError) else f"{type(error).__name__}: "
        raise ValueError(
            f"{argument} is {spec!r}; its module cannot be imported: {who}{error}"
        ) from error
    if not hasattr(found, name):
        raise ValueError(f"{argument} is {spec!r}; module {module} has no {name!r}")
    return getattr(found, name)


def load_data(spec: str, labels: str | None = None) -> InputSet:
    """The data set that the command line names.

    Parameters
    ----------
    spec : str
        An ``.npz`` file with arrays ``inputs`` and perhaps ``label`` (or ``labels``), in their type
        (integers need a classifier with ``input_bounds``); an IDX file of images (MNIST format,
        ``.gz`` or not; pixels become [0, 1] with one channel); a folder with one folder of
        pictures per class, in alphabetical order (pixels become [0, 1], channels first); or
        ``package.module:factory`` that returns a data set (see `items_of`).
    labels : str, optional
        IDX file of labels.

    Returns
    -------
    InputSet
        The inputs, read as they are asked for where they are pictures.

    Raises
    ------
    ValueError
        A file that is not there or not of one of these forms.
    """
    path = Path(spec)
    if path.is_dir():
        return _picture_folder(path)
    if path.suffix == ".npz" and path.is_file():
        return _npz(path)
    if path.is_file():
        images = _read_idx(path)
        if images.ndim < 2:
            raise ValueError(f"data {spec!r} holds {images.ndim}-dimensional IDX; allowed: images")
        known = None if labels is None else _read_idx(Path(labels))
        if known is not None and known.shape != (len(images),):
            raise ValueError(
                f"labels {labels!r} holds shape {known.shape}; allowed: ({len(images)},)"
            )

        def get(i: int) -> Item:
            picture = images[i].astype(np.float32)[None] / np.float32(255)
            return picture, None if known is None else int(known[i])

        return InputSet(len(images), get)
    if ":" in spec:
        return items_of(made_by(spec, "data"))
    raise ValueError(
        f"data is {spec!r}; allowed: an .npz file, an IDX file, a folder of pictures, or "
        "package.module:factory"
    )


def _npz(path: Path) -> InputSet:
    try:
        with np.load(path, allow_pickle=False) as archive:
            held = {name: archive[name] for name in archive.files}
    except (ValueError, OSError, EOFError) as error:
        raise ValueError(f"data {str(path)!r} cannot be read as .npz: {error}") from None
    if "inputs" not in held:
        raise ValueError(
            f"data {str(path)!r} holds arrays {sorted(held)}; allowed: 'inputs', and "
            "optionally 'labels'"
        )
    if "label" in held and "labels" in held:
        raise ValueError(f"data {str(path)!r} has 'label' and 'labels'; allowed: one of them")
    inputs, labels = held["inputs"], held.get("labels", held.get("label"))
    if labels is not None and labels.shape != (len(inputs),):
        raise ValueError(
            f"data {str(path)!r} has labels of shape {labels.shape}; allowed: ({len(inputs)},)"
        )

    if len(inputs) == 0:
        raise ValueError(f"data {str(path)!r} holds no inputs; allowed: at least one")
    return InputSet(
        len(inputs), lambda i: (inputs[i], None if labels is None else _label(labels[i], i))
    )


def _read_idx(path: Path) -> NDArray[np.uint8]:
    if not path.is_file():
        raise ValueError(f"file {str(path)!r} is not there; allowed: an IDX file")
    try:
        data = path.read_bytes()
        if path.suffix == ".gz":
            data = gzip.decompress(data)
    except (OSError, EOFError, zlib.error) as error:
        raise ValueError(f"file {str(path)!r} cannot be read: {error}") from None
    if len(data) < 4 or data[:3] != b"\x00\x00\x08":
        raise ValueError(f"file {str(path)!r} is not IDX of unsigned bytes (the MNIST format)")
    dimensions = data[3]
    start = 4 + 4 * dimensions
    if len(data) < start:
        raise ValueError(f"file {str(path)!r} ends inside its header")
    shape = struct.unpack(f">{dimensions}I", data[4:start])
    if len(data) - start != int(np.prod(shape)):
        raise ValueError(f"file {str(path)!r} holds {len(data) - start} values for shape {shape}")
    return np.frombuffer(data, dtype=np.uint8, offset=start).reshape(shape)


def _picture_folder(folder: Path) -> InputSet:
    try:
        from PIL import Image
    except ImportError:
        raise ImportError("a folder of pictures needs pillow; install rsbounds[plot]") from None
    classes = sorted(entry for entry in folder.iterdir() if entry.is_dir())
    files = [
        (file, label)
        for label, entry in enumerate(classes)
        for file in sorted(entry.iterdir())
        if file.suffix.lower() in _PICTURES
    ]
    if not files:
        raise ValueError(
            f"data is folder {str(folder)!r} without pictures; allowed: one folder per class"
        )

    def get(i: int) -> Item:
        file, label = files[i]
        with Image.open(file) as picture:
            if picture.mode.startswith("I"):
                # 16-bit grey: a conversion to 8 bits would clip every value at 255.
                pixels = np.asarray(picture, dtype=np.float32) / np.float32(65535)
            else:
                kept = picture.convert("L" if picture.mode in ("1", "L") else "RGB")
                pixels = np.asarray(kept, dtype=np.float32) / np.float32(255)
        return (pixels[None] if pixels.ndim == 2 else pixels.transpose(2, 0, 1)), label

    return InputSet(len(files), get)
