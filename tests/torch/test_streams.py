"""Streams of tensors: the CPU's bits are numpy's, a device's do not depend on the cut."""

import dataclasses
from typing import ClassVar

import numpy as np
import pytest

torch = pytest.importorskip("torch")

import rsbounds
from rsbounds.noises import FullGaussian, LowRankGaussian, Noise, namespace
from rsbounds.streams import CounterStream
from rsbounds_torch import SmoothedClassifier, streams
from rsbounds_torch.streams import CpuStream, DeviceStream, noise_stream

CPU = torch.device("cpu")
LAW = rsbounds.Gaussian(0.5)


@dataclasses.dataclass(frozen=True)
class Laplace(Noise):
    """No multiple of its base draw: every stream has to ask the law."""

    scale_: float = 0.5
    name: ClassVar[str] = "laplace"
    norm: ClassVar[str] = "l1"
    base = "uniform"

    def transform(self, base):
        library = namespace(base)
        return -self.scale_ * library.sign(base) * library.log1p(-abs(base))


class Hide(Noise):
    """Not additive, from bits."""

    name, norm, base = "hide", "l0", "bits"

    def perturb(self, x, base):
        return namespace(base).where(base < 2**30, x, 0 * x - 1)


FULL = FullGaussian(0.5 * np.eye(6) + 0.1, shape=(2, 3))
LOW = LowRankGaussian(
    np.full((2, 3), 0.4), np.linspace(-0.5, 0.5, 12).reshape(6, 2), weights=[0.7, -0.3]
)
LAWS = [LAW, rsbounds.Uniform(0.25), rsbounds.Lipschitz(1.0, LAW), Laplace(), Hide(), FULL, LOW]
MAKERS = {
    "cpu": lambda law, **k: CpuStream(law, (2, 3), **k),
    "device": lambda law, **k: DeviceStream(law, (2, 3), device=CPU, **k),
}


def draws(make, law, parts, *, index=0, kind=torch.float32, row=None, **key):
    """Noisy copies in pieces: parts are the ends of the pieces."""
    stream = MAKERS[make](law, **{"seed": 1, "role": "estimate", **key})
    x, rows, first = torch.linspace(0, 1, 6, dtype=kind), [], 0
    for stop in parts:
        out = torch.full((stop - first, 6), float("nan"), dtype=kind)
        stream.add(out, x, index, first, row)
        rows.append(out)
        first = stop
    return torch.cat(rows)


@pytest.mark.parametrize("make", MAKERS)
@pytest.mark.parametrize("law", LAWS, ids=str)
def test_noise_does_not_depend_on_the_cut(make, law):
    whole = draws(make, law, [9000])
    assert torch.isfinite(whole).all()
    assert (draws(make, law, [1, 2, 130, 4095, 4097, 8500, 9000]) == whole).all()
    for key in ({"seed": 2}, {"role": "select"}, {"index": 1}):
        assert (draws(make, law, [9000], **key) != whole).any(1).double().mean() > 0.8


@pytest.mark.parametrize("kind", [torch.float32, torch.float64])
@pytest.mark.parametrize("law", LAWS, ids=str)
def test_numpy_and_torch_draw_the_same_bits(law, kind):
    # On the CPU; 352 votes against 323 when each had its own generator.
    ours = draws("cpu", law, [500], kind=kind, index=4)
    x = torch.linspace(0, 1, 6, dtype=kind).numpy()
    theirs = np.empty((500, 6), x.dtype)
    CounterStream(law, (2, 3), seed=1, role="estimate").add(theirs, x, 4, 0)
    assert (ours.numpy() == theirs).all()


