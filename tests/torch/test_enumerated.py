"""Laws whose cells are counted, with PyTorch models: the adapter, runs, training, commands."""

import numpy as np
import pytest

torch = pytest.importorskip("torch")

import rsbounds
import rsbounds_torch
from rsbounds.noises import Ablation, BandAblation, BlockAblation, SplitUniform, with_complement
from rsbounds.streams import CounterStream
from rsbounds_torch.streams import DeviceStream
from rsbounds_torch.training import LOSSES, TrainingNoise

LAW = SplitUniform(0.5, levels=33)
X = torch.arange(12.0).reshape(3, 1, 2, 2) / 32


def model(batch):
    score = batch.flatten(1).mean(dim=1) - 0.4
    return torch.stack([-score, score], dim=1)


def smoothed(law=LAW, **options):
    return rsbounds_torch.SmoothedClassifier(model, num_classes=2, noise=law, **options)


def test_certify_and_predict_count_every_cell():
    classifier = smoothed(batch_size=5)
    counts = classifier.sample_counts(X)
    plain = rsbounds.sample_counts(
        lambda b: (b.reshape(len(b), -1).mean(axis=1) > 0.4).astype(int), X.numpy(), noise=LAW,
        num_classes=2,
    )  # fmt: skip
    assert counts.cells == plain.cells == 32
    assert (counts.values == plain.values).all()
    found = classifier.certify(X)
    assert (found.alpha, found.guarantee) == (0.0, "deterministic")
    assert (found.n == 32).all()
    direct = rsbounds.certify(counts, rsbounds.select_top(counts), noise=LAW)
    assert (found.radius == direct.radius).all()
    assert (found.candidate == direct.candidate).all()
    answers = classifier.predict(X)
    assert (answers.top == found.candidate).all()
    assert answers.alpha == 0.0
    # A share of the cells is not all of them.
    part = classifier.sample_counts(X, draws=(0, 31))
    with pytest.raises(ValueError, match=r"counts row 0 sums to 31; allowed .*: 32"):
        rsbounds.certify(part, 0, noise=LAW)
    with pytest.raises(ValueError, match="counts row 0 sums to 31"):
        rsbounds.predict(part)


def test_inputs_and_numbers_of_draws_are_checked():
    with pytest.raises(ValueError, match=r"n is 100; allowed with noise split-uniform.*: 32"):
        smoothed().certify(X, n=100)
    with pytest.raises(ValueError, match="n0 is 100; allowed with noise split-uniform"):
        smoothed().certify(X, n0=100)
    with pytest.raises(ValueError, match=r"inputs hold 0.01 at"):
        smoothed().certify(X * 0 + 0.01)
    pixels = torch.full((1, 1, 2, 2), 200, dtype=torch.uint8)
    with pytest.raises(ValueError, match="largest=255 where pixels go up to 255"):
        smoothed(SplitUniform(0.5), input_bounds=(0, 255)).certify(pixels)
    law = SplitUniform(127.5, largest=255)
    found = smoothed(law, input_bounds=(0, 255)).certify(pixels)
    assert found.radius[0] > 100
    for call in (
        lambda c: c.decide(X, 0.1),
        lambda c: c.adaptive(X),
        lambda c: c.certify_soft(X),
        lambda c: c.sample_scores(X, n=32),
    ):
        with pytest.raises(ValueError, match="32 cells are counted and not sampled"):
            call(smoothed())


def test_a_model_that_draws_is_no_list_of_cells():
    # Its own random numbers would be a sample of one, and the certificate sure of it.
    def random(batch):
        return model(batch) + torch.randn(len(batch), 2)

    classifier = rsbounds_torch.SmoothedClassifier(
        random, num_classes=2, noise=LAW, stochastic=True
    )
    for call in (classifier.certify, classifier.predict, classifier.sample_counts):
        with pytest.raises(ValueError, match="stochastic is True with noise split-uniform"):
            call(X)


def test_a_nan_abstains():
    def bad(batch):
        return torch.where(batch.flatten(1)[:, :1] > 0.3, torch.nan, model(batch))

    classifier = rsbounds_torch.SmoothedClassifier(bad, num_classes=2, noise=LAW)
    with pytest.warns(RuntimeWarning, match="NaN on 3 of 3"):
        found = classifier.certify(X)
    assert found.abstained.all()
    assert (found.guarantee, found.alpha) == ("deterministic", 0.0)
    with pytest.warns(RuntimeWarning, match="NaN on 3 of 3"):
        assert classifier.predict(X).abstained.all()


