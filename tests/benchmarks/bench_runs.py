"""Runs over data sets: overhead per input, 20 kill -9, ranks and batch sizes, the fault table.

Run this file, or `make bench`. Needs torch.
"""

import contextlib
import gc
import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from _timing import machine

ROOT = Path(__file__).resolve().parents[2]
ENVIRONMENT = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}

CERTIFY = """
import sys, numpy as np, torch, rsbounds, rsbounds_torch
from rsbounds_torch._ranks import process_group
store, inputs, n, batch = sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), sys.argv[4]
torch.manual_seed(0)
model = torch.nn.Sequential(torch.nn.Linear(64, 64), torch.nn.ReLU(), torch.nn.Linear(64, 10))
x = np.random.default_rng(0).uniform(0, 1, (inputs, 64)).astype(np.float32)
with process_group() as (rank, size):
    classifier = rsbounds_torch.SmoothedClassifier(
        model, num_classes=10, noise=rsbounds.Gaussian(0.5),
        batch_size=batch if batch == "auto" else int(batch))
    print("ready", flush=True)
    rsbounds_torch.certify_dataset(
        classifier, [(row, 0) for row in x], store=store, n=n, seed=5, progress=False)
"""


def rows(path):
    import rsbounds

    with rsbounds.RunStore(path) as store:
        return [
            (r.index, r.digest, r.select.tolist(), r.estimate.tolist(), r.top, r.radius)
            for r in store.rows()
        ]


def run(store, inputs=200, n=2000, batch="256", ranks=1):
    arguments = [str(store), str(inputs), str(n), batch]
    if ranks == 1:
        command = [sys.executable, "-c", CERTIFY, *arguments]
    else:
        script = Path(store).parent / "certify.py"
        script.write_text(CERTIFY)
        command = [
            sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", str(ranks),
            "--master-port", "29517", str(script), *arguments,
        ]  # fmt: skip
    subprocess.run(command, check=True, env=ENVIRONMENT, capture_output=True)
    return rows(store)


def kills(folder):
    whole = run(folder / "whole.sqlite", n=20_000)
    store = folder / "killed.sqlite"
    rng = np.random.default_rng(0)
    done, lost, killed, inside = 0, 0, 0, 0
    while killed < 20:
        with subprocess.Popen(
            [sys.executable, "-c", CERTIFY, str(store), "200", "20000", "256"],
            stdout=subprocess.PIPE, text=True, env=ENVIRONMENT,
        ) as process:  # fmt: skip
            assert process.stdout.readline() == "ready\n"
            time.sleep(rng.uniform(0.25, 0.45))
            process.send_signal(signal.SIGKILL)
        killed += 1
        try:
            now = len(rows(store)) if store.exists() else 0
        except ValueError:
            now = 0
        lost += now < done
        inside += done < now < 200
        done = max(done, now)
    final = run(store, n=20_000)
    print(
        f"20 kill -9 of a 200-input run, {inside} of them with inputs newly done and others left;"
    )
    print(f"  rows lost {lost}, final rows identical to the uninterrupted run: {final == whole}")


def dealt(folder):
    base = run(folder / "base.sqlite", inputs=40)
    total = sum(sum(r[2]) + sum(r[3]) for r in base)
    for name, options in [
        ("2 ranks", {"ranks": 2}), ("4 ranks", {"ranks": 4}), ("batch 64", {"batch": "64"}),
        ("batch 1024", {"batch": "1024"}), ("batch 4096", {"batch": "4096"}),
        ("batch auto", {"batch": "auto"}),
    ]:  # fmt: skip
        other = run(folder / f"{name.replace(' ', '_')}.sqlite", inputs=40, **options)
        moved = sum(
            int(np.abs(np.array(a[j]) - np.array(b[j])).sum()) // 2
            for a, b in zip(base, other, strict=True)
            for j in (2, 3)
        )
        print(f"  {name:12} votes that differ from one rank, batch 256: {moved} of {total}")
    few = run(folder / "few.sqlite", inputs=1, n=20_000)
    many = run(folder / "few4.sqlite", inputs=1, n=20_000, ranks=4)
    print(f"  one input on 4 ranks, draws dealt: rows identical {few == many}")