@pytest.mark.parametrize("kind", [np.float32, np.float64])
def test_numpy_and_torch_count_the_same_votes(kind):
    x = np.array([[0.05, 0.1], [-0.1, 0.3], [0.01, 0.2]], dtype=kind)
    law = rsbounds.Gaussian([0.5, 0.3, 0.1])
    model = SmoothedClassifier(
        lambda b: torch.stack([-b[:, 0], b[:, 0]], 1), num_classes=2, noise=law, batch_size=77
    )
    for role in ("select", "estimate"):
        votes = model.sample_counts(torch.from_numpy(x), n=700, seed=5, index=9, role=role).values
        expected = rsbounds.sample_counts(
            lambda b: (b[:, 0] > 0).astype(int), x, noise=law, n=700, num_classes=2, seed=5,
            index=9, role=role,
        ).values  # fmt: skip
        assert (votes == expected).all()


@pytest.mark.parametrize("make", MAKERS)
def test_each_input_has_its_own_law(make):
    batch = rsbounds.Gaussian([0.5, 2.0])
    for row, sigma in enumerate((0.5, 2.0)):
        one = draws(make, rsbounds.Gaussian(sigma), [300])
        assert (draws(make, batch, [100, 300], row=row) == one).all()
    with pytest.raises(ValueError, match="row is None"):
        draws(make, batch, [10])


@pytest.mark.parametrize("make", MAKERS)
def test_axes_multiply_each_coordinate(make):
    class Axes(Noise):
        name, norm = "axes", "scaled l2"

        def multiplier(self):
            return np.arange(1.0, 7.0).reshape(2, 3)

    x = torch.linspace(0, 1, 6)
    pure = draws(make, rsbounds.Gaussian(1.0), [50]) - x
    scaled = draws(make, Axes(), [50]) - x
    torch.testing.assert_close(scaled, pure * torch.arange(1.0, 7.0), rtol=0, atol=3e-6)


def test_a_device_samples_the_law():
    # 54,000 numbers each; the bounds are at 6 standard deviations.
    noise = (draws("device", LAW, [9000]) - torch.linspace(0, 1, 6)).double()
    assert abs(noise.mean()) < 6 * 0.5 / 54000**0.5
    assert abs(noise.std() - 0.5) < 6 * 0.5 / (2 * 54000) ** 0.5
    cube = (draws("device", rsbounds.Uniform(0.25), [9000]) - torch.linspace(0, 1, 6)).double()
    assert 0.2499 < cube.abs().max() <= 0.25 + 1e-7
    assert abs(cube.std() - 0.25 / 3**0.5) < 0.002
    laplace = (draws("device", Laplace(0.5), [9000]) - torch.linspace(0, 1, 6)).double()
    assert abs(laplace.abs().mean() - 0.5) < 6 * 0.5 / 54000**0.5
    kept = (draws("device", Hide(), [9000]) >= 0).double().mean()
    assert abs(kept - 0.25) < 6 * (0.25 * 0.75 / 54000) ** 0.5


def test_draw_numbers_on_a_device():
    class Which(Noise):
        name, norm, base = "which", "l0", "draw"

        def perturb(self, x, base):
            return x * 0 + base[:, :, None]

    for make in MAKERS:
        assert (draws(make, Which(), [3, 9000])[:, 0] == torch.arange(9000)).all()


def test_float64_models_do_not_get_float32_noise():
    # Noise on a float32 grid let a classifier tell x from a point 6e-14 away by
    # the low bits of x + noise: all votes for one class here, all for the other there.
    def on_the_grid(batch):
        scaled = batch * 2.0**40
        coarse = (scaled - 0.25 == torch.floor(scaled)).all(dim=1)
        return torch.stack([~coarse, coarse], 1).double()

    model = SmoothedClassifier(on_the_grid, num_classes=2, noise=LAW, batch_size=500)
    x = torch.full((1, 2), 0.1, dtype=torch.float64)
    x = torch.floor(x * 2.0**40) / 2.0**40 + 2.0**-42
    moved = x + 2.0**-43
    near, far = (model.sample_counts(v, n=2000, seed=1).values[0] for v in (x, moved))
    assert abs(near - far).max() < 600


