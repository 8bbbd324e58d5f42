"""Files in: single, sharded, sub-folders, trainer folders, and everything that is damaged."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from safetensors import SafetensorError, safe_open

from hf_soups import CheckpointError
from hf_soups.checkpoint import LocalFiles, Origin, Spec, Stored, header
from tests.models import write_safetensors

TENSORS: dict[str, np.ndarray] = {
    "layer.weight": np.arange(12, dtype=np.float32).reshape(3, 4),
    "layer.bias": np.array([1, -2, 3], dtype=np.float16),
    "half": np.arange(5).astype(ml_dtypes.bfloat16),
    "scalar": np.array(7.0, dtype=np.float32),
    "empty": np.zeros((0, 3), dtype=np.float32),
    "ids": np.arange(4, dtype=np.int64),
    "mask": np.array([True, False]),
}


def stored(folder: Path, stem: str = "model") -> Stored:
    return Stored(LocalFiles(folder), Origin(name=folder.name), stem)


def sharded(folder: Path) -> Path:
    names = list(TENSORS)
    parts = {"model-00001-of-00002.safetensors": names[:3], "model-00002-of-00002.safetensors": names[3:]}
    for file, own in parts.items():
        write_safetensors(folder / file, {n: TENSORS[n] for n in own})
    index = {"metadata": {}, "weight_map": {n: f for f, own in parts.items() for n in own}}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    return folder


def single(folder: Path) -> Path:
    write_safetensors(folder / "model.safetensors", TENSORS)
    return folder


@pytest.mark.parametrize("write", [single, sharded])
def test_a_folder_reads_as_the_tensors_that_were_saved(tmp_path: Path, write: Callable[[Path], Path]) -> None:
    checkpoint = stored(write(tmp_path / "m"))
    assert set(checkpoint) == set(TENSORS)
    for name, expected in TENSORS.items():
        assert checkpoint[name].dtype == expected.dtype and checkpoint[name].shape == expected.shape
        assert np.array_equal(checkpoint[name], expected)


def test_a_range_of_elements_is_that_range_of_the_flattened_tensor(tmp_path: Path) -> None:
    checkpoint = stored(single(tmp_path / "m"))
    assert checkpoint.read("layer.weight", 5, 9).tolist() == [5, 6, 7, 8]
    assert checkpoint.read("half", 2, 2).size == 0


def test_a_trainer_checkpoint_folder_is_a_checkpoint_and_its_parent_says_which_there_are(tmp_path: Path) -> None:
    single(tmp_path / "run" / "checkpoint-500")
    single(tmp_path / "run" / "checkpoint-1000")
    (tmp_path / "run" / "checkpoint-500" / "optimizer.pt").write_bytes(b"not opened")
    assert len(stored(tmp_path / "run" / "checkpoint-500")) == len(TENSORS)
    with pytest.raises(CheckpointError, match="checkpoint-500, checkpoint-1000"):
        stored(tmp_path / "run")


def test_pickle_only_folders_are_refused_with_the_way_out(tmp_path: Path) -> None:
    (tmp_path / "pytorch_model.bin").write_bytes(b"pickle")
    with pytest.raises(CheckpointError, match=r"pickle.*save_pretrained"):
        stored(tmp_path)


def test_an_index_that_names_a_file_elsewhere_is_refused(tmp_path: Path) -> None:
    single(tmp_path / "other")
    folder = tmp_path / "m"
    folder.mkdir()
    index = {"weight_map": {"half": "../other/model.safetensors"}}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    with pytest.raises(CheckpointError, match=r"\.\./other/model\.safetensors"):
        stored(folder)


def test_index_and_shards_that_disagree_are_refused_with_the_names(tmp_path: Path) -> None:
    folder = sharded(tmp_path / "m")
    path = folder / "model.safetensors.index.json"
    index = json.loads(path.read_text())
    index["weight_map"]["phantom"] = index["weight_map"].pop("half")
    path.write_text(json.dumps(index))
    with pytest.raises(CheckpointError, match=r"phantom.*half"):
        stored(folder)


def test_one_tensor_in_two_shards_is_refused(tmp_path: Path) -> None:
    folder = sharded(tmp_path / "m")
    write_safetensors(folder / "model-00002-of-00002.safetensors", TENSORS)
    with pytest.raises(CheckpointError, match="another shard"):
        stored(folder)


@pytest.mark.parametrize("size", [0, 4, 20, 200, -1])
def test_a_truncated_file_is_named(tmp_path: Path, size: int) -> None:
    file = single(tmp_path / "m") / "model.safetensors"
    file.write_bytes(file.read_bytes()[:size])
    with pytest.raises(CheckpointError, match=r"model\.safetensors.*(truncated|too short|damaged)"):
        stored(tmp_path / "m")


def test_a_huge_header_length_is_refused_before_anything_is_allocated(tmp_path: Path) -> None:
    (tmp_path / "model.safetensors").write_bytes((2**62).to_bytes(8, "little") + b"{}")
    with pytest.raises(CheckpointError, match="not a safetensors file"):
        stored(tmp_path)


def test_a_checkpoint_without_tensors_is_refused(tmp_path: Path) -> None:
    write_safetensors(tmp_path / "one" / "model.safetensors", {})
    with pytest.raises(CheckpointError, match="holds no tensors"):
        stored(tmp_path / "one")
    (tmp_path / "model.safetensors.index.json").write_text(json.dumps({"weight_map": {}}))
    with pytest.raises(CheckpointError, match="holds no tensors"):
        stored(tmp_path)


def by_hand(folder: Path, name: str, dtype: str, size: int) -> Path:
    """A file with one tensor of 4 elements."""
    header = json.dumps({name: {"dtype": dtype, "shape": [4], "data_offsets": [0, 4 * size]}}).encode()
    (folder / "model.safetensors").write_bytes(len(header).to_bytes(8, "little") + header + bytes(4 * size))
    return folder


@pytest.mark.parametrize("dtype", ["F8_E4M3", "F8_E5M2"])
def test_8_bit_floats_without_scales_are_numbers(tmp_path: Path, dtype: str) -> None:
    assert stored(by_hand(tmp_path, "layer.weight", dtype, 1))["layer.weight"].astype(np.float32).tolist() == [0] * 4


@pytest.mark.parametrize(
    ("weight", "kind", "scale"),
    [
        ("layer.weight", ml_dtypes.float8_e4m3fn, "layer.weight_scale"),
        ("layer.weight", ml_dtypes.float8_e4m3fn, "layer.weight_scale_inv"),
        ("layer.weight", np.int8, "layer.SCB"),
        ("layer.weight", np.uint8, "layer.weight.absmax"),
        ("layer.qweight", np.int32, "layer.scales"),
    ],
)
def test_codes_that_need_scales_are_refused(tmp_path: Path, weight: str, kind: Any, scale: str) -> None:
    tensors = {weight: np.ones(4, kind), scale: np.ones(1, np.float32)}
    head = header.build({n: Spec(t.shape, t.dtype) for n, t in tensors.items()}, {})
    (tmp_path / "model.safetensors").write_bytes(head + b"".join(t.tobytes() for t in tensors.values()))
    with pytest.raises(CheckpointError, match=rf"{re.escape(weight)}: .* that need the scales stored beside them"):
        stored(tmp_path)


def test_a_tensor_name_that_is_not_unicode_text_is_refused_when_read(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="not Unicode text") as caught:
        stored(by_hand(tmp_path, "a\ud800", "F32", 4))
    str(caught.value).encode()  # the message itself can be printed


ORIGINAL: dict[str, np.ndarray] = {"a": np.arange(6, dtype=np.float32), "b": np.ones((2, 2), np.float16)}


@given(position=st.integers(0, 400), value=st.integers(0, 255))
def test_a_changed_byte_is_refused_or_read_as_safetensors_reads_it(
    tmp_path_factory: pytest.TempPathFactory, position: int, value: int
) -> None:
    folder = tmp_path_factory.mktemp("fuzz")
    file = write_safetensors(folder / "model.safetensors", ORIGINAL)
    content = bytearray(file.read_bytes())
    content[position % len(content)] = value
    file.write_bytes(content)
    try:
        ours = stored(folder)
    except CheckpointError:
        return
    try:
        with safe_open(file, "numpy") as theirs:
            assert set(theirs.keys()) == set(ours)
            for name in ours:
                assert np.array_equal(theirs.get_tensor(name), ours[name], equal_nan=True)
    except (SafetensorError, TypeError, AttributeError):  # a dtype that NumPy lacks: ours may still read it
        pass