def statistics(folder):
    """Statistics and storage of one input at n = 100,000, sampling excluded."""
    import rsbounds
    from rsbounds.runs import Answers, RunPlan, RunStore, run_inputs

    rng = np.random.default_rng(0)
    inputs = 300
    p = rng.dirichlet([0.3] * 10, inputs)
    p.sort(axis=1)
    votes = {
        "select": np.array([rng.multinomial(100, q) for q in p]),
        "estimate": np.array([rng.multinomial(100_000, q) for q in p]),
    }
    x = np.zeros((3, 32, 32), dtype=np.float32)

    class Counted:
        def item(self, index):
            return x, 0

        def votes(self, batch, indices, role, spans):
            return votes[role][list(indices)], np.zeros(len(indices), dtype=np.int64)

        def answers(self, batch):
            return Answers(np.zeros(len(batch), dtype=np.int64), "classes")

    for method in ("runner-up", "exact"):
        plan = RunPlan(
            noise=rsbounds.Gaussian(0.25), num_classes=10, inputs=inputs, n=100_000, seed=0,
            method=method,
        )  # fmt: skip
        rsbounds.certify([2, 1, 1], 0, noise=plan.noise, method=method)
        with RunStore(folder / f"{method}.sqlite", plan.config()) as store:
            start = time.process_time()
            run_inputs(Counted(), plan, range(inputs), store=store, progress=False)
            took = (time.process_time() - start) / inputs
        print(
            f"  {method:10} {took * 1e3:.2f} ms of CPU per input at n = 1e5, statistics and storage"
        )


def small_inputs(folder):
    """Time per input of a tiny model at n = 100, and of the model alone on as many copies."""
    import rsbounds

    rng = np.random.default_rng(0)
    inputs, n = 1000, 100
    weights = rng.normal(size=(64, 10))
    x = rng.uniform(0, 1, (inputs, 64)).astype(np.float32)
    law = rsbounds.Gaussian(0.5)

    def report(name, certify, model):
        certify(folder / f"{name}_warm.sqlite", 30)
        # Otherwise a collection of what the imports left, 0.14 s with torch, falls into one run.
        gc.collect()
        runs, walls = [], []
        for run in range(7):
            start, begun = time.process_time(), time.perf_counter()
            certify(folder / f"{name}{run}.sqlite", inputs)
            runs.append(time.process_time() - start)
            walls.append(time.perf_counter() - begun)
        total = np.median(runs)
        start = time.process_time()
        for _ in range(inputs):
            model()
        alone = time.process_time() - start
        print(
            f"  {name:6} {total / inputs * 1e3:.2f} ms of CPU per input at n0 = n = {n} "
            f"(median of 7 runs, {min(runs) / inputs * 1e3:.2f} to "
            f"{max(runs) / inputs * 1e3:.2f}), {np.median(walls) / inputs * 1e3:.2f} by "
            f"the clock; the model alone {alone / inputs * 1e3:.2f}"
        )

    batch = x[:1].repeat(2 * n, axis=0)
    report(
        "numpy",
        lambda store, count: rsbounds.certify_dataset(
            lambda b: b @ weights, x[:count], store=store, noise=law, n=n, n0=n, num_classes=10,
            seed=1, progress=False),
        lambda: batch @ weights,
    )  # fmt: skip
    try:
        import torch

        import rsbounds_torch
    except ImportError:
        return
    torch.set_num_threads(1)
    model = torch.nn.Linear(64, 10)
    with torch.no_grad():
        model.weight.copy_(torch.from_numpy(weights.T))
    classifier = rsbounds_torch.SmoothedClassifier(
        model, num_classes=10, noise=law, batch_size=1024
    )
    whole = torch.from_numpy(batch)
    with torch.no_grad():
        report(
            "torch",
            lambda store, count: rsbounds_torch.certify_dataset(
                classifier, list(x[:count]), store=store, n=n, n0=n, seed=1, progress=False),
            lambda: model(whole),
        )  # fmt: skip


def checks(folder):
    """What probes and digests add to a run of a LeNet at n = 10,000, in CPU time."""
    import torch
    from bench_torch import lenet

    import rsbounds
    import rsbounds_torch
    from rsbounds.runs import RunPlan, RunStore, probes
    from rsbounds_torch._subject import ModelSubject
    from rsbounds_torch.data import items_of

    torch.set_num_threads(1)
    inputs = 20
    x = torch.rand(inputs, 1, 28, 28)
    classifier = rsbounds_torch.SmoothedClassifier(
        lenet().eval(), num_classes=10, noise=rsbounds.Gaussian(0.5), batch_size=256
    )
    plan = RunPlan(noise=classifier.noise, num_classes=10, inputs=inputs, n=10_000, seed=1)
    subject = ModelSubject(classifier, items_of([(row, 0) for row in x]), 1)
    probes.probe_model(subject, plan, range(inputs), False)  # kernels compiled

    def timed(work):
        start = time.process_time()
        result = work()
        return time.process_time() - start, result

    asked, held = timed(lambda: probes.probe_model(subject, plan, range(inputs), False))
    path = folder / "lenet.sqlite"
    run_time, _ = timed(
        lambda: rsbounds_torch.certify_dataset(
            classifier, [(row, 0) for row in x], store=path, n=10_000, seed=1, progress=False
        )
    )
    with RunStore(path) as store:
        met = probes.finished(store.rows())
    compared, _ = timed(lambda: probes.check_rows(subject, plan, path, met, False))
    again, _ = timed(lambda: probes.check_model(subject, plan, path, held))
    print(
        f"  LeNet, n = 10,000: {run_time / inputs * 1e3:.0f} ms of CPU per input; digests "
        f"{compared / inputs * 1e3:.3f} ms per input ({100 * compared / run_time:.2f} %); probes "
        f"{asked:.3f} s at the start of a run, {again:.3f} s at its resumption"
    )