def test_a_law_given_to_one_call_replaces_the_classifiers():
    def half_space(batch):
        return torch.stack([-batch[:, 0], batch[:, 0]], 1)

    model = SmoothedClassifier(half_space, num_classes=2, noise=LAW, lattice=None, batch_size=500)
    x = np.array([[0.9, 0.1], [0.9, 0.2], [-0.2, 0.0]])
    sigmas = [0.25, 1.0, 0.5]
    arguments = {"n": 2000, "seed": 3, "progress": False}
    found = model.certify(x, noise=rsbounds.Gaussian(sigmas), **arguments)
    assert model.noise == LAW
    for i, sigma in enumerate(sigmas):
        own = SmoothedClassifier(
            half_space, num_classes=2, noise=rsbounds.Gaussian(sigma), lattice=None,
            batch_size=500,
        )  # fmt: skip
        assert own.certify(x[i : i + 1], index=i, **arguments).radius[0] == found.radius[i]
    soft = model.under(rsbounds.Gaussian(sigmas)).certify_soft(x, **arguments)
    assert soft.noise == found.noise == str(rsbounds.Gaussian(sigmas))
    assert soft.radius[0] != soft.radius[1]
    other = model.under(rsbounds.Gaussian(sigmas))
    for call in (other.certify, other.certify_soft, other.sample_counts):
        with pytest.raises(ValueError, match="parameters for 3 inputs; allowed: one set, or one"):
            call(x[:2], **arguments)
    with pytest.raises(ValueError, match=r"noise is 0\.5; allowed: a noise law"):
        model.certify(x, noise=0.5)
    test = model.under(rsbounds.Gaussian(sigmas)).decide(x, radius=[0.2, 0.5, 0.15], seed=1)
    assert test.status.tolist() == ["yes", "yes", "yes"]


def test_a_device_has_a_stream_of_its_own(monkeypatch):
    made = []
    monkeypatch.setattr("rsbounds_torch.streams.DeviceStream", lambda *a, **k: made.append(k))
    key = {"seed": 1, "role": "estimate"}
    assert isinstance(noise_stream(LAW, (6,), device=CPU, **key), CpuStream)
    noise_stream(LAW, (6,), device=torch.device("cuda", 1), **key)
    assert made[0]["device"].index == 1


@pytest.mark.parametrize(
    ("law", "parameter"), [(rsbounds.Gaussian(0.5), "sigma"), (rsbounds.Uniform(0.5), "half_width")]
)
def test_noise_can_be_differentiated(law, parameter):
    assert law.has_rsample
    base = torch.randn(5, 3, dtype=torch.float64)
    theta = torch.tensor([[0.1], [0.2], [0.3], [0.4], [0.5]], dtype=torch.float64)
    theta.requires_grad_()
    law.transform(base, **{parameter: theta}).sum().backward()
    assert torch.allclose(theta.grad[:, 0], base.sum(1))
    assert torch.equal(law.transform(base), base * 0.5)


def test_a_devices_product_does_not_depend_on_the_cut():
    # A library's product of one row has other last bits than that of the same row among many.
    d = 300
    turn = np.random.default_rng(0).normal(size=(d, d)) / d
    law = FullGaussian(0.1 * np.eye(d) + turn @ turn.T)
    x = torch.linspace(0, 1, d, dtype=torch.float64)

    def drawn(parts):
        stream = DeviceStream(law, (d,), seed=1, role="estimate", device=CPU)
        out, first = torch.empty(300, d, dtype=torch.float64), 0
        for stop in parts:
            stream.add(out[first:stop], x, 0, first)
            first = stop
        return out

    assert torch.equal(drawn([300]), drawn([1, 2, 5, 129, 200, 300]))


@pytest.mark.parametrize("law", [FULL, LOW], ids=["full", "low-rank"])
def test_tensors_and_arrays_get_the_same_product(law):
    base = torch.randn(7, 2, 3, dtype=torch.float64)
    ours = law.transform(base)
    torch.testing.assert_close(
        ours, torch.from_numpy(law.transform(base.numpy())), rtol=0, atol=1e-15
    )
    narrow = law.transform(base.float())
    assert narrow.dtype == torch.float32
    exact = law.transform(base.float().double())
    assert torch.equal(narrow, exact.float())


