"""Which public fine-tunes of a base fit: real client, loopback Hub, tiny candidates of many kinds."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load as load_tensors
from safetensors.numpy import save

from hf_soups import HubError, SoupError, find, merge, plan
from hf_soups.hub.found import Candidate, Found
from hf_soups.recipe import load, to_yaml
from tests.local_hub import LocalHub, faults

SIZE = 8
ARCHITECTURE = "BertForSequenceClassification"


def weights(head: int | None = 2, size: int = SIZE, seed: int = 0, layers: int = 2) -> bytes:
    """A backbone of two layers, and a classifier of `head` outputs on it."""
    generator = np.random.default_rng(seed)
    shapes: dict[str, tuple[int, ...]] = {"bert.embeddings.word_embeddings.weight": (12, size)}
    shapes |= {f"bert.encoder.layer.{i}.output.dense.weight": (size, size) for i in range(layers)}
    if head is not None:
        shapes |= {"classifier.weight": (head, size), "classifier.bias": (head,)}
    return save({n: generator.standard_normal(s).astype(np.float32) for n, s in shapes.items()}, {"format": "pt"})


def config(labels: tuple[str, ...] = ("negative", "positive"), **more: Any) -> bytes:
    content = {"model_type": "bert", "architectures": [ARCHITECTURE], "hidden_act": "gelu"}
    return json.dumps(content | {"id2label": dict(enumerate(labels))} | more).encode()


def card(base: str, **more: str) -> bytes:
    facts = {"license": "mit", "pipeline_tag": "text-classification", "base_model": base} | more
    return ("---\n" + "".join(f"{k}: {v}\n" for k, v in facts.items() if v) + "---\n# a model\n").encode()


def lora(base: str, seed: int, rank: int = 2, size: int = SIZE, kind: str = "LORA") -> dict[str, bytes]:
    """An adapter of the first layer, in PEFT's files."""
    generator = np.random.default_rng(seed)
    module = "base_model.model.bert.encoder.layer.0.output.dense"
    factors = {f"{module}.lora_A.weight": (rank, size), f"{module}.lora_B.weight": (size, rank)}
    tensors = {n: generator.standard_normal(s).astype(np.float32) for n, s in factors.items()}
    about = {"peft_type": kind, "base_model_name_or_path": base, "r": rank, "lora_alpha": 4}
    return {"adapter_model.safetensors": save(tensors), "adapter_config.json": json.dumps(about).encode()}


@dataclass
class Zoo:
    """A base of the Hub, and what is published of it."""

    hub: LocalHub
    namespace: str
    count: int = 0

    @property
    def base(self) -> str:
        return f"{self.namespace}/base"

    def add(self, name: str, files: dict[str, bytes] | None = None, **changes: bytes) -> str:
        """A fine-tune that fits the others, but for what changes: `weights`, `config`, `card`."""
        self.count += 1
        usual = {
            "model.safetensors": changes.get("weights", weights(seed=self.count)),
            "config.json": changes.get("config", config()),
        }
        repo = f"{self.namespace}/{name}"
        about = {"README.md": changes.get("card", card(self.base))}
        self.hub.publish(repo, about | (usual if files is None else files))
        self.hub.set_downloads(repo, 1000 - self.count)
        return repo

    def find(self, **options: Any) -> Found:
        return find(self.base, token=self.hub.other_token, **options)


@pytest.fixture
def zoo(hub: LocalHub, namespace: str) -> Zoo:
    made = Zoo(hub, namespace)
    headless = config(architectures=["BertModel"])
    files = {"model.safetensors": weights(head=None), "config.json": headless, "README.md": b"---\nlicense: mit\n---\n"}
    hub.publish(made.base, files)
    return made


def verdicts(found: Found) -> dict[str, str]:
    return {c.repo.split("/")[1]: c.verdict for c in found.candidates}


def one(found: Found, name: str) -> Candidate:
    return next(c for c in found.candidates if c.repo.endswith(f"/{name}"))


def why(found: Found, name: str) -> str:
    return " ".join(one(found, name).reasons)


def mixed(zoo: Zoo) -> None:
    """Fifteen candidates; a, b and c fit together."""
    zoo.add("a")
    zoo.add("b", config=config(("Negative", "Positive")))
    zoo.add("c", card=card(zoo.base, license="apache-2.0"))
    zoo.add("three", weights=weights(head=3), config=config(("bad", "plain", "good")))
    zoo.add("swapped", config=config(("positive", "negative")))
    zoo.add("unproven", config=config(("LABEL_0", "LABEL_1")))
    zoo.add("wide", weights=weights(size=16))
    zoo.add("deep", weights=weights(layers=3))
    zoo.add("act", config=config(hidden_act="relu"))
    zoo.add("packed", config=config(quantization_config={"bits": 4}))
    zoo.add("code", config=config(auto_map={"AutoModel": "modeling.Own"}))
    zoo.add("torn", config=b"{")
    zoo.add("cut", weights=weights()[:-40])
    zoo.add("pickle", {"pytorch_model.bin": b"\x80\x04", "config.json": config()})
    zoo.hub.api().update_repo_settings(zoo.add("closed"), gated="manual")


