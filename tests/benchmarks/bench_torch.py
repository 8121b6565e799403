"""Sampling speed of rsbounds_torch against the bare forward pass: `make bench`, or run this file.

Ours and the bare pass take turns in short bursts, and the fastest burst of each is compared,
because other work on the machine only ever slows one down. On a busy machine the figures in
CPU time on one thread are the ones to read.
"""

import sys
import time

import numpy as np
from _timing import machine, seconds

try:
    import torch
    from torch import nn
except ImportError:
    sys.exit("no torch here: nothing to measure")

import rsbounds
from rsbounds_torch import SmoothedClassifier, lipschitz_upper_bound
from rsbounds_torch.streams import CpuStream

LAW = rsbounds.Gaussian(0.25)


def lenet():
    return nn.Sequential(
        nn.Conv2d(1, 6, 5, padding=2), nn.ReLU(), nn.MaxPool2d(2),
        nn.Conv2d(6, 16, 5), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(),
        nn.Linear(400, 120), nn.ReLU(), nn.Linear(120, 84), nn.ReLU(), nn.Linear(84, 10),
    )  # fmt: skip


class Block(nn.Module):
    def __init__(self, before, after, stride):
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(before, after, 3, stride, 1, bias=False), nn.BatchNorm2d(after), nn.ReLU(),
            nn.Conv2d(after, after, 3, 1, 1, bias=False), nn.BatchNorm2d(after),
        )  # fmt: skip
        self.skip = nn.Sequential()
        if stride != 1 or before != after:
            self.skip = nn.Conv2d(before, after, 1, stride, bias=False)

    def forward(self, x):
        return torch.relu(self.body(x) + self.skip(x))


def resnet20():
    layers = [nn.Conv2d(3, 16, 3, 1, 1, bias=False), nn.BatchNorm2d(16), nn.ReLU()]
    before = 16
    for after, stride in ((16, 1), (32, 2), (64, 2)):
        for i in range(3):
            layers.append(Block(before, after, stride if i == 0 else 1))
            before = after
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(64, 10))


def noise():
    x = torch.zeros(784)
    out = torch.empty(128, 784)
    stream = CpuStream(LAW, (784,), seed=1, role="estimate")
    ours = seconds(lambda: stream.add(out, x, 0, 0), 50) / out.numel()
    generator = torch.Generator().manual_seed(1)
    theirs = seconds(
        lambda: torch.add(x, out.normal_(0, 0.25, generator=generator), out=out), 50
    ) / out.numel()  # fmt: skip
    rng = np.random.Generator(np.random.SFC64(1))
    array = np.empty((128, 784), np.float32)
    numpys = seconds(lambda: rng.standard_normal(out=array, dtype=np.float32), 50) / array.size
    print("Gaussian noise added to 128 copies of 784 numbers, ns per number, one thread")
    print(f"  rsbounds_torch, CPU     {ours * 1e9:6.2f}")
    print(f"  torch normal_ and add   {theirs * 1e9:6.2f}   {theirs / ours:5.1f} times ours")
    print(f"  numpy SFC64, no adding  {numpys * 1e9:6.2f}   {numpys / ours:5.1f} times ours")


def efficiency(name, model, shape, sizes, draws, rounds, target, clock=time.perf_counter):
    model.eval()
    x = torch.rand((1, *shape), generator=torch.Generator().manual_seed(0))
    classifier = SmoothedClassifier(model, num_classes=10, noise=LAW)
    start = time.perf_counter()
    chosen = classifier._size(x)
    tuning = time.perf_counter() - start

    def bare(size):
        # Noisy copies, as ours: what max-pooling costs depends on the numbers.
        batch = x + LAW.sigma * torch.randn(size, *shape)
        with torch.no_grad():
            model(batch)
            start = clock()
            for _ in range(draws // size):
                model(batch)
            return (clock() - start) / (draws // size * size)

    def ours(size):
        classifier.batch_size = size
        start = clock()
        classifier.sample_counts(x, n=draws, seed=1, progress=False)
        return (clock() - start) / draws

    bare_times = {size: [] for size in sizes}
    our_times = {size: [] for size in {*sizes, chosen}}
    for _ in range(rounds):
        for size in sorted(our_times):
            if size in bare_times:
                bare_times[size].append(bare(size))
            our_times[size].append(ours(size))
    best, size = min((min(t), s) for s, t in bare_times.items())
    fastest, at = min((min(t), s) for s, t in our_times.items())
    auto = min(our_times[chosen])
    unit = "wall time" if clock is time.perf_counter else "CPU time"
    print(f"{name}, {draws} draws of {shape}, {torch.get_num_threads()} thread(s), {unit}")
    print(f"  bare forward pass       {best * 1e6:8.2f} us per copy at its best batch, {size}")
    print(f"  sample_counts           {fastest * 1e6:8.2f} us at {at}: {best / fastest:.3f} of it")
    print(
        f"  batch_size='auto'       {auto * 1e6:8.2f} us at {chosen}: {best / auto:.3f} of it "
        f"(target {target}), {fastest / auto:.3f} of our best; tuned in {tuning:.1f} s"
    )
    for s in sizes:
        print(
            f"    batch {s:5}  bare {min(bare_times[s]) * 1e6:8.2f} us, "
            f"ours {min(our_times[s]) * 1e6:8.2f} us"
        )


def ties():
    """Votes that differ between batch sizes, of a network with spread-out answers."""
    torch.manual_seed(0)
    model = lenet().eval()
    x = torch.rand((4, 1, 28, 28), generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        # Untrained, it would always answer the same class.
        model[-1].bias -= model(x[:1] + 2 * torch.randn(2000, 1, 28, 28)).mean(0)
    n = 20_000
    tables = {
        size: SmoothedClassifier(
            model, num_classes=10, noise=rsbounds.Gaussian(2.0), batch_size=size
        ).sample_counts(x, n=n, seed=1, progress=False).values
        for size in (64, 100, 1024, 4096)
    }  # fmt: skip
    reference = tables[64]
    print(f"votes that differ from those at batch 64, LeNet, {4 * n} draws at sigma 2")
    print(f"  largest share of a class: {(reference.max(axis=1) / n).round(2).tolist()}")
    for size, table in tables.items():
        differ = np.abs(table - reference).sum() / 2
        print(f"  batch {size:5}  {differ / (4 * n):.1e}")


def lipschitz():
    torch.manual_seed(0)
    model = lenet().eval()
    start = time.perf_counter()
    bound = lipschitz_upper_bound(model, (1, 28, 28))
    print(f"Lipschitz bound of the LeNet: {bound:.3f} in {time.perf_counter() - start:.2f} s")


if __name__ == "__main__":
    print(machine(), "torch", torch.__version__)
    noise()
    torch.manual_seed(0)
    threads = torch.get_num_threads()
    for count, clock in ((threads, time.perf_counter), (1, time.thread_time)):
        torch.set_num_threads(count)
        efficiency("LeNet", lenet(), (1, 28, 28), (64, 128, 256), 4096, 40, 0.93, clock)
        efficiency("ResNet-20", resnet20(), (3, 32, 32), (32, 64, 128), 256, 20, 0.97, clock)
    torch.set_num_threads(threads)
    ties()
    lipschitz()
