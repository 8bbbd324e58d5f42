"""What will happen, from headers alone: what is made how, what is fetched, held and written."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from hf_soups.align import Finding
from hf_soups.checkpoint import Checkpoint, LocalFiles, Lora, Stored, opened
from hf_soups.recipe import Recipe, to_dict
from hf_soups.soup import Soup


@dataclass(frozen=True)
class Part:
    """One ingredient or the base.

    fetched: bytes to fetch, by repository and commit; an adapter's base is among them.
    streamed: bytes of weights to read over the network, each pass counted.
    """

    role: str  # ingredient | base
    name: str
    reference: str
    license: str | None
    tensors: int
    nbytes: int
    fetched: Mapping[str, int]
    streamed: int = 0

    @property
    def download(self) -> int:
        """Bytes to fetch for this part alone."""
        return sum(self.fetched.values()) + self.streamed


@dataclass(frozen=True)
class Plan:
    """A merge that fits together, before anything large is read.

    download: bytes to come from the Hub: what is not on this disk yet, or what is streamed; disk: bytes of the output
    that are there at any one time; memory: bytes of the buffers that the merge works in, beside Python itself.
    passes: how often a method reads the weights of its ingredients.
    stream: weights of the Hub are read by range, anew in each pass, and not kept.
    uploads: each finished file goes to the Hub, and from this disk, before the next is begun.
    """

    recipe: Recipe
    parts: tuple[Part, ...]
    tensors: int
    parameters: int
    rules: dict[str, int]
    shards: dict[str, int]
    findings: tuple[Finding, ...]
    memory: int
    passes: float = 1.0
    stream: bool = False
    uploads: bool = False

    @property
    def download(self) -> int:
        once = {commit: count for p in self.parts for commit, count in p.fetched.items()}
        return sum(once.values()) + self.streamed

    @property
    def streamed(self) -> int:
        """Bytes of weights that come over the network while the soup is written."""
        return sum(p.streamed for p in self.parts)

    @property
    def written(self) -> int:
        """Bytes of all weight files together."""
        return sum(self.shards.values())

    @property
    def disk(self) -> int:
        return max(self.shards.values()) if self.uploads else self.written

    def to_json(self) -> dict[str, Any]:
        """Plain data, for programs."""
        return {
            "recipe": to_dict(self.recipe),
            "parts": [vars(p) | {"download": p.download} for p in self.parts],
            "tensors": self.tensors,
            "parameters": self.parameters,
            "rules": self.rules,
            "shards": self.shards,
            "findings": [vars(f) for f in self.findings],
            "download": self.download,
            "stream": self.stream,
            "uploads": self.uploads,
            "passes": self.passes,
            "disk": self.disk,
            "memory": self.memory,
        }


def describe(
    soup: Soup,
    downloads: Sequence[Mapping[str, int]],
    remarks: Sequence[str] = (),
    *,
    stream: bool = False,
    uploads: bool = False,
) -> Plan:
    """The plan of a soup whose ingredients are opened.

    downloads: bytes to fetch, by commit, for each ingredient, then for the base if there is one.
    remarks: what else its user should know before it is made.
    """
    named = [("ingredient", i.label, c) for i, c in zip(soup.recipe.ingredients, soup.ingredients, strict=True)]
    if soup.base is not None and soup.recipe.base is not None:
        named.append(("base", soup.recipe.base.label, soup.base))
    passes = _passes(soup)
    seen: set[int] = set()
    reads = {id(c) for c in _read_by(soup)}
    parts = tuple(
        Part(
            role,
            name,
            c.origin.reference,
            c.origin.license,
            len(c),
            c.nbytes,
            fetched,
            round(passes * _over_network(c, seen)) if stream and id(c) in reads else 0,
        )
        for (role, name, c), fetched in zip(named, downloads, strict=True)
    )
    shards = soup.files
    return Plan(
        recipe=soup.recipe,
        parts=parts,
        tensors=len(soup),
        parameters=sum(s.size for s in soup.specs.values() if s.is_float),
        rules=dict(Counter(t.rule for t in soup.alignment.treatments.values())),
        shards={file: sum(s.nbytes for s in specs.values()) for file, specs in shards.items()},
        findings=(*soup.alignment.findings, *(Finding("warning", remark) for remark in remarks)),
        memory=soup.memory,
        passes=passes,
        stream=stream,
        uploads=uploads,
    )


def _read_by(soup: Soup) -> list[Checkpoint]:
    return [*soup.ingredients, *([soup.base] if soup.base is not None and soup.reads_base else [])]


def _passes(soup: Soup) -> float:
    once = sum(c.bytes_read if isinstance(c, Soup) else c.nbytes for c in _read_by(soup))
    return soup.bytes_read / once if once else 1.0


def _over_network(checkpoint: Checkpoint, seen: set[int]) -> int:
    """Bytes of the Hub that reading a checkpoint once reads by range; what is in `seen` comes along with that."""
    checkpoint = opened(checkpoint)
    if isinstance(checkpoint, Soup):
        return round(_passes(checkpoint) * sum(_over_network(part, seen) for part in _read_by(checkpoint)))
    if isinstance(checkpoint, Lora):
        return _over_network(checkpoint.base, seen) + _over_network(checkpoint.adapter, seen)
    if id(checkpoint) in seen or not isinstance(checkpoint, Stored) or isinstance(checkpoint.files, LocalFiles):
        return 0
    seen.add(id(checkpoint))
    return checkpoint.nbytes
