"""A prediction is made once; a damaged file is as good as none."""

from __future__ import annotations

import errno
import hashlib
import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from hf_soups.errors import EvaluationError
from hf_soups.evaluation.cache import Predictions, default_folder
from hf_soups.evaluation.outputs import Outputs, Ragged

from .conftest import dense

KINDS: dict[str, Outputs] = {
    "vectors": np.random.default_rng(1).normal(size=(7, 3)).astype(np.float32),
    "matrices": Ragged(np.random.default_rng(2).normal(size=(6, 2)).astype(np.float32), np.array([0, 2, 2, 5, 6])),
    "texts": ("a b", "", "zwölf \n"),
    "no rows": np.zeros((0, 3), np.float32),
}
LOGITS = np.random.default_rng(0).normal(size=(40, 3)).astype(np.float32)


def kept(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file()]


def test_what_was_computed_is_found_again_also_by_another_process(tmp_path: Path) -> None:
    calls = []

    def compute() -> NDArray[np.float32]:
        calls.append(1)
        return LOGITS

    predictions = Predictions(tmp_path)
    key = predictions.key("org/a@sha", "data", {"max_length": "128"})
    first = predictions.get_or_compute(key, compute)
    second = predictions.get_or_compute(key, compute)
    other = Predictions(tmp_path)
    third = other.get_or_compute(key, compute)
    assert len(calls) == 1
    assert (predictions.hits, predictions.misses, other.hits, other.misses) == (1, 1, 1, 0)
    for logits in map(dense, (first, second, third)):
        assert logits.dtype == np.float32 and logits.tobytes() == LOGITS.tobytes() and logits.shape == (40, 3)
    assert len(kept(tmp_path)) == 1


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_of_answer_comes_back_as_it_was(tmp_path: Path, kind: str) -> None:
    outputs = KINDS[kind]
    Predictions(tmp_path).put("ab" * 32, outputs)
    found = Predictions(tmp_path).get("ab" * 32)
    assert type(found) is type(outputs)
    if isinstance(found, Ragged) and isinstance(outputs, Ragged):
        assert found.values.tobytes() == outputs.values.tobytes() and np.array_equal(found.offsets, outputs.offsets)
    elif isinstance(found, np.ndarray):
        assert found.dtype == np.float32 and np.array_equal(found, dense(outputs))
    else:
        assert found == outputs


def test_the_key_changes_with_all_that_decides_the_logits() -> None:
    predictions = Predictions("unused")
    base = predictions.key("org/a@1", "data", {"max_length": "128", "tokenizer": "t"})
    assert base == predictions.key("org/a@1", "data", {"tokenizer": "t", "max_length": "128"})
    assert len(base) == 64
    others = [
        predictions.key("org/a@2", "data", {"max_length": "128", "tokenizer": "t"}),
        predictions.key("org/a@1", "more data", {"max_length": "128", "tokenizer": "t"}),
        predictions.key("org/a@1", "data", {"max_length": "64", "tokenizer": "t"}),
        predictions.key("org/a@1", "data", {"max_length": "128", "tokenizer": "u"}),
        predictions.key("org/a@1", "data", {"max_length": "128"}),
    ]
    assert len({base, *others}) == 6


@settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_a_cut_or_flipped_file_is_computed_again(tmp_path: Path, data: st.DataObject) -> None:
    predictions = Predictions(tmp_path)
    key = predictions.key("a", "b", {})
    predictions.get_or_compute(key, lambda: LOGITS)
    (path,) = kept(tmp_path)
    content = bytearray(path.read_bytes())
    if data.draw(st.booleans()):
        content = content[: data.draw(st.integers(0, len(content) - 1))]
    else:
        content[data.draw(st.integers(0, len(content) - 1))] ^= 1 << data.draw(st.integers(0, 7))
    path.write_bytes(content)
    found = dense(predictions.get_or_compute(key, lambda: LOGITS))
    assert found.tobytes() == LOGITS.tobytes() and found.shape == LOGITS.shape
    assert kept(tmp_path) == [path]


def test_a_file_under_another_key_is_not_believed(tmp_path: Path) -> None:
    predictions = Predictions(tmp_path)
    mine, yours = predictions.key("a", "b", {}), predictions.key("c", "d", {})
    predictions.get_or_compute(mine, lambda: LOGITS)
    (path,) = kept(tmp_path)
    wrong = tmp_path / yours[:2] / f"{yours}.arrow"
    wrong.parent.mkdir(exist_ok=True)
    path.rename(wrong)
    assert dense(predictions.get_or_compute(yours, lambda: LOGITS + 1)).tobytes() == (LOGITS + 1).tobytes()


