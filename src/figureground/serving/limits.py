"""The bounds of the service: how many wait and are worked on, for how long, and how much they hold."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import TypeVar

from fastapi import Request

from figureground.serving.problems import Refusal

T = TypeVar("T")
MEMORY_OF_SECONDS = 0.1  # how much the latest request counts in the mean of what they take


class Line:
    """A queue of bounded length before threads.

    Everything but the work itself happens in one event loop. Who waits and is cancelled leaves the line at once; work
    that has begun keeps its thread until it is done, whether or not anybody still wants its result.

    Args:
        threads: how many work.
        most: how many may wait.
        longest_wait: seconds before one that waits is refused.
        longest_run: seconds before one that is worked on is refused.
    """

    def __init__(self, threads: int, most: int, longest_wait: float, longest_run: float) -> None:
        self._threads, self._most = threads, most
        self._longest_wait, self._longest_run = longest_wait, longest_run
        self._pool = ThreadPoolExecutor(threads, "figureground")
        self._free = asyncio.Semaphore(threads)
        self._seconds = 1.0
        self.waiting = self.working = 0

    @property
    def is_full(self) -> bool:
        """Whether nobody more may wait."""
        return self.waiting + self.working >= self._most + self._threads

    @property
    def retry_after(self) -> int:
        """Seconds until those who wait are likely to be done, at least 1."""
        return max(1, math.ceil(self._seconds * (self.waiting + 1) / self._threads))

    def refuse_if_full(self) -> None:
        """
        Raises:
            Refusal: 429, nobody more may wait.
        """
        if self.is_full:
            raise Refusal(
                429,
                "busy",
                f"{self.waiting} requests wait, as many as may; send it again in {self.retry_after} seconds",
                self.retry_after,
                given=self.waiting + 1,
                allowed=self._most,
            )

    async def do(self, work: Callable[[], T]) -> T:
        """What ``work`` gives, called in a thread when its turn has come.

        Raises:
            Refusal: the line is full (429), or it took too long (503).
        """
        self.refuse_if_full()
        self.waiting += 1
        try:
            async with asyncio.timeout(self._longest_wait):
                await self._free.acquire()
        except TimeoutError:
            raise self._late("waited", self._longest_wait) from None
        finally:
            self.waiting -= 1
        self.working += 1
        start = time.perf_counter()
        task = asyncio.get_running_loop().run_in_executor(self._pool, work)
        task.add_done_callback(lambda done: self._done(done, start))
        try:
            async with asyncio.timeout(self._longest_run):
                return await asyncio.shield(task)
        except TimeoutError:
            raise self._late("was worked on", self._longest_run) from None

    def _done(self, task: asyncio.Future[T], start: float) -> None:
        self._free.release()
        self.working -= 1
        self._seconds += MEMORY_OF_SECONDS * (time.perf_counter() - start - self._seconds)
        if not task.cancelled():
            task.exception()  # seen, though nobody may wait for it any more

    def _late(self, what: str, seconds: float) -> Refusal:
        return Refusal(
            503,
            "busy",
            f"the request {what} for {seconds:g} seconds, as long as it may; send it again later",
            self.retry_after,
            allowed=seconds,
        )

    def close(self) -> None:
        """Take no more work."""
        self._pool.shutdown(wait=False, cancel_futures=True)


class Memory:
    """The bytes that requests hold, all together.

    Args:
        most: that they may hold.
    """

    def __init__(self, most: float) -> None:
        self._most = most
        self.held = 0

    @contextmanager
    def holding(self) -> Iterator[Callable[[int], None]]:
        """What one request holds until its end.

        Yields:
            What takes further bytes, or raises a ``Refusal``, 429.
        """
        own = 0

        def take(more: int) -> None:
            nonlocal own
            if self.held + more > self._most:
                detail = f"requests hold {self.held:.0f} bytes, as many as they may; send it again in a second"
                raise Refusal(429, "busy", detail, 1, given=self.held + more, allowed=int(self._most))
            own += more
            self.held += more

        try:
            yield take
        finally:
            self.held -= own


async def read_body(request: Request, most: float, seconds: float, take: Callable[[int], None]) -> bytes:
    """The body of a request, of which no more than is allowed is ever held.

    Args:
        request: of which nothing has been read.
        most: bytes of it.
        seconds: in which it has to arrive.
        take: see ``Memory.holding``.

    Raises:
        Refusal: it is too large (413), arrives too slowly (408), or there is no memory for it (429).
        ClientDisconnect: the client has gone.
    """
    announced = request.headers.get("content-length", "")
    if announced.isdigit() and int(announced) > most:
        raise _too_large(int(announced), most)
    pieces: list[bytes] = []
    length = 0
    try:
        async with asyncio.timeout(seconds):
            async for piece in request.stream():
                length += len(piece)
                if length > most:
                    raise _too_large(length, most)
                take(len(piece))
                pieces.append(piece)
    except TimeoutError:
        detail = f"after {seconds:g} seconds {length} bytes have arrived and not all; send it faster, or a smaller one"
        raise Refusal(408, "too_slow", detail, given=length, allowed=seconds) from None
    return b"".join(pieces)


def _too_large(given: int, most: float) -> Refusal:
    detail = f"the request has {given} bytes or more, {most:.0f} are allowed; shrink the photo"
    return Refusal(413, "too_large", detail, given=given, allowed=int(most))
