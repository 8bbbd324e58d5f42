"""One fine-tuning: AdamW, warm-up and decay, clipped gradients, batches by length."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import nn

from hf_soups.errors import RecipeError
from hf_soups.training.batches import Batches
from hf_soups.training.sweep import Run

CLIP = 1.0  # norm of the gradient, as in the model soups paper's own runs
LAST = 0.1  # share of the steps whose mean loss is reported


@contextmanager
def seeded(seed: int, device: torch.device) -> Iterator[None]:
    """Torch's global generators start from `seed` inside, and are as they were afterwards."""
    devices = [device] if device.type == "cuda" else []
    with torch.random.fork_rng(devices=devices):
        torch.manual_seed(seed)
        yield


def subset(n: int, run: Run) -> list[int]:
    """The rows that this run trains on, in the order of the data."""
    order = torch.randperm(n, generator=torch.Generator().manual_seed(run.seed)).tolist()
    return sorted(order[: max(1, round(n * run.fraction))])


def train(
    model: nn.Module,
    batches: Batches,
    run: Run,
    forward: Callable[[dict[str, torch.Tensor]], torch.Tensor],
    progress: Callable[[int, int], None],
) -> dict[str, float]:
    """Train the parameters that require a gradient, in place; returns the steps and the last steps' mean loss.

    forward: inputs → logits, on the model's device and in the sweep's precision.
    progress: called with the steps done and the steps in all.
    Raises RecipeError when the loss or a gradient stops being finite.
    """
    from transformers import get_scheduler

    rows = subset(len(batches.inputs), run)
    steps = run.epochs * math.ceil(len(rows) / batches.size)
    trained = [p for p in model.parameters() if p.requires_grad]
    optimizer = _optimizer(trained, run)
    schedule = get_scheduler(run.schedule, optimizer, round(run.warmup * steps), steps)
    generator = torch.Generator().manual_seed(run.seed)
    losses: list[float] = []
    model.train()
    progress(0, steps)
    for _ in range(run.epochs):
        for inputs, labels in batches.epoch(rows, generator):
            logits = forward(inputs).float()  # [b, labels]
            loss = nn.functional.cross_entropy(logits, labels.to(logits.device), label_smoothing=run.label_smoothing)
            loss.backward()
            norm = nn.utils.clip_grad_norm_(trained, CLIP)
            losses.append(loss.item())
            if not math.isfinite(losses[-1]) or not bool(torch.isfinite(norm)):
                raise diverged(run, f"the loss is not finite at step {len(losses)} of {steps}")
            optimizer.step()
            schedule.step()
            optimizer.zero_grad()
            progress(len(losses), steps)
    if not all(bool(torch.isfinite(p).all()) for p in trained):
        raise diverged(run, "its weights are not finite")
    last = losses[-max(1, round(LAST * steps)) :]
    return {"steps": steps, "examples": len(rows), "last_loss": round(sum(last) / len(last), 6)}


def diverged(run: Run, what: str) -> RecipeError:
    """The error for a run that cannot become an ingredient."""
    return RecipeError(
        f"runs: {run.name}: {what}; lower learning_rate ({run.learning_rate:g}), raise warmup ({run.warmup:g}) "
        "or leave the run out"
    )


def _optimizer(trained: Sequence[nn.Parameter], run: Run) -> torch.optim.Optimizer:
    groups = [
        {"params": [p for p in trained if p.ndim >= 2], "weight_decay": run.weight_decay},
        {"params": [p for p in trained if p.ndim < 2], "weight_decay": 0.0},  # biases and norms: by custom, not decayed
    ]
    fused = trained[0].device.type in ("cpu", "cuda")
    return torch.optim.AdamW([g for g in groups if g["params"]], lr=run.learning_rate, fused=fused)
