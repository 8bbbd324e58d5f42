"""Files out: what the header describes, or an error."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from hf_soups import CheckpointError
from hf_soups.checkpoint import ShardWriter, Spec

SPECS = {"a": Spec((2, 3), np.dtype(np.float32))}


@pytest.mark.parametrize("rows", [0, 1, 3])
def test_a_file_with_other_bytes_than_its_header_says_is_an_error(tmp_path: Path, rows: int) -> None:
    writer = ShardWriter(tmp_path, SPECS, max_shard_size=10**9)
    with (
        pytest.raises(CheckpointError, match=r"model\.safetensors: byte .* was written never or twice"),
        writer.file("model.safetensors") as file,
    ):
        file.put("a", 0, np.ones((rows, 3), np.float32))
    assert writer.checksums == {}


def test_a_file_with_the_bytes_of_its_header_is_what_safetensors_reads(tmp_path: Path) -> None:
    from safetensors.numpy import load_file

    writer = ShardWriter(tmp_path, SPECS, max_shard_size=10**9)
    with writer.file("model.safetensors") as file:
        file.put("a", 3, np.ones(3, np.float32))
        file.put("a", 0, np.ones(3, np.float32))
    assert load_file(tmp_path / "model.safetensors")["a"].tolist() == [[1] * 3] * 2
