"""A sweep's YAML says what it means or is refused."""

from __future__ import annotations

from pathlib import Path

import pytest

from hf_soups.errors import RecipeError
from hf_soups.training import load_sweep, loads_sweep

SWEEP = """
model: org/model@main
labels: [negative, positive]
train: {path: org/data, split: train}
runs:
  - {name: run-1, learning_rate: 5e-5}
  - {name: lora, learning_rate: 1.0e-3, lora: {targets: query, alpha: 4}}
"""


def test_a_sweep_is_read_with_its_defaults() -> None:
    sweep = loads_sweep(SWEEP)
    assert sweep.model == "org/model@main"
    assert (sweep.train.path, sweep.train.split, sweep.train.role) == ("org/data", "train", "fit")
    full, adapter = sweep.runs
    assert (full.learning_rate, full.epochs, full.lora) == (5e-5, 1, None)
    assert adapter.lora is not None and (adapter.lora.targets, adapter.lora.alpha) == (("query",), 4.0)


def test_local_paths_are_relative_to_the_file(tmp_path: Path) -> None:
    (tmp_path / "data.csv").write_text("text,label\n")
    (tmp_path / "model").mkdir()
    file = tmp_path / "sweep.yaml"
    file.write_text(SWEEP.replace("org/model@main", "model").replace("org/data", "data.csv"))
    sweep = load_sweep(file)
    assert (sweep.model, sweep.train.path) == (str(tmp_path / "model"), str(tmp_path / "data.csv"))


@pytest.mark.parametrize(
    ("written", "instead", "message"),
    [
        ("labels:", "lables:", r"lables: unknown key; did you mean 'labels'\?"),
        ("learning_rate: 5e-5", "learning_rte: 5e-5", r"runs #1: learning_rte: .*did you mean 'learning_rate'\?"),
        ("alpha: 4", "alhpa: 4", r"runs #2: lora: alhpa: .*did you mean 'alpha'\?"),
        ("split: train", "splt: train", r"train: splt: .*did you mean 'split'\?"),
        ("split: train", "role: test", r"train: role"),
        ("split: train", "columns: text", "train: columns: keys and values are needed, got 'text'"),
        ("split: train", "columns: {text: 1}", "train: columns: text: a text is needed, got 1"),
        ("learning_rate: 5e-5", "learning_rate: fast", "runs #1: learning_rate: a number is needed, got 'fast'"),
        ("learning_rate: 5e-5", "learning_rate: 0", "runs: run-1: learning_rate: must be above 0, got 0"),
        ("learning_rate: 5e-5", "epochs: 1", "runs #1: learning_rate: is missing"),
        ("5e-5", "5e-5, epochs: 0.5", "runs #1: epochs: a whole number is needed"),
        ("5e-5", "5e-5, fraction: 0", "runs: run-1: fraction"),
        ("5e-5", "5e-5, schedule: cosinus", r"did you mean 'cosine'\?"),
        ("name: lora", "name: run-1", "runs: run-1: 2 runs have this name"),
        ("name: run-1", "name: head", "runs: head: not a name"),
        ("name: run-1", "name: ../run-1", "not a name for a folder"),
        ("[negative, positive]", "[positive, positive]", "labels: at least two different names"),
        ("targets: query", "r: 2", "runs #2: lora: targets: is missing"),
        ("model: org/model@main", "", "model: is missing"),
        ("runs:", "head: prob\nruns:", r"head: unknown value 'prob'; did you mean 'probe'\?"),
    ],
)
def test_a_mistake_is_named_with_its_place(written: str, instead: str, message: str) -> None:
    with pytest.raises(RecipeError, match=message):
        loads_sweep(SWEEP.replace(written, instead, 1))


def test_the_file_is_named_in_the_error(tmp_path: Path) -> None:
    (tmp_path / "my.yaml").write_text("runs: []")
    with pytest.raises(RecipeError, match=r"my\.yaml: "):
        load_sweep(tmp_path / "my.yaml")
