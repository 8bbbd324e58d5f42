"""The output folder: whole or absent, whenever the process dies."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from hf_soups import CheckpointError
from hf_soups.checkpoint import new_folder

KILLED = """
import os, signal, sys
from pathlib import Path
from hf_soups.checkpoint import new_folder
with new_folder(Path(sys.argv[1]), overwrite=True) as folder:
    (folder / "a").write_text("new")
    os.kill(os.getpid(), signal.SIGKILL)
"""

KILLED_BETWEEN_RENAMES = """
import os, signal, sys
from pathlib import Path
from hf_soups.checkpoint import new_folder
rename = os.rename
def once(source, target):
    rename(source, target)
    os.kill(os.getpid(), signal.SIGKILL)
os.rename = once
with new_folder(Path(sys.argv[1]), overwrite=True) as folder:
    (folder / "a").write_text("new")
"""


def run(program: str, out: Path) -> int:
    return subprocess.run([sys.executable, "-c", program, str(out)], check=False).returncode


def make(out: Path, text: str, overwrite: bool = False) -> None:
    with new_folder(out, overwrite) as folder:
        (folder / "a").write_text(text)


def names(folder: Path) -> list[str]:
    return sorted(p.name for p in folder.iterdir())


def test_the_folder_appears_when_the_block_ends(tmp_path: Path) -> None:
    out = tmp_path / "deep" / "out"
    with new_folder(out) as folder:
        (folder / "a").write_text("x")
        assert not out.exists()
    assert (out / "a").read_text() == "x" and names(out.parent) == ["out"]


def test_an_error_inside_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError), new_folder(tmp_path / "out"):
        raise ZeroDivisionError
    assert names(tmp_path) == []


def test_a_folder_that_is_not_empty_is_refused_and_untouched(tmp_path: Path) -> None:
    make(tmp_path / "out", "old")
    with pytest.raises(CheckpointError, match=r"not empty.*--overwrite"), new_folder(tmp_path / "out"):
        pass
    assert (tmp_path / "out" / "a").read_text() == "old"


def test_overwriting_replaces_the_whole_folder(tmp_path: Path) -> None:
    make(tmp_path / "out", "old")
    (tmp_path / "out" / "stale").write_text("x")
    make(tmp_path / "out", "new", overwrite=True)
    assert names(tmp_path) == ["out"] and names(tmp_path / "out") == ["a"]


def test_a_killed_run_leaves_nothing_at_the_path_and_the_next_run_cleans_up(tmp_path: Path) -> None:
    out = tmp_path / "out"
    assert run(KILLED, out) == -signal.SIGKILL
    assert not out.exists() and len(names(tmp_path)) == 1
    make(out, "second")
    assert names(tmp_path) == ["out"] and (out / "a").read_text() == "second"


def test_killed_between_the_two_renames_the_old_folder_comes_back(tmp_path: Path) -> None:
    out = tmp_path / "out"
    make(out, "old")
    assert run(KILLED_BETWEEN_RENAMES, out) == -signal.SIGKILL
    assert not out.exists()
    with pytest.raises(ZeroDivisionError), new_folder(out, overwrite=True):
        raise ZeroDivisionError
    assert (out / "a").read_text() == "old" and names(tmp_path) == ["out"]


def test_the_partial_folder_of_a_live_process_stays(tmp_path: Path) -> None:
    with new_folder(tmp_path / "out") as first:
        make(tmp_path / "out", "the other run")
        assert first.exists()
        # the race is decided by the rename: a folder that is not empty cannot be replaced by it
        (first / "a").write_text("late")
        os.rename(tmp_path / "out", tmp_path / "elsewhere")
    assert (tmp_path / "out" / "a").read_text() == "late"
