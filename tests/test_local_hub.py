"""The loopback Hub does to the real clients what the Hub does."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from httpx2 import ReadTimeout, RemoteProtocolError
from huggingface_hub import (
    CommitOperationAdd,
    CommitOperationCopy,
    CommitOperationDelete,
    HfApi,
    HfFileSystem,
    ModelCard,
    constants,
    get_token,
    hf_hub_download,
    snapshot_download,
)
from huggingface_hub.errors import (
    EntryNotFoundError,
    GatedRepoError,
    HfHubHTTPError,
    LocalEntryNotFoundError,
    NotASafetensorsRepoError,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)

from tests.local_hub import Answer, LocalHub, Request, Response, faults

WEIGHTS = os.urandom(300_000)


@pytest.fixture
def api(hub: LocalHub) -> HfApi:
    return hub.api()


@pytest.fixture
def model(hub: LocalHub, repo_id: str) -> str:
    """A repo with an LFS file, two small files, one of them in a folder, and a card."""
    files = {
        "model.safetensors": WEIGHTS,
        "config.json": b'{"model_type": "bert"}',
        "extra/notes.txt": b"hello",
        "README.md": b"---\nlicense: mit\n---\n# A model\n",
    }
    hub.publish(repo_id, files)
    return repo_id


def commit(api: HfApi, repo_id: str, files: dict[str, bytes], **options: Any) -> str:
    """Commit files and return the new sha."""
    additions = [CommitOperationAdd(path, content) for path, content in files.items()]
    return api.create_commit(repo_id, additions, commit_message="Add files", **options).oid


def safetensors_bytes(**tensors: tuple[str, list[int], int]) -> bytes:
    """A safetensors file of zeros: name=(dtype, shape, bytes)."""
    header, end = {}, 0
    for name, (dtype, shape, size) in tensors.items():
        header[name] = {"dtype": dtype, "shape": shape, "data_offsets": [end, end + size]}
        end += size
    encoded = json.dumps(header).encode()
    return len(encoded).to_bytes(8, "little") + encoded + bytes(end)


def test_the_clients_of_this_session_talk_to_the_hub_only(hub: LocalHub) -> None:
    assert hub.endpoint == constants.ENDPOINT
    assert constants.HF_HUB_CACHE.startswith(tempfile.gettempdir())
    assert get_token() == hub.token


# Repos and files


def test_a_token_tells_who_is_calling(hub: LocalHub, namespace: str) -> None:
    alice = hub.api().whoami()
    assert (alice["name"], alice["auth"]["accessToken"]["role"]) == ("alice", "write")
    assert namespace in [org["name"] for org in alice["orgs"]]
    assert hub.api(hub.read_token).whoami()["auth"]["accessToken"]["role"] == "read"
    assert hub.api(hub.other_token).whoami()["name"] == "bob"


@pytest.mark.parametrize("repo_type", ["model", "dataset", "space"])
def test_a_repo_of_each_type_can_be_created_filled_and_deleted(api: HfApi, repo_id: str, repo_type: str) -> None:
    sdk = {"space_sdk": "gradio"} if repo_type == "space" else {}
    url = api.create_repo(repo_id, repo_type=repo_type, **sdk)  # type: ignore[arg-type]
    assert (url.repo_id, url.repo_type) == (repo_id, repo_type)
    commit(api, repo_id, {"data.bin": WEIGHTS}, repo_type=repo_type)
    path = hf_hub_download(repo_id, "data.bin", repo_type=repo_type)
    assert Path(path).read_bytes() == WEIGHTS
    api.delete_repo(repo_id, repo_type=repo_type)
    assert not api.repo_exists(repo_id, repo_type=repo_type)


def test_creating_a_repo_twice_is_a_conflict_unless_allowed(api: HfApi, repo_id: str) -> None:
    api.create_repo(repo_id)
    with pytest.raises(HfHubHTTPError, match="409"):
        api.create_repo(repo_id)
    assert api.create_repo(repo_id, exist_ok=True).repo_id == repo_id


def test_files_arrive_as_they_were_sent(hub: LocalHub, api: HfApi, repo_id: str, dialect: str) -> None:
    weights = os.urandom(300_000)  # seen by no other test: the client's cache shares Xet files between repos
    api.create_repo(repo_id)
    sha = commit(api, repo_id, {"a/model.safetensors": weights, "note.txt": b"hello", "empty.txt": b""})
    folder = Path(snapshot_download(repo_id))
    assert (folder.name, api.model_info(repo_id).sha) == (sha, sha)
    assert (folder / "a/model.safetensors").read_bytes() == weights
    assert (folder / "note.txt").read_bytes() == b"hello"
    assert (folder / "empty.txt").read_bytes() == b""
    assert bool(hub.log("xet-write-token")) == bool(hub.log("xet-read-token")) == (dialect == "xet")
    assert bool(hub.log("^PUT /storage/")) == bool(hub.log("^GET /storage/")) == (dialect == "lfs")


def test_a_large_file_is_lfs_whatever_its_name(api: HfApi, repo_id: str) -> None:
    api.create_repo(repo_id)
    commit(api, repo_id, {"large.txt": bytes(10_000_000), "small.txt": bytes(9_999)})
    large, small = api.get_paths_info(repo_id, ["large.txt", "small.txt"])
    assert (large.lfs is None, small.lfs is None) == (False, True)  # type: ignore[union-attr]


def test_a_folder_can_be_uploaded(api: HfApi, repo_id: str, tmp_path: Path, dialect: str) -> None:
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "model.safetensors").write_bytes(WEIGHTS)
    (tmp_path / "config.json").write_text("{}")
    api.create_repo(repo_id)
    api.upload_folder(repo_id=repo_id, folder_path=tmp_path)
    assert set(api.list_repo_files(repo_id)) == {".gitattributes", "config.json", "sub/model.safetensors"}
    path = hf_hub_download(repo_id, "sub/model.safetensors")
    assert Path(path).read_bytes() == WEIGHTS


def test_a_file_sent_by_xet_can_be_fetched_without_xet(
    hub: LocalHub, api: HfApi, repo_id: str, monkeypatch: pytest.MonkeyPatch, xet: None
) -> None:
    api.create_repo(repo_id)
    commit(api, repo_id, {"model.safetensors": WEIGHTS})
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_DISABLE_XET", True)
    path = hf_hub_download(repo_id, "model.safetensors")
    assert Path(path).read_bytes() == WEIGHTS
    assert hub.bytes_sent("^GET /storage/") == len(WEIGHTS)


def test_shards_are_invisible_until_the_one_commit(hub: LocalHub, api: HfApi, repo_id: str, dialect: str) -> None:
    api.create_repo(repo_id)
    before = api.model_info(repo_id).sha
    shards = [CommitOperationAdd(f"model-{i}.safetensors", WEIGHTS + bytes([i])) for i in range(3)]
    for shard in shards:
        api.preupload_lfs_files(repo_id, [shard])
    assert api.model_info(repo_id).sha == before
    made = api.create_commit(repo_id, shards, commit_message="Push", parent_commit=before)
    assert len(hub.log("POST .*/commit/")) == 1
    assert [commit.commit_id for commit in api.list_repo_commits(repo_id)] == [made.oid, before]
    for i in range(3):
        path = hf_hub_download(repo_id, f"model-{i}.safetensors")
        assert Path(path).read_bytes() == WEIGHTS + bytes([i])


def test_an_object_is_sent_to_a_repo_once(hub: LocalHub, api: HfApi, model: str, namespace: str) -> None:
    commit(api, model, {"again.safetensors": WEIGHTS})
    assert len(hub.log("^PUT /storage/")) == 1
    other = api.create_repo(f"{namespace}/other").repo_id
    commit(api, other, {"model.safetensors": WEIGHTS})
    assert len(hub.log("^PUT /storage/")) == 2


def test_an_unchanged_file_makes_no_commit(api: HfApi, model: str) -> None:
    before = api.model_info(model).sha
    commit(api, model, {"model.safetensors": WEIGHTS})
    assert api.model_info(model).sha == before


def test_bytes_that_are_not_what_they_were_announced_as_are_refused(hub: LocalHub, api: HfApi, repo_id: str) -> None:
    api.create_repo(repo_id)

    def damage(request: Request, answer: Answer) -> Response:
        request.body = [b"other bytes"]
        return answer()

    with hub.fault("^PUT /storage/", damage), pytest.raises(RuntimeError) as failure:
        commit(api, repo_id, {"model.safetensors": WEIGHTS})
    assert "announced as" in str(failure.value.__cause__)


def test_files_can_be_deleted_and_copied_in_a_commit(api: HfApi, model: str) -> None:
    api.create_commit(
        model,
        [
            CommitOperationCopy("model.safetensors", "copy.safetensors"),
            CommitOperationDelete("config.json"),
            CommitOperationDelete("extra/"),
        ],
        commit_message="Tidy",
    )
    assert sorted(api.list_repo_files(model)) == [
        ".gitattributes",
        "README.md",
        "copy.safetensors",
        "model.safetensors",
    ]
    with pytest.raises(EntryNotFoundError):
        api.delete_file("no-such-file", model)


def test_a_commit_on_a_parent_that_is_no_longer_the_head_is_refused(api: HfApi, model: str) -> None:
    stale = api.model_info(model).sha
    head = commit(api, model, {"a.txt": b"1"}, parent_commit=stale)
    with pytest.raises(HfHubHTTPError) as failure:
        commit(api, model, {"b.txt": b"2"}, parent_commit=stale)
    assert failure.value.response.status_code == 412
    assert api.model_info(model).sha == head


def test_a_card_with_bad_metadata_is_refused(api: HfApi, model: str) -> None:
    bad = {
        "license: 3": "license",
        "license: [": "parsed",
        "- mit": "mapping",
        "base_model: /home/me/run-1": "base_model",
        "base_model_relation: soup": "base_model_relation",
        "model-index: [{name: x}]": "results",
    }
    for metadata, complaint in bad.items():
        with pytest.raises(ValueError, match=complaint):
            commit(api, model, {"README.md": f"---\n{metadata}\n---\n".encode()})


# Pull requests, branches, tags


def test_a_pull_request_leaves_main_alone_until_it_is_merged(api: HfApi, model: str) -> None:
    head = api.model_info(model).sha
    operations: list[CommitOperationAdd | CommitOperationDelete] = [
        CommitOperationAdd("soup.safetensors", WEIGHTS + b"!"),
        CommitOperationDelete("config.json"),
    ]
    made = api.create_commit(model, operations, commit_message="A soup", create_pr=True)
    assert (made.pr_num, made.pr_revision) == (1, "refs/pr/1")
    assert api.model_info(model).sha == head
    assert api.model_info(model, revision="refs/pr/1").sha == made.oid
    (remote,) = api.get_paths_info(model, ["soup.safetensors"], revision="refs/pr/1")
    assert remote.lfs.sha256 == hashlib.sha256(WEIGHTS + b"!").hexdigest()  # type: ignore[union-attr]
    (discussion,) = api.get_repo_discussions(model)
    assert (discussion.title, discussion.status, discussion.is_pull_request) == ("A soup", "open", True)
    commit(api, model, {"meanwhile.txt": b"on main"})
    api.merge_pull_request(model, 1)
    merged = set(api.list_repo_files(model))
    assert {"soup.safetensors", "meanwhile.txt"} <= merged and "config.json" not in merged
    details = api.get_discussion_details(model, 1)
    assert (details.status, details.merge_commit_oid) == ("merged", api.model_info(model).sha)


def test_someone_else_may_propose_but_not_commit(hub: LocalHub, model: str, tmp_path: Path) -> None:
    bob = hub.api(hub.other_token)
    with pytest.raises(HfHubHTTPError, match="403"):
        commit(bob, model, {"a.txt": b"1"})
    (tmp_path / "a.txt").write_text("1")
    made = bob.upload_folder(repo_id=model, folder_path=tmp_path, create_pr=True)
    assert made.pr_url is not None
    assert "a.txt" in bob.list_repo_files(model, revision=made.pr_revision)
    with pytest.raises(HfHubHTTPError, match="403"):
        bob.merge_pull_request(model, 1)


def test_a_discussion_is_opened_commented_and_closed(hub: LocalHub, api: HfApi, model: str) -> None:
    bob = hub.api(hub.other_token)
    opened = bob.create_discussion(model, "A question", description="Why?")
    api.comment_discussion(model, opened.num, "Because.")
    bob.change_discussion_status(model, opened.num, "closed")
    details = api.get_discussion_details(model, opened.num)
    assert (details.author, details.status, details.is_pull_request) == ("bob", "closed", False)
    assert [(event.type, event.author) for event in details.events] == [
        ("comment", "bob"),
        ("comment", "alice"),
        ("status-change", "bob"),
    ]


def test_branches_and_tags_name_commits(api: HfApi, model: str) -> None:
    first = api.model_info(model).sha
    api.create_tag(model, tag="v1")
    api.create_branch(model, branch="try/it")
    on_branch = commit(api, model, {"b.txt": b"1"}, revision="try/it")
    commit(api, model, {"c.txt": b"1"})
    refs = api.list_repo_refs(model, include_pull_requests=True)
    assert {ref.name: ref.target_commit for ref in refs.tags} == {"v1": first}
    assert {ref.name: ref.target_commit for ref in refs.branches}["try/it"] == on_branch
    assert api.model_info(model, revision="v1").sha == first
    assert first is not None and api.model_info(model, revision=first).sha == first
    with pytest.raises(HfHubHTTPError, match="409"):
        api.create_tag(model, tag="v1")
    api.delete_tag(model, tag="v1")
    api.delete_branch(model, branch="try/it")
    with pytest.raises(RevisionNotFoundError):
        api.model_info(model, revision="v1")


# What the Hub tells about a repo


def test_info_is_read_from_the_files(api: HfApi, repo_id: str) -> None:
    card = {"license": "mit", "base_model": ["org/a", "org/b"], "tags": ["model-soup"], "pipeline_tag": "fill-mask"}
    weights = safetensors_bytes(a=("F32", [2, 3], 24), b=("BF16", [5], 10), step=("I64", [], 8))
    api.create_repo(repo_id)
    files = {
        "README.md": f"---\n{yaml.safe_dump(card)}---\n# Soup\n".encode(),
        "config.json": b'{"model_type": "bert", "hidden_size": 16}',
        "model.safetensors": weights,
    }
    sha = commit(api, repo_id, files)
    info = api.model_info(repo_id, files_metadata=True)
    assert (info.sha, info.author, info.library_name, info.private) == (
        sha,
        repo_id.split("/")[0],
        "transformers",
        False,
    )
    assert info.safetensors is not None and info.config is not None and info.tags is not None
    assert info.safetensors.parameters == {"F32": 6, "BF16": 5, "I64": 1}
    assert info.safetensors.total == 12
    assert info.config["hidden_size"] == 16
    assert info.card_data is not None and info.card_data.base_model == ["org/a", "org/b"]
    assert {"license:mit", "model-soup", "base_model:merge:org/a", "base_model:org/b", "safetensors"} <= set(info.tags)
    lfs = {sibling.rfilename: sibling.lfs for sibling in info.siblings or []}["model.safetensors"]
    assert lfs is not None and lfs.sha256 == hashlib.sha256(weights).hexdigest()
    only = api.model_info(repo_id, expand=["sha"])
    assert (only.sha, only.tags) == (sha, None)


def test_sharded_weights_are_counted_and_listed_by_the_index(api: HfApi, repo_id: str) -> None:
    index = {"metadata": {"total_size": 32}, "weight_map": {"a": "m-1.safetensors", "b": "m-2.safetensors"}}
    api.create_repo(repo_id)
    files = {
        "m-1.safetensors": safetensors_bytes(a=("F32", [4], 16)),
        "m-2.safetensors": safetensors_bytes(b=("F32", [2, 2], 16)),
        "model.safetensors.index.json": json.dumps(index).encode(),
    }
    commit(api, repo_id, files)
    safetensors = api.model_info(repo_id).safetensors
    assert safetensors is not None and safetensors.total == 8
    metadata = api.get_safetensors_metadata(repo_id)
    assert metadata.sharded and metadata.parameter_count == {"F32": 8}


def test_listings_filter_by_author_name_and_tag(hub: LocalHub, api: HfApi, namespace: str) -> None:
    cards = {
        "soup-1": "base_model: [org/x, org/y]\ntags: [model-soup]",
        "soup-2": "base_model: org/x\nbase_model_relation: merge",
        "tune": "base_model: org/x",
    }
    for name, card in cards.items():
        api.create_repo(f"{namespace}/{name}", private=name == "soup-2")
        commit(api, f"{namespace}/{name}", {"README.md": f"---\n{card}\n---\n".encode()})

    def names(client: HfApi = api, **filters: Any) -> set[str]:
        return {info.id.split("/")[1] for info in client.list_models(author=namespace, **filters)}

    assert names() == {"soup-1", "soup-2", "tune"}
    assert names(search="SOUP") == {"soup-1", "soup-2"}
    assert names(filter="base_model:merge:org/x") == {"soup-1", "soup-2"}
    assert names(filter="base_model:finetune:org/x") == {"tune"}
    assert names(filter=["base_model:org/x", "model-soup"]) == {"soup-1"}
    assert names(hub.api(hub.other_token)) == {"soup-1", "tune"}
    assert next(iter(api.list_models(author=namespace, limit=1))).id == f"{namespace}/tune"


def test_long_listings_come_in_pages(hub: LocalHub, api: HfApi, model: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hub, "page_size", 2)
    entries = [entry.path for entry in api.list_repo_tree(model, recursive=True)]
    assert entries == [".gitattributes", "README.md", "config.json", "extra", "extra/notes.txt", "model.safetensors"]
    assert len(hub.log("/tree/")) == 3


def test_a_tree_can_be_walked_folder_by_folder(api: HfApi, model: str) -> None:
    assert [entry.path for entry in api.list_repo_tree(model, "extra")] == ["extra/notes.txt"]
    entry = next(iter(api.list_repo_tree(model, "extra", expand=True)))
    assert entry.last_commit is not None and entry.last_commit.title == "Add files"
    with pytest.raises(EntryNotFoundError):
        list(api.list_repo_tree(model, "missing"))


def test_checksums_can_be_verified(api: HfApi, model: str) -> None:
    snapshot_download(model)
    assert not api.verify_repo_checksums(model).mismatches


def test_evaluation_results_are_told_on_demand(api: HfApi, model: str) -> None:
    entry = {"dataset": {"id": "org/data", "task_id": "default"}, "value": 0.5}
    commit(api, model, {".eval_results/data.yaml": yaml.safe_dump([entry]).encode()})
    (result,) = api.model_info(model, expand=["evalResults"]).eval_results or []
    assert (result.dataset_id, result.task_id, result.value) == ("org/data", "default", 0.5)


# Reading by range


def test_headers_of_weights_are_read_without_the_weights(hub: LocalHub, api: HfApi, repo_id: str) -> None:
    size = 4_000_000
    api.create_repo(repo_id)
    commit(api, repo_id, {"model.safetensors": safetensors_bytes(a=("F32", [size // 4], size))})
    hub.clear_log()
    metadata = api.get_safetensors_metadata(repo_id)
    assert metadata.parameter_count == {"F32": size // 4}
    (read,) = hub.log(r"^GET /storage/.*\.safetensors")
    assert read.status == 206
    assert hub.bytes_sent(r"\.safetensors") == 100_001


def test_any_range_of_a_file_can_be_read(hub: LocalHub, model: str) -> None:
    from huggingface_hub.utils import get_session

    for name, content in {"model.safetensors": WEIGHTS, "config.json": b'{"model_type": "bert"}'}.items():
        url = f"{hub.endpoint}/{model}/resolve/main/{name}"
        for wanted, expected in {"5-9": content[5:10], "-4": content[-4:], "7-": content[7:]}.items():
            response = get_session().get(url, headers={"Range": f"bytes={wanted}"}, follow_redirects=True)
            assert (response.status_code, response.content) == (206, expected)
        beyond = get_session().get(url, headers={"Range": "bytes=999999999-"}, follow_redirects=True)
        assert (beyond.status_code, beyond.headers["Content-Range"]) == (416, f"bytes */{len(content)}")


def test_the_file_system_of_the_hub_reads_blocks(hub: LocalHub, model: str) -> None:
    with HfFileSystem(endpoint=hub.endpoint, token=hub.token).open(f"{model}/model.safetensors", block_size=1000) as f:
        f.seek(100_000)
        assert f.read(10) == WEIGHTS[100_000:100_010]
    assert hub.bytes_sent("^GET /storage/") < 5000


def test_the_token_is_not_sent_to_the_storage(hub: LocalHub, api: HfApi, model: str) -> None:
    snapshot_download(model)
    with contextlib.suppress(Exception):
        api.get_safetensors_metadata(model)  # not a real safetensors file; the reading is what counts
    hf_hub_download(model, "model.safetensors", force_download=True)
    stored = hub.log("/storage/")
    assert {entry.method for entry in stored} == {"GET", "PUT"}
    assert all(entry.host.startswith("localhost:") and not entry.has_authorization for entry in stored)
    assert all(entry.has_authorization for entry in hub.log(lambda entry: entry.host.startswith("127.0.0.1:")))


# Refusals


def test_a_bad_token_is_told_so(hub: LocalHub, model: str) -> None:
    with pytest.raises(HfHubHTTPError, match="Invalid credentials in Authorization header") as failure:
        hub.api("hf_wrong").model_info(model)
    assert type(failure.value) is HfHubHTTPError
    assert failure.value.response.status_code == 401


def test_a_private_repo_looks_like_a_missing_one(hub: LocalHub, api: HfApi, model: str) -> None:
    api.update_repo_settings(model, private=True)
    for client, status in ((hub.api(hub.other_token), 404), (hub.api(False), 401)):
        for name in (model, f"{model}-missing"):
            with pytest.raises(RepositoryNotFoundError) as failure:
                client.model_info(name)
            assert type(failure.value) is RepositoryNotFoundError
            assert failure.value.response.status_code == status
    assert api.model_info(model).private


def test_the_files_of_a_gated_repo_are_for_those_let_in(hub: LocalHub, api: HfApi, model: str) -> None:
    api.update_repo_settings(model, gated="manual")
    bob = hub.api(hub.other_token)
    assert bob.model_info(model).gated == "manual"
    for client, status in ((bob, 403), (hub.api(False), 401)):
        for attempt in (client.auth_check, lambda repo, c=client: c.hf_hub_download(repo, "config.json")):
            with pytest.raises(GatedRepoError) as failure:
                attempt(model)
            assert failure.value.response.status_code == status
    api.grant_access(model, hub.other_user)
    bob.auth_check(model)
    assert Path(bob.hf_hub_download(model, "config.json")).exists()


def test_a_read_token_reads_only(hub: LocalHub, model: str) -> None:
    reader = hub.api(hub.read_token)
    assert reader.model_info(model).sha
    for attempt in (lambda: commit(reader, model, {"a.txt": b"1"}), lambda: reader.create_repo(f"{model}-2")):
        with pytest.raises(HfHubHTTPError) as failure:
            attempt()
        assert failure.value.response.status_code == 403


def test_missing_revisions_and_files_are_told_apart(api: HfApi, model: str) -> None:
    with pytest.raises(RevisionNotFoundError):
        api.model_info(model, revision="v9")
    with pytest.raises(RevisionNotFoundError):
        hf_hub_download(model, "config.json", revision="0" * 40)
    with pytest.raises(EntryNotFoundError):
        hf_hub_download(model, "missing.json")
    assert not api.file_exists(model, "missing.json")
    with pytest.raises(NotASafetensorsRepoError):
        api.delete_file("model.safetensors", model)
        api.get_safetensors_metadata(model)


# Faults


@pytest.fixture
def no_waiting(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The client's waits between attempts: noted, not waited."""
    waits: list[float] = []
    monkeypatch.setattr(time, "sleep", waits.append)
    return waits


