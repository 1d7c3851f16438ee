"""Work on many blobs at once, in bounded memory, with results in order."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

T = TypeVar("T")
R = TypeVar("R")


def ordered(work: Callable[[T], R], items: Iterable[T], *, workers: int) -> Iterator[R]:
    """``map`` on threads that never runs ahead of the reader by more than ``workers`` items.

    The first fault is raised where its result would be; what has not begun by then is not begun at all.
    """
    waiting: deque[Future[R]] = deque()
    pool = ThreadPoolExecutor(max(1, workers), thread_name_prefix="nbmlops-blobs")
    try:
        for item in items:
            waiting.append(pool.submit(work, item))
            if len(waiting) >= workers:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        for future in waiting:
            future.cancel()
        pool.shutdown(wait=True, cancel_futures=True)
