"""Ranges of remote files: what a broken connection brought is kept, and a changed file is not mixed in."""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from hf_soups import HubError, Ingredient, Recipe
from hf_soups.checkpoint import Checkpoint
from hf_soups.hub import ranges
from hf_soups.hub.opening import Opener
from tests.local_hub import Answer, Entry, LocalHub, Request, Response, faults
from tests.models import write_safetensors

STORAGE = r"GET /storage/.*model\.safetensors"
VALUES = np.arange(300_000, dtype=np.float32)  # 1.2 MB


@pytest.fixture(autouse=True)
def _hurry(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ranges, "FIRST_WAIT", 0.001)
    monkeypatch.setattr(ranges, "LONGEST_WAIT", 0.01)


@pytest.fixture
def remote(hub: LocalHub, repo_id: str, tmp_path: Path, dialect: str) -> Checkpoint:
    """One tensor `w` of VALUES on the Hub, its header read."""
    return published(hub, repo_id, tmp_path)


@pytest.fixture
def plain(hub: LocalHub, repo_id: str, tmp_path: Path) -> Checkpoint:
    """The same, where the dialect makes no difference."""
    return published(hub, repo_id, tmp_path)


def published(hub: LocalHub, repo_id: str, folder: Path) -> Checkpoint:
    write_safetensors(folder / "m" / "model.safetensors", {"w": VALUES})
    hub.publish(repo_id, folder / "m")
    opener = Opener()
    checkpoint = opener.headers(opener.pin(Recipe(ingredients=(Ingredient(repo_id),))).ingredients[0])
    hub.clear_log()
    return checkpoint


def bounds(entry: Entry) -> tuple[int, int]:
    first, last = str(entry.range).removeprefix("bytes=").split("-")
    return int(first), int(last)


def test_a_dropped_connection_resumes_at_the_byte_reached(hub: LocalHub, remote: Checkpoint) -> None:
    with hub.fault(STORAGE, faults.cut(after=500_000), times=1):
        assert np.array_equal(remote["w"], VALUES)
    first, second = (e for e in hub.log(STORAGE))
    assert bounds(second) == (bounds(first)[0] + 500_000, bounds(first)[1])
    assert hub.bytes_sent(STORAGE) == VALUES.nbytes  # each byte was paid for once


def test_any_number_of_drops_is_survived_while_something_comes(hub: LocalHub, plain: Checkpoint) -> None:
    with hub.fault(STORAGE, faults.cut(after=100_000)) as rule:
        assert np.array_equal(plain["w"], VALUES)
    assert rule.matched == 12 > ranges.TRIES
    assert hub.bytes_sent(STORAGE) == VALUES.nbytes


def test_a_connection_that_stays_dead_is_one_error_that_names_file_and_tensor(
    hub: LocalHub, plain: Checkpoint, repo_id: str
) -> None:
    with (
        hub.fault(STORAGE, faults.drop, skip=1),
        hub.fault(STORAGE, faults.cut(after=500_000), times=1),
        pytest.raises(HubError) as caught,
    ):
        plain.read("w", 0, VALUES.size)
    text = str(caught.value)
    assert text.startswith(f"w: {repo_id}@") and "/model.safetensors: stopped at byte 500," in text
    assert "\n" not in text and "CANARY" not in text and "/storage/" not in text


def test_an_answer_that_ends_early_without_an_error_is_completed(hub: LocalHub, plain: Checkpoint) -> None:
    with hub.fault(STORAGE, faults.truncate(700_000), times=1):
        assert np.array_equal(plain["w"], VALUES)
    with hub.fault(STORAGE, faults.truncate(0)), pytest.raises(HubError, match="the answer ended early"):
        plain.read("w", 0, 4)


