"""Workers and their wishes: who answers what, what is wanted no more, and what happens when one dies."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pickle import PicklingError
from typing import TYPE_CHECKING, Any

from hf_soups.errors import EvaluationError, SoupError
from hf_soups.evaluation.cache import Predictions
from hf_soups.selection.wishes import Wish

if TYPE_CHECKING:
    from hf_soups.pipeline.worker import Terms

TRIES = 3  # deaths after which a wish is begun no more: then it is the wish that kills workers
STARTS = 300.0  # seconds until a first worker is ready; importing torch over a slow network takes minutes
GRACE = 5.0  # seconds in which a worker that is stopped may end its batch and remove its files


@dataclass(frozen=True)
class Place:
    """What one worker takes of a host."""

    cpus: int
    gpus: int = 0


@dataclass(eq=False)
class Member:
    """A worker.

    pending: that it is ready, then its answer to what is running, which has this number and may be told to stop.
    host: empty until it is ready.
    """

    place: Place
    actor: Any
    pending: Any
    host: str = ""
    running: Wish | None = None
    number: int = -1
    stopped: bool = False


class Crew:
    """Workers on a Ray cluster that answer wishes ahead of time, into a cache; see `wishes.Ahead`.

    ray: the package, connected. terms: what the workers get, sent once. places: one worker each.
    """

    def __init__(
        self, ray: Any, terms: Terms, places: Sequence[Place], cache: Predictions, tell: Callable[[str], None]
    ) -> None:
        from hf_soups.pipeline.worker import Worker

        if not places:
            raise SoupError("--on: the Ray cluster has neither processors nor GPUs for a worker; see `ray status`")
        self._ray = ray
        self._cache = cache
        self._tell = tell
        self._class = ray.remote(Worker)
        try:
            self._terms = ray.put(terms)
        except (TypeError, ValueError, AttributeError, OSError, PicklingError) as error:
            raise SoupError(f"--on: this evaluation cannot be sent to workers ({error}); run it without") from error
        self._wanted: list[Wish] = []
        self._ended: dict[Wish, SoupError | None] = {}
        self._deaths: dict[Wish | None, int] = {}
        self._begun: dict[Wish, None] = {}
        self._asked: dict[str, None] = {}
        self._number = 0
        self._places = places
        self._members: list[Member] = []  # from the first wish on: a rerun has none

    @property
    def width(self) -> int:
        """Enough for every worker to find a guess when it has done one."""
        return 2 * len(self._places)

    @property
    def begun(self) -> int:
        """How many wishes were worked on."""
        return len(self._begun)

    @property
    def vain(self) -> int:
        """How many of them nobody asked for."""
        return sum(wish.key not in self._asked for wish in self._begun)

    @property
    def said(self) -> str:
        """All this in words."""
        n = len(self._places)
        return f"{n} worker{'s'[: n != 1]} worked on {self.begun} soups' answers, {self.vain} of them in vain"

    def soon(self, wishes: Iterable[Wish]) -> None:
        self._wanted = [wish for wish in dict.fromkeys(wishes) if wish not in self._ended]
        if self._wanted and not self._members:
            self._members = [self._hired(place) for place in self._places]
        for member in self._members:
            if member.running is not None and member.running not in self._wanted:
                self._stop(member)
        self._turn(0)

    def wait(self, key: str) -> None:
        self._asked[key] = None
        while any(wish.key == key for wish in self._wanted):
            self._turn(None)
        for wish, error in self._ended.items():
            if wish.key == key and error is not None:
                raise error

    def close(self) -> None:
        """Stop what runs, then every worker."""
        busy = [member for member in self._members if member.running is not None]
        for member in busy:
            self._stop(member)
        if busy:
            self._ray.wait([member.pending for member in busy], num_returns=len(busy), timeout=GRACE)
        for member in self._members:
            self._ray.kill(member.actor)

    def _stop(self, member: Member) -> None:
        member.actor.stop.remote(member.number)
        member.stopped = True

    def _hired(self, place: Place) -> Member:
        options = {"num_cpus": place.cpus, "num_gpus": place.gpus, "max_concurrency": 2, "max_restarts": 0}
        actor = self._class.options(**options).remote(self._terms, max(1, place.cpus))
        return Member(place, actor, actor.ready.remote())

    def _turn(self, timeout: float | None) -> None:
        """Take what is answered, and give out what is wanted. timeout: seconds to wait for an answer; None: any."""
        self._send()
        pending = [member.pending for member in self._members if member.pending is not None]
        up = any(member.host for member in self._members)
        limit = timeout if timeout is not None or up else STARTS
        found, _ = self._ray.wait(pending, num_returns=1, timeout=limit) if pending else ([], [])
        if not found and timeout is None:
            raise SoupError(
                f"--on: no worker was ready within {STARTS:g} seconds; the cluster's processors or GPUs are in other "
                "hands: see `ray status`"
            )
        while found:
            self._take(next(member for member in self._members if member.pending == found[0]))
            pending = [member.pending for member in self._members if member.pending is not None]
            found, _ = self._ray.wait(pending, num_returns=1, timeout=0) if pending else ([], [])
        self._send()

    def _send(self) -> None:
        running = [member.running for member in self._members]
        waiting = [wish for wish in self._wanted if wish not in running]
        for member in self._members:
            if waiting and member.pending is None:
                wish = waiting.pop(0)
                self._number += 1
                self._begun[wish] = None
                known = self._cache.pieces(wish.key)
                member.running, member.number, member.stopped = wish, self._number, False
                member.pending = member.actor.answer.remote(self._number, wish, known)

    def _take(self, member: Member) -> None:
        wish, pending = member.running, member.pending
        member.running, member.pending = None, None
        try:
            found = self._ray.get(pending)
        except self._ray.exceptions.RayActorError as error:
            self._bury(member, wish, error)
            return
        except self._ray.exceptions.RayError as error:
            where = f" on {member.host}" if member.host else ""
            found = SoupError(f"worker{where}: {wish.label if wish else 'start'}: {_last_line(error)}")
        if wish is None:
            if isinstance(found, SoupError):
                raise found
            member.host, device = found
            self._tell(f"a worker on {member.host} is ready ({device})")
        elif isinstance(found, SoupError):
            self._end(wish, found)
        else:
            self._keep(wish, found)
            if not member.stopped:
                self._end(wish, None)

    def _keep(self, wish: Wish, pieces: Iterable[Any]) -> None:
        with self._cache.gathering(wish.key) as keep:
            for rows, outputs in pieces:
                keep(rows, [outputs[i] for i in range(len(rows))])

    def _end(self, wish: Wish, error: SoupError | None) -> None:
        self._ended[wish] = error
        self._wanted = [other for other in self._wanted if other is not wish]

    def _bury(self, member: Member, wish: Wish | None, error: Exception) -> None:
        """Another worker in its place; its wish, or without one its start, is begun again, but not for ever."""
        self._ray.kill(member.actor)  # it may only have been out of reach
        where = member.host or "the cluster"
        self._deaths[wish] = self._deaths.get(wish, 0) + 1
        if wish is None:
            if self._deaths[wish] >= TRIES:
                raise SoupError(f"--on: workers die before they are ready: {_last_line(error)}") from error
        elif self._deaths[wish] >= TRIES:
            self._end(
                wish,
                EvaluationError(
                    f"{wish.label}: {TRIES} workers died of it, the last on {where}; if memory ran out there, lower "
                    "batch_size in evaluate; Ray's logs say more"
                ),
            )
        else:
            self._tell(f"a worker on {where} died at {wish.label}; another takes its place")
        self._members[self._members.index(member)] = self._hired(member.place)


def _last_line(error: Exception) -> str:
    lines = [line for line in str(error).splitlines() if line.strip()]
    return lines[-1].strip() if lines else type(error).__name__
