"""How far a merge has come, in bytes read and written."""

from __future__ import annotations

from collections.abc import Callable
from threading import Lock


class Meter:
    """Tells of bytes as they are done, from any thread; what was expected and not needed is told of at once.

    tell: called with the bytes of each step, one call at a time; measuring, writing: bytes of the two stages.
    """

    def __init__(self, tell: Callable[[int], None] | None, measuring: int, writing: int) -> None:
        self._tell = tell
        self._limit = measuring
        self._writing = writing
        self._done = 0
        self._lock = Lock()

    def add(self, count: int) -> None:
        """So many bytes more."""
        with self._lock:
            self._reach(self._done + count)

    def measured(self) -> None:
        """The first stage is over."""
        with self._lock:
            self._reach(self._limit)
            self._limit += self._writing

    def finished(self) -> None:
        with self._lock:
            self._reach(self._limit)

    def _reach(self, position: int) -> None:
        step = min(position, self._limit) - self._done
        if step > 0 and self._tell is not None:
            self._tell(step)
        self._done += max(0, step)