def test_a_bit_flip_is_returned_as_good_and_found_by_checksum(hub: LocalHub, api: HfApi, model: str) -> None:
    with hub.fault(r"^GET /storage/.*model\.safetensors", faults.flip_bit(at=7)):
        content = Path(hf_hub_download(model, "model.safetensors")).read_bytes()
    assert len(content) == len(WEIGHTS)
    assert [i for i, (got, sent) in enumerate(zip(content, WEIGHTS, strict=True)) if got != sent] == [7]
    hf_hub_download(model, "config.json")
    assert [found["path"] for found in api.verify_repo_checksums(model).mismatches] == ["model.safetensors"]


def test_a_503_on_the_file_fails_at_once(hub: LocalHub, model: str) -> None:
    with hub.fault("^GET /storage/", faults.status(503)) as rule, pytest.raises(HfHubHTTPError, match="503"):
        hf_hub_download(model, "model.safetensors")
    assert rule.matched == 1


def test_a_429_is_retried_after_the_time_asked_for(hub: LocalHub, model: str, no_waiting: list[float]) -> None:
    with hub.fault("^GET /storage/", faults.status(429, retry_after=3), times=2) as rule:
        path = hf_hub_download(model, "model.safetensors")
    assert Path(path).read_bytes() == WEIGHTS
    assert rule.matched == 3
    assert no_waiting == [4, 4]  # the client adds one second


