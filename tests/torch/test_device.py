"""Where a process computes: its own GPU under torchrun, set before NCCL starts."""

import pytest

torch = pytest.importorskip("torch", reason="the adapter needs torch")

from rsbounds_torch import _ranks
from rsbounds_torch._device import own_device


@pytest.fixture
def gpus(monkeypatch):
    """A machine with some GPUs, as torch reports it; the list of calls that matter, in order."""
    calls = []

    def machine(count, *, local_rank=0, processes=1):
        monkeypatch.setattr(torch.cuda, "is_available", lambda: count > 0)
        monkeypatch.setattr(torch.cuda, "device_count", lambda: count)
        monkeypatch.setattr(torch.cuda, "set_device", lambda d: calls.append(("set", str(d))))
        dist = _ranks.dist
        monkeypatch.setattr(dist, "init_process_group", lambda b: calls.append(("init", b)))
        monkeypatch.setattr(dist, "destroy_process_group", lambda: calls.append(("end",)))
        monkeypatch.setenv("WORLD_SIZE", str(processes))
        monkeypatch.setenv("LOCAL_WORLD_SIZE", str(processes))
        monkeypatch.setenv("LOCAL_RANK", str(local_rank))
        return calls

    return machine


@pytest.mark.parametrize("rank", [0, 1, 3])
def test_each_rank_takes_its_gpu_before_nccl_starts(gpus, rank):
    calls = gpus(4, local_rank=rank, processes=4)
    with _ranks.process_group():
        assert calls == [("set", f"cuda:{rank}"), ("init", "nccl")]
    assert calls[2:] == [("end",)]


def test_more_ranks_than_gpus_share_them_without_nccl(gpus):  # NCCL refuses two on one GPU
    calls = gpus(2, local_rank=3, processes=4)
    with _ranks.process_group():
        assert calls == [("set", "cuda:1"), ("init", "gloo")]


def test_the_cpu_is_taken_where_it_is_asked_for_or_alone(gpus):
    calls = gpus(2, local_rank=1, processes=2)
    with _ranks.process_group(own_device("cpu")):
        assert calls == [("init", "gloo")]
    calls.clear()
    gpus(0, local_rank=1, processes=2)
    with _ranks.process_group():
        assert calls == [("init", "gloo")]


def test_one_process_starts_no_group(gpus):
    calls = gpus(1)
    with _ranks.process_group() as (rank, size):
        assert (rank, size) == (0, 1)
        assert calls == [("set", "cuda:0")]
    assert calls == [("set", "cuda:0")]


def test_own_device(gpus):
    gpus(2)
    assert [str(own_device(name)) for name in (None, "cuda", "cuda:1", "cpu")] == [
        "cuda:0", "cuda:0", "cuda:1", "cpu",
    ]  # fmt: skip
    with pytest.raises(ValueError, match=r"device is 'cuda:2'; allowed: .*cuda:0 to cuda:1"):
        own_device("cuda:2")
    gpus(2, local_rank=1, processes=2)
    assert str(own_device("cuda")) == "cuda:1"
    with pytest.raises(ValueError, match="device is 'cuda:1' for 2 processes; allowed: cuda"):
        own_device("cuda:1")
    gpus(0)
    assert str(own_device()) == "cpu"
    for name in ("cuda", "gpu", "meta", "", "xla:9"):
        with pytest.raises(ValueError, match="device is"):
            own_device(name)
