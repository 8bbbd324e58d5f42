"""A tiny model, a tiny dataset and a sweep over them."""

from __future__ import annotations

import csv
from dataclasses import replace
from pathlib import Path
from typing import Any

from hf_soups.recipe import Data
from hf_soups.training import Card, Run, Sweep
from tests.models import classifier

SENTENCES = {
    "negative": ["bad film", "the plot is dull", "a very bad film", "not good", "dull", "the film was not fine at all"],
    "positive": ["good film", "the plot is fine", "a very good film", "not bad", "fine", "the plot was very fine"],
}


def examples(file: Path, **changes: str) -> Path:
    """Twelve labelled sentences; a label or a sentence (with _) in `changes` is labelled by its value instead."""
    with open(file, "w", newline="") as handle:
        writer = csv.writer(handle)
        writer.writerow(["text", "label"])
        for label, sentences in SENTENCES.items():
            label = changes.get(label, label)
            writer.writerows([sentence, changes.get(sentence.replace(" ", "_"), label)] for sentence in sentences)
    return file


def sweep(folder: Path, *runs: Run, **settings: Any) -> Sweep:
    """Over a new tiny BERT in `folder` (unless there is one) and twelve sentences."""
    if not (folder / "model").exists():
        classifier(folder / "model", labels=("LABEL_0", "LABEL_1"))
        examples(folder / "train.csv")
    made = Sweep(
        model=str(folder / "model"),
        labels=("negative", "positive"),
        train=Data(str(folder / "train.csv"), "fit"),
        runs=runs or (Run("run-1", 1e-3),),
        max_length=16,
        batch_size=4,
        card=Card(head="org/head", base_model="org/base", license="mit"),
    )
    return replace(made, **settings)
