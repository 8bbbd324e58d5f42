"""Killed at any moment, a merge leaves the output absent or complete, and the next run is not in its way."""

from __future__ import annotations

import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file

from tests.models import write_safetensors

PROGRAM = "from hf_soups.cli import main; main()"


def constant(folder: Path, value: float) -> Path:
    """A checkpoint of one value: any mixture with another run would show in every tensor."""
    tensors = {f"layer.{i}.weight": np.full((500, 1000), value, np.float32) for i in range(20)}
    write_safetensors(folder / "model.safetensors", tensors)
    return folder


def merge(model: Path, out: Path, *more: str) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-c", PROGRAM, "merge", str(model), "-o", str(out), "--max-shard-size", "9MB", *more]
    return subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def values(out: Path) -> set[float]:
    assert (out / "soup.lock.json").is_file()
    return {float(v) for f in out.glob("*.safetensors") for t in load_file(f).values() for v in np.unique(t)}


@pytest.mark.parametrize("points", [6, pytest.param(60, marks=pytest.mark.slow)])
def test_killed_at_random_points_the_old_or_the_new_soup_is_there(tmp_path: Path, points: int) -> None:
    old, new = constant(tmp_path / "old", 1.0), constant(tmp_path / "new", 2.0)
    out = tmp_path / "soup"
    begun = time.monotonic()
    assert merge(old, out).wait() == 0
    length = time.monotonic() - begun
    draw = random.Random(1)
    for _ in range(points):
        running = merge(new, out, "--overwrite")
        time.sleep(draw.uniform(0.2, 1.1) * length)
        running.send_signal(signal.SIGKILL)
        running.wait()
        if out.exists():
            assert values(out) in ({1.0}, {2.0})
    assert merge(new, out, "--overwrite").wait() == 0
    assert values(out) == {2.0}
    assert sorted(p.name for p in tmp_path.iterdir()) == ["new", "old", "soup"]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_asked_to_stop_it_leaves_nothing(tmp_path: Path, number: signal.Signals) -> None:
    model, out = constant(tmp_path / "model", 1.0), tmp_path / "soup"
    running = merge(model, out)
    while running.poll() is None and not list(tmp_path.glob("soup.partial-*/*.safetensors")):
        time.sleep(0.01)
    running.send_signal(number)
    assert running.wait() in (0, 128 + number)  # it may have finished first
    left = sorted(p.name for p in tmp_path.iterdir())
    assert left == (["model"] if running.returncode else ["model", "soup"])
