"""The measuring itself: known costs are seen, failures are told."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from tests.benchmarks.measure import Cost, measure
from tests.benchmarks.memory import sample, summary
from tests.benchmarks.report import Run, Runs, failures, table, wall


def python(program: str) -> list[str]:
    return [sys.executable, "-S", "-c", program]


def test_memory_is_the_commands_and_not_the_callers() -> None:
    ballast = b"x" * 300_000_000  # a child that is started directly would seem to have it too
    nothing, hundred = (measure(python(f"x = b'x' * {size}")).peak_mb for size in (1, 100_000_000))
    assert len(ballast) == 300_000_000
    assert nothing < 50
    assert 95 < hundred - nothing < 110


def test_cpu_and_wall_time_differ_for_a_command_that_sleeps() -> None:
    cost = measure(python("import time\ntime.sleep(0.3)\nwhile time.process_time() < 0.3: pass"))
    assert cost.error is None
    assert 0.29 < cost.cpu < 0.8
    assert cost.wall > 0.55


def test_children_of_the_command_count() -> None:
    burn = f"{sys.executable} -S -c 'import time\nwhile time.process_time() < 0.2: pass'"
    assert measure(["sh", "-c", f"{burn}; {burn}"]).cpu > 0.39


def test_a_failure_is_told_by_its_last_line() -> None:
    error = measure(python("print('10 %'); raise SystemExit('Error: no such method')")).error
    assert error == "exit code 1: Error: no such method"
    assert measure(["no-such-program"]).error == "exit code 127: no-such-program: No such file or directory"


def test_a_command_that_takes_too_long_is_ended() -> None:
    cost = measure(python("import time; time.sleep(60)"), limit=0.5)
    assert cost.error is not None and cost.error.startswith("not finished after")


def test_each_run_writes_into_no_folder(tmp_path: Path) -> None:
    out = tmp_path / "out"
    for _ in range(2):
        assert measure(["mkdir", str(out)], out=out).error is None
    assert not out.exists()


def test_memory_over_time_rises_and_falls() -> None:
    program = "import time\nx = b'x' * 100_000_000\ntime.sleep(0.3)\ndel x\ntime.sleep(0.3)"
    samples = sample(python(program))
    highest = max(range(len(samples)), key=lambda i: samples[i].mb)
    assert samples[highest].mb > 100 and samples[-1].mb < 50
    assert len(summary(samples)) == 11
    with pytest.raises(RuntimeError, match="exit code 3"):
        sample(python("raise SystemExit(3)"))


def test_ratios_are_taken_within_rounds() -> None:
    walls = {"ours": (2.0, 20.0, 3.0), "limit": (1.0, 10.0, 2.0)}  # the second round was disturbed
    runs = [Run("linear", who, i, Cost(w, w, 40.0)) for who, costs in walls.items() for i, w in enumerate(costs)]
    assert Runs(runs, "linear").ratio("ours", "limit", wall) == 2.0
    assert Runs(runs, "linear").median("limit", wall) == 2.0


def test_one_failure_leaves_the_rest_of_the_table() -> None:
    runs = [
        Run("linear", "ours", 0, Cost(2.0, 3.0, 40.0)),
        Run("linear", "limit", 0, Cost(1.0, 1.0, 8.0)),
        Run("linear", "peer", 0, Cost(600.0, 0.0, 0.0, "not finished after 600 s")),
        Run("ties", "ours", 0, Cost(0.1, 0.1, 9.0, "exit code 1: Error: density")),
    ]
    lines = table(runs, ["linear", "ties"], peers=True).splitlines()
    assert [cell.strip() for cell in lines[2].split("|")[1:-1]] == (
        ["linear", "2.00 [2.00-2.00]", "3.00", "40", "1.00", "2.00", "1.00", "-", "-", "-", "-"]
    )
    assert lines[3].split("|")[2].strip() == "-"
    assert len({len(line) for line in lines}) == 1
    assert failures(runs) == [
        "linear (peer): not finished after 600 s",
        "ties (ours): exit code 1: Error: density",
    ]
