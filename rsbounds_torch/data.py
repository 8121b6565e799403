"""Data sets for the command line: NPZ, IDX, image folders, or a factory of your own."""

from __future__ import annotations

import gzip
import importlib
import struct
import sys
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

_PICTURES = {".png", ".jpg", ".jpeg", ".bmp", ".gif", ".webp"}


@dataclass(frozen=True)
class InputSet:
    """Inputs in raw units, with labels where they are known.

    Attributes
    ----------
    size : int
        Number of inputs.
    get : callable
        Index to (float32 input, label or None).
    """

    size: int
    get: Callable[[int], tuple[NDArray[np.float32], int | None]]

    def __len__(self) -> int:
        return self.size

    def __getitem__(self, i: int) -> tuple[NDArray[np.float32], int | None]:
        return self.get(i)


def load_object(spec: str, argument: str) -> Any:
    """What ``package.module:name`` names; modules of the working folder are found."""
    module, sign, name = spec.partition(":")
    if not sign or not module or not name:
        raise ValueError(f"{argument} is {spec!r}; allowed: package.module:name")
    if "" not in sys.path:
        sys.path.insert(0, "")
    try:
        found = importlib.import_module(module)
    except ImportError as error:
        raise ValueError(
            f"{argument} is {spec!r}; its module cannot be imported: {error}"
        ) from None
    if not hasattr(found, name):
        raise ValueError(f"{argument} is {spec!r}; module {module} has no {name!r}")
    return getattr(found, name)


def load_data(spec: str, labels: str | None = None) -> InputSet:
    """The data set that the command line names.

    Parameters
    ----------
    spec : str
        An ``.npz`` file with arrays ``inputs`` and optionally ``labels``; an IDX file of
        images (MNIST format, ``.gz`` or not; pixels become [0, 1] with one channel); a folder
        with one folder of pictures per class, in alphabetical order (pixels become [0, 1],
        channels first); or ``package.module:factory`` that returns a sequence of (input, label).
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

        def get(i: int) -> tuple[NDArray[np.float32], int | None]:
            picture = images[i].astype(np.float32)[None] / np.float32(255)
            return picture, None if known is None else int(known[i])

        return InputSet(len(images), get)
    if ":" in spec:
        made = load_object(spec, "data")()
        return InputSet(len(made), lambda i: _pair(made[i]))
    raise ValueError(
        f"data is {spec!r}; allowed: an .npz file, an IDX file, a folder of pictures, or "
        "package.module:factory"
    )


def _pair(item: Any) -> tuple[NDArray[np.float32], int | None]:
    x, label = item if isinstance(item, tuple) else (item, None)
    return np.asarray(x, dtype=np.float32), None if label is None else int(label)


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
    inputs, labels = held["inputs"], held.get("labels")
    if labels is not None and labels.shape != (len(inputs),):
        raise ValueError(
            f"data {str(path)!r} has labels of shape {labels.shape}; allowed: ({len(inputs)},)"
        )

    def get(i: int) -> tuple[NDArray[np.float32], int | None]:
        return inputs[i].astype(np.float32), None if labels is None else int(labels[i])

    return InputSet(len(inputs), get)


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

    def get(i: int) -> tuple[NDArray[np.float32], int | None]:
        file, label = files[i]
        with Image.open(file) as picture:
            kept = picture.convert("L" if picture.mode in ("1", "L", "I", "I;16") else "RGB")
            pixels = np.asarray(kept, dtype=np.float32) / np.float32(255)
        return (pixels[None] if pixels.ndim == 2 else pixels.transpose(2, 0, 1)), label

    return InputSet(len(files), get)