@pytest.mark.parametrize("law", [FULL, LOW], ids=["full", "low-rank"])
def test_products_can_be_differentiated_in_the_parameters(law):
    assert law.has_rsample
    base = torch.randn(4, 5, 2, 3, dtype=torch.float64)
    names = ["matrix"] if law is FULL else ["diagonal", "factors", "weights"]
    one = [torch.tensor(getattr(law, name)) for name in names]
    each = [torch.stack([(i + 1) * v for i in range(4)]).requires_grad_() for v in one]

    def noise(*values):
        return law.transform(base, **dict(zip(names, values, strict=True)))

    # Parameters for each of 4 inputs, 5 draws each.
    together = noise(*each)
    for i in range(4):
        own = {name: v[i].detach() for name, v in zip(names, each, strict=True)}
        torch.testing.assert_close(together[i].detach(), law.transform(base[i], **own))
        arrays = {name: v.numpy() for name, v in own.items()}
        by_numpy = torch.from_numpy(law.transform(base[i].numpy(), **arrays))
        torch.testing.assert_close(together[i].detach(), by_numpy)
    # What is not given for each input is the law's own.
    many = {names[0]: each[0].detach()} if law is FULL else {names[1]: each[1].detach()}
    arrays = {name: v.numpy() for name, v in many.items()}
    torch.testing.assert_close(
        law.transform(base, **many), torch.from_numpy(law.transform(base.numpy(), **arrays))
    )
    # One draw for each input.
    own = dict(zip(names, (v.detach() for v in each), strict=True))
    first = law.transform(base[:, 0], **own)
    torch.testing.assert_close(first, together[:, 0].detach())
    arrays = dict(zip(names, (v.detach().numpy() for v in each), strict=True))
    by_numpy = law.transform(base[:, 0].numpy(), **arrays)
    torch.testing.assert_close(first, torch.from_numpy(by_numpy))
    assert torch.autograd.gradcheck(noise, each)
    # A model of float32 differentiates through the product in float64.
    narrow = [v.detach().float().requires_grad_() for v in each]
    found = law.transform(base.float(), **dict(zip(names, narrow, strict=True)))
    assert found.dtype == torch.float32
    found.square().sum().backward()
    assert all(v.grad.dtype == torch.float32 and v.grad.abs().sum() > 0 for v in narrow)


def test_a_model_of_float32_is_sampled_as_by_numpy():
    law = LowRankGaussian(
        np.full((3, 6), 0.4), np.linspace(-0.5, 0.5, 36).reshape(3, 6, 2), weights=[0.7, -0.2]
    )
    x = np.random.default_rng(0).normal(size=(3, 6)).astype(np.float32)
    weight = torch.randn(2, 6, generator=torch.Generator().manual_seed(1))
    votes = []
    for size in (7, 64):
        model = SmoothedClassifier(
            lambda batch: batch @ weight.T, num_classes=2, noise=law, batch_size=size
        )
        votes.append(model.sample_counts(x, n=300, seed=2).values)
    assert (votes[0] == votes[1]).all()
    numpy = rsbounds.sample_counts(
        lambda batch: (torch.from_numpy(batch) @ weight.T).argmax(1).numpy(), x, noise=law, n=300,
        num_classes=2, seed=2,
    )  # fmt: skip
    assert (votes[0] == numpy.values).all()


class Shifted(rsbounds.Gaussian):
    """A law that the streams cannot write themselves."""

    def multiplier(self):
        return None

    def perturb(self, x, base):
        return x + 2 * self.sigma * base