def test_a_dropped_connection_is_resumed_where_it_broke(
    hub: LocalHub, model: str, monkeypatch: pytest.MonkeyPatch, no_waiting: list[float]
) -> None:
    monkeypatch.setattr("huggingface_hub.constants.DOWNLOAD_CHUNK_SIZE", 50_000)
    with hub.fault("^GET /storage/", faults.cut(after=120_000), times=1):
        path = hf_hub_download(model, "model.safetensors")
    assert Path(path).read_bytes() == WEIGHTS
    first, second = hub.log("^GET /storage/")
    assert (first.range, first.bytes_sent, second.range) == (None, 120_000, "bytes=100000-")


def test_a_short_body_is_a_consistency_error(hub: LocalHub, model: str) -> None:
    with hub.fault("^GET /storage/", faults.truncate(1000)), pytest.raises(OSError, match="Consistency check failed"):
        hf_hub_download(model, "model.safetensors")


def test_a_failing_head_looks_like_an_empty_cache(hub: LocalHub, model: str, no_waiting: list[float]) -> None:
    with hub.fault("^HEAD ", faults.status(500)), pytest.raises(LocalEntryNotFoundError):
        hf_hub_download(model, "config.json")


def test_a_stall_runs_into_the_clients_timeout(hub: LocalHub, api: HfApi, model: str) -> None:
    with hub.fault("/api/models/", faults.stall(10)), pytest.raises(ReadTimeout):
        api.model_info(model, timeout=0.2)
    with hub.fault("/api/models/", faults.stall(10, after=20)), pytest.raises(ReadTimeout):
        api.model_info(model, timeout=0.2)
    start = time.monotonic()
    with hub.fault("/api/models/", faults.stall(0.2, after=20)):
        assert api.model_info(model).id == model
    assert time.monotonic() - start >= 0.2


