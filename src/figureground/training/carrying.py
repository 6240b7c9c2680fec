"""Errors of worker processes that arrive as they were raised."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from torch.utils.data import DataLoader, Dataset

from figureground.errors import FiguregroundError


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


class _Collating:
    """The batch, or the first thing that went wrong in it."""

    def __init__(self, collate: Callable[[list[Any]], Any]) -> None:
        self._collate = collate

    def __call__(self, samples: list[Any]) -> Any:
        return next((each for each in samples if isinstance(each, FiguregroundError)), None) or self._collate(samples)
