"""Photos and frames under way: work that is done before it is asked for, as much as the memory has room for."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Executor, Future
from dataclasses import dataclass
from typing import Generic, TypeVar

from figureground.errors import FiguregroundError

T = TypeVar("T")


@dataclass(frozen=True)
class Budget:
    """How much is under way at the same time."""

    items: int
    pixels: int
    least: int = 1
    """So many items are under way however many pixels they have."""


class Ahead(Generic[T]):
    """What calls give, in order, made by a pool from now on, as many ahead as a budget allows.

    Args:
        pool: its threads make the calls.
        calls: each with the pixels that its result holds; the next is taken when there may be room for it.
        budget: of what is being made, waits to be asked for, or was given out last.
    """

    def __init__(self, pool: Executor, calls: Iterable[tuple[Callable[[], T], int]], budget: Budget) -> None:
        self._pool, self._calls, self._budget = pool, iter(calls), budget
        self._next: tuple[Callable[[], T], int] | None = None
        self._waiting: deque[tuple[Future[T], int]] = deque()
        self._given_out: list[int] = []
        self._fill()

    def __iter__(self) -> Iterator[T]:
        while self._waiting:
            yield self._taken()  # nothing here keeps it: a photo can have a gigabyte behind it
            self._given_out = []
            self._fill()

    def _taken(self) -> T:
        future, pixels = self._waiting.popleft()
        self._given_out = [pixels]
        self._fill()
        return future.result()

    def _fill(self) -> None:
        while self._has_room(1):
            self._next = self._next or next(self._calls, None)
            if self._next is None or not self._has_room(self._next[1]):
                return
            self._waiting.append((self._pool.submit(self._next[0]), self._next[1]))
            self._next = None

    def _has_room(self, pixels: int) -> bool:
        held = [*self._given_out, *(held for _, held in self._waiting)]
        fits = len(held) < self._budget.items and sum(held) + pixels <= self._budget.pixels
        return fits or len(held) < self._budget.least


def batched(items: Iterable[T], pixels: Callable[[T], int], budget: Budget) -> Iterator[list[T]]:
    """As many at once as make a batch for the network, fewer where they are large, or before one that is an error."""
    batch: list[T] = []
    total = 0
    try:
        for item in items:
            batch.append(item)
            total += pixels(item)
            del item
            if len(batch) == budget.items or total >= budget.pixels:
                yield batch
                batch, total = [], 0
    except FiguregroundError:
        if batch:
            yield batch
        raise
    if batch:
        yield batch
