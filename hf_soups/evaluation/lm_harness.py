"""Benchmarks of lm-eval, the Language Model Evaluation Harness: `lm_eval:arc_easy`, `lm_eval:arc_easy/acc_norm`."""

from __future__ import annotations

import copy
import hashlib
import json
import random
import re
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import numpy as np

from hf_soups.errors import EvaluationError, did_you_mean
from hf_soups.evaluation.benchmarks import Benchmark, Measured

PREFIX = "lm_eval:"
_DRAWS = 1_000  # of lm-eval's bootstrap, for the metrics without a formula for their standard error


def lm_eval(task: str | Mapping[str, Any], metric: str | None = None, batch_size: int = 1) -> Benchmark:
    """One benchmark for causal language models, run by lm-eval on the model in memory.

    task: a task's name in lm-eval, or the content of a task's YAML file.
    metric: one of the task's; default: its first.
    lm-eval asks for the task's current data, whatever the recipe pins: the number is kept under the weights, lm-eval's
    version and the task's settings. Raises EvaluationError if lm-eval is not installed or does not know the task.
    """
    from importlib.metadata import version

    tasks = _package()
    with _quietly():
        try:
            loaded = _load(tasks, task)
        except EvaluationError:
            raise
        except Exception as error:  # YAML, downloads, code of the task: any class is possible
            raise EvaluationError(f"{PREFIX}{_name(task)}: cannot be loaded: {_reason(error)}") from error
    directions = loaded.higher_is_better()
    chosen = metric or next(iter(directions))
    if chosen not in directions:
        hint = did_you_mean(chosen, directions)
        raise EvaluationError(f"{PREFIX}{_name(task)}: no metric {chosen!r}; it has {', '.join(directions)}{hint}")

    def run(model: Any, processor: Any) -> Measured:
        return _run(loaded, chosen, model, processor, batch_size)

    settings = {"task": loaded.dump_config(), "metric": chosen, "lm-eval": version("lm-eval"), "batch": batch_size}
    said = re.sub(r" at 0x[0-9a-f]+", "", json.dumps(settings, sort_keys=True, default=str))  # where functions lie
    digest = hashlib.sha256(said.encode()).hexdigest()
    name = f"{PREFIX}{_name(task)}" + (f"/{metric}" if metric else "")
    return Benchmark(name, bool(directions[chosen]), run, digest)


def named(name: str, batch_size: int = 1) -> Benchmark:
    """The benchmark that `lm_eval:TASK` or `lm_eval:TASK/METRIC` means in a recipe."""
    task, _, metric = name.removeprefix(PREFIX).partition("/")
    return lm_eval(task, metric or None, batch_size)


def _package() -> Any:
    try:
        from lm_eval import tasks
    except ImportError as error:
        raise EvaluationError(f"{PREFIX}… needs lm-eval: pip install 'hf-soups[lm-eval]'") from error
    return tasks


def _load(tasks: Any, task: str | Mapping[str, Any]) -> Any:
    manager = tasks.TaskManager(include_defaults=isinstance(task, str))
    if isinstance(task, str) and task not in manager.all_subtasks:
        if task in manager.all_tasks:
            raise EvaluationError(f"{PREFIX}{task}: a group of tasks, which has no one number; name one of its tasks")
        raise EvaluationError(f"{PREFIX}{task}: not a task of lm-eval{did_you_mean(task, manager.all_subtasks)}")
    (loaded,) = tasks.get_task_dict([task if isinstance(task, str) else dict(task)], manager).values()
    return loaded


def _run(task: Any, metric: str, model: Any, tokenizer: Any, batch_size: int) -> Measured:
    from lm_eval import simple_evaluate
    from lm_eval.models.huggingface import HFLM

    with _quietly():
        try:
            reader = HFLM(pretrained=model, tokenizer=copy.deepcopy(tokenizer), batch_size=batch_size)
            manager = _package().TaskManager(include_defaults=False)  # the task is here: thousands need no listing
            results = simple_evaluate(
                reader, tasks=[task], task_manager=manager, bootstrap_iters=_DRAWS, log_samples=False
            )
        except Exception as error:  # of lm-eval, of a task's own code
            raise EvaluationError(f"{PREFIX}{task.config.task}: cannot be run: {_reason(error)}") from error
    (found,) = results["results"].values()
    for key, value in found.items():  # "acc,none": a metric and the filter of the answers before it
        name, _, filtered = key.partition(",")
        if name == metric and filtered:
            stderr = found.get(f"{metric}_stderr,{filtered}")
            return Measured(float(value), float(stderr) if isinstance(stderr, int | float) else None)
    raise EvaluationError(f"{PREFIX}{task.config.task}: no {metric!r} in its result; it has {', '.join(found)}")


@contextmanager
def _quietly() -> Iterator[None]:
    """Without other people's warnings; the global random states, which lm-eval seeds, are left as they were."""
    import torch

    before, numpy_before = random.getstate(), np.random.get_state()
    try:
        with torch.random.fork_rng(), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        random.setstate(before)
        np.random.set_state(numpy_before)


def _name(task: str | Mapping[str, Any]) -> str:
    return task if isinstance(task, str) else str(task.get("task"))


def _reason(error: Exception) -> str:
    return next((line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__)