def test_a_commit_may_have_happened_although_no_answer_came(hub: LocalHub, api: HfApi, model: str) -> None:
    for fault, happened in ((faults.drop, False), (faults.lose_answer, True)):
        before = api.model_info(model).sha
        with hub.fault("POST .*/commit/", fault), pytest.raises(RemoteProtocolError):
            commit(api, model, {f"{happened}.txt": b"1"})
        assert (api.model_info(model).sha != before) == happened


def test_a_fault_can_wait_for_the_nth_request(hub: LocalHub, model: str) -> None:
    with hub.fault(r"^GET .*/resolve/.*\.(json|txt)", faults.status(503), skip=1, times=1) as rule:
        hf_hub_download(model, "config.json")
        with pytest.raises(HfHubHTTPError, match="503"):
            hf_hub_download(model, "extra/notes.txt")
        hf_hub_download(model, "extra/notes.txt")
    assert rule.matched == 3


def test_a_hook_is_called_in_the_middle_of_things(hub: LocalHub, api: HfApi, model: str) -> None:
    """Someone else commits between the client's last look and its commit."""
    head = api.model_info(model).sha

    def meanwhile(request: Request, answer: Answer) -> Response:
        commit(api, model, {"meanwhile.txt": b"1"})
        return answer()

    with hub.fault("POST .*/commit/", meanwhile, times=1), pytest.raises(HfHubHTTPError, match="412"):
        commit(api, model, {"a.txt": b"1"}, parent_commit=head)
    assert "meanwhile.txt" in api.list_repo_files(model)


