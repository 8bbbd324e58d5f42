"""The loops are compiled once on a machine, and loaded from a file, without numba, from then on."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

import hf_soups
from hf_soups.kernels import kept

PACKAGE = Path(hf_soups.__file__).parent
SUM = """
import numpy as np
from hf_soups.kernels import loops
out = np.empty(3, np.float32)
loops().combine([np.array([1, 2, 3], np.float32)], np.array([0.5]), out, False)
print(loops().__name__.rpartition(".")[2], *out)
"""
NO_NUMBA = "import sys\nsys.modules['numba'] = None\n"


def start(program: str, folder: Path, package: Path = PACKAGE, *arguments: str) -> subprocess.Popen[str]:
    environment = os.environ | {"NUMBA_CACHE_DIR": str(folder), "PYTHONPATH": str(package.parent)}
    words = [sys.executable, "-c", program, *arguments]
    pipe = subprocess.PIPE
    return subprocess.Popen(words, env=environment, cwd=package.parent, stdout=pipe, stderr=pipe, text=True)


def answer(process: subprocess.Popen[str]) -> str:
    out, error = process.communicate(timeout=600)
    assert process.returncode == 0 and error == "", error
    return out.strip()


@pytest.fixture(scope="module")
def compiled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder where two processes, started together, compiled the loops."""
    folder = tmp_path_factory.mktemp("compiled")
    both = [start(SUM, folder) for _ in range(2)]
    assert [answer(process) for process in both] == ["fused 0.5 1.0 1.5"] * 2
    return folder


def test_two_processes_that_compile_at_once_leave_one_file(compiled: Path) -> None:
    assert [file.suffix for file in compiled.iterdir()] == [".bin"]


def test_whoever_waits_for_the_compiler_can_be_told(compiled: Path, tmp_path: Path) -> None:
    program = "from hf_soups.kernels import have_to_compile\nprint(have_to_compile())"
    assert [answer(start(program, folder)) for folder in (compiled, tmp_path)] == ["False", "True"]


def test_a_merge_after_the_first_does_not_import_numba(compiled: Path, tmp_path: Path) -> None:
    for name, value in (("a", 1.0), ("b", 2.0)):
        (tmp_path / name).mkdir()
        (tmp_path / name / "config.json").write_text('{"model_type": "bert"}')
        save_file({"w": np.full(5, value, np.float32)}, tmp_path / name / "model.safetensors", {"format": "pt"})
    program = (
        "import sys\nfrom hf_soups.cli import main\n"
        "try:\n    main()\nexcept SystemExit as done:\n    print(done.code, 'numba' in sys.modules)"
    )
    words = ["merge", str(tmp_path / "a"), str(tmp_path / "b"), "-o", str(tmp_path / "out"), "--quiet"]
    out, _ = start(program, compiled, PACKAGE, *words).communicate(timeout=600)
    assert out.splitlines()[-1] == "0 False"
    assert (tmp_path / "out" / "model.safetensors").exists()


def test_what_was_compiled_works_without_numba(compiled: Path, tmp_path: Path) -> None:
    assert answer(start(NO_NUMBA + SUM, compiled)) == "fused 0.5 1.0 1.5"
    assert answer(start(NO_NUMBA + SUM, tmp_path)) == "plain 0.5 1.0 1.5"


@pytest.mark.parametrize("keep", [0, 10, 1000, -1])
def test_a_file_that_is_cut_off_is_as_none(compiled: Path, tmp_path: Path, keep: int) -> None:
    (file,) = compiled.iterdir()
    (tmp_path / file.name).write_bytes(file.read_bytes()[:keep])
    assert answer(start(NO_NUMBA + SUM, tmp_path)) == "plain 0.5 1.0 1.5"


def test_other_source_is_compiled_anew(compiled: Path, tmp_path: Path) -> None:
    package = tmp_path / "hf_soups"
    shutil.copytree(PACKAGE, package, ignore=shutil.ignore_patterns("__pycache__"))
    assert answer(start(NO_NUMBA + SUM, compiled, package)) == "fused 0.5 1.0 1.5"
    with (package / "kernels" / "compiled" / "numbers.py").open("a") as file:
        file.write("# another way\n")
    assert answer(start(NO_NUMBA + SUM, compiled, package)) == "plain 0.5 1.0 1.5"


def test_what_is_kept_comes_back_unless_a_bit_of_it_changed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NUMBA_CACHE_DIR", str(tmp_path))
    assert kept.read("name") is None
    kept.write("name", b"some code")
    assert kept.read("name") == b"some code"
    stored = (tmp_path / "name").read_bytes()
    for place in range(len(stored)):
        (tmp_path / "name").write_bytes(stored[:place] + bytes([stored[place] ^ 1]) + stored[place + 1 :])
        assert kept.read("name") is None


def test_a_place_that_cannot_be_written_is_passed_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").touch()  # no folder can be made in it, by nobody
    monkeypatch.setenv("NUMBA_CACHE_DIR", str(tmp_path / "file"))
    kept.write("name", b"some code")
    assert kept.read("name") is None
    monkeypatch.delenv("NUMBA_CACHE_DIR")
    monkeypatch.setattr(kept, "BESIDE", tmp_path / "file")
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "caches"))
    kept.write("name", b"some code")
    assert kept.read("name") == b"some code"
    assert [file.name for file in (tmp_path / "caches" / "hf_soups").iterdir()] == ["name"]
