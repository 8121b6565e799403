"""The PyTorch part of the README runs as it is printed."""

from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="the adapter needs torch")

README = Path(__file__).resolve().parents[2] / "README.md"


def test_ten_lines_certify_a_model(tmp_path, monkeypatch, capsys):
    blocks = [b.split("```")[0] for b in README.read_text().split("```python\n")[1:]]
    code = next(block for block in blocks if "rsbounds_torch.certify_dataset(" in block)
    assert len(code.strip().splitlines()) <= 10
    assert "n=100_000" in code
    torch.manual_seed(0)
    x = np.random.default_rng(0).uniform(0, 1, (2, 1, 4, 4)).astype(np.float32)
    names = {
        "model": torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(16, 10)),
        "normalise": lambda batch: (batch - 0.5) / 0.25,
        "test_set": [(torch.from_numpy(row), 3) for row in x],
    }
    monkeypatch.chdir(tmp_path)
    exec(compile(code.replace("n=100_000", "n=500"), "README", "exec"), names)
    assert len(names["certificates"]) == 2
    assert "exact noise" in capsys.readouterr().out


def test_the_snippets_on_per_input_noise_and_training_run(tmp_path, monkeypatch):
    import rsbounds
    import rsbounds_torch

    blocks = [b.split("```")[0] for b in README.read_text().split("```python\n")[1:]]
    found = next(block for block in blocks if "optimize_noise" in block)
    trained = next(block for block in blocks if "LOSSES" in block)
    torch.manual_seed(0)
    model = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(16, 3))
    names = {"rsbounds": rsbounds, "model": model, "x": torch.rand(2, 1, 4, 4)}
    names["y"] = torch.tensor([0, 2])
    names["classifier"] = rsbounds_torch.SmoothedClassifier(
        model, num_classes=3, noise=rsbounds.Gaussian(0.25)
    )
    names["rsbounds_torch"] = rsbounds_torch
    exec(compile(found.replace("n=100_000", "n=500"), "README", "exec"), names)
    assert names["law"].batch_shape == (2,)
    assert len(names["certificates"]) == 2
    remembered = next(block for block in blocks if "MemoryClassifier" in block)
    exec(compile(remembered, "README", "exec"), names)
    assert names["mine"].about == "memory"
    assert (names["memory"].predict(names["x"]) == names["mine"].top).all()
    exec(compile(trained, "README", "exec"), names)
    assert all(p.grad is not None for p in model.parameters())
    loop = next(block for block in blocks if "rsbounds_torch.train(" in block)
    monkeypatch.chdir(tmp_path)
    exec(compile(loop, "README", "exec"), names)
    assert names["done"].checkpoint.is_file()
