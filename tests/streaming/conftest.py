"""Three fine-tunes of one model on the Hub: in one file, in shards, and as an adapter on the base."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.local_hub import LocalHub
from tests.streaming.parts import adapter, in_shards, single


@pytest.fixture
def base(namespace: str) -> str:
    return f"{namespace}/base"


@pytest.fixture
def models(hub: LocalHub, namespace: str, base: str, tmp_path: Path, dialect: str) -> list[str]:
    """The three, published in each transfer dialect; their base too."""
    hub.publish(base, single(tmp_path / "base", 0))
    hub.publish(f"{namespace}/single", single(tmp_path / "single", 1))
    hub.publish(f"{namespace}/sharded", in_shards(tmp_path / "sharded", 2))
    hub.publish(f"{namespace}/lora", adapter(tmp_path / "lora", base))
    hub.clear_log()
    return [f"{namespace}/{name}" for name in ("single", "sharded", "lora")]


@pytest.fixture
def pair(hub: LocalHub, namespace: str, tmp_path: Path) -> list[str]:
    """Two of them, where the dialect makes no difference."""
    hub.publish(f"{namespace}/single", single(tmp_path / "single", 1))
    hub.publish(f"{namespace}/sharded", in_shards(tmp_path / "sharded", 2))
    hub.clear_log()
    return [f"{namespace}/{name}" for name in ("single", "sharded")]


@pytest.fixture(autouse=True)
def _small_and_quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hf_soups.hub.ranges.FIRST_WAIT", 0.001)
    monkeypatch.setattr("hf_soups.hub.ranges.LONGEST_WAIT", 0.01)
    monkeypatch.setattr("hf_soups.hub.ahead.BLOCK", 100_000)  # so that these small files have several
    monkeypatch.setattr("hf_soups.hub.ahead.KEEP", 26)  # and a piece of the merge does not need more than are kept
