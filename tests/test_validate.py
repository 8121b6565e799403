"""What is read as an array, and what is refused with a sentence of our own."""

import numpy as np
import pytest

import rsbounds
from rsbounds import _validate

LAW = rsbounds.Gaussian(0.5)
ROWS = np.array([[990, 8, 2], [10, 985, 5]])


def certify(counts=ROWS, top=0):
    return rsbounds.certify(counts, top, noise=LAW, method="complement")


# numpy drops a mask, and what lies under it was bounded.
@pytest.mark.parametrize(
    ("counts", "top", "message"),
    [
        (np.ma.array(ROWS, mask=ROWS == 8), 0, "counts is a masked array"),
        ([np.ma.array([1, 2], mask=[0, 1])], 0, "counts is a masked array"),
        ([np.ma.masked, 1], 0, "counts is a masked array"),
        (ROWS, np.ma.array([0, 1], mask=[True, False]), "top is a masked array"),
    ],
)
def test_masked_entries_are_refused(counts, top, message):
    with pytest.raises(ValueError, match=message):
        certify(counts, top)


# Masked arrays are refused wherever numbers come in: numpy drops the mask, keeps the values.
# The masked entry is the one that raises every bound.
MASKED_SAMPLES = np.ma.array([0.2, 0.4, 1.0], mask=[False, False, True])
MASKED_COUNTS = np.ma.array([90, 5], mask=[False, True])
MASKED_SCORES = np.ma.array([[0.9, 0.1], [0.8, 0.2]], mask=[[False, False], [True, False]])


def masked_answers(batch):
    return np.ma.array((batch[:, 0] > 0).astype(int), mask=batch[:, 0] > 1)


MASKED_CALLS = {
    "radius": lambda: LAW.radius(MASKED_SAMPLES),
    "radius of a pair": lambda: LAW.radius_of_pair(MASKED_SAMPLES, 0.1),
    "lipschitz radius": lambda: rsbounds.lipschitz_radius(MASKED_SAMPLES, 1.0),
    "accuracy": lambda: rsbounds.certified_accuracy(
        rsbounds.certify([9, 1], 0, noise=LAW, method="complement"), [0], MASKED_SAMPLES
    ),
    "inputs": lambda: rsbounds.sample_counts(
        lambda batch: (batch[:, 0] > 0).astype(int), MASKED_SCORES, noise=LAW, n=9, num_classes=2
    ),
    "answers": lambda: rsbounds.sample_counts(
        masked_answers, np.ones((1, 2)), noise=LAW, n=99, num_classes=2
    ),
    "mean_bound": lambda: rsbounds.mean_bound(MASKED_SAMPLES, alpha=0.1),
    "mean_bound, rows": lambda: rsbounds.mean_bound(
        [MASKED_SAMPLES, MASKED_SAMPLES], alpha=0.1, axis=1
    ),
    "sequence": lambda: rsbounds.confidence_sequence(alpha=0.1).update(MASKED_SAMPLES),
    "soft margin": lambda: rsbounds.soft_margin_bound(MASKED_SCORES, 0, alpha=0.1, scale="linear"),
    "soft record": lambda: rsbounds.certify_soft(
        rsbounds.BoundedSamples(MASKED_SCORES, (0.0, 1.0), 0), 0, noise=rsbounds.Gaussian(1.0)
    ),
    "softmax": lambda: rsbounds.softmax(MASKED_SCORES),
    "proportion, k": lambda: rsbounds.clopper_pearson_lower(MASKED_COUNTS, 100, alpha=0.1),
    "proportion, n": lambda: rsbounds.clopper_pearson_upper(3, MASKED_COUNTS, alpha=0.1),
    "proportion, alpha": lambda: rsbounds.clopper_pearson_interval(3, 9, alpha=MASKED_SAMPLES / 2),
}


@pytest.mark.parametrize("call", MASKED_CALLS.values(), ids=MASKED_CALLS.keys())
def test_masked_arrays_are_refused(call):
    with pytest.raises(ValueError, match="is a masked array, or holds one; allowed: plain"):
        call()


def test_what_is_not_masked_passes():
    for values in (
        1,
        [1, 2],
        [[1, 2], np.array([3, 4])],
        np.array([1.0]),
        np.ma.getdata(MASKED_COUNTS),
    ):
        _validate.unmasked("values", values)
    with pytest.raises(ValueError, match="values is a masked array"):
        _validate.unmasked("values", [1.0, np.ma.masked])
    with pytest.raises(ValueError, match="values is a masked array"):
        _validate.unmasked("values", ([[1.0, 2.0], [np.ma.array([1.0]), 2.0]],))


# Comparing a float16 with the largest n overflowed, with a RuntimeWarning.
def test_small_floats_are_read_without_a_warning():
    for kind in (np.float16, np.float32, np.longdouble):
        assert (certify(ROWS.astype(kind)).radius == certify().radius).all()
        assert certify(top=np.array([1, 0], dtype=kind)).n.tolist() == [1000, 1000]
    labels = np.array([0, 1], dtype=np.float16)
    assert rsbounds.average_certified_radius(certify(top=[0, 1]), labels) > 0
    with pytest.raises(ValueError, match=r"counts\[0, 1\] is 0.5"):
        certify(np.array([[1, 0.5]], dtype=np.float16))


