"""Two processes of one merge, played by two threads: everything but their start is the real thing."""

from __future__ import annotations

from collections.abc import Callable
from threading import Thread
from typing import Any

from hf_soups.ranks import Ranks


def both(do: Callable[[Ranks], Any], hosts: tuple[str, str] = ("here", "there")) -> list[Any]:
    """What each of them answers or raises."""
    from torch.distributed import HashStore

    store = HashStore()
    for rank in range(2):
        store.set(f"beat/{rank}", "0")
    answers: list[Any] = [None, None]

    def act(rank: int) -> None:
        try:
            answers[rank] = do(Ranks(rank, hosts, store))
        except BaseException as error:
            answers[rank] = error

    threads = [Thread(target=act, args=(rank,), daemon=True) for rank in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
        assert not thread.is_alive(), "one waits for ever"
    return answers