# -- the fault table ---------------------------------------------------------------------------

FAULTY = """
import os, signal, sys, time
# A shell that starts a program in the background has it ignore Ctrl-C.
signal.signal(signal.SIGINT, signal.default_int_handler)
import numpy as np, torch, rsbounds, rsbounds_torch
from rsbounds_torch._ranks import process_group
store, fault = sys.argv[1], sys.argv[2]
rank = int(os.environ.get("RANK", "0"))
x = np.random.default_rng(0).uniform(-1, 1, (200, 64)).astype(np.float32)

class Data:
    def __len__(self):
        return 200
    def __getitem__(self, i):
        if fault == f"fail{rank}" and i >= 100:
            raise OSError(f"a bad sector on rank {rank}")
        if fault == "slow":
            time.sleep(0.02 * int(os.environ.get("WORLD_SIZE", "1")))
        return x[i], int(x[i, 0] > 0)

torch.manual_seed(0)
torch.set_num_threads(1)
model = torch.nn.Sequential(torch.nn.Linear(64, 64), torch.nn.ReLU(), torch.nn.Linear(64, 10))
with process_group():
    classifier = rsbounds_torch.SmoothedClassifier(
        model, num_classes=10, noise=rsbounds.Gaussian(0.5), batch_size=256)
    try:
        rsbounds_torch.certify_dataset(
            classifier, Data(), store=store, n=500, progress=False, on_error="stop",
            seed=int(sys.argv[3]) if len(sys.argv) > 3 else None)
    except (ValueError, OSError) as error:
        print("REFUSED", error, flush=True)
        sys.exit(2)
"""


def started(folder, fault, ranks, *more):
    script = folder / "faulty.py"
    script.write_text(FAULTY)
    command = [sys.executable]
    if ranks > 1:
        command += ["-m", "torch.distributed.run", "--nproc-per-node", str(ranks),
                    "--master-port", "29519"]  # fmt: skip
    command += [str(script), str(folder / "disk" / "run.sqlite"), fault, *more]
    return subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=ENVIRONMENT,
        start_new_session=True,
    )  # fmt: skip


def ended(process):
    """The sentences with which ranks ended."""
    out, err = process.communicate()
    said = {line for line in out.splitlines() if line.startswith("REFUSED")}
    said |= {
        line.split("KeyboardInterrupt: ")[1]
        for line in err.splitlines()
        if "KeyboardInterrupt: stopped" in line
    }
    return sorted(said)


def signalled(folder, ranks, signal_number):
    """Send a signal once some, not all, inputs are stored."""
    process = started(folder, "slow", ranks)
    while process.poll() is None and not 20 <= stored(folder) < 200:
        time.sleep(0.02)
    # Ctrl-C reaches torchrun, which passes it on; a crash takes the ranks, too.
    found = Path(f"/proc/{process.pid}/task/{process.pid}/children")
    ranks_of = found.read_text().split() if found.exists() else []
    os.killpg(process.pid, signal_number)
    if signal_number == signal.SIGKILL:
        for one in map(int, ranks_of):
            with contextlib.suppress(ProcessLookupError):
                os.kill(one, signal_number)
    return ended(process)


def full_disk(folder, ranks):
    filler = folder / "disk" / "filler"
    # Room for the stores, but not for all their inputs.
    filler.write_bytes(bytes((4 << 20) - (110_000 + 60_000 * ranks)))
    said = ended(started(folder, "none", ranks))
    filler.unlink()
    return said


def read_only(folder, ranks):
    signalled(folder, ranks, signal.SIGKILL)
    subprocess.run(["mount", "-o", "remount,ro", str(folder / "disk")], check=True)
    said = ended(started(folder, "none", ranks))
    subprocess.run(["mount", "-o", "remount,rw", str(folder / "disk")], check=True)
    return said


def stored(folder):
    import rsbounds

    indices = set()
    for path in (folder / "disk").glob("run.sqlite*"):
        if path.name == "run.sqlite" or path.name.split(".rank")[-1].isdigit():
            # A store may be about to be made.
            with contextlib.suppress(ValueError, OSError), rsbounds.RunStore(path) as store:
                indices |= store.done()
    return len(indices)