# Other clients


def test_transformers_loads_what_it_pushed(hub: LocalHub, repo_id: str) -> None:
    import torch
    from transformers import AutoModel, BertModel

    bert = BertModel(tiny_bert())
    bert.push_to_hub(repo_id)
    hub.clear_log()
    loaded = AutoModel.from_pretrained(repo_id, use_safetensors=True)
    for name, tensor in bert.state_dict().items():
        assert torch.equal(tensor, loaded.state_dict()[name]), name
    assert hub.bytes_sent(r"model\.safetensors") > 0


def test_peft_loads_an_adapter_and_its_base(hub: LocalHub, namespace: str, tmp_path: Path) -> None:
    import torch
    from peft import AutoPeftModel, LoraConfig, get_peft_model
    from transformers import BertModel

    BertModel(tiny_bert()).push_to_hub(f"{namespace}/base")
    base = BertModel.from_pretrained(f"{namespace}/base")
    lora = get_peft_model(base, LoraConfig(r=2, target_modules=["query"], init_lora_weights=False))
    lora.save_pretrained(tmp_path)  # not push_to_hub: that leaves out the card which names the base
    hub.api().create_repo(f"{namespace}/lora")
    hub.api().upload_folder(repo_id=f"{namespace}/lora", folder_path=tmp_path)
    tokens = torch.tensor([[1, 2, 3]])
    loaded = AutoPeftModel.from_pretrained(f"{namespace}/lora")
    with torch.no_grad():
        assert torch.allclose(lora.eval()(tokens)[0], loaded.eval()(tokens)[0])
    tags = hub.api().model_info(f"{namespace}/lora").tags or []
    assert f"base_model:adapter:{namespace}/base" in tags


