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
    (folder / "soup.lock.json").touch()
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
        (folder / "soup.lock.json").touch()


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
    assert names(tmp_path) == ["out"] and names(tmp_path / "out") == ["a", "soup.lock.json"]


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


def test_what_a_killed_run_moved_aside_comes_back_before_anything_is_refused(tmp_path: Path) -> None:
    out = tmp_path / "out"
    make(out, "old")
    run(KILLED_BETWEEN_RENAMES, out)
    with pytest.raises(CheckpointError, match="not empty"):
        make(out, "new")
    assert (out / "a").read_text() == "old" and names(tmp_path) == ["out"]


def test_of_two_runs_at_once_the_first_to_finish_keeps_the_folder(tmp_path: Path) -> None:
    out = tmp_path / "out"
    with pytest.raises(CheckpointError, match=r"not empty.*--overwrite"), new_folder(out) as late:
        make(out, "first")
        assert late.exists()  # the other run leaves the partial folder of a live process alone
    assert (out / "a").read_text() == "first" and names(tmp_path) == ["out"]


def test_a_folder_that_appears_after_the_last_check_is_not_replaced(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out, rename = tmp_path / "out", os.rename

    def other_run_first(source: Path, target: Path) -> None:
        out.mkdir()
        (out / "a").write_text("first")
        rename(source, target)

    monkeypatch.setattr(os, "rename", other_run_first)
    with pytest.raises(CheckpointError, match="not empty"):
        make(out, "late")
    assert (out / "a").read_text() == "first" and names(tmp_path) == ["out"]


def test_overwriting_replaces_only_what_hf_soups_made(tmp_path: Path) -> None:
    out = tmp_path / "thesis"
    out.mkdir()
    (out / "chapter-1").write_text("years of work")
    with pytest.raises(CheckpointError, match="not made by hf_soups, so it is not replaced"):
        make(out, "new", overwrite=True)
    assert names(tmp_path) == ["thesis"] and names(out) == ["chapter-1"]
    (out / "training.json").touch()
    make(out, "new", overwrite=True)
    assert (out / "a").read_text() == "new"


def test_a_link_stays_and_the_folder_it_leads_to_is_replaced(tmp_path: Path) -> None:
    make(tmp_path / "disk" / "soup", "old")
    link = tmp_path / "out"
    link.symlink_to(tmp_path / "disk" / "soup")
    make(link, "new", overwrite=True)
    assert link.is_symlink() and (link / "a").read_text() == "new" and names(tmp_path / "disk") == ["soup"]


@pytest.mark.parametrize("overwrite", [False, True])
def test_an_empty_folder_is_always_free(tmp_path: Path, overwrite: bool) -> None:
    (tmp_path / "out").mkdir()
    make(tmp_path / "out", "new", overwrite)
    assert (tmp_path / "out" / "a").read_text() == "new" and names(tmp_path) == ["out"]
