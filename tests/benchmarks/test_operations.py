"""The commands that are measured do what their row says."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.benchmarks.checkpoints import Models, models
from tests.benchmarks.measure import measure
from tests.benchmarks.operations import OPERATIONS, our_methods
from tests.benchmarks.peers import configuration
from tests.benchmarks.rounds import run_rounds


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Models:
    return models(tmp_path_factory.mktemp("cache"), "tiny")


def test_a_round_has_us_and_the_limit_side_by_side(tiny: Models, tmp_path: Path) -> None:
    chosen = [(OPERATIONS[name], tiny) for name in ("plan", "linear", "lora")]
    runs = run_rounds(chosen, 1, tmp_path / "out", limit=60)
    assert [(run.operation, run.who) for run in runs] == [
        ("plan", "ours"),
        ("linear", "ours"),
        ("linear", "limit"),
        ("lora", "ours"),
        ("lora", "limit"),
    ]
    assert [run.cost.error for run in runs] == [None] * 5


def test_who_fails_is_asked_once(tiny: Models, tmp_path: Path) -> None:
    gone = Models(tiny.base, (tmp_path / "a", tmp_path / "b"), ())
    (run,) = run_rounds([(OPERATIONS["plan"], gone)], 3, tmp_path / "out", limit=60)
    assert run.cost.error is not None and "Error:" in run.cost.error


def test_the_limit_writes_as_much_as_a_merge(tiny: Models, tmp_path: Path) -> None:
    for name in ("linear", "lora"):
        out = tmp_path / name
        command = OPERATIONS[name].limit(tiny, out)
        assert command is not None
        copied = out.with_suffix(".kept")
        assert measure([*command[:2], f"{command[2]} && cp -r {out} {copied}"], out=out).error is None
        sizes = [sorted(f.stat().st_size for f in folder.glob("*.safetensors")) for folder in (copied, tiny.base)]
        assert sizes[0] == sizes[1]


def test_operations_read_the_base_where_they_need_it(tiny: Models) -> None:
    folders = {name: {file.parent for file in op.inputs(tiny)} for name, op in OPERATIONS.items()}
    assert folders["linear"] == set(tiny.tuned)
    assert folders["slerp"] == set(tiny.tuned[:2])
    assert folders["ties"] == {tiny.base, *tiny.tuned}
    assert folders["lora"] == {tiny.base, *tiny.adapters}


def test_our_methods_are_those_that_the_command_lists() -> None:
    assert {"average", "slerp", "task_arithmetic", "ties"} <= our_methods()


def test_the_peer_is_asked_for_the_same(tiny: Models) -> None:
    config = configuration(OPERATIONS["ties"], tiny)
    assert config["merge_method"] == "ties" and config["base_model"] == str(tiny.base)
    assert config["models"] == [
        {"model": str(folder), "parameters": {"density": 0.5, "weight": 1.0}} for folder in tiny.tuned
    ]
    assert configuration(OPERATIONS["linear"], tiny)["merge_method"] == "linear"
    assert "base_model" not in configuration(OPERATIONS["lora"], tiny)
