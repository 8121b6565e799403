"""Data sets that the command line can name."""

import gzip
import struct
import sys

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="the adapter needs torch")

from torch.utils.data import DataLoader, IterableDataset, Subset, TensorDataset

from rsbounds_torch.data import items_of, load_data, load_object


def idx(values):
    header = b"\x00\x00\x08" + bytes([values.ndim])
    return header + struct.pack(f">{values.ndim}I", *values.shape) + values.tobytes()


PICTURES = np.arange(2 * 3 * 4, dtype=np.uint8).reshape(2, 3, 4)


def test_npz(tmp_path):
    np.savez(tmp_path / "a.npz", inputs=PICTURES, labels=np.array([1, 0]))
    data = load_data(str(tmp_path / "a.npz"))
    x, label = data[1]
    # Integers stay integers, which a classifier without input_bounds refuses.
    assert (len(data), label, x.dtype) == (2, 0, np.uint8)
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
    # Grey of 16 bits is not cut at 255.
    image.fromarray(np.full((4, 5), 13107, dtype=np.uint16)).save(tmp_path / "dog" / "3.png")
    assert load_data(str(tmp_path))[3][0].max() == np.float32(0.2)
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
    assert data[0][0].tolist() == [0.5, 1.0]
    assert [data[i][1] for i in range(2)] == [1, None]
    sys.modules.pop("own_data")


def test_bad_data_is_named(tmp_path):
    def file(name, content):
        (tmp_path / name).write_bytes(content)
        return str(tmp_path / name)

    whole = idx(PICTURES)
    np.savez(tmp_path / "x.npz", x=PICTURES)
    np.savez(tmp_path / "y.npz", inputs=PICTURES, labels=np.zeros(3))
    np.savez(tmp_path / "z.npz", inputs=PICTURES[:0])
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
        (lambda: load_data(str(tmp_path / "z.npz")), "holds no inputs"),
        (lambda: load_data(good, str(tmp_path / "none")), "is not there"),
        (lambda: load_data(good, good), r"holds shape \(2, 3, 4\); allowed: \(2,\)"),
        (lambda: load_object("os", "--model"), "--model is 'os'; allowed: package.module:name"),
        (lambda: load_object("no_such_module:f", "--model"), "cannot be imported"),
        (lambda: load_object("os:no_such_name", "--model"), "has no 'no_such_name'"),
    ]:
        with pytest.raises(ValueError, match=message):
            call()


# -- items ----------------------------------------------------------------------------------
# Forms of data sets whose meaning is plain are read, the others refused.

X = torch.arange(12.0).reshape(3, 4)
Y = torch.tensor([2, 0, 1])


class Stream(IterableDataset):
    def __iter__(self):
        return iter([(X[0], 2)])


class Sized(Stream):
    def __len__(self):
        return 1


@pytest.mark.parametrize(
    "dataset",
    [
        TensorDataset(X, Y),
        Subset(TensorDataset(X.flip(0), Y.flip(0)), [2, 1, 0]),
        DataLoader(TensorDataset(X, Y), batch_size=2),
        DataLoader(TensorDataset(X, Y), batch_size=None),
        list(zip(X, Y, strict=True)),
        [[x, y] for x, y in zip(X, Y, strict=True)],
        [(x.numpy(), np.int64(y)) for x, y in zip(X, Y, strict=True)],
        [(x.tolist(), float(y)) for x, y in zip(X, Y, strict=True)],
        [[x.tolist(), int(y)] for x, y in zip(X, Y, strict=True)],
        [(x, y, {"file": "a"}) for x, y in zip(X, Y, strict=True)],
        [(x, y[None], None) for x, y in zip(X, Y, strict=True)],
        [{"image": x, "label": y, "id": 7} for x, y in zip(X, Y, strict=True)],
        [{"Inputs": x.numpy(), "target": y} for x, y in zip(X, Y, strict=True)],
        [(x.bfloat16(), y) for x, y in zip(X, Y, strict=True)],
        [(x.clone().requires_grad_(), y) for x, y in zip(X, Y, strict=True)],
    ],
)
def test_items_of_plain_data_sets(dataset):
    data = items_of(dataset)
    assert len(data) == 3
    assert items_of(data) is data
    for i in range(3):
        x, label = data[i]
        assert np.asarray(x).tolist() == X[i].tolist()
        assert type(label) is int
        assert label == Y[i]
    with pytest.raises(IndexError):
        data[3]


