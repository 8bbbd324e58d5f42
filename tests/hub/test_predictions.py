"""Predictions in a dataset of the Hub: what one machine computed, no other computes again."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from huggingface_hub import get_token
from numpy.typing import NDArray

from hf_soups.errors import HubError
from hf_soups.evaluation.cache import Predictions
from hf_soups.hub.predictions import Shared, predictions
from tests.evaluation.conftest import dense
from tests.local_hub import LocalHub, faults

LOGITS = np.random.default_rng(0).normal(size=(8, 3)).astype(np.float32)
FIRST, LATER = np.arange(4), np.arange(4, 8)
Machine = Callable[[str], None]


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Machine:
    """Go to another machine: a cache of its own."""
    return lambda name: monkeypatch.setenv("HF_SOUPS_CACHE", str(tmp_path / name))


@pytest.fixture
def dataset(namespace: str, machine: Machine) -> str:
    machine("first")
    return f"{namespace}/predictions"


def key(name: str) -> str:
    return Predictions("unused").key(name, "rows", {})


def files(hub: LocalHub, dataset: str) -> list[str]:
    return [f for f in hub.api().list_repo_files(dataset, repo_type="dataset") if f[0] not in ".R"]


def commits(hub: LocalHub, dataset: str) -> int:
    return len(hub.api().list_repo_commits(dataset, repo_type="dataset"))


def keep(dataset: str, *names: str, logits: NDArray[np.float32] = LOGITS) -> None:
    with predictions(f"hf://datasets/{dataset}") as cache:
        for name in names:
            cache.put(key(name), logits)


def test_another_machine_finds_what_the_first_one_computed(hub: LocalHub, dataset: str, machine: Machine) -> None:
    keep(dataset, "a", "b")
    assert hub.api().dataset_info(dataset).private
    assert files(hub, dataset) == sorted(f"{key(n)[:2]}/{key(n)}.arrow" for n in "ab")
    assert commits(hub, dataset) == 2  # the Hub's own, and one for both
    machine("second")
    said: list[str] = []
    with predictions(f"hf://datasets/{dataset}", tell=said.append) as cache:
        for name in "ab":
            assert dense(cache.get(key(name))).tobytes() == LOGITS.tobytes()
    size = sum(path.stat().st_size for path in Predictions().folder.rglob("*.arrow"))
    assert said == [f"fetching 2 predictions ({size:,} bytes) from hf://datasets/{dataset}"]
    assert commits(hub, dataset) == 2  # nothing new, nothing sent
    hub.clear_log()
    with predictions(f"hf://datasets/{dataset}"):
        assert not hub.log(r"GET .*\.arrow")  # they are here by now


def test_a_killed_run_goes_on_elsewhere_at_its_batch(hub: LocalHub, dataset: str, machine: Machine) -> None:
    with pytest.raises(KeyboardInterrupt), predictions(f"hf://datasets/{dataset}") as cache:
        with cache.gathering(key("a")) as keep_batch:
            keep_batch(FIRST, list(LOGITS[:4]))
        raise KeyboardInterrupt
    (part,) = files(hub, dataset)
    assert part.startswith(f"{key('a')[:2]}/{key('a')}.") and part.endswith(".part")
    machine("second")
    with predictions(f"hf://datasets/{dataset}") as cache:
        ((rows, found),) = cache.pieces(key("a"))
        assert np.array_equal(rows, FIRST) and dense(found).tobytes() == LOGITS[:4].tobytes()
        cache.put(key("a"), LOGITS, [(FIRST, LOGITS[:4]), (LATER, LOGITS[4:])])
    assert files(hub, dataset) == [f"{key('a')[:2]}/{key('a')}.arrow"]  # the batches went with the same commit
    machine("first")  # has the batches still
    with predictions(f"hf://datasets/{dataset}") as cache:
        assert dense(cache.get(key("a"))).tobytes() == LOGITS.tobytes()


def test_batches_that_grew_replace_those_that_were_sent(hub: LocalHub, dataset: str, machine: Machine) -> None:
    cache = Predictions()
    shared = Shared(dataset, cache, None, lambda text: None)
    shared.fetch()
    with cache.gathering(key("a")) as keep_batch:
        keep_batch(FIRST, list(LOGITS[:4]))
        assert shared.send() == 1
        assert shared.send() == 0
        machine("second")
        keep(dataset)  # another machine has them as they are now
        keep_batch(LATER, list(LOGITS[4:]))
        assert shared.send() == 1
    assert len(files(hub, dataset)) == 1
    with predictions(f"hf://datasets/{dataset}") as other:
        assert sum(len(rows) for rows, _ in other.pieces(key("a"))) == 8


def test_only_what_the_work_asked_for_is_sent(hub: LocalHub, dataset: str) -> None:
    Predictions().put(key("private"), LOGITS)
    Predictions().put(key("used"), LOGITS)
    with predictions(f"hf://datasets/{dataset}") as cache:
        assert cache.get(key("used")) is not None
    assert files(hub, dataset) == [f"{key('used')[:2]}/{key('used')}.arrow"]


def test_much_is_sent_while_the_work_goes_on(hub: LocalHub, dataset: str) -> None:
    shared = Shared(dataset, Predictions(), None, lambda text: None, every=0.05)
    shared.fetch()
    with shared.sending():
        shared.cache.put(key("a"), LOGITS)
        deadline = time.monotonic() + 20
        while not files(hub, dataset) and time.monotonic() < deadline:
            time.sleep(0.05)
        assert files(hub, dataset)


def test_of_two_machines_at_once_both_are_kept(hub: LocalHub, dataset: str, machine: Machine) -> None:
    with predictions(f"hf://datasets/{dataset}") as cache:
        cache.put(key("a"), LOGITS)
        cache.put(key("both"), LOGITS)
        machine("second")
        keep(dataset, "b", "both")  # the branch has moved when the first one commits
    assert files(hub, dataset) == sorted(f"{key(n)[:2]}/{key(n)}.arrow" for n in ("a", "b", "both"))
    assert [entry.status for entry in hub.log(r"POST .*/commit/")] == [200, 412, 200]


def test_a_damaged_file_counts_as_absent_and_is_mended(hub: LocalHub, dataset: str, machine: Machine) -> None:
    keep(dataset, "a", "b")
    name = f"{key('a')[:2]}/{key('a')}.arrow"
    content = bytearray((Predictions().folder / name).read_bytes())
    content[len(content) // 2] ^= 1
    hub.publish(dataset, {name: bytes(content)}, repo_type="dataset")
    machine("second")
    with predictions(f"hf://datasets/{dataset}") as cache:
        assert cache.get(key("a")) is None and cache.get(key("b")) is not None
        cache.put(key("a"), LOGITS)
    machine("third")
    with predictions(f"hf://datasets/{dataset}") as cache:
        assert cache.get(key("a")) is not None


def test_nothing_but_predictions_is_fetched(hub: LocalHub, dataset: str, tmp_path: Path) -> None:
    strange = ["evil.pkl", f"{key('a')}.arrow", f"00/{key('a')}.arrow", f"{key('a')[:2]}/{key('a')}.arrow.pkl"]
    strange += [f"{key('a')[:2]}/{key('a')}.{'0' * 32}.part/evil.py", f"x/{key('a')[:2]}/{key('a')}.arrow"]
    hub.publish(dataset, {name: b"cos\nsystem\n" for name in strange}, repo_type="dataset")
    with predictions(f"hf://datasets/{dataset}") as cache:
        assert not cache.folder.exists()
    assert not hub.log("GET .*(evil|arrow)")


def test_what_cannot_be_sent_stays_and_is_said(hub: LocalHub, dataset: str) -> None:
    said: list[str] = []
    with predictions(f"hf://datasets/{dataset}", tell=said.append) as cache:
        cache.put(key("a"), LOGITS)
        hub.api().delete_repo(dataset, repo_type="dataset")
    assert f"predictions were not sent: hf://datasets/{dataset}: not found" in said[-1]
    assert str(cache.folder) in said[-1]
    assert Predictions().get(key("a")) is not None


def test_a_server_that_is_busy_for_a_moment_is_asked_again(hub: LocalHub, dataset: str, machine: Machine) -> None:
    keep(dataset, "a")
    machine("second")
    with hub.fault(r"GET /storage/.*arrow", faults.status(503), times=1):
        keep(dataset)
    assert Predictions().get(key("a")) is not None


@pytest.mark.parametrize("place", ["hf://org/name", "hf://datasets/name", "hf://datasets/a/b/c", "hf://datasets/../a"])
def test_a_place_is_a_folder_or_a_dataset(place: str) -> None:
    with (
        pytest.raises(HubError, match=r"in a folder or in a dataset; write hf://datasets/ORG/NAME"),
        predictions(place),
    ):
        pass


def test_who_may_not_write_is_told_before_the_work(
    hub: LocalHub, dataset: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    keep(dataset, "a")
    for token, reason in ((hub.read_token, "write access"), (hub.other_token, "may not do this")):
        with pytest.raises(HubError, match=reason), predictions(f"hf://datasets/{dataset}", token):
            raise AssertionError("no work was to be done")
    monkeypatch.delenv("HF_TOKEN")
    assert get_token() is None
    with pytest.raises(HubError, match=r"takes a token that may write"), predictions(f"hf://datasets/{dataset}"):
        pass
