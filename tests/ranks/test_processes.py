"""Several processes, really started: the bytes of one, and one end for all."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file

from tests.models import classifier, fine_tune, write_safetensors

TORCHRUN = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2"]
ROOT = Path(__file__).parents[2]
METHODS = ("average", "ties", "model_stock")
MERGES = """
import os, sys
from hf_soups import merge, ranks
base, first, second, out = sys.argv[1:]
for method in ("average", "ties", "model_stock"):
    processes = ranks.join()
    assert processes.size == 2 and processes.rank == int(os.environ["RANK"])
    with open(f"{out}/{method}.{processes.rank}", "x") as witness:
        witness.write(str(os.getpid()))
    asked = {"base": base} if method != "average" else {}
    merge([first, second], f"{out}/{method}", method=method, max_shard_size="3MB", ranks=processes, **asked)
"""
DIES = """
import os, signal
if os.environ["RANK"] == os.environ.get("DIES", "1"):
    write, calls = os.pwrite, []
    def last(*arguments):
        calls.append(write(*arguments))
        if len(calls) == 3:
            os.kill(os.getpid(), signal.SIGKILL)
        return calls[-1]
    os.pwrite = last
from hf_soups import ranks
from hf_soups.cli import main
ranks.SILENCE, ranks.GRACE = 3.0, 1.0
main()
"""


def run(*command: str | Path, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        list(map(str, command)),
        env=surroundings(**environment),
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )


def surroundings(**environment: str) -> dict[str, str]:
    path = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
    return {**os.environ, "PYTHONPATH": path, "OMP_NUM_THREADS": "1", **environment}


def plainly(program: list[str], *arguments: str | Path, **environment: str) -> list[subprocess.CompletedProcess[str]]:
    """Two processes without a launcher; exit code and words of each."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    common = {"WORLD_SIZE": "2", "LOCAL_WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    command = [sys.executable, *program, *map(str, arguments)]
    running = [
        subprocess.Popen(
            command,
            env=surroundings(**common, RANK=str(rank), **environment),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank in range(2)
    ]
    said = [process.communicate(timeout=120) for process in running]
    return [
        subprocess.CompletedProcess(command, process.returncode, *words)
        for process, words in zip(running, said, strict=True)
    ]


def normal(folder: Path, seed: int) -> Path:
    """A checkpoint of 10 MB in tensors of several sizes."""
    generator = np.random.default_rng(seed)
    sizes = [300, 500, 1, 700, 400, 600]
    tensors = {
        f"layer.{i}.weight": generator.standard_normal((s, 1000)).astype(np.float32) for i, s in enumerate(sizes)
    }
    write_safetensors(folder / "model.safetensors", tensors)
    (folder / "config.json").write_text(json.dumps({"model_type": "bert"}))
    return folder


def constant(folder: Path, value: float, *, damaged: str | None = None) -> Path:
    """A checkpoint of one value: any mixture with another shows in every tensor."""
    tensors = {f"layer.{i}.weight": np.full((500, 1000), value, np.float32) for i in range(6)}
    if damaged is not None:
        tensors[damaged][7, 7] = np.nan
    write_safetensors(folder / "model.safetensors", tensors)
    return folder


def values(out: Path) -> set[float]:
    return {float(v) for f in out.glob("*.safetensors") for t in load_file(f).values() for v in np.unique(t)}


def names(folder: Path) -> list[str]:
    return sorted(p.name for p in folder.iterdir())


def test_two_processes_write_the_bytes_of_one(tmp_path: Path) -> None:
    from hf_soups import merge

    base, *models = (normal(tmp_path / name, seed) for seed, name in enumerate(("base", "a", "b")))
    (tmp_path / "two").mkdir()
    (tmp_path / "program.py").write_text(MERGES)
    done = run(*TORCHRUN, tmp_path / "program.py", base, *models, tmp_path / "two")
    assert done.returncode == 0, done.stderr
    for method in METHODS:
        one, two = tmp_path / "one" / method, tmp_path / "two" / method
        asked = {"base": str(base)} if method != "average" else {}
        merge(list(map(str, models)), one, method=method, max_shard_size="3MB", **asked)  # type: ignore[arg-type]
        assert names(one) == names(two) and len(list(one.glob("*.safetensors"))) == 5
        for name in names(one):
            assert (one / name).read_bytes() == (two / name).read_bytes(), f"{method}: {name}"
        witnesses = {(tmp_path / "two" / f"{method}.{rank}").read_text() for rank in range(2)}
        assert len(witnesses) == 2


def test_only_the_first_process_speaks_and_each_wrote_its_files(tmp_path: Path) -> None:
    one, three = constant(tmp_path / "one", 1.0), constant(tmp_path / "three", 3.0)
    options: list[str | Path] = ["-o", tmp_path / "out", "--max-shard-size", "2MB", "--json"]
    first, second = plainly(["-m", "hf_soups.cli"], "merge", one, three, *options)
    assert first.returncode == second.returncode == 0, first.stderr + second.stderr
    assert (first.stderr, second.stdout, second.stderr) == ("", "", "")
    written = json.loads(first.stdout)["processes"]
    assert [(w["rank"], len(w["files"])) for w in written] == [(0, 3), (1, 3)]
    assert len({w["process"] for w in written}) == 2
    assert sorted(n for w in written for n in w["files"]) == sorted(p.name for p in (tmp_path / "out").glob("*.saf*s"))
    assert values(tmp_path / "out") == {2.0}


def test_an_error_in_one_process_ends_all_with_one_line_that_says_where(tmp_path: Path) -> None:
    model = constant(tmp_path / "model", 1.0, damaged="layer.1.weight")  # its file is the second process's
    done = run(*TORCHRUN, "-m", "hf_soups.cli", "merge", model, "-o", tmp_path / "out", "--max-shard-size", "2MB")
    assert done.returncode == 1, done.stderr
    (line,) = [line for line in done.stderr.splitlines() if line.startswith("Error: ")]
    assert line.startswith(
        f"Error: process 1 of 2 on {socket.gethostname()}: model: layer.1.weight: element 7007 is nan"
    )
    assert done.stdout == ""
    assert names(tmp_path) == ["model"]


@pytest.mark.slow
def test_a_mistake_is_told_once_and_ends_both(tmp_path: Path) -> None:
    model = constant(tmp_path / "model", 1.0)
    first, second = plainly(["-m", "hf_soups"], "merge", model, "-o", tmp_path / "out", "--method", "tise")
    assert (first.returncode, second.returncode) == (1, 1)
    assert "did you mean 'ties'" in first.stderr and first.stderr.count("Error:") == 1 and second.stderr == ""
    assert names(tmp_path) == ["model"]


@pytest.mark.slow
def test_a_process_that_is_killed_ends_the_other_and_nothing_is_left(tmp_path: Path) -> None:
    old, new, out = constant(tmp_path / "old", 1.0), constant(tmp_path / "new", 2.0), tmp_path / "out"
    options: list[str | Path] = ["-o", out, "--max-shard-size", "2MB"]
    first, second = plainly(["-c", DIES], "merge", new, *options)
    assert second.returncode == -signal.SIGKILL
    assert first.returncode == 1
    assert "Error: process 1 of 2" in first.stderr and "no sign of life for 3 seconds; was it killed?" in first.stderr
    assert names(tmp_path) == ["new", "old"]
    assert run(sys.executable, "-m", "hf_soups", "merge", old, *options).returncode == 0
    assert values(out) == {1.0}


@pytest.mark.slow
def test_when_the_first_process_is_killed_the_next_run_sweeps_what_it_left(tmp_path: Path) -> None:
    model, out = constant(tmp_path / "model", 1.0), tmp_path / "out"
    options: list[str | Path] = ["merge", model, "-o", out, "--max-shard-size", "2MB"]
    first, second = plainly(["-c", DIES], *options, DIES="0")
    assert first.returncode == -signal.SIGKILL
    assert second.returncode == 1 and "process 0 of 2" in second.stderr and "is gone; was it killed?" in second.stderr
    assert not out.exists() and len(names(tmp_path)) == 2
    assert run(sys.executable, "-m", "hf_soups", *options).returncode == 0
    assert names(tmp_path) == ["model", "out"] and values(out) == {1.0}


@pytest.mark.slow
def test_torchrun_ends_all_when_one_is_killed_and_the_old_soup_stays(tmp_path: Path) -> None:
    old, new, out = constant(tmp_path / "old", 1.0), constant(tmp_path / "new", 2.0), tmp_path / "out"
    options: list[str | Path] = ["-o", out, "--max-shard-size", "2MB", "--overwrite"]
    assert run(sys.executable, "-m", "hf_soups", "merge", old, *options).returncode == 0
    (tmp_path / "dies.py").write_text(DIES)
    done = run(*TORCHRUN, tmp_path / "dies.py", "merge", new, *options)
    assert done.returncode == 1 and "Signal 9 (SIGKILL)" in done.stderr
    assert names(tmp_path) == ["dies.py", "new", "old", "out"] and values(out) == {1.0}


@pytest.mark.slow
@pytest.mark.parametrize("flag", ["--cpu", "--multi_gpu"])
def test_accelerate_starts_two_or_we_say_that_it_did_not(tmp_path: Path, flag: str) -> None:
    model = constant(tmp_path / "model", 1.0)
    launch = [sys.executable, "-m", "accelerate.commands.launch", flag, "--num_processes", "2"]
    options: list[str | Path] = ["-o", tmp_path / "out", "--max-shard-size", "2MB", "--json"]
    done = run(*launch, "-m", "hf_soups.cli", "merge", model, *options)
    assert done.returncode == 0, done.stderr
    assert len(json.loads(done.stdout)["processes"]) == (1 if flag == "--cpu" else 2)
    assert ("accelerate launch started one process" in done.stderr) == (flag == "--cpu")
    assert values(tmp_path / "out") == {1.0}


@pytest.mark.slow
def test_the_first_process_chooses_and_measures_for_all(tmp_path: Path) -> None:
    base = classifier(tmp_path / "base")
    models = [fine_tune(base, tmp_path / f"run-{i}", seed=i) for i in range(2)]
    (tmp_path / "data").mkdir()
    for name, seed in (("validation", 1), ("test", 2)):
        pairs = [("fine", "positive"), ("bad", "negative")] * 15
        rows = [f"good film {seed} {i} {word},{label}" for i, (word, label) in enumerate(pairs)]
        (tmp_path / "data" / f"{name}.csv").write_text("\n".join(["text,label", *rows]) + "\n")
    options: list[str | Path] = [
        "--dataset",
        tmp_path / "data",
        "--allow-single",
        "--check",
        "--max-shard-size",
        "10KB",
        "--json",
        "-o",
    ]
    two = run(*TORCHRUN, "-m", "hf_soups.cli", "merge", *models, *options, tmp_path / "two")
    one = run(sys.executable, "-m", "hf_soups", "merge", *models, *options, tmp_path / "one")
    assert two.returncode == one.returncode == 0, two.stderr
    assert len(json.loads(two.stdout)["processes"]) == 2
    assert json.loads(two.stdout)["results"] == json.loads(one.stdout)["results"]
    assert names(tmp_path / "two") == names(tmp_path / "one")
    for name in (n for n in names(tmp_path / "one") if not n.startswith("figures")):
        assert (tmp_path / "two" / name).read_bytes() == (tmp_path / "one" / name).read_bytes(), name


@pytest.mark.slow
def test_other_commands_are_the_first_process_alone(tmp_path: Path) -> None:
    model = constant(tmp_path / "model", 1.0)
    asked: list[list[str | Path]] = [
        ["plan", model],
        ["merge", model, "--dry-run"],
        ["merge", model, "--print-recipe"],
        ["methods"],
    ]
    for arguments in asked:
        first, second = plainly(["-m", "hf_soups"], *arguments)
        assert first.returncode == second.returncode == 0
        assert first.stdout != "" and (second.stdout, second.stderr) == ("", "")
