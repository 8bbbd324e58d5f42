"""Reading ahead: a merge asks for little pieces in order, the network is asked for blocks, the next one in advance."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass
from threading import BoundedSemaphore, Lock, Thread
from typing import Protocol

from hf_soups.engine.work import cores

BLOCK = 4 << 20  # bytes of one request; a round trip costs little beside them
KEEP = 2 * cores() + 2  # blocks of one checkpoint in memory: those that threads are in, and the next ones
_IN_ADVANCE = BoundedSemaphore(16)  # requests in advance at a time, over all checkpoints


@dataclass
class Reading:
    """How the files of one merge are read; may be changed while they are.

    ahead: in blocks, the next in advance. Off for headers and single tensors, which want no more than they ask for.
    heard: told the size of each piece that arrives, from any thread.
    """

    ahead: bool = False
    heard: Callable[[int], None] = lambda count: None


class Fetched(Protocol):
    """A file that `Blocks` reads for."""

    @property
    def where(self) -> str: ...

    @property
    def size(self) -> int: ...

    def fetch(self, start: int, length: int) -> bytes: ...


class Blocks:
    """The last few blocks of one checkpoint's files; threads that want the same one wait for one request."""

    def __init__(self, reading: Reading) -> None:
        self._reading = reading
        self._held: OrderedDict[tuple[str, int], Future[bytes]] = OrderedDict()
        self._lock = Lock()

    def read(self, file: Fetched, start: int, length: int) -> bytes:
        """`length` bytes from `start`; raises what `file.fetch` raises."""
        stop, last = start + length, (file.size - 1) // BLOCK
        pieces = []
        for index in range(start // BLOCK, (stop - 1) // BLOCK + 1):
            block, mine = self._claim(file, index)
            if index < last:
                following, new = self._claim(file, index + 1)
                if new:
                    Thread(target=self._fill_in_advance, args=(file, index + 1, following), daemon=True).start()
            if mine:
                self._fill(file, index, block)
            begin = index * BLOCK
            pieces.append(block.result()[max(0, start - begin) : stop - begin])
        return b"".join(pieces)

    def _claim(self, file: Fetched, index: int) -> tuple[Future[bytes], bool]:
        """The block, and whether it is the caller who has to fetch it."""
        with self._lock:
            key = (file.where, index)
            new = key not in self._held
            block = self._held.setdefault(key, Future())
            self._held.move_to_end(key)
            while len(self._held) > KEEP:
                self._held.popitem(last=False)
            return block, new

    def _fill_in_advance(self, file: Fetched, index: int, block: Future[bytes]) -> None:
        with _IN_ADVANCE:
            if self._reading.ahead:
                self._fill(file, index, block)
            else:  # the merge is over
                block.cancel()

    def _fill(self, file: Fetched, index: int, block: Future[bytes]) -> None:
        begin = index * BLOCK
        try:
            block.set_result(file.fetch(begin, min(BLOCK, file.size - begin)))
        except BaseException as error:  # for whoever waits; whoever comes later tries again
            with self._lock:
                if self._held.get((file.where, index)) is block:
                    del self._held[file.where, index]
            block.set_exception(error)
