"""What the trainer costs over a bare loop at the same k: `make bench`, or run this file.

The bare loop is the same SGD on the same batches with noise of torch's own generator. Both take
turns epoch by epoch in CPU time on one thread, and the fastest epoch of each is compared, because
other work on the machine only ever slows one down. Where there is a GPU, ResNet-20 on images of
CIFAR's size is timed too, by the clock.
"""

import sys
import time

from _timing import machine

try:
    import torch
except ImportError:
    sys.exit("no torch here: nothing to measure")

import rsbounds
import rsbounds_torch
from rsbounds_torch.models import lenet, resnet20

SIGMA = 0.25


def bare_epoch(model, x, y, copies, size, optimizer):
    """One epoch as anybody would write it."""
    model.train()
    total = 0.0
    for rows in torch.randperm(len(x)).split(size):
        batch, label = x[rows].to(next(model.parameters()).device), y[rows]
        label = label.to(batch.device).repeat(copies)
        noisy = batch.repeat(copies, *[1] * (batch.ndim - 1))
        noisy = noisy + SIGMA * torch.randn_like(noisy)
        loss = torch.nn.functional.cross_entropy(model(noisy), label)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        total += loss.item()
    return total


def compared(name, make, shape, count, copies, size, rounds, clock, device="cpu"):
    x = torch.rand(count, *shape)
    y = torch.arange(count) % 10
    bare_model, model = make().to(device), make().to(device)
    optimizer = torch.optim.SGD(bare_model.parameters(), 0.01, 0.9, nesterov=True)

    def now():
        if device != "cpu":
            torch.cuda.synchronize()
        return clock()

    bare, ours, mark = [], [], [now()]

    def turn(_):
        ours.append(now() - mark[0])
        start = now()
        bare_epoch(bare_model, x, y, copies, size, optimizer)
        bare.append(now() - start)
        mark[0] = now()
        return False

    rsbounds_torch.train(
        model, (x, y), noise=rsbounds.Gaussian(SIGMA), loss_options={"copies": copies},
        epochs=rounds, batch_size=size, lr=0.01, weight_decay=0.0, seed=0, stop=turn,
        progress=False,
    )  # fmt: skip
    # The first epoch has what is paid once.
    best, mine = min(bare[1:]), min(ours[1:])
    print(
        f"{name}, k = {copies}, batches of {size}: bare {count / best:.0f} images/s, train "
        f"{count / mine:.0f}: {best / mine:.3f} of it"
    )


def main():
    torch.set_num_threads(1)
    print(machine(), "torch", torch.__version__)
    print("trainer against a bare loop, CPU time, 1 thread")
    for copies in (1, 2, 8):
        compared("LeNet", lenet, (1, 28, 28), 1000, copies, 100, 8, time.process_time)
    compared("ResNet-20", resnet20, (3, 32, 32), 128, 1, 64, 4, time.process_time)
    if torch.cuda.is_available():
        print("the same on a GPU, by the clock")
        for copies in (1, 2, 8):
            compared(
                "ResNet-20", resnet20, (3, 32, 32), 20_000, copies, 128, 4, time.perf_counter,
                "cuda",
            )  # fmt: skip


if __name__ == "__main__":
    main()
