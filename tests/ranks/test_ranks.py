"""What processes tell each other, and how they end together."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from huggingface_hub import HfApi, hf_hub_download
from hypothesis import given
from hypothesis import strategies as st

from hf_soups import Ingredient, Output, Recipe, merge, ranks
from hf_soups.engine.work import cores
from hf_soups.errors import CheckpointError, SoupError
from hf_soups.hub.opening import Opener
from hf_soups.pipeline import Options, assist, share
from hf_soups.ranks import Ranks, Stopped, doubt, join
from hf_soups.soup import Soup
from tests.local_hub import LocalHub
from tests.models import classifier, fine_tune, sharded
from tests.ranks.pairs import both
from tests.streaming.parts import adapter, in_shards, single


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ranks, "BEAT", 0.05)


def merged(models: list[Path] | list[str], out: Path, *, every: Path | None = None, **options: Any) -> list[Any]:
    """A merge by two; `every`: where the second one looks for the output, if not there."""
    recipe = Recipe(tuple(Ingredient(str(m)) for m in models), output=Output(max_shard_size=2_500_000))
    return both(lambda p: merge(recipe, every if every and not p.is_first else out, ranks=p, **options))


@given(st.lists(st.integers(0, 10**12), max_size=40), st.integers(1, 9))
def test_files_are_shared_out_once_each_and_evenly(sizes: list[int], count: int) -> None:
    named = {f"{i}": size for i, size in enumerate(sizes)}
    given_ = share.shares(named, count)
    assert len(given_) == count and sorted(n for names in given_ for n in names) == sorted(named)
    total = [sum(named[n] for n in names) for names in given_]
    assert max(total) - min(total) <= max(sizes, default=0)
    assert given_ == share.shares(named, count)


def test_one_process_asks_for_nothing() -> None:
    program = "import sys, hf_soups.ranks as r; p = r.join(); p.__enter__(); print(p.size, 'torch' in sys.modules)"
    assert subprocess.check_output([sys.executable, "-c", program], text=True).split() == ["1", "False"]


def test_the_first_one_is_heard_by_all_and_hears_all() -> None:
    def act(me: Ranks) -> tuple[Any, Any]:
        with me:
            return me.share({"a": [1, 0.5]} if me.is_first else None), me.gather(me.rank * 10)

    assert both(act) == [({"a": [1, 0.5]}, [0, 10]), ({"a": [1, 0.5]}, [])]


def test_one_process_of_a_host_goes_before_the_others() -> None:
    passed: list[int] = []

    def act(me: Ranks) -> None:
        with me, me.first_of_host():
            if me.is_first:
                time.sleep(0.3)
            passed.append(me.rank)

    assert both(act, ("here", "here")) == [None, None] and passed == [0, 1]


@pytest.mark.parametrize("fails", [0, 1])
def test_an_error_of_one_stops_all_and_says_whose_it_is(fails: int) -> None:
    def act(me: Ranks) -> None:
        with me:
            if me.rank == fails:
                raise SoupError("the disk is full")
            me.share() if fails == 0 else me.gather(None)

    answers = both(act)
    assert str(answers[fails]) == "the disk is full"
    where = ("here", "there")[fails]
    assert isinstance(answers[1 - fails], Stopped)
    assert str(answers[1 - fails]) == f"process {fails} of 2 on {where}: the disk is full"


@pytest.mark.parametrize("silent", [0, 1])
def test_nobody_waits_for_ever_for_a_process_that_is_gone(silent: int, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, seconds in (("BEAT", 0.05), ("SILENCE", 0.5), ("GRACE", 0.3)):
        monkeypatch.setattr(ranks, name, seconds)

    def act(me: Ranks) -> None:
        if me.rank == silent:
            return
        with me:
            me.gather(None) if me.is_first else me.share()

    assert "gave no sign of life" in str(both(act)[1 - silent])


@pytest.mark.parametrize(
    ("environment", "says"),
    [
        ({"WORLD_SIZE": "2"}, "RANK=none"),
        ({"WORLD_SIZE": "2", "RANK": "2"}, "unset WORLD_SIZE"),
        ({"WORLD_SIZE": "two", "RANK": "0"}, "WORLD_SIZE=two"),
        ({"WORLD_SIZE": "2", "RANK": "0"}, "MASTER_ADDR"),
        ({"WORLD_SIZE": "2", "RANK": "0", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "0"}, "only 1 came within 0 s"),
    ],
)
def test_promises_that_the_environment_does_not_keep_are_errors(
    environment: dict[str, str], says: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ranks, "ARRIVAL", 0.2)
    for name in ("RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(SoupError, match=says):
        join()


def test_processes_of_one_host_share_its_processors(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("LOCAL_WORLD_SIZE", raising=False)
    alone = cores()
    for processes in (1, 2, 1000):
        monkeypatch.setenv("LOCAL_WORLD_SIZE", str(processes))
        assert cores() == max(1, alone // processes)


def test_launchers_that_start_one_process_are_noticed() -> None:
    launched = {"ACCELERATE_MIXED_PRECISION": "no", "MASTER_PORT": "29500"}
    assert "torchrun --nproc-per-node" in str(doubt(launched))
    assert "mpirun" in str(doubt({"OMPI_COMM_WORLD_SIZE": "4"}))
    for quiet in ({}, {"ACCELERATE_MIXED_PRECISION": "no"}, {**launched, "WORLD_SIZE": "2"}):
        assert doubt(quiet) is None


@pytest.mark.parametrize("stream", [False, True])
def test_models_of_the_hub_give_the_same_bytes(hub: LocalHub, namespace: str, tmp_path: Path, stream: bool) -> None:
    base = f"{namespace}/base"
    hub.publish(base, single(tmp_path / "base", 0))
    hub.publish(f"{namespace}/sharded", in_shards(tmp_path / "sharded", 2))
    hub.publish(f"{namespace}/lora", adapter(tmp_path / "lora", base))
    models = [f"{namespace}/sharded", f"{namespace}/lora"]
    answers = merged(models, tmp_path / "two", stream=stream)
    assert [type(a).__name__ for a in answers] == ["Soup", "Soup"], answers
    merge(answers[0].recipe, tmp_path / "one", stream=stream)
    names = sorted(p.name for p in (tmp_path / "one").iterdir())
    assert sorted(p.name for p in (tmp_path / "two").iterdir()) == names and len(names) > 5
    for name in names:
        assert (tmp_path / "two" / name).read_bytes() == (tmp_path / "one" / name).read_bytes(), name


def test_the_first_process_pushes_what_all_wrote(hub: LocalHub, repo_id: str, tmp_path: Path) -> None:
    base = classifier(tmp_path / "base")
    models = [str(fine_tune(base, tmp_path / f"run-{seed}", seed)) for seed in range(2)]
    asked: dict[str, Any] = {"push_to_hub": repo_id, "max_shard_size": "20KB", "license": "mit"}
    answers = both(lambda p: merge(models, ranks=p, **asked))
    assert [type(a).__name__ for a in answers] == ["Soup", "Soup"], answers
    merge(models, tmp_path / "one", max_shard_size="20KB")
    shards = sorted(p.name for p in (tmp_path / "one").glob("*.safetensors"))
    assert len(shards) > 1 and len(HfApi().list_repo_commits(repo_id)) == 2  # its creation, and the push
    for name in shards:
        assert Path(hf_hub_download(repo_id, name)).read_bytes() == (tmp_path / "one" / name).read_bytes()


def test_a_host_that_does_not_see_the_folder_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(share, "APPEARS", 0.0)
    (tmp_path / "other").mkdir()
    model = sharded(tmp_path / "model", 1.0, 4, 2_000_000)
    first, second = merged([model, model], tmp_path / "out", every=tmp_path / "other" / "out")
    assert isinstance(first, Stopped) and isinstance(second, CheckpointError)
    assert "process 1 of 2 on there" in str(first) and "on storage that all of them share" in str(first)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["model", "other"]


def test_a_host_with_other_inputs_is_refused(tmp_path: Path) -> None:
    here = sharded(tmp_path / "here" / "model", 1.0, 4, 2_000_000)
    there = sharded(tmp_path / "there" / "model", 1.0, 3, 2_000_000)

    def act(me: Ranks) -> None:
        options = Options(ranks=me)
        with me:
            if not me.is_first:
                assist(options)
            soup = Soup(Recipe((Ingredient(str(here)),)), Opener().headers)
            soup.recipe = Recipe((Ingredient(str(there)),))  # as if another host had this at the same place
            share.invite(soup, options, me, writes=True)
            me.gather(None)

    _, second = both(act)
    assert isinstance(second, CheckpointError) and "other files than process 0 sees" in str(second)


def test_processes_without_a_file_of_their_own_are_told_of(tmp_path: Path) -> None:
    from hf_soups.pipeline import Listener
    from hf_soups.planning import Plan

    said: list[str] = []

    class Ear(Listener):
        def planned(self, plan: Plan) -> None:
            said.extend(f.message for f in plan.findings)

    model = sharded(tmp_path / "model", 1.0, 1, 2_000_000)
    answers = merged([model, model], tmp_path / "out", listener=Ear())
    assert not any(isinstance(a, BaseException) for a in answers)
    assert any("2 processes, and 1 file to write" in text and "--max-shard-size" in text for text in said)
    assert json.loads((tmp_path / "out" / "soup.lock.json").read_text())["outputs"]


def test_several_processes_do_not_upload_file_by_file(tmp_path: Path) -> None:
    model = sharded(tmp_path / "model", 1.0, 1, 2_000_000)
    recipe = Recipe((Ingredient(str(model)),), output=Output(hub="org/soup"))
    first, second = both(lambda p: merge(recipe, stream=True, ranks=p))
    assert "add -o DIR" in str(first) and isinstance(second, Stopped)