def test_those_that_fit_are_a_recipe_and_all_others_have_a_reason(zoo: Zoo) -> None:
    mixed(zoo)
    found = zoo.find()
    assert verdicts(found) == {
        **dict.fromkeys(["a", "b", "c"], "fits"),
        **dict.fromkeys(["three", "swapped", "unproven"], "other head"),
        **dict.fromkeys(["wide", "deep", "act", "packed", "code"], "does not fit"),
        **dict.fromkeys(["torn", "cut", "pickle", "closed"], "not looked into"),
    }
    for name, words in {
        "three": "bad, plain, good",
        "swapped": "positive, negative",
        "unproven": "LABEL_0",
        "wide": "(12, 16)",
        "deep": "bert.encoder.layer.2",
        "act": "hidden_act",
        "packed": "quantised",
        "code": "auto_map",
        "torn": "config.json is not valid JSON",
        "cut": "truncated",
        "pickle": "pickle",
        "closed": "gated, not looked into",
    }.items():
        assert words in why(found, name), (name, why(found, name))
    assert found.recipe is not None
    assert [str(i.model).split("@")[0].split("/")[1] for i in found.recipe.ingredients] == ["a", "b", "c"]


def test_the_recipe_merges_as_it_is_written(zoo: Zoo, tmp_path: Path) -> None:
    mixed(zoo)
    found = zoo.find(license="mit")
    (tmp_path / "recipe.yaml").write_text(to_yaml(found.require()))
    assert load(tmp_path / "recipe.yaml") == found.recipe
    assert plan(tmp_path / "recipe.yaml").tensors == 5
    soup = merge(tmp_path / "recipe.yaml")
    one, two = (load_tensors(weights(seed=seed)) for seed in (1, 2))
    np.testing.assert_allclose(soup["classifier.weight"], (one["classifier.weight"] + two["classifier.weight"]) / 2)


def test_adapters_are_put_on_the_base_that_was_asked_for(zoo: Zoo) -> None:
    other = f"{zoo.namespace}/other"
    zoo.hub.publish(other, {"model.safetensors": weights(head=None), "config.json": config()})
    zoo.add("one", lora(zoo.base, 1))
    zoo.add("two", lora("/home/me/base", 2))
    zoo.add("of-another", lora(other, 3))
    zoo.add("wide", lora(zoo.base, 4, size=16))
    zoo.add("foreign", lora(zoo.base, 5, kind="LOHA"))
    found = zoo.find()
    assert verdicts(found) == {
        "one": "fits",
        "two": "fits",
        "of-another": "does not fit",
        "wide": "not looked into",
        "foreign": "not looked into",
    }
    assert {c.kind for c in found.candidates} == {"adapter"}
    assert f"an adapter of {other}" in why(found, "of-another")
    assert "adapter for another base" in why(found, "wide") and "LOHA" in why(found, "foreign")
    recipe = found.require()
    assert recipe.base is not None and str(recipe.base.model).startswith(f"{zoo.base}@")


def test_quantised_copies_and_merges_are_not_candidates(zoo: Zoo) -> None:
    zoo.add("a")
    zoo.add("copy", card=card(zoo.base, base_model_relation="quantized"))
    zoo.add("soup", card=card(zoo.base, base_model_relation="merge"))
    assert verdicts(zoo.find()) == {"a": "fits"}


def test_each_filter_says_how_many_it_removed(zoo: Zoo) -> None:
    mixed(zoo)
    zoo.add("tagger", card=card(zoo.base, pipeline_tag="token-classification"))
    zoo.add("silent", card=card(zoo.base, pipeline_tag=""))
    silent_tagger = config(architectures=["BertForTokenClassification"])
    zoo.add("silent-tagger", card=card(zoo.base, pipeline_tag=""), config=silent_tagger)
    found = zoo.find(license=["MIT"], task="text-classification", labels=["Positive", "negative"])
    removed = [(f.option, f.removed) for f in found.filters]
    assert removed == [("--license", 1), ("--task", 1), ("--limit", 0), ("--task", 1), ("--labels", 2)]
    assert {"a", "b", "silent"} <= {name for name, v in verdicts(found).items() if v == "fits"}
    assert not {"c", "three", "unproven", "tagger", "silent-tagger"} & set(verdicts(found))
    assert "closed" in verdicts(found)  # whose labels nobody could read


def test_the_most_downloaded_are_looked_into(zoo: Zoo, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(zoo.hub, "page_size", 3)
    for name in "abcd":
        zoo.add(name)
    zoo.hub.set_downloads(f"{zoo.namespace}/d", 5000)
    found = zoo.find(limit=2)
    assert [(c.repo[-1], c.downloads) for c in found.candidates] == [("d", 5000), ("a", 999)]
    assert found.listed == 4 and found.filters[-1].removed == 2


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"license": "mti"}, "--license mti removed 1: nothing to make a soup of; none has --license mti; did"),
        ({"task": "text-clasification"}, "did you mean 'text-classification'?"),
        ({"labels": ["negativ", "positive"]}, "did you mean 'negative,positive'?"),
        ({}, "only {ns}/a is left, and a soup needs two"),
    ],
)
def test_too_little_says_why(zoo: Zoo, options: dict[str, Any], says: str) -> None:
    zoo.add("a")
    with pytest.raises(SoupError) as caught:
        zoo.find(**options).require()
    assert says.format(ns=zoo.namespace) in str(caught.value)


