"""The processes that make one soup together: who they are, what they tell each other, how they stop together.

They speak through the key-value store of torch.distributed, which torchrun and accelerate have running, and which the
first process runs where nobody else does. No collective operation is used, so no process ever waits in one.
"""

from __future__ import annotations

import json
import os
import socket
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import timedelta
from itertools import count
from threading import Event, Lock, Thread
from typing import TYPE_CHECKING, Any, TypeVar

from hf_soups.errors import SoupError

if TYPE_CHECKING:
    from torch.distributed import Store

T = TypeVar("T")

ARRIVAL = 300.0  # seconds in which all processes have to arrive: importing torch over a slow network takes a while
SILENCE = 60.0  # seconds without a sign of life after which a process counts as dead
GRACE = 30.0  # seconds in which the others should have stopped after a failure; torchrun kills after as many
BRIEF = 5.0  # the same when a signal ended this process: whoever sent it will not wait long
LAST = 1.0  # seconds that the first process gets to say what failed before torchrun hears of it and ends all
BEAT = 1.0  # seconds between two signs of life
POLL = 0.02  # seconds between two looks for an answer; signals are heard between them
IDENTITY = ("RANK", "WORLD_SIZE", "LOCAL_RANK")  # what accelerate would join processes by

_joined = count()


class Stopped(SoupError):
    """Another process failed, so this one stopped too."""


