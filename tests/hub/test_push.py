"""Publishing: one commit, complete or not at all, compared afterwards."""

from __future__ import annotations

import json
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest

from hf_soups import CheckpointError, HubError, Ingredient, Output, Recipe, Soup
from hf_soups.checkpoint import StateDict
from hf_soups.hub.opening import Opener
from hf_soups.hub.push import push
from tests.local_hub import LocalHub, faults


def finished(out: Path, value: float = 1.0, shard: int = 10**9) -> Path:
    state = {"a": np.full((100, 10), value, np.float32), "b": np.full(7, value, np.float32)}
    recipe = Recipe(ingredients=(Ingredient("x"),), output=Output(max_shard_size=shard))
    return Soup(recipe, lambda i: StateDict(state, assets={"config.json": b'{"model_type": "bert"}'})).save(out)


def weights(repo: str) -> dict[str, float]:
    opener = Opener()
    checkpoint = opener.pull(opener.pin(Recipe(ingredients=(Ingredient(repo),))).ingredients[0])
    return {name: float(checkpoint[name].reshape(-1)[0]) for name in checkpoint}


@pytest.mark.parametrize("dialect", ["lfs", "xet"], indirect=True)
def test_a_push_is_one_commit_on_top_of_the_head(hub: LocalHub, repo_id: str, tmp_path: Path, dialect: str) -> None:
    pushed = push(finished(tmp_path / "soup", shard=2000), repo_id)
    commits = hub.api().list_repo_commits(repo_id)
    assert len(commits) == 2 and commits[0].commit_id == pushed.sha
    assert pushed.sha in pushed.url
    assert weights(repo_id) == {"a": 1.0, "b": 1.0}
    lines = [e.line for e in hub.log(r"POST .*(batch|/commit/)|PUT ")]
    if dialect == "lfs":
        assert all("/commit/" not in line for line in lines[:-1]) and "/commit/" in lines[-1]


def test_pushing_again_replaces_the_weights_and_removes_stale_shards(
    hub: LocalHub, repo_id: str, tmp_path: Path
) -> None:
    push(finished(tmp_path / "many", 1.0, shard=2000), repo_id)
    push(finished(tmp_path / "one", 2.0), repo_id)
    assert weights(repo_id) == {"a": 2.0, "b": 2.0}
    names = set(hub.api().list_repo_files(repo_id))
    assert {n for n in names if "safetensors" in n} == {"model.safetensors"}


def test_a_branch_that_moves_meanwhile_is_not_overwritten(hub: LocalHub, repo_id: str, tmp_path: Path) -> None:
    from huggingface_hub import CommitOperationAdd

    push(finished(tmp_path / "one", 1.0), repo_id)
    api = hub.api()

    def somebody_else(request: object, answer: object) -> object:
        hub.clear_faults()
        api.create_commit(repo_id, [CommitOperationAdd("note.txt", b"mine")], commit_message="theirs")
        return answer()  # type: ignore[operator]

    with (
        hub.fault(r"POST .*/commit/main", somebody_else, times=1),  # type: ignore[arg-type]
        pytest.raises(HubError, match="the branch has moved"),
    ):
        push(finished(tmp_path / "two", 2.0), repo_id)
    assert weights(repo_id) == {"a": 1.0, "b": 1.0}


def test_a_pull_request_leaves_main_alone(hub: LocalHub, repo_id: str, tmp_path: Path) -> None:
    push(finished(tmp_path / "one", 1.0), repo_id)
    pushed = push(finished(tmp_path / "two", 2.0), repo_id, create_pr=True)
    assert "/discussions/1" in pushed.url
    assert weights(repo_id) == {"a": 1.0, "b": 1.0}
    assert weights(f"{repo_id}@refs/pr/1") == {"a": 2.0, "b": 2.0}


def test_whichever_request_fails_main_is_the_old_or_the_new(hub: LocalHub, repo_id: str, tmp_path: Path) -> None:
    old, new = finished(tmp_path / "old", 1.0, shard=2000), finished(tmp_path / "new", 2.0)
    seen = []
    for position in range(30):
        push(old, repo_id)
        with hub.fault("^(POST|PUT) ", faults.status(403), skip=position, times=1) as rule, suppress(HubError):
            push(new, repo_id)
        values = set(weights(repo_id).values())
        assert values in ({1.0}, {2.0})
        seen.append(values.pop())
        if rule.matched <= position:
            break
    assert seen[-1] == 2.0 and 1.0 in seen  # the last run met no fault; some fault did stop an earlier one


def test_a_read_only_token_is_explained(hub: LocalHub, repo_id: str, tmp_path: Path) -> None:
    folder = finished(tmp_path / "soup")
    push(folder, repo_id)
    with pytest.raises(HubError, match="needs write access"):
        push(folder, repo_id, token=hub.read_token)


def test_an_unfinished_or_changed_folder_is_not_pushed(hub: LocalHub, repo_id: str, tmp_path: Path) -> None:
    folder = finished(tmp_path / "soup")
    (folder / "model.safetensors").write_bytes(b"short")
    with pytest.raises(CheckpointError, match=r"model\.safetensors: not as soup\.lock\.json describes"):
        push(folder, repo_id)
    (folder / "soup.lock.json").unlink()
    with pytest.raises(CheckpointError, match="not a finished soup"):
        push(folder, repo_id)
    assert hub.log() == []


def test_a_changed_byte_is_found_before_anything_is_sent(hub: LocalHub, repo_id: str, tmp_path: Path) -> None:
    folder = finished(tmp_path / "soup")
    file = folder / "model.safetensors"
    content = bytearray(file.read_bytes())
    content[-1] ^= 1
    file.write_bytes(content)
    with pytest.raises(CheckpointError, match=r"model\.safetensors: not as soup\.lock\.json describes it; merge again"):
        push(folder, repo_id)
    assert hub.log() == []


@pytest.mark.parametrize(
    "lock",
    [
        [],
        {},
        {"outputs": []},
        {"outputs": {}},
        {"outputs": {"a": {}}},
        {"outputs": {"a": 3}},
        {"outputs": {"a": {"bytes": None, "checksum": "x"}}},
        {"outputs": {"../secret": {"bytes": 1, "checksum": "crc32:00000000"}}},
        {"outputs": {"/etc/hostname": {"bytes": 1, "checksum": "crc32:00000000"}}},
    ],
)
def test_a_lock_that_is_not_ours_is_refused(hub: LocalHub, repo_id: str, tmp_path: Path, lock: object) -> None:
    (tmp_path / "soup.lock.json").write_text(json.dumps(lock))
    with pytest.raises(CheckpointError, match=r"not a finished soup|not a file of this folder"):
        push(tmp_path, repo_id)
    assert hub.log() == []


def test_stale_files_go_from_the_top_only(hub: LocalHub, repo_id: str, tmp_path: Path) -> None:
    kept = {"onnx/model.safetensors": b"x", "onnx/adapter_config.json": b"{}", "notes.txt": b"x"}
    stale = {"adapter_model.safetensors": b"x", "adapter_config.json": b"{}", "old.safetensors.index.json": b"{}"}
    hub.publish(repo_id, kept | stale)
    push(finished(tmp_path / "soup"), repo_id)
    names = set(hub.api().list_repo_files(repo_id))
    assert set(kept) < names and not names & set(stale)
    assert weights(repo_id) == {"a": 1.0, "b": 1.0}
