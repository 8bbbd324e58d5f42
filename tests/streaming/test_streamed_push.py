"""Streaming to the Hub: one file on this disk at a time, one commit at the end."""

from __future__ import annotations

import json
import shutil
import tempfile
import zlib
from pathlib import Path

import pytest
from huggingface_hub import CommitOperationAdd, HfApi, hf_hub_download

from hf_soups import CheckpointError, HubError, RecipeError, merge, plan
from hf_soups.pipeline import Options, make_recipe, run
from tests.local_hub import Answer, LocalHub, Request, Response, faults

SIZE = 1_500_000  # bytes: one tensor in each output file, four files
UPLOADS = r"POST .*/preupload/|POST .*lfs/objects/batch|PUT /storage/|GET .*xet-write-token"


@pytest.fixture
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where temporary folders go, to look into."""
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    return folder


def target(namespace: str) -> str:
    return f"{namespace}/soup"


def commits(hub: LocalHub, repo: str) -> int:
    return len(hub.api().list_repo_commits(repo))


def test_a_streamed_push_is_one_commit_with_one_file_on_disk_at_a_time(
    models: list[str], hub: LocalHub, namespace: str, temporary: Path, tmp_path: Path
) -> None:
    seen: list[int] = []

    def look(request: Request, answer: Answer) -> Response:
        seen.append(len(list(temporary.rglob("*.safetensors"))))
        return answer()

    repo = target(namespace)
    with hub.fault(UPLOADS, look):
        merge(models, push_to_hub=repo, stream=True, max_shard_size=SIZE)
    assert len(seen) >= 4 and max(seen) == 1
    assert list(temporary.iterdir()) == []
    assert commits(hub, repo) == 2  # the Hub's own, and ours

    merge(models, tmp_path / "local", max_shard_size=SIZE)
    written = {p.name: p for p in (tmp_path / "local").iterdir()}
    assert set(hub.api().list_repo_files(repo)) == {*written, ".gitattributes"}
    for name in set(written) - {"README.md", "soup.lock.json"}:
        assert Path(hf_hub_download(repo, name)).read_bytes() == written[name].read_bytes(), name


def test_the_lock_of_a_streamed_push_describes_files_that_were_never_together(
    pair: list[str], namespace: str, temporary: Path, tmp_path: Path
) -> None:
    repo = target(namespace)
    outcome = run(make_recipe(pair, hub=repo, max_shard_size=SIZE), Options(stream=True))
    assert not outcome.checked
    lock = json.loads(Path(hf_hub_download(repo, "soup.lock.json")).read_text())
    assert lock["checked"] is False and len(lock["outputs"]) == 8
    for name, entry in lock["outputs"].items():
        content = Path(hf_hub_download(repo, name)).read_bytes()
        assert entry == {"bytes": len(content), "checksum": f"crc32:{zlib.crc32(content):08x}"}, name
    assert "not loaded with transformers" in Path(hf_hub_download(repo, "README.md")).read_text()


def test_a_branch_that_moves_while_it_is_streamed_is_not_overwritten(
    pair: list[str], hub: LocalHub, namespace: str, temporary: Path
) -> None:
    repo = target(namespace)
    hub.publish(repo, {"note.txt": b"first"})

    def somebody_else(request: Request, answer: Answer) -> Response:
        hub.clear_faults()
        hub.api().create_commit(repo, [CommitOperationAdd("note.txt", b"theirs")], commit_message="theirs")
        return answer()

    with (
        hub.fault(r"PUT /storage/", somebody_else, skip=1),  # while the second file travels
        pytest.raises(HubError, match=r"soup: the branch has moved since; .*push again"),
    ):
        merge(pair, push_to_hub=repo, stream=True, max_shard_size=SIZE)
    assert set(hub.api().list_repo_files(repo)) == {".gitattributes", "note.txt"}
    assert list(temporary.iterdir()) == []


def test_a_read_that_fails_half_way_publishes_nothing(
    pair: list[str], hub: LocalHub, namespace: str, temporary: Path
) -> None:
    repo = target(namespace)
    hub.publish(repo, {"note.txt": b"first"})
    dead = r"GET .*sharded/resolve/.*/model-00002-of-00002\.safetensors"
    with hub.fault(dead, faults.drop, skip=2), pytest.raises(HubError, match=r"^layer\.3\.weight: .*sharded@"):
        merge(pair, push_to_hub=repo, stream=True, max_shard_size=SIZE)
    assert len(hub.log("PUT /storage/")) >= 3  # the files before it had been sent
    assert set(hub.api().list_repo_files(repo)) == {".gitattributes", "note.txt"} and commits(hub, repo) == 2
    assert list(temporary.iterdir()) == []


def test_an_earlier_soups_files_go_in_the_same_commit(pair: list[str], hub: LocalHub, namespace: str) -> None:
    repo = target(namespace)
    merge(pair, push_to_hub=repo, stream=True, max_shard_size=SIZE)
    merge(pair, push_to_hub=repo, stream=True)
    assert [n for n in hub.api().list_repo_files(repo) if "safetensors" in n] == ["model.safetensors"]
    assert commits(hub, repo) == 3


def test_a_streamed_push_can_be_a_pull_request_or_private(pair: list[str], hub: LocalHub, namespace: str) -> None:
    repo = target(namespace)
    merge(pair, push_to_hub=repo, stream=True, private=True, create_pr=True, max_shard_size=SIZE)
    assert hub.api().model_info(repo).private
    assert hub.api().list_repo_files(repo) == [".gitattributes"]
    assert len([n for n in HfApi().list_repo_files(repo, revision="refs/pr/1") if n.endswith(".safetensors")]) == 4


def test_a_token_that_may_not_write_is_refused_before_anything_is_computed(
    pair: list[str], hub: LocalHub, namespace: str
) -> None:
    with pytest.raises(HubError, match="needs write access"):
        merge(pair, push_to_hub=target(namespace), stream=True, token=hub.read_token)
    assert len(hub.log("GET /storage/")) == 3  # the headers


def test_with_a_folder_the_push_comes_after_it_and_the_check_can_be_had(
    pair: list[str], hub: LocalHub, namespace: str, tmp_path: Path
) -> None:
    merge(pair, tmp_path / "soup", push_to_hub=target(namespace), stream=True, check=False, max_shard_size=SIZE)
    assert len(list((tmp_path / "soup").glob("*.safetensors"))) == 4
    assert set(hub.api().list_repo_files(target(namespace))) > {p.name for p in (tmp_path / "soup").iterdir()}


def test_the_check_that_it_loads_is_refused_where_there_is_no_folder(pair: list[str], hub: LocalHub) -> None:
    with pytest.raises(RecipeError, match=r"--check loads the whole folder.*add -o DIR, or leave out --check"):
        merge(pair, push_to_hub="org/soup", stream=True, check=True)
    assert hub.log() == []


def test_the_plan_of_a_streamed_push_needs_disk_for_its_largest_file(pair: list[str], tmp_path: Path) -> None:
    recipe = make_recipe(pair, hub="org/soup", max_shard_size=2_500_000)
    uploaded, written = plan(recipe, stream=True), plan(recipe, stream=True, out=tmp_path / "soup")
    assert len(uploaded.shards) == 2 and uploaded.written == written.disk == 4 * 1_200_000
    assert uploaded.disk == 2 * 1_200_000


def test_a_streamed_push_starts_where_the_whole_soup_would_not_fit(
    pair: list[str], namespace: str, temporary: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    room = shutil.disk_usage(temporary)._replace(free=1_300_000)  # for one tensor of 1.2 MB
    monkeypatch.setattr(shutil, "disk_usage", lambda path: room)
    with pytest.raises(CheckpointError, match=r"needs 4,800,000 bytes, and the disk has 1,300,000 left"):
        merge(pair, push_to_hub=target(namespace), max_shard_size=SIZE)
    with pytest.raises(CheckpointError, match=r"needs 4,800,000 bytes"):
        merge(pair, push_to_hub=target(namespace), stream=True)
    merge(pair, push_to_hub=target(namespace), stream=True, max_shard_size=SIZE)