class Ranks:
    """The processes of one merge, as one of them sees them; by default it is the only one.

    As a context: an error inside stops all of them, and none leaves before the first is done. Meanwhile the
    environment does not tell who this is, or libraries would wait for the others on their own account.

    rank: number of this process, 0 for the first. hosts: where each of them runs, by rank.
    told: whether the first process, which speaks for all, knows why this one stopped.
    """

    def __init__(self, rank: int = 0, hosts: Sequence[str] = (), store: Store | None = None) -> None:
        self.rank = rank
        self.hosts = tuple(hosts) or (socket.gethostname(),)
        self.told = False
        self._store = store
        self._lock = Lock()
        self._steps = count()
        self._failure: str | None = None
        self._dead: dict[int, bool] = {}
        self._stopping = False
        self._end = Event()
        self._hidden: dict[str, str] = {}

    @property
    def size(self) -> int:
        return len(self.hosts)

    @property
    def place(self) -> int:
        """Number of this process among those of its host."""
        return self.hosts[: self.rank].count(self.hosts[self.rank])

    @property
    def is_first(self) -> bool:
        return self.rank == 0

    def share(self, value: Any = None) -> Any:
        """The first process's value, plain data, in every process."""
        key = f"share/{next(self._steps)}"
        if self.is_first:
            self._tell(key, value)
            return value
        return self._await(key)

    def gather(self, value: Any) -> list[Any]:
        """In the first process everybody's value, plain data, by rank; empty elsewhere."""
        if self._store is None:
            return [value]
        key = f"gather/{next(self._steps)}"
        self._tell(f"{key}/{self.rank}", value)
        return [self._await(f"{key}/{rank}") for rank in range(self.size)] if self.is_first else []

    def send(self, key: str, content: bytes) -> None:
        """Leave something for the one process that will `receive` it."""
        self._ask(lambda store: store.set(key, content))  # type: ignore[arg-type]  # its bytes are declared as str

    def has(self, key: str) -> bool:
        """Whether something was sent under a key, and not received yet."""
        return self._ask(lambda store: store.check([key]))

    def look(self, key: str) -> bytes:
        """What was sent under a key, however long that takes."""
        return self._wait_for(key)

    def receive(self, key: str) -> bytes:
        """What was sent under a key, however long that takes; then it is forgotten."""
        content = self._wait_for(key)
        self.forget(key)
        return content

    def forget(self, key: str) -> None:
        """Make room in the store."""
        self._ask(lambda store: store.delete_key(key))

    @contextmanager
    def first_of_host(self) -> Iterator[None]:
        """One process of each host passes the block before the others of that host enter it."""
        leader = self.hosts.index(self.hosts[self.rank])
        key = f"host/{next(self._steps)}/{leader}"
        if self.rank != leader:
            self._await(key)
        yield
        if self.rank == leader:
            self._tell(key, True)

    def check(self) -> None:
        """Stopped if another process failed."""
        if self._failure is not None:
            raise Stopped(self._failure)

    @contextmanager
    def together(self) -> Iterator[None]:
        """An error inside stops all processes, and is raised on when none of them works any more."""
        try:
            yield
        except BaseException as error:
            self._stop(error)
            raise

    def __enter__(self) -> Ranks:
        if self._store is not None:
            self._hidden = {name: os.environ.pop(name) for name in IDENTITY if name in os.environ}
            Thread(target=self._watch, daemon=True).start()
        return self

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if self._store is None:
            return
        try:
            if error is None and not self.is_first:
                with self.together():
                    self._await("over")
            self._leave(error)
        finally:
            self._end.set()
            os.environ.update(self._hidden)
            self._store = None

    def _leave(self, error: BaseException | None) -> None:
        patience = GRACE if error is None or isinstance(error, Exception) else BRIEF
        try:
            if error is not None:
                self._stop(error)
            if not self.is_first:
                self.told = self._reached(["over"], patience)
                self._tell(f"left/{self.rank}", True)
                if self.told and _agent() and isinstance(error, Exception):
                    time.sleep(LAST)
                return
            self._tell("over", True)
            if not _agent():  # the store ends with this process
                self._reached([f"left/{r}" for r in self._others()], patience)
        except Stopped:
            if error is None:
                raise

    def _stop(self, error: BaseException) -> None:
        """Tell the others to stop; the first process waits until they have."""
        if self._store is None or self._stopping:
            return
        self._stopping = True
        try:
            if not isinstance(error, Stopped):
                self._report(self.rank, _words(error))
            self._tell(f"stopped/{self.rank}", True)
            if self.is_first:
                waiting = [f"stopped/{r}" for r in self._others()]
                self._reached(waiting, GRACE if isinstance(error, Exception) else BRIEF)
        except Stopped:
            return  # the store is gone, and nobody is left to be told

    def _others(self) -> list[int]:
        return [r for r in range(1, self.size) if r not in self._dead]

    def _watch(self) -> None:
        """Give signs of life, look for those of the others, and hear of failures."""
        heard: dict[int, tuple[bytes, float]] = {}
        for beat in count():
            if self._end.wait(BEAT):
                return
            try:
                self._ask(lambda store, n=beat: store.set(f"beat/{self.rank}", str(n)))  # type: ignore[misc]
                if self._ask(lambda store: store.check(["failed"])):
                    self._failure = self._failure or str(json.loads(self._ask(lambda store: store.get("failed"))))
                    continue
                for other in self._others() if self.is_first else [0]:
                    last: bytes = self._ask(lambda store, key=f"beat/{other}": store.get(key))  # type: ignore[misc]
                    now = time.monotonic()
                    if other not in heard or heard[other][0] != last:
                        heard[other] = last, now
                    elif now - heard[other][1] > SILENCE:
                        self._dead[other] = True
                        self._report(other, f"gave no sign of life for {SILENCE:.0f} seconds; was it killed?")
            except Stopped as error:
                self._failure = self._failure or str(error)
                return

    def _report(self, rank: int, words: str) -> None:
        """Let all know of a failure; of several the first counts."""
        text = json.dumps(f"process {rank} of {self.size} on {self.hosts[rank]}: {words}")
        self._ask(lambda store: store.compare_set("failed", "", text))

    def _tell(self, key: str, value: Any) -> None:
        if self._store is not None:
            text = json.dumps(value)
            self._ask(lambda store: store.set(key, text))

    def _await(self, key: str) -> Any:
        """What another process tells, however long that takes."""
        return json.loads(self._wait_for(key))

    def _wait_for(self, key: str) -> bytes:
        while not self.has(key):
            self.check()
            time.sleep(POLL)
        return self._ask(lambda store: store.get(key))

    def _reached(self, keys: Sequence[str], patience: float) -> bool:
        """Whether all that is waited for was told in so many seconds."""
        until = time.monotonic() + patience
        while keys and not self._ask(lambda store: store.check(list(keys))):
            if time.monotonic() > until:
                return False
            time.sleep(POLL)
        return True

    def _ask(self, do: Callable[[Store], T]) -> T:
        with self._lock:
            if self._store is None:
                raise Stopped("this process has left the others")
            try:
                return do(self._store)
            except RuntimeError as error:
                raise Stopped(f"process 0 of {self.size} on {self.hosts[0]} is gone; was it killed?") from error


