import os
import pickle
import signal
import time
from dataclasses import replace
from pathlib import Path
from threading import Thread

import pytest
import torch
from torch.utils.data import Dataset

from figureground.errors import FiguregroundError, UsageError
from figureground.training import train
from figureground.training.carrying import CarryingLoader, noticing_dead_workers


class Numbers(Dataset):
    def __init__(self, errors):
        self._errors = errors

    def __len__(self):
        return 6

    def __getitem__(self, index):
        if index in self._errors:
            raise self._errors[index]
        return index


@pytest.mark.parametrize("workers", [0, 1])
@pytest.mark.parametrize("error", [UsageError("what: it was"), FiguregroundError("line one\nUsageError: two")])
def test_errors_for_the_user_arrive_as_they_were_raised(workers, error):
    arrived = []
    with pytest.raises(FiguregroundError) as caught:
        arrived.extend(CarryingLoader(Numbers({3: error}), list, batch_size=2, num_workers=workers))
    assert (type(caught.value), str(caught.value)) == (type(error), str(error))
    assert arrived == [[0, 1]]


def test_other_errors_keep_the_traceback_of_their_worker():
    with pytest.raises(ValueError, match=r"(?s)Caught ValueError in DataLoader worker.*__getitem__.*a mistake of ours"):
        list(CarryingLoader(Numbers({0: ValueError("a mistake of ours")}), list, num_workers=1))


def test_without_errors_batches_are_those_of_torch():
    loader = pickle.loads(pickle.dumps(CarryingLoader(Numbers({}), list, batch_size=4)))  # as to a spawned process
    assert list(loader) == [[0, 1, 2, 3], [4, 5]]


@pytest.mark.timeout(60)
def test_a_worker_without_memory_is_an_error_for_the_user():
    with pytest.raises(FiguregroundError, match=r"no memory is left to read an image \(of 3 GB\); use fewer --workers"):
        list(CarryingLoader(Numbers({3: MemoryError("of 3 GB")}), list, num_workers=1))


def _as_tensors(numbers):
    return {"number": torch.tensor(numbers)}


@pytest.mark.timeout(60)
def test_shared_memory_that_ends_is_an_error_and_no_waiting(monkeypatch):
    loader = CarryingLoader(Numbers({}), _as_tensors, batch_size=2, num_workers=1)
    assert [batch["number"].tolist() for batch in loader] == [[0, 1], [2, 3], [4, 5]]

    def full(tensor):
        raise RuntimeError("unable to allocate shared memory(shm): No space left on device (28)")

    monkeypatch.setattr(torch.Tensor, "share_memory_", full)
    with pytest.raises(FiguregroundError, match=r"No space left on device.*--workers \(0: none\).*--shm-size"):
        list(loader)


class Killed(Numbers):
    def __getitem__(self, index):
        if index == 3:
            os.kill(os.getpid(), signal.SIGKILL)
        return index


@pytest.mark.timeout(60)
def test_a_worker_that_is_killed_is_an_error_for_the_user():
    refused = pytest.raises(FiguregroundError, match=r"a worker process .* was killed.*--workers.*Again\.")
    with refused, noticing_dead_workers("Again."):
        list(CarryingLoader(Killed({}), list, num_workers=1))


def test_other_errors_are_not_taken_for_a_killed_worker():
    with pytest.raises(RuntimeError, match="a mistake"), noticing_dead_workers(""):
        list(CarryingLoader(Numbers({0: RuntimeError("a mistake")}), list, num_workers=1))


@pytest.mark.timeout(60)
@pytest.mark.skipif(not Path("/proc").is_dir(), reason="where worker processes are found")
@pytest.mark.parametrize("wait", [0, 0.3, 1])
def test_a_training_whose_worker_is_killed_ends_and_says_how_to_go_on(tiny, tmp_path, wait):
    def children():
        return set(Path(f"/proc/self/task/{os.getpid()}/children").read_text().split())

    before, killed = children(), []

    def kill():
        while children() <= before:
            time.sleep(0.01)
        time.sleep(wait)
        os.kill(int((children() - before).pop()), signal.SIGKILL)
        killed.append(time.monotonic())

    Thread(target=kill, daemon=True).start()
    with pytest.raises(FiguregroundError, match=r"was killed.*--resume .*run"):
        train(replace(tiny, epochs=1000, workers=1), tmp_path / "run")
    assert time.monotonic() - killed[0] < 10
