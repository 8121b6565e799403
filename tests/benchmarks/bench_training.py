"""What a training step of each loss costs: `make bench`, or run this file.

Times are CPU seconds on one thread, the least of several, in turn with the step that they are
compared with, because other work on the machine only ever slows one down. A forward-backward
pass of all copies is the unit: ADRE_REG is to stay below 1.15 of a Gaussian step with as many
copies, and an attack of M steps near M + 1 (its passes skip the parameters' gradients).
"""

import sys
import time

try:
    import torch
except ImportError:
    sys.exit("no torch here: nothing to measure")

from _timing import machine

import rsbounds
from rsbounds_torch.models import lenet, resnet20
from rsbounds_torch.training import LOSSES, TrainingNoise

COPIES = 8
CASES = [
    ("adre-reg", {"copies": COPIES}, "1.15"),
    ("consistency", {"copies": COPIES}, "1"),
    ("macer", {"copies": COPIES}, "1"),
    ("stability", {"copies": COPIES}, f"1 + 1/{COPIES}"),
    ("smoothadv", {"copies": COPIES, "steps": 1}, "2"),
    ("smoothadv", {"copies": COPIES, "steps": 4}, "5"),
    ("smoothadv", {"copies": COPIES, "steps": 4, "attack": "ddn"}, "5"),
    ("adre-adv", {"copies": COPIES, "steps": 4}, "5"),
    ("smoothmix", {"copies": COPIES, "steps": 4}, "6"),
]


def step(loss, model, x, y):
    noise = TrainingNoise(rsbounds.Gaussian(0.25), seed=0)
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-6)

    def call():
        optimizer.zero_grad()
        loss(model, x, y, noise).backward()
        optimizer.step()

    return call


def least_in_turn(calls, rounds):
    for call in calls:
        call()
    found = [float("inf")] * len(calls)
    for _ in range(rounds):
        for i, call in enumerate(calls):
            began = time.process_time()
            call()
            found[i] = min(found[i], time.process_time() - began)
    return found


def table(model, shape, size, rounds):
    generator = torch.Generator().manual_seed(0)
    x, y = torch.rand((size, *shape), generator=generator), torch.arange(size) % 10
    gaussian = step(LOSSES["gaussian"](copies=COPIES), model, x, y)
    losses = [(LOSSES[loss](**settings), allowed) for loss, settings, allowed in CASES]
    # One at a time against a Gaussian step, so that the two of a ratio are close in time.
    for loss, allowed in losses:
        one, own = least_in_turn([gaussian, step(loss, model, x, y)], rounds)
        settings = [key for key in ("steps", "attack") if hasattr(loss, key)]
        said = ", ".join(f"{key}={getattr(loss, key)}" for key in settings)
        print(
            f"  {loss.name:12} {said:21} {own * 1e3:8.1f} ms   {own / one:5.2f} of gaussian"
            f"   (passes: {allowed})"
        )


if __name__ == "__main__":
    torch.set_num_threads(1)
    print(machine())
    print(f"LeNet, 64 inputs of 28 x 28, {COPIES} copies")
    table(lenet().train(), (1, 28, 28), 64, 12)
    print(f"ResNet-20 with batch norm, 4 inputs of 3 x 32 x 32, {COPIES} copies")
    table(resnet20().train(), (3, 32, 32), 4, 6)