def tiny_bert() -> Any:
    from transformers import BertConfig

    return BertConfig(vocab_size=32, hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=16)


def test_datasets_loads_csv_json_and_parquet_at_a_revision(api: HfApi, repo_id: str, tmp_path: Path) -> None:
    from datasets import Dataset, load_dataset

    rows: dict[str, list[Any]] = {"text": ["a", "b", "c"], "label": [0, 1, 0]}
    Dataset.from_dict(rows).to_parquet(tmp_path / "test.parquet")
    files = {
        "data/train.csv": b"text,label\na,0\nb,1\nc,0\n",
        "data/validation.json": b"\n".join(
            json.dumps({"text": text, "label": label}).encode()
            for text, label in zip(rows["text"], rows["label"], strict=True)
        ),
        "data/test.parquet": (tmp_path / "test.parquet").read_bytes(),
    }
    for path, content in files.items():
        name = f"{repo_id}-{path.rsplit('.')[-1]}"
        api.create_repo(name, repo_type="dataset")
        sha = commit(api, name, {path: content}, repo_type="dataset")
        commit(api, name, {path: b"later, and broken"}, repo_type="dataset")
        split = path.removeprefix("data/").split(".")[0]
        assert load_dataset(name, revision=sha, split=split).to_dict() == rows


