"""From a sweep to folders: the shared head first, then the ingredients."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hf_soups.training.job import Job, Progress
from hf_soups.training.sweep import HEAD, Sweep

if TYPE_CHECKING:
    from hf_soups.evaluation.data import Examples

FORMAT = 1  # raise it when the same settings no longer mean the same training


def silent(name: str, done: int, total: int) -> None:
    """No progress report."""


def finetune(sweep: Sweep, out: Path, *, progress: Progress = silent, token: str | None = None) -> list[Path]:
    """Make every ingredient of a sweep; returns their folders, in the order of the runs.

    out: gets one folder per run (a transformers model or a PEFT adapter, with its tokenizer and README) and, if the
        sweep probes one, `head`: the model that all runs start from, which is their common base.
    progress: called by one thread at a time; runs that train side by side take turns.
    token: for private models and data; default: the stored one.

    Each folder appears when it is complete. One that was made with the same settings from the same model and data is
    kept; one made with others is replaced. On one CPU, the same sweep gives the same bytes again.
    Raises RecipeError, EvaluationError (data), CheckpointError or HubError (model); runs that were finished stay.
    """
    from hf_soups.evaluation.data import load
    from hf_soups.evaluation.tasks.text_classification import TextClassification
    from hf_soups.training.origin import fetch, identity

    examples = load(sweep.train, TextClassification(sweep.labels), token=token)
    model = fetch(sweep.model, token=token)
    shared = _shared_settings(sweep, examples, identity(model))
    start = model
    if sweep.head == "probe":
        start = out / HEAD
        _make([Job(sweep, None, model, examples, start, shared)], sweep.workers, progress)
    jobs = [Job(sweep, run, start, examples, out / run.name, {**shared, "run": asdict(run)}) for run in sweep.runs]
    _make(jobs, sweep.workers, progress)
    return [job.out for job in jobs]


def _make(jobs: Sequence[Job], workers: int, progress: Progress) -> None:
    missing = [job for job in jobs if not job.done()]
    for job in jobs:
        if job not in missing:
            progress(job.name, 0, 0)
    if workers > 1 and missing:
        from hf_soups.training.processes import side_by_side

        side_by_side(missing, workers, progress)
    else:
        for job in missing:
            job.do(progress)


def _shared_settings(sweep: Sweep, examples: Examples, model: str) -> dict[str, Any]:
    """Everything but the run that decides what an ingredient is, without a path of this machine."""
    data = {"path": examples.source.path, "split": examples.source.split, "rows": examples.n}
    return {
        "format": FORMAT,
        "model": model,
        "data": {**data, "sha256": examples.fingerprint},
        "labels": list(sweep.labels),
        "head": sweep.head,
        "max_length": sweep.max_length,
        "batch_size": sweep.batch_size,
        "freeze": list(sweep.freeze),
        "precision": sweep.precision,
        "card": asdict(sweep.card),
    }