def test_a_connection_that_stalls_is_given_up_and_resumed(
    hub: LocalHub, plain: Checkpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_DOWNLOAD_TIMEOUT", 0.3)
    with hub.fault(STORAGE, faults.stall(2.0, after=300_000), times=1):
        assert np.array_equal(plain["w"], VALUES)
    assert bounds(hub.log(STORAGE)[1])[0] > 300_000


@pytest.mark.parametrize("status", [429, 500, 503])
def test_a_busy_server_is_asked_again_when_it_says(hub: LocalHub, plain: Checkpoint, status: int) -> None:
    begun = time.monotonic()
    with hub.fault(STORAGE, faults.status(status, retry_after=1), times=1):
        assert np.array_equal(plain["w"], VALUES)
    assert time.monotonic() - begun >= 1.0


def test_a_server_without_ranges_costs_more_and_gives_the_same(hub: LocalHub, plain: Checkpoint) -> None:
    def whole(request: Request, answer: Answer) -> Response:
        del request.headers["Range"]
        return answer()

    with hub.fault(STORAGE, whole):
        assert np.array_equal(plain.read("w", 1000, 1010), VALUES[1000:1010])
        with hub.fault(STORAGE, faults.cut(after=600_000), times=1):
            assert np.array_equal(plain["w"], VALUES)
    assert {e.status for e in hub.log(STORAGE)} == {200}


def test_the_way_to_a_file_is_asked_once_and_again_when_its_signature_expires(
    hub: LocalHub, remote: Checkpoint
) -> None:
    for start in range(0, 1000, 100):
        assert np.array_equal(remote.read("w", start, start + 100), VALUES[start : start + 100])
    assert len(hub.log(r"GET /org.*/resolve/")) <= 1 and len(hub.log(STORAGE)) == 10
    for status in (401, 403, 404):
        hub.clear_log()
        with hub.fault(STORAGE, faults.status(status), times=1):
            assert np.array_equal(remote["w"], VALUES)
        assert [e.line.split("/")[1] for e in hub.log("model.safetensors")][0::2] == ["storage", "storage"]
        assert len(hub.log(r"GET /org.*/resolve/")) == 1


def test_a_file_that_is_gone_is_no_endless_loop(hub: LocalHub, plain: Checkpoint, repo_id: str) -> None:
    with hub.fault(STORAGE, faults.status(403)), pytest.raises(HubError, match="file storage answers 403"):
        plain.read("w", 0, 4)
    hub.api().delete_repo(repo_id)
    with hub.fault(STORAGE, faults.status(404)), pytest.raises(HubError, match="not found, or private"):
        plain.read("w", 0, 4)


def test_the_token_goes_to_the_hub_and_to_no_other_host(hub: LocalHub, remote: Checkpoint) -> None:
    hub.clear_log()
    with hub.fault(STORAGE, faults.status(403), times=1):
        remote.read("w", 0, 4)
    asked = hub.log("model.safetensors")
    assert {(e.host.split(":")[0], e.has_authorization) for e in asked} == {("127.0.0.1", True), ("localhost", False)}


def headers(**changed: str) -> Callable[[Request, Answer], Response]:
    def fault(request: Request, answer: Answer) -> Response:
        response = answer()
        response.headers |= {name.replace("_", "-"): value for name, value in changed.items()}
        return response

    return fault


RESOLVE = r"GET /org.*/resolve/.*model\.safetensors"


@pytest.mark.parametrize(
    ("where", "fault", "says"),
    [
        (STORAGE, headers(ETag='"other"'), "its ETag is another"),
        (STORAGE, headers(Content_Range="bytes 0-15/99"), "it has 99 bytes"),
        (STORAGE, faults.status(416), "it has fewer than"),
        (RESOLVE, headers(X_Repo_Commit="0" * 40), "it is of commit 000000000000"),
        (RESOLVE, headers(X_Linked_Etag='"other"'), "its sha256 is other"),
    ],
)
def test_a_file_that_changed_meanwhile_is_refused(
    hub: LocalHub, plain: Checkpoint, where: str, fault: faults.Fault, says: str
) -> None:
    first = faults.cut(after=100) if where == STORAGE else faults.status(403)  # else the way is not asked again
    with (
        hub.fault(where, fault, skip=1 if where == STORAGE else 0),
        hub.fault(STORAGE, first, times=1),
        pytest.raises(HubError, match=rf"w: .*model\.safetensors: changed while it was read: {says}"),
    ):
        plain.read("w", 0, VALUES.size)


def test_a_weak_tag_of_a_proxy_is_no_change(hub: LocalHub, plain: Checkpoint) -> None:
    sha256 = plain.origin.sha256[0][1]
    with hub.fault(STORAGE, headers(ETag=f'W/"{sha256}"')):
        assert np.array_equal(plain["w"], VALUES)


def test_threads_read_one_file_at_the_same_time_through_drops(hub: LocalHub, plain: Checkpoint) -> None:
    step = 10_000
    with hub.fault(STORAGE, faults.cut(after=15_000), skip=3), ThreadPoolExecutor(8) as pool:
        parts = list(pool.map(lambda start: plain.read("w", start, start + step), range(0, VALUES.size, step)))
    assert np.array_equal(np.concatenate(parts), VALUES)