def join() -> Ranks:
    """The processes that torchrun or accelerate started, once all of them are there; one alone asks for nothing.

    To be called in every one of them, and used as a context.
    Raises SoupError if what the environment promises is not there.
    """
    rank, size = _identity(os.environ)
    if size == 1:
        return Ranks()
    ranks = Ranks(rank, ["?"] * size, _connect(rank, size))
    ranks._tell(f"beat/{rank}", 0)
    ranks._tell(f"here/{rank}", socket.gethostname())
    if not ranks._reached([f"here/{r}" for r in range(size)], ARRIVAL):
        here = [r for r in range(size) if ranks._reached([f"here/{r}"], 0)]
        raise SoupError(
            f"{size} processes are promised (WORLD_SIZE), and only {len(here)} came within {ARRIVAL:.0f} seconds "
            f"({', '.join(map(str, here))}); start all of them, or unset WORLD_SIZE and RANK to merge with one"
        )
    ranks.hosts = tuple(ranks._await(f"here/{r}") for r in range(size))
    return ranks


def is_peer() -> bool:
    """Whether the environment says that this is one of several processes, and not the first."""
    try:
        return _identity(os.environ)[0] > 0
    except SoupError:
        return False


def go_alone() -> None:
    """Forget the other processes, so that no library waits for them."""
    for name in IDENTITY:
        os.environ.pop(name, None)


def doubt(environment: Mapping[str, str]) -> str | None:
    """Why somebody who asked for several processes probably has one; None if there is no sign of it."""
    if "WORLD_SIZE" in environment:
        return None
    if "ACCELERATE_MIXED_PRECISION" in environment and "MASTER_PORT" in environment:
        return (
            "accelerate launch started one process, whatever --num_processes says (without --multi_gpu it starts no "
            "more); use `torchrun --nproc-per-node N --no-python hf-soups merge …`"
        )
    for name in ("OMPI_COMM_WORLD_SIZE", "PMI_SIZE", "MV2_COMM_WORLD_SIZE"):
        if environment.get(name, "1") not in ("", "0", "1"):
            return f"{name}={environment[name]}: processes that mpirun starts do not share the work; use torchrun"
    return None


def _identity(environment: Mapping[str, str]) -> tuple[int, int]:
    """Number of this process, and how many there are."""
    size = environment.get("WORLD_SIZE") or "1"
    rank = (environment.get("RANK") or "none") if size != "1" else "0"
    if size.isdecimal() and rank.isdecimal() and int(rank) < int(size):
        return int(rank), int(size)
    raise SoupError(
        f"WORLD_SIZE={size} with RANK={rank}: does not say which of how many processes this is; start them with "
        "torchrun, or unset WORLD_SIZE to merge with one"
    )


def _agent() -> bool:
    """Whether the store belongs to torchrun, and not to the first process."""
    return os.environ.get("TORCHELASTIC_USE_AGENT_STORE") == "True"


def _connect(rank: int, size: int) -> Store:
    host, port = os.environ.get("MASTER_ADDR"), os.environ.get("MASTER_PORT")
    if not host or not (port or "").isdecimal():
        raise SoupError(
            f"WORLD_SIZE={size}, but MASTER_ADDR and MASTER_PORT do not say where the processes meet; start them with "
            "torchrun, or unset WORLD_SIZE to merge with one"
        )
    from torch.distributed import PrefixStore, TCPStore

    hosting = rank == 0 and not _agent()
    attempt = [os.environ.get(f"TORCHELASTIC_{name}", "") for name in ("RUN_ID", "RESTART_COUNT")]
    try:
        if not hosting:
            _await_server(host, int(str(port)))
        patience = timedelta(seconds=GRACE)
        store = TCPStore(host, int(str(port)), None, hosting, patience, wait_for_workers=False, multi_tenant=True)
    except (OSError, RuntimeError, ValueError) as error:
        reason = str(error).partition("\n")[0]
        raise SoupError(f"process {rank} of {size}: {host}:{port} (MASTER_ADDR, MASTER_PORT): {reason}") from error
    return PrefixStore("/".join(["hf_soups", *attempt, str(next(_joined))]), store)


def _await_server(host: str, port: int) -> None:
    """Until somebody listens; signals are heard meanwhile, as they are not inside of torch."""
    until = time.monotonic() + ARRIVAL
    while True:
        try:
            socket.create_connection((host, port), timeout=GRACE).close()
            return
        except OSError:
            if time.monotonic() > until:
                raise
        time.sleep(POLL * 10)


def _words(error: BaseException) -> str:
    if isinstance(error, SoupError):
        return str(error)
    if isinstance(error, OSError) and error.filename:
        return f"{error.filename}: {error.strerror}"
    if isinstance(error, KeyboardInterrupt | SystemExit):
        return "was asked to stop"
    return f"{type(error).__name__}: {error}"
