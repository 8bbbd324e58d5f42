"""What will happen, from headers alone: what is made how, what is fetched, held and written."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from hf_soups.align import Finding
from hf_soups.checkpoint import layout
from hf_soups.recipe import Recipe, to_dict
from hf_soups.soup import Soup


@dataclass(frozen=True)
class Part:
    """One ingredient or the base.

    fetched: bytes to fetch, by repository and commit; an adapter's base is among them.
    """

    role: str  # ingredient | base
    name: str
    reference: str
    license: str | None
    tensors: int
    nbytes: int
    fetched: Mapping[str, int]

    @property
    def download(self) -> int:
        """Bytes to fetch for this part alone."""
        return sum(self.fetched.values())


@dataclass(frozen=True)
class Plan:
    """A merge that fits together, before anything large is read.

    download: bytes of weights and tokenizer that are not on this disk yet; disk: bytes that the output
    takes; memory: bytes of the buffers that the merge works in, beside Python itself.
    """

    recipe: Recipe
    parts: tuple[Part, ...]
    tensors: int
    parameters: int
    rules: dict[str, int]
    shards: dict[str, int]
    findings: tuple[Finding, ...]
    memory: int

    @property
    def download(self) -> int:
        return sum({commit: count for p in self.parts for commit, count in p.fetched.items()}.values())

    @property
    def disk(self) -> int:
        return sum(self.shards.values())

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
            "disk": self.disk,
            "memory": self.memory,
        }


def describe(soup: Soup, downloads: Sequence[Mapping[str, int]], remarks: Sequence[str] = ()) -> Plan:
    """The plan of a soup whose ingredients are opened.

    downloads: bytes to fetch, by commit, for each ingredient, then for the base if there is one.
    remarks: what else its user should know before it is made.
    """
    named = [("ingredient", i.label, c) for i, c in zip(soup.recipe.ingredients, soup.ingredients, strict=True)]
    if soup.base is not None and soup.recipe.base is not None:
        named.append(("base", soup.recipe.base.label, soup.base))
    parts = tuple(
        Part(role, name, c.origin.reference, c.origin.license, len(c), c.nbytes, fetched)
        for (role, name, c), fetched in zip(named, downloads, strict=True)
    )
    shards = layout(soup.specs, soup.recipe.output.max_shard_size)
    return Plan(
        recipe=soup.recipe,
        parts=parts,
        tensors=len(soup),
        parameters=sum(s.size for s in soup.specs.values() if s.is_float),
        rules=dict(Counter(t.rule for t in soup.alignment.treatments.values())),
        shards={file: sum(s.nbytes for s in specs.values()) for file, specs in shards.items()},
        findings=(*soup.alignment.findings, *(Finding("warning", remark) for remark in remarks)),
        memory=soup.memory,
    )
