"""Errors of worker processes that arrive as they were raised, and of those that die as one line."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from torch.utils.data import DataLoader, Dataset, get_worker_info

from figureground.errors import FiguregroundError

DEAD = "DataLoader worker (pid"
"""How torch's message begins when a worker process was killed."""


@contextmanager
def noticing_dead_workers(onwards: str) -> Iterator[None]:
    """What torch raises, wherever the main process is, when a worker process has died becomes an error for the user.

    Args:
        onwards: what continues the work.

    Raises:
        FiguregroundError: one has died.
    """
    try:
        yield
    except (RuntimeError, ConnectionError, EOFError) as error:  # the others while it hands on a batch
        if isinstance(error, RuntimeError) and not str(error).startswith(DEAD):
            raise
        raise FiguregroundError(
            f"a worker process that reads images was killed, often because memory ran out ({str(error).strip()}); use "
            f"fewer --workers (0: none) or a smaller --batch-size. {onwards}"
        ) from None


class CarryingLoader(DataLoader[Any]):
    """A ``DataLoader`` that raises the errors for the user which its dataset raises.

    torch would raise another of their class with the worker's traceback as its message. So they come back as values.
    Errors that are no ``FiguregroundError`` are left to torch.
    """

    def __init__(self, dataset: Dataset[Any], collate_fn: Callable[[list[Any]], Any], **settings: Any) -> None:
        super().__init__(_Careful(dataset), collate_fn=_Collating(collate_fn), **settings)

    def __iter__(self) -> Iterator[Any]:  # type: ignore[override]  # a generator is enough for Lightning
        for batch in super().__iter__():
            if isinstance(batch, FiguregroundError):
                raise batch
            yield batch


class _Careful(Dataset[Any]):
    """The samples, or what went wrong."""

    def __init__(self, dataset: Dataset[Any]) -> None:
        self._dataset = dataset

    def __len__(self) -> int:
        return len(self._dataset)  # type: ignore[arg-type]

    def __getitem__(self, key: Any) -> Any:
        try:
            return self._dataset[key]
        except FiguregroundError as error:
            return error
        except MemoryError as error:
            return FiguregroundError(
                f"no memory is left to read an image ({error}); use fewer --workers or a smaller --batch-size"
            )


class _Collating:
    """The batch, or the first thing that went wrong in it."""

    def __init__(self, collate: Callable[[list[Any]], Any]) -> None:
        self._collate = collate

    def __call__(self, samples: list[Any]) -> Any:
        error = next((each for each in samples if isinstance(each, FiguregroundError)), None)
        batch = error or self._collate(samples)
        if get_worker_info() is None or not isinstance(batch, dict):
            return batch
        try:  # torch would do it in a thread, and where that fails wait for the batch for ever
            for each in batch.values():
                each.share_memory_()
        except RuntimeError as problem:
            return FiguregroundError(
                f"a worker process could not hand on its batch ({problem}); use fewer --workers (0: none), a smaller "
                "--batch-size, or in Docker --shm-size 2g"
            )
        return batch