def test_a_data_set_goes_through_a_store(tmp_path):
    data = [(x, 0) for x in X]
    store = tmp_path / "run.sqlite"
    found = rsbounds_torch.certify_dataset(smoothed(), data, store=store)
    assert (found.radius == smoothed().certify(X).radius).all()
    with rsbounds.RunStore(store) as run:
        again = rsbounds.rebound(run)
        assert {row.n for row in run.rows()} == {row.n0 for row in run.rows()} == {32}
    assert (again.radius == found.radius).all()
    assert again.alpha == 0.0


def test_a_device_gets_the_same_cells():
    # Whatever blocks it draws in, and however far they reach beyond the last cell.
    flat = X[1].reshape(-1)
    expected = np.empty((32, 4), np.float32)
    CounterStream(LAW, (1, 2, 2), seed=1, role="estimate").add(expected, flat.numpy(), 0, 0)
    stream = DeviceStream(LAW, (1, 2, 2), seed=5, role="select", device=torch.device("cpu"))
    out = torch.empty(32, 4)
    stream.add(out, flat, 3, 0)
    assert (out.numpy() == expected).all()


def test_training_draws_cells_at_random():
    noise = TrainingNoise(LAW, seed=1)
    # Between levels too: an augmentation may have put it there.
    x = X + 0.01
    copies = noise.copies(x, 500)
    assert copies.shape == (500, *x.shape)
    every = np.empty((32, 4), np.float32)
    CounterStream(LAW, (1, 2, 2), seed=1, role="estimate").add(every, X[1].numpy().ravel(), 0, 0)
    cells = {tuple(c) for c in every.tolist()}
    drawn = [tuple(c) for c in copies[:, 1].reshape(500, 4).tolist()]
    assert set(drawn) == cells
    # 500 draws of 32 equal cells: a right one fails with probability below 1e-6.
    from scipy import stats

    counts = [drawn.count(c) for c in sorted(cells)]
    assert stats.chisquare(counts).pvalue > 1e-6
    assert (TrainingNoise(LAW, seed=1).copies(x, 500) == copies).all()
    net = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(4, 2))
    loss = LOSSES["gaussian"]()(net, x, torch.tensor([0, 1, 0]), noise)
    loss.backward()
    assert torch.isfinite(net[1].weight.grad).all()
    with pytest.raises(ValueError, match=r"noise is drawn.*which is not added to the input"):
        LOSSES["smoothadv"]()(net, x, torch.tensor([0, 1, 0]), noise)


def test_patches_with_a_network_that_sees_complements():
    law = BlockAblation(3, 6, 6)
    x = torch.rand(4, 3, 6, 6, generator=torch.Generator().manual_seed(0))
    both = with_complement(x)
    assert both.shape == (4, 6, 6, 6)
    torch.manual_seed(1)
    net = torch.nn.Sequential(
        torch.nn.Conv2d(6, 4, 3), torch.nn.Flatten(), torch.nn.Linear(64, 3)
    ).eval()
    classifier = rsbounds_torch.SmoothedClassifier(net, num_classes=3, noise=law)
    found = classifier.certify(both)
    assert (found.n == 36).all()
    assert (found.norm, found.guarantee) == ("patch", "deterministic")
    # A network for pictures without the further channels is told so.
    with pytest.raises(ValueError, match="model failed on inputs of shape"):
        classifier.under(law).certify(x)
    dark = both * (torch.arange(36).reshape(6, 6) > 0)
    with pytest.raises(ValueError, match="inputs hold 0 in all 6 channels of pixel 0"):
        classifier.under(law).certify(dark)
    noise = TrainingNoise(law, seed=1)
    copies = noise.copies(both, 3)
    assert ((copies == 0) | (copies == both)).all()
    assert ((copies.abs().sum(2) > 0).sum((2, 3)) == 9).all()
    assert not torch.equal(copies[0], copies[1])
    LOSSES["gaussian"]()(net, both, torch.tensor([0, 1, 2, 0]), noise).backward()
    assert torch.isfinite(net[0].weight.grad).all()