def test_a_model_card_can_be_loaded_and_pushed(api: HfApi, model: str) -> None:
    card = ModelCard.load(model)
    card.data.tags = ["model-soup"]
    card.push_to_hub(model)
    assert "model-soup" in (api.model_info(model).tags or [])


# Between runs


def test_a_store_is_found_again_by_the_next_run(tmp_path: Path, xet: None) -> None:
    with LocalHub(tmp_path) as hub:
        hub.create_org("kitchen")
        api = hub.api()
        api.create_repo("kitchen/soup", private=True)
        sha = commit(api, "kitchen/soup", {"model.safetensors": WEIGHTS, "README.md": b"---\ntags: [x]\n---\n"})
        api.create_commit("kitchen/soup", [CommitOperationAdd("a.txt", b"1")], commit_message="PR", create_pr=True)
    with LocalHub(tmp_path) as hub:
        api = hub.api()
        info = api.model_info("kitchen/soup")
        assert (info.sha, info.private, "x" in (info.tags or [])) == (sha, True, True)
        assert [discussion.title for discussion in api.get_repo_discussions("kitchen/soup")] == ["PR"]
        assert "a.txt" in api.list_repo_files("kitchen/soup", revision="refs/pr/1")
        path = api.hf_hub_download("kitchen/soup", "model.safetensors", cache_dir=tmp_path / "cache")
        assert Path(path).read_bytes() == WEIGHTS
        commit(api, "kitchen/soup", {"b.txt": b"1"}, parent_commit=sha)


def test_it_runs_from_the_command_line(tmp_path: Path) -> None:
    from huggingface_hub.utils import get_session

    command = [sys.executable, "-m", "tests.local_hub", "--store", str(tmp_path / "store")]
    with running(command) as server:
        line = server.stdout.readline()  # type: ignore[union-attr]
        assert line.startswith("export HF_ENDPOINT=http://127.0.0.1:") and f"HF_TOKEN={LocalHub.token}" in line
        endpoint = line.split()[1].removeprefix("HF_ENDPOINT=")
        answer = get_session().get(f"{endpoint}/api/models")
        assert (answer.status_code, answer.json()) == (200, [])


@contextlib.contextmanager
def running(command: list[str]) -> Iterator[subprocess.Popen[str]]:
    root = Path(__file__).parent.parent
    with subprocess.Popen(command, cwd=root, stdout=subprocess.PIPE, text=True) as process:
        try:
            yield process
        finally:
            process.terminate()