def test_a_killed_writer_leaves_nothing_that_is_read(tmp_path: Path) -> None:
    """A process is killed at the moment before the rename, with all bytes on disk."""
    script = f"""
import os, signal, numpy as np
from hf_soups.evaluation.cache import Predictions
os.replace = lambda *_: os.kill(os.getpid(), signal.SIGKILL)
Predictions({str(tmp_path)!r}).get_or_compute("ab" * 32, lambda: np.ones((4, 2), dtype=np.float32))
"""
    assert subprocess.run([sys.executable, "-c", script]).returncode == -signal.SIGKILL
    assert len(kept(tmp_path)) == 1
    predictions = Predictions(tmp_path)
    assert dense(predictions.get_or_compute("ab" * 32, lambda: LOGITS)).tobytes() == LOGITS.tobytes()
    assert predictions.misses == 1


def test_processes_that_share_a_folder_do_not_meet(tmp_path: Path) -> None:
    """Two processes answer the same questions at once, batch by batch; a third one keeps reading."""
    script = f"""
import sys, time, numpy as np
from hf_soups.evaluation.cache import Predictions
cache = Predictions({str(tmp_path)!r})
while not (cache.folder / "go").exists():
    time.sleep(0.001)
for number in range(30):
    key = f"{{number % 10:064x}}"  # each of them three times
    logits = np.full((6, 2), number % 10, np.float32)
    with cache.gathering(key) as keep:
        keep(np.arange(3), list(logits[:3]))
        keep(np.arange(3, 6), list(logits[3:]))
    cache.put(key, logits)
"""
    writers = [subprocess.Popen([sys.executable, "-c", script]) for _ in range(2)]
    (tmp_path / "go").touch()
    reader = Predictions(tmp_path)
    while any(writer.poll() is None for writer in writers):
        for number in range(10):
            for rows, found in reader.pieces(f"{number:064x}"):
                assert len(rows) == len(found) and np.all(dense(found) == number)
    assert [writer.returncode for writer in writers] == [0, 0]
    assert sorted(path.name for path in kept(tmp_path)) == [*(f"{number:064x}.arrow" for number in range(10)), "go"]


def test_a_file_whose_offsets_lead_out_of_it_is_not_believed(tmp_path: Path) -> None:
    """As somebody may put it into a shared place: with the checksum of what it says."""
    import pyarrow as pa  # type: ignore[import-untyped]

    key, values = "ab" * 32, np.zeros((2, 2), np.float32)
    offsets = np.array([0, 1_000_000, 2], np.int64)
    lines = pa.FixedSizeListArray.from_arrays(pa.array(values.reshape(-1)), 2)
    array = pa.Array.from_buffers(
        pa.large_list(lines.type), 2, [None, pa.py_buffer(offsets.tobytes())], children=[lines]
    )
    together = np.zeros(2, np.int32)
    digest = hashlib.sha256(offsets.tobytes() + values.tobytes()).hexdigest()
    proof = hashlib.sha256(digest.encode() + together.tobytes()).hexdigest()
    table = pa.table({"answers": array, "batch": pa.array(together)})
    path = tmp_path / "ab" / f"{key}.arrow"
    path.parent.mkdir()
    with (
        pa.OSFile(str(path), "wb") as file,
        pa.ipc.new_file(file, table.schema.with_metadata({"key": key, "sha256": proof})) as writer,
    ):
        writer.write_table(table)
    assert Predictions(tmp_path).get(key) is None


def test_a_failed_computation_leaves_nothing(tmp_path: Path) -> None:
    def fail() -> NDArray[np.float32]:
        raise EvaluationError("broken weights")

    predictions = Predictions(tmp_path)
    with pytest.raises(EvaluationError, match="broken weights"):
        predictions.get_or_compute("ab" * 32, fail)
    assert not kept(tmp_path)


def test_a_full_disk_leaves_nothing_and_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "replace", full)
    with pytest.raises(EvaluationError, match="No space left on device; set HF_SOUPS_CACHE"):
        Predictions(tmp_path).get_or_compute("ab" * 32, lambda: LOGITS)
    assert not kept(tmp_path)


def test_a_folder_that_cannot_be_written_is_an_error_that_says_what_to_set(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(EvaluationError, match=r"cannot be kept in .*set HF_SOUPS_CACHE"):
        Predictions(tmp_path / "file" / "below").get_or_compute("ab" * 32, lambda: LOGITS)


def test_the_default_folder_is_beside_the_other_caches(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HOME", "/somewhere/hf")
    assert default_folder() == Path("/somewhere/hf/hf_soups/predictions")
    monkeypatch.setenv("HF_SOUPS_CACHE", "/else/where")
    assert default_folder() == Path("/else/where")
    for name in ("HF_SOUPS_CACHE", "HF_HOME", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    assert default_folder() == Path(os.path.expanduser("~/.cache/huggingface/hf_soups/predictions"))