@pytest.mark.parametrize("law", [BlockAblation(2, 4, 5, null=-1), BandAblation(2, 5, null=-1)])
@pytest.mark.parametrize("shape", [(4, 5), (3, 4, 5)])
def test_tensors_and_arrays_hide_the_same_pixels(law, shape):
    x = np.random.default_rng(0).random(shape)
    numbers = np.arange(law.cells + 3)[:, None]
    here = law.perturb(x, numbers)
    there = law.perturb(torch.from_numpy(x), torch.from_numpy(numbers))
    assert (there.numpy() == here).all()


def test_pixels_hidden_at_random():
    law = Ablation(6, 36)
    both = with_complement(torch.rand(2, 1, 6, 6, generator=torch.Generator().manual_seed(0)))

    def shown(batch):
        bright = batch[:, 0].sum((1, 2)) - 3.0
        return torch.stack([-bright, bright], dim=1)

    classifier = rsbounds_torch.SmoothedClassifier(shown, num_classes=2, noise=law)
    counts = classifier.sample_counts(both, n=500, seed=1)
    plain = rsbounds.sample_counts(
        lambda b: (b[:, 0].sum(axis=(1, 2)) > 3.0).astype(int), both.numpy(), noise=law, n=500,
        num_classes=2, seed=1,
    )  # fmt: skip
    assert (counts.values == plain.values).all()
    assert counts.cells is None
    found = classifier.certify(both, n=2000, seed=1)
    assert (found.norm, found.guarantee, found.alpha) == ("l0", "proven", 0.001)
    assert classifier.decide(both, 1, no="futile", limit=2000, seed=1).status.shape == (2,)
    # A device's own draws: as many pixels, all sets, the same for any cut.
    stream = DeviceStream(law, (2, 6, 6), seed=5, role="select", device=torch.device("cpu"))
    out, part = torch.empty(300, 72), torch.empty(100, 72)
    stream.add(out, both[0].reshape(-1), 3, 0)
    stream.add(part, both[0].reshape(-1), 3, 150)
    assert torch.equal(out[150:250], part)
    left = out.reshape(300, 2, 36).sum(1) > 0
    assert (left.sum(1) == 6).all()
    # 300 draws of 6 of 36: a right one fails with probability below 1e-6.
    assert (left.sum(0) > 50 - 5.5 * 6.5).all()
    copies = TrainingNoise(law, seed=1).copies(both, 4)
    assert ((copies.sum(2) > 0).sum((2, 3)) == 6).all()


def test_the_command_line(tmp_path, capsys):
    from rsbounds.commands import main

    (tmp_path / "counts.tsv").write_text("class_0\tclass_1\n200\t55\n100\t155\n")
    law = ["--noise", "split-uniform", "--half-width", "0.5"]
    assert main(["certify", str(tmp_path / "counts.tsv"), *law]) == 0
    said = capsys.readouterr()
    assert "alpha 0, guarantee: deterministic, all cells counted" in said.out
    assert said.err == ""
    (tmp_path / "counts.tsv").write_text("class_0\tclass_1\n200\t56\n")
    assert main(["certify", str(tmp_path / "counts.tsv"), *law]) == 2
    assert "counts row 0 sums to 256" in capsys.readouterr().err
    assert main(["certify", str(tmp_path / "counts.tsv"), *law, "--levels", "2"]) == 2
    assert "sums to 256" in capsys.readouterr().err
    (tmp_path / "counts.tsv").write_text("class_0\tclass_1\n20\t12\n")
    law = ["--size", "1", "--width", "32"]
    assert main(["certify", str(tmp_path / "counts.tsv"), *law]) == 0
    assert "mean patch radius 4.00000\nband-ablation(size=1, width=32" in capsys.readouterr().out
    law = ["--keep", "2", "--pixels", "64", "--top", "0"]
    assert main(["certify", str(tmp_path / "counts.tsv"), *law]) == 0
    assert "ablation(keep=2, pixels=64, null=0), exact, alpha 0.001" in capsys.readouterr().out
    law = ["--noise", "split-uniform", "--half-width", "0.5"]
    np.savez(tmp_path / "data.npz", inputs=X.numpy(), label=np.zeros(3, int))
    given = [
        "certify-model", "--model", "torch.nn:Identity", "--data", str(tmp_path / "data.npz"),
        "--num-classes", "2", "--store", str(tmp_path / "s"), *law,
    ]  # fmt: skip
    assert main([*given, "--n", "100"]) == 2
    assert "n is 100; allowed with noise split-uniform" in capsys.readouterr().err
