"""What the Hub lists for a base: what fits, what does not and why, what was not asked for."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any

from hf_soups.align import Finding
from hf_soups.errors import SoupError, did_you_mean
from hf_soups.recipe import Recipe, to_dict

VERDICTS = {  # and what several of one are said to do
    "fits": "fit together",
    "other head": "have another head",
    "does not fit": "do not fit",
    "not looked into": "were not looked into",
}


@dataclass(frozen=True)
class Candidate:
    """One repository of the listing.

    kind: finetune | adapter. verdict: one of VERDICTS. reasons: why it does not fit, or was not looked into.
    reference: `repo@sha` where it was looked into.
    """

    repo: str
    kind: str
    downloads: int
    license: str | None
    task: str | None
    reference: str | None = None
    labels: tuple[str, ...] | None = None
    verdict: str = "not looked into"
    reasons: tuple[str, ...] = ()


@dataclass(frozen=True)
class Filter:
    """What one option asked for, how many it removed, and what those had instead."""

    option: str
    wanted: str
    removed: int = 0
    instead: tuple[str, ...] = ()


@dataclass(frozen=True)
class Found:
    """What the Hub lists for a base.

    base: `repo@sha`. listed: repositories with a relation to it. candidates: those that passed the filters, the ones
    that fit first, each verdict's most downloaded first. filters: in the order in which they were applied.
    recipe: an average of all that fit, pinned; None if they are fewer than two.
    findings: about the base, and about those that fit as a whole.
    """

    base: str
    listed: int
    candidates: tuple[Candidate, ...]
    filters: tuple[Filter, ...]
    recipe: Recipe | None = None
    findings: tuple[Finding, ...] = field(default=())

    def of(self, verdict: str) -> tuple[Candidate, ...]:
        return tuple(c for c in self.candidates if c.verdict == verdict)

    @property
    def summary(self) -> str:
        """How the listing became what is left: which filter removed how many."""
        name = self.base.partition("@")[0]
        if self.listed == 0:
            return f"{name}: the Hub lists no fine-tune or adapter of it; a renamed base is listed by its new name"
        removed = [f"{f.option} {f.wanted}".strip() + f" removed {f.removed}" for f in self.filters if f.removed]
        counts = [f"{len(self.of(verdict))} {words}" for verdict, words in VERDICTS.items() if self.of(verdict)]
        return f"{name}: {self.listed} listed; " + ", ".join([*removed, *counts])

    @property
    def hints(self) -> tuple[str, ...]:
        """For each filter that left nothing over, what was there instead."""
        last = next((f for f in reversed(self.filters) if f.removed and f.instead), None)
        if self.candidates or last is None:
            return ()
        return (f"none has {last.option} {last.wanted}{did_you_mean(last.wanted, last.instead)}",)

    def require(self) -> Recipe:
        """The recipe; SoupError if there are not two that fit."""
        if self.recipe is not None:
            return self.recipe
        only = self.of("fits")
        if only:
            reason = f"only {only[0].repo} is left, and a soup needs two; ask for less"
        else:
            reason = "; ".join(["nothing to make a soup of", *self.hints])
        raise SoupError(f"{self.summary}: {reason}")

    def to_json(self) -> dict[str, Any]:
        """Plain data, for programs."""
        return {
            "base": self.base,
            "listed": self.listed,
            "filters": [asdict(f) for f in self.filters],
            "candidates": [asdict(c) for c in self.candidates],
            "findings": [asdict(f) for f in self.findings],
            "recipe": None if self.recipe is None else to_dict(self.recipe),
        }
