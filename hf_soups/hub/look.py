"""What a repository of the Hub is, from its description, its config and the first bytes of its weight files."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from threading import Lock, local
from typing import Any, TypeVar

from hf_soups.align import config_of, label_names
from hf_soups.checkpoint import Checkpoint, Lora
from hf_soups.errors import CheckpointError, EvaluationError, HubError, SoupError
from hf_soups.hub.busy import Busy, raise_if_busy
from hf_soups.hub.opening import Opener
from hf_soups.recipe import Ingredient, Recipe

T = TypeVar("T")
BYTES_OF_ONE = 4_000_000  # of one repository: several times those of a model in thirty shards
AT_A_TIME = 16  # repositories; each waits for answers most of the time
TRIES = 4  # of a request that the Hub answers with "not now"
GATED = "gated, not looked into; ask for access on its page, then pass a token (--token or HF_TOKEN)"
LONGEST_WAIT = 10.0  # seconds; a Hub that asks for more is not asked again


@dataclass(frozen=True)
class Look:
    """One repository: pinned and opened, or why it could not be.

    problem: what kept it from being looked into; refused: why it can be no ingredient although its headers are known.
    """

    repo: str
    ingredient: Ingredient | None = None
    checkpoint: Checkpoint | None = None
    labels: tuple[str, ...] | None = None
    task: str | None = None
    problem: str | None = None
    refused: str | None = None


class Allowance:
    """Bytes that may still be read, of one repository and of all; `heard` raises HubError once they are used up.

    Each repository is read by one thread, which is how it is known whose bytes they are.
    """

    def __init__(self, total: int) -> None:
        self.total, self._used = total, 0
        self._lock, self._own = Lock(), local()

    def begin(self) -> None:
        """The next repository of this thread."""
        self._own.used = 0

    def heard(self, count: int) -> None:
        with self._lock:
            self._used += count
            over = self._used > self.total
        self._own.used = getattr(self._own, "used", 0) + count
        if self._own.used > BYTES_OF_ONE:
            raise HubError(f"its config and headers are more than {BYTES_OF_ONE / 1e6:.0f} MB")
        if over:
            raise HubError(f"what was read of the others came to {self.total / 1e6:.0f} MB; ask for fewer (--limit)")


def look_into(repos: Iterable[str], opener: Opener, base: Ingredient | None, allowance: Allowance) -> Iterator[Look]:
    """Each repository in its turn, several at a time.

    base: pinned; where adapters belong that do not say it. Without it no adapter can be looked into.
    allowance: what the opener's reading is told to.
    """

    def look(repo: str) -> Look:
        allowance.begin()
        return _look(repo, opener, base)

    with ThreadPoolExecutor(AT_A_TIME) as pool:
        yield from pool.map(look, repos)


def patiently(ask: Callable[[], T]) -> T:
    """What `ask` returns, asked again a few times while the Hub says that it is busy."""
    for attempt in range(TRIES):
        try:
            return ask()
        except HubError as error:
            wait = _wait(error, attempt)
            if wait is None or attempt == TRIES - 1:
                raise
            time.sleep(wait)
    raise AssertionError("unreachable")


def _wait(error: HubError, attempt: int) -> float | None:
    """Seconds until the next try; None if another would not help."""
    response = getattr(error.__cause__, "response", None)
    if response is None:
        return None
    try:
        raise_if_busy(response)
    except Busy as busy:
        return None if busy.wait > LONGEST_WAIT else max(busy.wait, 0.2 * 2**attempt)
    return None


def _look(repo: str, opener: Opener, base: Ingredient | None) -> Look:
    from huggingface_hub.errors import GatedRepoError

    try:
        ingredient = patiently(lambda: opener.pin(Recipe(ingredients=(Ingredient(repo),), base=base)).ingredients[0])
        checkpoint = patiently(lambda: opener.headers(ingredient))
        keep_config(checkpoint)
        config = config_of(checkpoint)
        labels = label_names(config, f"{repo}/config.json")
        task = _task(config, repo)
    except SoupError as error:
        gated = isinstance(error.__cause__, GatedRepoError)
        return Look(repo, problem=GATED if gated else str(error))
    return Look(repo, ingredient, checkpoint, labels, task, refused=_refusal(checkpoint, config, base))


def keep_config(checkpoint: Checkpoint) -> None:
    """Read config.json now, and no other file and not again."""
    text = checkpoint.assets.get("config.json")
    checkpoint.assets = {} if text is None else {"config.json": text}


def _task(config: dict[str, Any], repo: str) -> str | None:
    """What the architecture is for; None where it does not tell."""
    from hf_soups.evaluation.tasks import infer

    named = config.get("architectures")
    if not (named is None or (isinstance(named, list) and all(isinstance(name, str) for name in named))):
        raise CheckpointError(f"{repo}/config.json: architectures is {named!r}, not a list of class names")
    try:
        return infer(config) if named else None
    except (EvaluationError, ValueError, TypeError):
        return None


def _refusal(checkpoint: Checkpoint, config: dict[str, Any], base: Ingredient | None) -> str | None:
    if config.get("quantization_config"):
        return "its weights are quantised; dequantise it first"
    if config.get("auto_map"):
        return "its config.json names code of its own (auto_map), which is not run, so that it cannot be evaluated"
    if isinstance(checkpoint, Lora) and base is not None and checkpoint.base.origin.reference != base.model:
        return f"an adapter of {checkpoint.base.origin.reference}, not of {base.model}"
    return None