def faults(folder):
    """Every fault on 1, 2 and 4 ranks; resumed on another number, no seed given."""
    print("faults of a 200-input run; each resumed on another number of ranks, no seed given")
    print(f"  {'fault':24} {'ranks':>5} {'kept':>5} {'resumed':>8}  {'rows':10} said")
    cases = [
        ("kill -9", (1, 2, 4), lambda ranks: signalled(folder, ranks, signal.SIGKILL)),
        ("Ctrl-C", (1, 2, 4), lambda ranks: signalled(folder, ranks, signal.SIGINT)),
        ("full disk", (1, 2, 4), lambda ranks: full_disk(folder, ranks)),
        ("read-only folder", (1, 2, 4), lambda ranks: read_only(folder, ranks)),
        *(
            (f"failing input on rank {r}", [n for n in (1, 2, 4) if r < n],
             lambda ranks, r=r: ended(started(folder, f"fail{r}", ranks)))
            for r in range(4)
        ),
    ]  # fmt: skip
    disk = folder / "disk"
    disk.mkdir()
    for name, counts, fault in cases:
        for ranks in counts:
            subprocess.run(
                ["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", str(disk)], check=True
            )
            try:
                said = fault(ranks)
                kept = stored(folder)
                other = {1: 2, 2: 4, 4: 1}[ranks]
                ended(started(folder, "none", other))
                final = rows(disk / "run.sqlite")
                import rsbounds

                with rsbounds.RunStore(disk / "run.sqlite") as store:
                    seed = store.config["seed"]
                left = [p.name for p in disk.iterdir()]
                (disk / "run.sqlite").unlink()
                ended(started(folder, "none", 1, str(seed)))
                # A signal must have come in the middle.
                inside = name not in ("kill -9", "Ctrl-C") or 0 < kept < 200
                same = inside and final == rows(disk / "run.sqlite") and len(final) == 200
                verdict = "identical" if same and left == ["run.sqlite"] else f"WRONG {left}"
            finally:
                subprocess.run(["umount", str(disk)], check=True)
            sentence = "; ".join(said).replace(str(disk), "")[:150]
            print(f"  {name:24} {ranks:5} {kept:5} {other:8}  {verdict:10} {sentence}", flush=True)


def everything(path):
    """All that a store holds, as text."""
    import rsbounds

    with rsbounds.RunStore(path) as store:
        rows = [
            {**vars(r), "select": r.select.tolist(), "estimate": r.estimate.tolist()}
            for r in store.rows()
        ]
        return repr((store.config, store.versions, store.facts(), rows))


def fuzz(folder, flips=5000, cuts=500):
    """Single flipped bits and truncations of a finished store: what is read, or refused."""
    import rsbounds

    path, broken = folder / "fuzz.sqlite", folder / "broken.sqlite"
    x = np.random.default_rng(0).uniform(-1, 1, (40, 3))
    rsbounds.certify_dataset(
        lambda batch: (batch[:, :2] > 0).sum(axis=1), x, [0] * 40, store=path, n=1000,
        noise=rsbounds.Gaussian(0.37), num_classes=3, seed=3, method="runner-up", progress=False,
    )  # fmt: skip
    data, expected = path.read_bytes(), everything(path)
    rng = np.random.default_rng(1)

    def trial(changed):
        broken.write_bytes(changed)
        try:
            return "the same" if everything(broken) == expected else "CHANGED"
        except (ValueError, OSError):
            return "refused"

    def flipped(bit):
        changed = bytearray(data)
        changed[bit // 8] ^= 1 << bit % 8
        return changed

    for what, trials in [
        (f"{flips} flipped bits", [flipped(b) for b in rng.integers(0, 8 * len(data), flips)]),
        (f"{cuts} truncations", [data[:size] for size in rng.integers(0, len(data), cuts)]),
    ]:
        seen = [trial(changed) for changed in trials]
        told = ", ".join(
            f"{word} {seen.count(word)}" for word in ("refused", "the same", "CHANGED")
        )
        print(f"  {what} of a store of 40 inputs ({len(data)} bytes): {told}")


if __name__ == "__main__":
    print(machine())
    with tempfile.TemporaryDirectory() as name:
        fuzz(Path(name))
        statistics(Path(name))
        small_inputs(Path(name))
        try:
            import torch  # noqa: F401
        except ImportError:
            print("torch is not installed: checks, kills, ranks and faults left out")
        else:
            checks(Path(name))
            kills(Path(name))
            dealt(Path(name))
            if hasattr(os, "geteuid") and os.geteuid() == 0:
                faults(Path(name))
            else:
                print("the fault table mounts a small disk: it needs to run as root")