@pytest.mark.parametrize(
    "dataset", [X, X.numpy(), X.tolist(), [(x,) for x in X], [{"x": x, "id": 7} for x in X]]
)
def test_items_without_labels(dataset):
    data = items_of(dataset)
    assert [data[i][1] for i in range(len(data))] == [None] * 3
    assert [np.asarray(data[i][0]).tolist() for i in range(3)] == X.tolist()


def test_items_keep_their_type():
    for kind in (torch.float64, torch.float16, torch.uint8):
        assert items_of([(X[0].to(kind), 1)])[0][0].dtype == kind
    assert items_of([X[0].double().numpy()])[0][0].dtype == np.float64


@pytest.mark.parametrize(
    ("dataset", "message"),
    [
        (DataLoader(TensorDataset(X, Y), shuffle=True), "DataLoader with a RandomSampler"),
        (DataLoader(TensorDataset(X, Y), sampler=[0, 2]), "DataLoader with a list"),
        (DataLoader(TensorDataset(X, Y), collate_fn=list), "a collate_fn of its own"),
        (DataLoader(Stream()), "type Stream, which has no index to resume at"),
        (Stream(), "type Stream, which has no index to resume at"),
        (Sized(), "type Sized, which has no index to resume at"),
        (iter([(X[0], 1)]), "has no index to resume at"),
        ({0: (X[0], 1)}, "dataset is of type dict; allowed: a sequence"),
        ("data.npz", "dataset is of type str"),
        ([], "dataset is empty; allowed: at least one input"),
        (TensorDataset(X[:0]), "dataset is empty"),
        ((X, Y), "dataset is a tuple of inputs and their labels"),
        ([X.numpy(), [2, 0, 1]], "dataset is a list of inputs and their labels"),
    ],
)
def test_data_sets_without_a_plain_meaning_are_refused(dataset, message):
    with pytest.raises(ValueError, match=message):
        items_of(dataset)


@pytest.mark.parametrize(
    ("item", "message"),
    [
        ((X[0], 1, 17), "with more than one integer; allowed: \\(input, label\\)"),
        ((17, X[0], 1), r"dataset\[0\] is \(int, Tensor, int\)"),
        ((0.5, 1), r"dataset\[0\] is \(float, int\); allowed: an input as a tensor"),
        ((), "allowed: an input as a tensor"),
        ((X[0], X[1]), r"the label of dataset\[0\] is Tensor; allowed: an integer, or None"),
        ((X[0], 1.5), "the label of .* is 1.5"),
        ((X[0], True), "the label of .* is True"),
        ((X[0], "cat"), "the label of .* is 'cat'"),
        ((X[0], float("nan")), "the label of .* is nan"),
        ({"image": X[0], "x": X[1]}, r"has the keys \['image', 'x'\]; allowed: one input"),
        ({"picture": X[0]}, "allowed: one input under one of image, "),
        ({"image": X[0], "label": 1, "y": 1}, "allowed: at most one label"),
        ({"image": X[0], "fine_label": 1}, "allowed: at most one label"),
        ((X.to_sparse(), 1), "is a torch.sparse_coo tensor"),
        (("a.png", 1), "allowed: an input as a tensor"),
        (([[1.0], [2.0, 3.0]], 1), "is of type list; allowed: a tensor"),
        ((np.array(["a"]), 1), "allowed: a tensor or array of numbers"),
    ],
)  # fmt: skip
def test_items_without_a_plain_meaning_are_refused(item, message):
    with pytest.raises(ValueError, match=message):
        items_of([item])[0]


@pytest.mark.filterwarnings("ignore:torch.quantize_per_tensor:UserWarning")
def test_quantized_items_are_refused():
    item = torch.quantize_per_tensor(X, 0.1, 0, torch.qint8)
    with pytest.raises(ValueError, match="is a quantized tensor"):
        items_of([item, item])[0]


def test_pictures_are_refused_as_inputs():
    image = pytest.importorskip("PIL.Image")
    with pytest.raises(ValueError, match=r"dataset\[0\] is a picture"):
        items_of([(image.new("L", (5, 4)), 1)])[0]
