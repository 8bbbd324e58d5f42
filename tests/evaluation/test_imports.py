"""The package is there at once; its libraries come when they are needed."""

from __future__ import annotations

import subprocess
import sys

import pytest

import hf_soups.evaluation


def test_importing_the_package_loads_no_heavy_library() -> None:
    heavy = ("torch", "transformers", "datasets", "evaluate", "sklearn", "pandas", "pyarrow", "accelerate", "scipy")
    script = f"""
import sys
import hf_soups.evaluation
import hf_soups.evaluation.evaluator, hf_soups.evaluation.predict, hf_soups.evaluation.inference
print([name for name in {heavy!r} if name in sys.modules])
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_every_public_name_is_there() -> None:
    for name in hf_soups.evaluation.__all__:
        assert getattr(hf_soups.evaluation, name) is not None
    with pytest.raises(AttributeError, match="no attribute 'Evaluater'"):
        hf_soups.evaluation.Evaluater  # noqa: B018
