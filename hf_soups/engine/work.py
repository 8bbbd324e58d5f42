"""Items done by a few threads, which need no lock since all that takes long releases the interpreter."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from threading import Lock, Thread
from typing import TypeVar

T = TypeVar("T")


def cores() -> int:
    """Processors that this process may use: its part of them where torchrun started several on this host."""
    try:
        here = len(os.sched_getaffinity(0))
    except AttributeError:  # not Linux
        here = os.cpu_count() or 1
    processes = os.environ.get("LOCAL_WORLD_SIZE", "")
    return max(1, here // max(1, int(processes))) if processes.isdecimal() else here


def for_each(items: Iterable[T], do: Callable[[T], None], threads: int) -> None:
    """Call `do` for every item; after the first error no new item is begun, and it is raised here.

    Items are begun in order. An interrupt, which reaches the main thread only, ends the others too.
    """
    waiting = iter(items)
    if threads <= 1:
        for item in waiting:
            do(item)
        return
    lock = Lock()
    errors: list[BaseException] = []

    def work() -> None:
        while True:
            with lock:
                if errors:
                    return
                try:
                    item = next(waiting)
                except StopIteration:
                    return
                except BaseException as error:
                    errors.append(error)
                    return
            try:
                do(item)
            except BaseException as error:
                errors.append(error)
                return

    workers = [Thread(target=work, daemon=True) for _ in range(threads)]
    for worker in workers:
        worker.start()
    try:
        for worker in workers:
            worker.join()
    except BaseException as error:
        errors.append(error)
        for worker in workers:
            worker.join()
        raise
    if errors:
        raise errors[0]
