"""Data sets that the command line can name."""

import gzip
import struct
import sys

import numpy as np
import pytest

pytest.importorskip("torch", reason="the adapter needs torch")

from rsbounds_torch.data import load_data, load_object


def idx(values):
    header = b"\x00\x00\x08" + bytes([values.ndim])
    return header + struct.pack(f">{values.ndim}I", *values.shape) + values.tobytes()


PICTURES = np.arange(2 * 3 * 4, dtype=np.uint8).reshape(2, 3, 4)


def test_npz(tmp_path):
    np.savez(tmp_path / "a.npz", inputs=PICTURES, labels=np.array([1, 0]))
    data = load_data(str(tmp_path / "a.npz"))
    x, label = data[1]
    assert (len(data), label, x.dtype) == (2, 0, np.float32)
    assert (x == PICTURES[1]).all()
    np.savez(tmp_path / "b.npz", inputs=PICTURES)
    assert load_data(str(tmp_path / "b.npz"))[0][1] is None


@pytest.mark.parametrize("suffix", ["", ".gz"])
def test_idx(tmp_path, suffix):
    pack = gzip.compress if suffix else bytes
    (tmp_path / f"images{suffix}").write_bytes(pack(idx(PICTURES)))
    (tmp_path / f"labels{suffix}").write_bytes(pack(idx(np.array([4, 7], dtype=np.uint8))))
    data = load_data(str(tmp_path / f"images{suffix}"), str(tmp_path / f"labels{suffix}"))
    x, label = data[1]
    assert x.shape == (1, 3, 4)
    assert x.max() == np.float32(23 / 255)
    assert label == 7


def test_mnist_has_ten_thousand_images(data_folder):
    folder = data_folder / "mnist"
    data = load_data(
        str(folder / "t10k-images-idx3-ubyte.gz"), str(folder / "t10k-labels-idx1-ubyte.gz")
    )
    assert len(data) == 10_000
    x, label = data[0]
    assert (x.shape, label) == ((1, 28, 28), 7)
    assert 0 <= x.min() < x.max() <= 1


def test_folder_of_pictures(tmp_path):
    image = pytest.importorskip("PIL.Image")
    for name, colour in (("cat", (255, 0, 0)), ("dog", (0, 0, 51))):
        (tmp_path / name).mkdir()
        image.new("RGB", (5, 4), colour).save(tmp_path / name / "1.png")
    image.new("L", (5, 4), 51).save(tmp_path / "dog" / "2.png")
    (tmp_path / "dog" / "notes.txt").write_text("not a picture")
    data = load_data(str(tmp_path))
    assert [data[i][1] for i in range(3)] == [0, 1, 1]
    assert data[0][0].shape == (3, 4, 5)
    assert data[0][0][0].min() == 1.0
    assert data[2][0].shape == (1, 4, 5)
    assert data[2][0].max() == np.float32(0.2)
    empty = tmp_path / "empty"
    empty.mkdir()
    with pytest.raises(ValueError, match="without pictures"):
        load_data(str(empty))


def test_factory(tmp_path, monkeypatch):
    (tmp_path / "own_data.py").write_text(
        "def make():\n    return [([0.5, 1], 1), ([2, 3], None)]\n"
    )
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [p for p in sys.path if p])
    data = load_data("own_data:make")
    assert len(data) == 2
    assert data[0][0].dtype == np.float32
    assert [data[i][1] for i in range(2)] == [1, None]
    sys.modules.pop("own_data")


def test_bad_data_is_named(tmp_path):
    def file(name, content):
        (tmp_path / name).write_bytes(content)
        return str(tmp_path / name)

    whole = idx(PICTURES)
    np.savez(tmp_path / "x.npz", x=PICTURES)
    np.savez(tmp_path / "y.npz", inputs=PICTURES, labels=np.zeros(3))
    good = file("good", whole)
    for call, message in [
        (lambda: load_data("nowhere"), "data is 'nowhere'; allowed"),
        (lambda: load_data(file("a", b"text")), "is not IDX"),
        (lambda: load_data(file("b", whole[:6])), "ends inside its header"),
        (lambda: load_data(file("c", whole[:-1])), "holds 23 values"),
        (lambda: load_data(file("d.gz", b"\x1f\x8bxxxx")), "cannot be read"),
        (lambda: load_data(file("e.npz", b"junk")), r"cannot be read as \.npz"),
        (lambda: load_data(str(tmp_path / "x.npz")), r"holds arrays \['x'\]"),
        (lambda: load_data(str(tmp_path / "y.npz")), r"labels of shape \(3,\); allowed: \(2,\)"),
        (lambda: load_data(good, str(tmp_path / "none")), "is not there"),
        (lambda: load_data(good, good), r"holds shape \(2, 3, 4\); allowed: \(2,\)"),
        (lambda: load_object("os", "--model"), "--model is 'os'; allowed: package.module:name"),
        (lambda: load_object("no_such_module:f", "--model"), "cannot be imported"),
        (lambda: load_object("os:no_such_name", "--model"), "has no 'no_such_name'"),
    ]:
        with pytest.raises(ValueError, match=message):
            call()