def test_a_base_without_fine_tunes_and_one_that_is_not_there(zoo: Zoo) -> None:
    with pytest.raises(SoupError, match="lists no fine-tune or adapter"):
        zoo.find().require()
    with pytest.raises(HubError, match=r"none: not found, or private"):
        find(f"{zoo.namespace}/none")


def test_without_the_bases_headers_fine_tunes_are_compared_with_each_other(zoo: Zoo) -> None:
    for name in "ab":
        zoo.add(name)
    zoo.add("adapter", lora(zoo.base, 1))
    zoo.hub.api().update_repo_settings(zoo.base, gated="manual")
    found = zoo.find()
    assert verdicts(found) == {"a": "fits", "b": "fits", "adapter": "not looked into"}
    assert "headers cannot be read" in found.findings[0].message and "gated" in found.findings[0].message


def test_a_hub_that_is_busy_for_a_moment_is_asked_again(zoo: Zoo) -> None:
    for name in "ab":
        zoo.add(name)
    with zoo.hub.fault(r"GET /api/models", faults.status(429, retry_after=1), times=1):
        assert set(verdicts(zoo.find()).values()) == {"fits"}
    with zoo.hub.fault(rf"GET /api/models/{zoo.namespace}/a", faults.status(429), times=1):
        assert set(verdicts(zoo.find()).values()) == {"fits"}


def test_a_hub_that_stays_busy_with_one_is_that_ones_line(zoo: Zoo) -> None:
    for name in "abc":
        zoo.add(name)
    with zoo.hub.fault(rf"GET /api/models/{zoo.namespace}/a", faults.status(429)) as rule:
        found = zoo.find()
    assert verdicts(found) == {"b": "fits", "c": "fits", "a": "not looked into"}
    assert "429" in why(found, "a") and rule.matched > 1


def test_200_candidates_cost_a_fraction_of_their_weights(zoo: Zoo) -> None:
    """More than 100 MB of weights: heads of two kinds and none, four shards, adapters."""
    zoo.hub.publish(zoo.base, {"model.safetensors": weights(None, 200, layers=5)})
    big = {"model.safetensors": weights(size=200, layers=5), "config.json": config()}
    whole = zoo.add("whole", big)
    three = zoo.add("three", {"model.safetensors": weights(3, 200, layers=5), "config.json": config(("a", "b", "c"))})
    shards: dict[str, bytes] = {}
    index: dict[str, str] = {}
    for number in range(4):
        tensors = {f"bert.encoder.layer.{number}.output.dense.weight": np.zeros((200, 200), np.float32)}
        file = f"model-0000{number + 1}-of-00004.safetensors"
        shards[file] = save(tensors)
        index |= dict.fromkeys(tensors, file)
    shards["model.safetensors.index.json"] = json.dumps({"weight_map": index}).encode()
    sharded = zoo.add("sharded", shards | {"config.json": config()})
    adapter = zoo.add("adapter", lora(zoo.base, 1, size=200))
    kinds = (whole, whole, three, sharded, adapter)
    for number in range(196):
        zoo.hub.duplicate(kinds[number % 5], f"{zoo.namespace}/run-{number}")
    zoo.hub.clear_log()
    begun = time.monotonic()
    found = zoo.find(limit=200)
    seconds, sent = time.monotonic() - begun, zoo.hub.bytes_sent()
    requests = len(zoo.hub.log())
    print(f"\n{len(found.candidates)} candidates: {seconds:.1f} s, {sent / 1e6:.1f} MB in {requests} requests")
    assert zoo.hub.bytes_sent(lambda entry: entry.bytes_sent > 100_000) < 200_000  # but for the listing
    assert len(found.candidates) == 200 and all(c.reference for c in found.candidates)
    assert len(found.of("fits")) == 80 and len(found.of("other head")) == 80
    assert sent < 50_000_000


def test_one_repository_cannot_use_up_what_the_others_need(zoo: Zoo) -> None:
    zoo.add("vast", config=config(padding="x" * 30_000_000))
    for name in "ab":
        zoo.add(name)
    zoo.hub.clear_log()
    found = zoo.find()
    assert verdicts(found) == {"a": "fits", "b": "fits", "vast": "not looked into"}
    assert "more than 4 MB" in why(found, "vast")
    assert zoo.hub.bytes_sent("vast/resolve") < 15_000_000


def test_what_all_together_cost_is_bounded(zoo: Zoo, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hf_soups.hub.find.BYTES_EACH", 40)
    for name in "abcdef":
        zoo.add(name)
    found = zoo.find(limit=6)
    assert "not looked into" in verdicts(found).values()
    assert any("ask for fewer" in reason for c in found.candidates for reason in c.reasons)
