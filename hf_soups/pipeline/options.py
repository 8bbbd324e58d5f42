"""How a merge or an evaluation is carried out; what the soup *is* stands in the recipe."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hf_soups.pipeline.listener import Listener
from hf_soups.ranks import Ranks

if TYPE_CHECKING:
    from hf_soups.evaluation.benchmarks import Benchmark
    from hf_soups.evaluation.metrics import Metric
    from hf_soups.placement import Memory


@dataclass(frozen=True)
class Options:
    """What `merge`, `evaluate` and the command line are told beside a recipe.

    out: folder to write; None: nothing stays on disk.
    overwrite: replace a folder that is not empty.
    check: load the written folder with transformers and run it once; default: before a push of a whole folder.
    allow_single: write the best ingredient when no soup beats it.
    stream: read ranges of the Hub's files instead of downloading them; without `out`, each finished file is uploaded
        and removed before the next is begun.
    create_pr: publish as a pull request.
    local: folder in which `local:name` references are looked up.
    device: what does the arithmetic: auto, cpu, cuda (all GPUs), cuda:0 (that one) or mps.
    ranks: the processes that write it together; the others call `assist` with the same options.
    trust_remote_code: let metrics of `evaluate` that the recipe names run their code.
    cache: where predictions are kept: a folder, which hosts may share, or `hf://datasets/ORG/NAME`; default: the
        user's own cache.
    max_memory: what a model may take of each GPU and of the memory while it is measured; see `placement.place`.
    on: `ray` or `ray:ADDRESS`: workers of a Ray cluster, of this machine or a running one, run the candidates and the
        models of the table side by side; the choice and all numbers are those of one process.
    own: metrics and functions of the caller's, by the names that `evaluate: metrics` lists them under.
    """

    out: Path | None = None
    overwrite: bool = False
    check: bool | None = None
    allow_single: bool = False
    stream: bool = False
    create_pr: bool = False
    token: str | None = None
    local: Path | None = None
    device: str = "auto"
    listener: Listener = field(default_factory=Listener)
    ranks: Ranks = field(default_factory=Ranks)
    trust_remote_code: bool = False
    cache: str | Path | None = None
    max_memory: Memory | None = None
    on: str | None = None
    own: Mapping[str, Metric | Benchmark] = field(default_factory=dict)

    @classmethod
    def of(cls, **given: Any) -> Options:
        """From what callers give: names of folders may be text, and None stands for the default."""
        known: dict[str, Any] = {
            name: Path(value) if name in ("out", "local") else value
            for name, value in given.items()
            if value is not None
        }
        return cls(**known)


def split(given: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Keyword arguments that say how (see `Options`), and the rest, which says what."""
    names = {one.name for one in fields(Options)}
    how = {name: value for name, value in given.items() if name in names}
    return how, {name: value for name, value in given.items() if name not in names}