# Nullable integers arrive as objects.
def test_nullable_integers_of_pandas_are_read():
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame(ROWS).astype("Int64")
    assert (certify(frame).radius == certify().radius).all()
    assert (certify(frame.iloc[0]).radius == certify().radius[:1]).all()
    top = pandas.Series([0, 1], dtype="Int64")
    assert (certify(top=top).radius == certify(top=[0, 1]).radius).all()
    frame.iloc[1, 2] = pandas.NA
    with pytest.raises(ValueError, match=r"counts\[1, 2\] is <NA>; allowed: numbers"):
        certify(frame)
    top[1] = pandas.NA
    with pytest.raises(ValueError, match=r"top\[1\] is (<NA>|nan)"):
        certify(top=top)


def test_objects_are_read_where_they_are_numbers():
    assert _validate.array("x", np.array([1, 2], dtype=object)).dtype == np.int64
    for bad, message in (
        ([1, None], r"x\[1\] is None"),
        ([[1, "2"]], r"x\[0, 1\] is '2'"),
        ([True, 1], r"x\[0\] is True"),
    ):
        with pytest.raises(ValueError, match=message):
            _validate.array("x", np.array(bad, dtype=object))
    with pytest.raises(ValueError, match="x has rows of different lengths"):
        _validate.array("x", [[1, 2], [3]])


class Tensor:
    """What of a tensor the check looks at."""

    def __init__(self, **changed):
        plain = {
            "requires_grad": False, "layout": "torch.strided", "dtype": "torch.int64",
            "device": "cpu",
        }  # fmt: skip
        vars(self).update(plain | changed)

    def __array__(self, dtype=None, copy=None):
        return ROWS


# PyTorch's own errors for these are about its own insides.
@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"requires_grad": True}, r"counts is a tensor that requires gradients; .*detach\(\)"),
        ({"layout": "torch.sparse_coo"}, r"has layout torch.sparse_coo; .*to_dense\(\)"),
        ({"dtype": "torch.bfloat16"}, r"has type bfloat16; .*float\(\)"),
        ({"device": "cuda:0"}, r"is on device cuda:0; .*cpu\(\)"),
    ],
)
def test_tensors_that_are_no_plain_arrays_are_refused(changed, message):
    assert len(certify(Tensor())) == 2
    with pytest.raises(ValueError, match=message):
        certify(Tensor(**changed))


def test_real_tensors():
    torch = pytest.importorskip("torch")
    counts = torch.tensor(ROWS)
    assert (certify(counts).radius == certify().radius).all()
    floats = counts.float()
    for bad, message in (
        (floats.clone().requires_grad_(), "requires gradients"),
        (floats.to_sparse(), "has layout torch.sparse_coo"),
        (floats.bfloat16(), "has type bfloat16"),
        (counts.to("meta"), "is on device meta"),
    ):
        with pytest.raises(ValueError, match=f"counts is a tensor that {message}"):
            certify(bad)
        with pytest.raises(ValueError, match=f"top is a tensor that {message}"):
            certify(top=bad[:, 0])


class TestTensors:
    """Tensors that are no plain arrays got PyTorch's sentence, or a traceback."""

    @pytest.fixture
    def tensors(self):
        torch = pytest.importorskip("torch")
        row = torch.tensor([9.0, 1.0])
        return [
            (row.clone().requires_grad_(), "requires gradients; allowed: .*detach"),
            (row.to_sparse(), "has layout torch.sparse_coo; allowed: .*to_dense"),
            (row.to(torch.bfloat16), "has type bfloat16; allowed: .*float"),
        ]

    def test_they_are_refused_wherever_numbers_come_in(self, tensors):
        for tensor, message in tensors:
            for call in (
                lambda t: rsbounds.certify(t, 0, noise=LAW),
                lambda t: rsbounds.certify([t, t], 0, noise=LAW),
                lambda t: rsbounds.certify([[9, 1], [9, 1]], t, noise=LAW),
                lambda t: rsbounds.mean_bound(t, alpha=0.1, support=(0, 10)),
                lambda t: rsbounds.clopper_pearson_lower(t, 10, alpha=0.1),
                rsbounds.softmax,
                LAW.radius,
            ):
                with pytest.raises(ValueError, match=message):
                    call(tensor)


def test_float16_is_read_without_a_warning():
    half = np.array([9, 1], dtype=np.float16)
    bound = rsbounds.clopper_pearson_lower(half, np.float16(10), alpha=0.1)
    assert bound.tolist() == rsbounds.clopper_pearson_lower([9, 1], 10, alpha=0.1).tolist()
    top = np.array([0], dtype=np.float16)
    assert rsbounds.certify([half], top, noise=LAW, method="complement").n.tolist() == [10]
