"""All tests talk to one loopback Hub, through the real clients."""

from __future__ import annotations

import itertools
import os
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.local_hub import LocalHub

# The clients read their settings when they are imported, and pytest imports them with the first test module:
# the Hub has to be there, and a developer's own settings gone, before that.
_CLIENTS = ("huggingface_hub", "transformers", "datasets", "peft", "evaluate")
_SETTINGS = ("HF_", "HUGGING_FACE_", "HUGGINGFACE_", "TRANSFORMERS_")

if imported := [client for client in _CLIENTS if client in sys.modules]:
    raise pytest.UsageError(f"{', '.join(imported)} imported before tests/conftest.py could point it at the test Hub")

for _name in [name for name in os.environ if name.startswith(_SETTINGS)]:
    del os.environ[_name]
_HOME = tempfile.TemporaryDirectory(prefix="hf-home-")
_HUB = LocalHub()
os.environ.update(_HUB.environment(Path(_HOME.name)))
os.environ.setdefault("OMP_NUM_THREADS", "1")  # tiny models take twice as long when threads share them

_numbers = itertools.count(1)

# Warnings are errors (pyproject.toml), but for these, which the clients cause among themselves.
_NOT_OURS = [
    # huggingface_hub 2.4 passes an open file to httpx2 as data= with each LFS upload.
    "ignore:Use 'content=<...>' to upload raw bytes/text content:DeprecationWarning",
    # peft 0.21 asks transformers for a property that transformers 5.23 has renamed.
    "ignore:`is_gradient_checkpointing` is deprecated:FutureWarning",
    # torch 2.13 compiles its own rules of forward-mode differentiation when they are first used.
    "ignore:`torch.jit.script` is deprecated:DeprecationWarning",
]


def pytest_configure(config: pytest.Config) -> None:
    for warning in _NOT_OURS:
        config.addinivalue_line("filterwarnings", warning)


def pytest_unconfigure() -> None:
    _HUB.close()
    _HOME.cleanup()


@pytest.fixture(scope="session")
def hub() -> LocalHub:
    """The Hub. Log and faults are cleared before each test; repos stay, so take names from `namespace`."""
    return _HUB


@pytest.fixture(autouse=True)
def _clear_hub() -> Iterator[None]:
    _HUB.clear_log()
    _HUB.clear_faults()
    yield
    crashes = _HUB.crashes.copy()
    _HUB.crashes.clear()
    assert not crashes, "\n".join(crashes)


@pytest.fixture
def namespace() -> str:
    """A new organisation that alice, the default user, may write to."""
    name = f"org-{next(_numbers)}"
    _HUB.create_org(name)
    return name


@pytest.fixture
def repo_id(namespace: str) -> str:
    """A name no repo has had yet; nothing is created."""
    return f"{namespace}/model"


@pytest.fixture
def xet(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let this test's clients transfer files in the Xet dialect, their default, instead of LFS."""
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_DISABLE_XET", False)


@pytest.fixture(params=["lfs", "xet"])
def dialect(request: pytest.FixtureRequest) -> str:
    """Run the test once in each transfer dialect."""
    if request.param == "xet":
        request.getfixturevalue("xet")
    return str(request.param)