@pytest.mark.parametrize(
    "law",
    [rsbounds.Gaussian(0.5), rsbounds.Uniform(0.7), Shifted(0.25),
     rsbounds.Gaussian(np.linspace(0.1, 2.0, 40))],
)  # fmt: skip
def test_a_device_draws_training_noise_in_one_block_for_many_inputs(law, monkeypatch):
    """One block of 2^20 numbers was drawn for each input of a batch, for a copy or two."""
    x = torch.rand(40, 6)
    # Blocks of 16 rows, so that a batch has three of them.
    monkeypatch.setattr("rsbounds_torch.streams.BLOCK_NUMBERS", 100)
    made, true = [], DeviceStream._base

    def counted(self, *wanted):
        made.append(wanted[-2:])
        return true(self, *wanted)

    monkeypatch.setattr(DeviceStream, "_base", counted)

    def copies(x, count, first, law=law):
        stream = DeviceStream(law, (2, 3), seed=3, role="train", device=CPU)
        return stream.copies(x, count, first)

    whole = copies(x, 2, 5)
    assert made == [(5, 0), (5, 1), (5, 2), (6, 0), (6, 1), (6, 2)]
    assert torch.equal(whole[1:], copies(x, 1, 6))
    small = law[:3] if law.batch_shape else law
    assert torch.equal(whole[:, :3], copies(x[:3], 2, 5, small))
    # Ranks that share a batch draw what one would: 10 is inside a block.
    for kind in (DeviceStream, noise_stream):
        rest = law[10:] if law.batch_shape else law
        together, apart = (
            kind(one, (2, 3), seed=3, role="train", device=CPU) for one in (law, rest)
        )
        assert torch.equal(together.copies(x, 2, 5)[:, 10:], apart.copies(x[10:], 2, 5, 10))
    noise = (whole - x).double()
    assert len(torch.unique(noise[0])) == noise[0].numel(), "no two inputs share noise"
    # As large as the law says, by row: a sum of squares within six standard deviations.
    sigma = {"uniform": 0.7 / 3**0.5}.get(law.name, 2 * 0.25)
    sigma = torch.tensor(np.array(law.sigma if law.batch_shape else sigma))[..., None]
    assert abs(float(((noise.reshape(2, -1, 6) / sigma) ** 2).mean()) - 1) < 6 * (2 / 480) ** 0.5


@pytest.mark.parametrize(
    "law",
    [
        rsbounds.Gaussian(0.25, lattice="auto"),
        rsbounds.Gaussian(1.0, lattice=1 / 2040),
        rsbounds.Uniform(0.5, lattice=1 / 255),
        rsbounds.Lipschitz(2.0, rsbounds.Gaussian([0.25, 0.5], lattice=1 / 255)),
    ],
    ids=str,
)
@pytest.mark.parametrize("kind", [torch.float32, torch.float64])
def test_noise_on_a_lattice_has_the_same_bits_by_integer_operations(law, kind, monkeypatch):
    # What an accelerator runs, here on the CPU; and in chunks, which must not show.
    monkeypatch.setattr(streams, "_TOGETHER_NUMBERS", 5000)
    x = torch.rand(1003, generator=torch.Generator().manual_seed(0), dtype=kind)
    made = []
    for stream in (streams.CpuStream, streams.LatticeStream):
        out = torch.full((200, 1003), torch.nan, dtype=kind)
        given = stream(law, (1003,), seed=3, role="select")
        given.add(out, x, 2**32 - 1, 2**33 + 5, row=1 if law.batch_shape else None)
        made.append(out)
    assert torch.equal(*made)


def test_an_accelerator_gets_the_integers_where_there_is_a_lattice():
    law = rsbounds.Gaussian(0.25, lattice="auto")
    settings = {"seed": 1, "role": "estimate", "device": torch.device("meta")}
    assert isinstance(streams.noise_stream(law, (3,), **settings), streams.LatticeStream)
    with pytest.raises(ValueError, match=r"allowed: noise on a lattice"):
        streams.LatticeStream(rsbounds.Gaussian(0.25), (3,), seed=1, role="estimate").add(
            torch.empty(1, 3), torch.zeros(3), 0, 0
        )
