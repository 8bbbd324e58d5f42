"""Reading ahead: few requests for many little reads, each block once, little in memory."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

import pytest

from hf_soups.hub import ahead
from hf_soups.hub.ahead import Blocks, Reading

CONTENT = bytes(range(256)) * 40  # 10,240 bytes: ten blocks and a bit
ORDER = list(range(0, len(CONTENT), 100))


@dataclass
class Recorded:
    """A file that remembers what was asked of it. broken: blocks that fail, each once."""

    where: str = "repo/file"
    size: int = len(CONTENT)
    asked: list[tuple[int, int]] = field(default_factory=list)
    broken: set[int] = field(default_factory=set)

    def fetch(self, start: int, length: int) -> bytes:
        self.asked.append((start, length))
        if start in self.broken:
            self.broken.remove(start)
            raise OSError("gone")
        return CONTENT[start : start + length]


@pytest.fixture(autouse=True)
def _small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ahead, "BLOCK", 1000)


def read(blocks: Blocks, file: Recorded, start: int) -> bytes:
    return blocks.read(file, start, min(100, file.size - start))


@pytest.mark.parametrize("threads", [1, 4])
def test_little_reads_in_order_fetch_each_block_once(threads: int) -> None:
    file, blocks = Recorded(), Blocks(Reading(ahead=True))
    with ThreadPoolExecutor(threads) as pool:
        parts = list(pool.map(lambda start: read(blocks, file, start), ORDER))
    assert b"".join(parts) == CONTENT
    blocks_of_file = [(start, min(1000, file.size - start)) for start in range(0, file.size, 1000)]
    # a thread that was held up may find its block gone, so that only one thread alone is sure to fetch each once
    assert sorted(file.asked if threads == 1 else set(file.asked)) == blocks_of_file


def test_a_read_over_several_blocks_and_any_order_is_right() -> None:
    file, blocks = Recorded(), Blocks(Reading(ahead=True))
    for start, length in [(950, 100), (0, 10_240), (7_999, 2), (10_239, 1), (0, 1), (1_000, 1_000)]:
        assert blocks.read(file, start, length) == CONTENT[start : start + length]


def test_the_next_block_is_asked_for_before_it_is_needed() -> None:
    file, blocks = Recorded(), Blocks(Reading(ahead=True))
    read(blocks, file, 0)
    for thread in threading.enumerate():
        if thread is not threading.current_thread() and thread.daemon and "_fill_in_advance" in thread.name:
            thread.join()
    assert sorted(file.asked) == [(0, 1000), (1000, 1000)]


def test_no_more_than_a_few_blocks_are_held() -> None:
    blocks = Blocks(Reading(ahead=True))
    for number in range(5):
        file = Recorded(where=f"repo/{number}")
        for start in ORDER:
            read(blocks, file, start)
    assert len(blocks._held) <= ahead.KEEP


def test_a_failure_reaches_who_waits_and_is_not_remembered() -> None:
    file, blocks = Recorded(broken={0}), Blocks(Reading(ahead=True))
    with pytest.raises(OSError, match="gone"):
        read(blocks, file, 0)
    assert read(blocks, file, 0) == CONTENT[:100]


def test_what_was_asked_in_advance_is_dropped_when_the_merge_is_over() -> None:
    file, reading = Recorded(), Reading(ahead=False)
    assert read(Blocks(reading), file, 0) == CONTENT[:100]
    assert file.asked == [(0, 1000)]
