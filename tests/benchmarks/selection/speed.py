"""The batched loop beside a pipeline that is asked row by row, and what candidates cost beyond forward passes."""

from __future__ import annotations

import time
from pathlib import Path
from statistics import median
from typing import Any

from hf_soups.evaluation.gradual import opened
from hf_soups.evaluation.predict import answering
from hf_soups.selection.greedy import soup_of
from tests.benchmarks.selection.pool import LENGTH, Cpu, Pool, candidates

ROWS = 256
ROUNDS = 3
FILES = ("movie-validation.csv", "tweets-test.csv")


def one_by_one(pool: Pool, scratch: Path) -> dict[str, Any]:
    """Seconds for 256 rows, medians of three: a pipeline called row by row, and the batched loop in two precisions."""
    from transformers import AutoModelForSequenceClassification, AutoTokenizer
    from transformers import pipeline as pipeline_of

    folder = pool.folder / "models" / "run-1"
    model = AutoModelForSequenceClassification.from_pretrained(folder).eval()
    asked = pipeline_of("text-classification", model=model, tokenizer=AutoTokenizer.from_pretrained(folder))
    found: dict[str, Any] = {}
    for file in FILES:
        section = pool.section({"rows": (file, "test", None)}, metrics=("accuracy",))
        tasted = candidates(section, scratch / "speed")
        rows = tasted.evaluator.examples("rows").select(range(ROWS))
        texts = [row[0] if isinstance(row, tuple) else row for row in rows.inputs]
        task = tasted.evaluator.task
        processor = task.processor(tasted.open(pool.recipe(section, count=2).ingredients[0]))
        rounds: dict[str, list[float]] = {"pipeline": [], "float32": [], "bfloat16": []}
        for _ in range(ROUNDS + 1):  # the first one warms up
            for way, seconds in rounds.items():
                start = time.perf_counter()
                if way == "pipeline":
                    for text in texts:
                        asked(text, truncation=True, max_length=LENGTH)
                else:
                    with answering(task, model, processor, rows, max_length=LENGTH, dtype=way) as batches:
                        list(batches.run(batches))
                seconds.append(time.perf_counter() - start)
        found[file] = {way: median(seconds[1:]) for way, seconds in rounds.items()}
    return found


def overhead(pool: Pool, scratch: Path) -> dict[str, float]:
    """Processor seconds of whole candidates on 1,000 rows, and of their forward passes alone, on the same batches."""
    section = pool.section({"rows": ("movie-validation.csv", "select", None)}, metrics=("accuracy",))
    recipe = pool.recipe(section)
    tasted = candidates(section, scratch / "overhead")
    tasted.score(soup_of(recipe, [0]), "rows", "accuracy")  # loads model and tokenizer, encodes the rows
    question = tasted.question(tasted.checkpoint(soup_of(recipe, [0])), "rows")
    counts = (2, 3, 4, 8, 16)
    every, forward = 0.0, 0.0
    for count in counts:
        with opened(question) as batches, Cpu() as alone:
            list(batches.run(batches))
        with Cpu() as all_of_it:
            tasted.score(soup_of(recipe, list(range(count))), "rows", "accuracy")
        forward, every = forward + alone.seconds, every + all_of_it.seconds
    return {"candidates": every, "forward": forward, "rows": 1000.0 * len(counts)}


def lines(found: dict[str, Any]) -> list[str]:
    """The tables, as Markdown."""
    said = [f"## {ROWS} rows: a pipeline asked row by row, and the batched loop", ""]
    said += ["| data | pipeline, s | float32, s | x | bfloat16, s | x |", "|" + " --- |" * 6]
    for file, one in found["one_by_one"].items():
        slow = one["pipeline"]
        cells = (f"{one[d]:.2f} | {slow / one[d]:.1f}" for d in ("float32", "bfloat16"))
        said.append(f"| {file} | {slow:.2f} | {' | '.join(cells)} |")
    cost = found["overhead"]
    said += ["", "## Candidates beyond their forward passes", "", "| candidates, CPU s | forward passes, CPU s | x |"]
    said += [
        "|" + " --- |" * 3,
        f"| {cost['candidates']:.1f} | {cost['forward']:.1f} | {cost['candidates'] / cost['forward']:.3f} |",
    ]
    return said
