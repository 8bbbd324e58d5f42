"""BatchNorm: a soup's running statistics are those of its own weights, in every score and in the written folder."""

from __future__ import annotations

import io
import json
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file

import hf_soups
from hf_soups import Data, Evaluate, Ingredient, Recipe, Select
from hf_soups.errors import EvaluationError, RecipeError
from hf_soups.evaluation import batchnorm
from hf_soups.evaluation.cache import Predictions
from hf_soups.evaluation.data import load
from hf_soups.evaluation.evaluator import Evaluator
from hf_soups.evaluation.images import Picture
from hf_soups.evaluation.tasks.image_classification import ImageClassification
from hf_soups.pipeline import Options, run
from hf_soups.recipe import Learning, Output, Sweep, loads, to_yaml
from hf_soups.selection.candidates import Candidates
from tests.ranks.pairs import both

ANIMALS = ("cat", "dog", "ant")
SIZE = 8  # rows of a batch


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def resnet(seed: int = 0) -> Any:
    from transformers import ResNetConfig, ResNetForImageClassification

    torch.manual_seed(seed)
    config = ResNetConfig(
        embedding_size=8, hidden_sizes=[8, 16], depths=[1, 1], layer_type="basic", id2label=dict(enumerate(ANIMALS)),
        label2id={name: i for i, name in enumerate(ANIMALS)},
    )  # fmt: skip
    return ResNetForImageClassification(config).eval()


def processor() -> Any:
    from transformers import ViTImageProcessorPil

    return ViTImageProcessorPil(size={"height": 16, "width": 16})


def pictures(count: int, seed: int) -> dict[str, list[Any]]:
    """Noise in a colour that says the label, so that something can be learned; sorted by label, as data often are."""
    from PIL import Image

    random, rows = np.random.default_rng(seed), []
    for label in sorted(i % 3 for i in range(count)):
        pixels = random.integers(0, 120, size=(16, 16, 3), dtype=np.uint8)
        pixels[..., label] += 100
        buffer = io.BytesIO()
        Image.fromarray(pixels).save(buffer, "PNG")
        rows.append((buffer.getvalue(), label))
    return {"image": [{"bytes": content, "path": None} for content, _ in rows], "label": [label for _, label in rows]}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two fine-tunes of one ResNet, trained on their own, and three files of pictures."""
    from datasets import ClassLabel, Dataset, Features, Image

    made = tmp_path_factory.mktemp("models")
    features = Features({"image": Image(), "label": ClassLabel(names=list(ANIMALS))})
    for name, count, seed in (("fit", 24, 1), ("validation", 30, 2), ("test", 30, 3)):
        Dataset.from_dict(pictures(count, seed), features=features).to_parquet(made / f"{name}.parquet")
    for run_seed in (1, 2):
        model = resnet()
        train(model, run_seed)
        model.save_pretrained(made / f"run-{run_seed}")
        processor().save_pretrained(made / f"run-{run_seed}")
    return made


def train(model: Any, seed: int) -> None:
    rows = pictures(30, 10 + seed)
    pixels = torch.cat([batch(Picture(one["bytes"], 0, "here")) for one in rows["image"]])
    labels = torch.tensor(rows["label"])
    torch.manual_seed(seed)
    optimiser = torch.optim.SGD(model.parameters(), lr=0.3)
    model.train()
    for _ in range(20):
        order = torch.randperm(len(labels))[:10]
        model(pixel_values=pixels[order], labels=labels[order]).loss.backward()
        optimiser.step()
        optimiser.zero_grad()
    model.eval()


def batch(*some: Picture) -> torch.Tensor:
    found: torch.Tensor = processor()([one.pixels() for one in some], return_tensors="pt")["pixel_values"]
    return found


def recipe(folder: Path, **changes: Any) -> Recipe:
    """Greedy over both, BatchNorm estimated on the rows of role fit."""
    data = {name: Data(str(folder / f"{name}.parquet"), role) for name, role in ROLES.items()}
    evaluate = Evaluate(data, "image-classification", metrics=("log_loss", "accuracy"), batch_size=SIZE)
    ingredients = tuple(Ingredient(str(folder / name)) for name in ("run-1", "run-2"))
    plain = Recipe(ingredients, evaluate=evaluate, recompute_batchnorm="fit")
    return replace(plain, **changes)


ROLES = {"fit": "fit", "validation": "select", "test": "test"}


def updated(model: Any, folder: Path, name: str = "fit") -> dict[str, np.ndarray]:
    """What torch's own routine gives on the same batches, which are of one size."""
    task = ImageClassification(ANIMALS)
    examples = load(Data(str(folder / f"{name}.parquet"), "fit"), task)
    rows = batchnorm.batches(examples.n, SIZE)
    assert {len(some) for some in rows} == {SIZE}
    loader = [batch(*(Picture(examples.inputs[i], i, "here") for i in some)) for some in rows]
    torch.optim.swa_utils.update_bn(loader, model)
    found = {name: value.numpy().copy() for name, value in model.eval().state_dict().items()}
    return {name: value for name, value in found.items() if name.endswith(("_mean", "_var", "_tracked"))}


def averaged(folder: Path) -> Any:
    """The uniform soup, in the plainest way."""
    one, other = (load_file(folder / name / "model.safetensors") for name in ("run-1", "run-2"))
    model = resnet()
    mean = {n: torch.tensor((one[n].astype(np.float64) + other[n]) / 2).to(model.state_dict()[n].dtype) for n in one}
    model.load_state_dict(mean)
    return model


def test_statistics_are_those_that_torch_finds_on_the_same_batches(folder: Path) -> None:
    task = ImageClassification(ANIMALS)
    examples = load(Data(str(folder / "fit.parquet"), "fit"), task)
    ours, model = resnet(3).train(), resnet(3)
    momenta = [layer.momentum for layer in batchnorm.layers(ours).values()]
    batchnorm.estimate(task, ours, processor(), examples, batch_size=SIZE)
    expected = updated(model, folder)
    assert len(expected) == 3 * len(momenta) > 0
    for name, value in ours.state_dict().items():
        assert np.array_equal(value.numpy(), expected.get(name, model.state_dict()[name].numpy())), name
    assert all(module.training for module in ours.modules())  # as it came
    assert [layer.momentum for layer in batchnorm.layers(ours).values()] == momenta
    before = {name: value.clone() for name, value in ours.state_dict().items()}
    ours.eval()(pixel_values=torch.zeros(2, 3, 16, 16))
    assert all(torch.equal(value, before[name]) for name, value in ours.state_dict().items())


def test_a_short_last_batch_counts_by_its_rows(folder: Path) -> None:
    task = ImageClassification(ANIMALS)
    examples = load(Data(str(folder / "fit.parquet"), "fit"), task).select(range(19))
    model = resnet(3)
    batchnorm.estimate(task, model, processor(), examples, batch_size=SIZE)
    pixels = batch(*(Picture(one, i, "here") for i, one in enumerate(examples.inputs)))
    inner = model.resnet.embedder.embedder
    with torch.inference_mode():
        values = inner.convolution(pixels)  # [rows, channels, height, width]
    layer = inner.normalization
    assert torch.allclose(layer.running_mean, values.mean(dim=(0, 2, 3)), atol=1e-6)
    parts = [(len(rows), values[rows].var(dim=(0, 2, 3))) for rows in batchnorm.batches(19, SIZE)]
    assert [n for n, _ in parts] == [8, 8, 3]
    assert torch.allclose(layer.running_var, sum(n * var for n, var in parts) / 19, atol=1e-6)


def test_no_batch_has_one_row_and_every_row_is_in_one() -> None:
    for n in range(2, 40):
        for size in (1, 2, 8, 64):
            parts = batchnorm.batches(n, size)
            assert sorted(np.concatenate(parts).tolist()) == list(range(n))
            assert min(map(len, parts)) >= 2 and max(map(len, parts)) <= max(2, size) + 1
    with pytest.raises(EvaluationError, match=r"pets.csv: BatchNorm statistics need at least two rows, got 1"):
        batchnorm.batches(1, 8, "pets.csv")


def test_layers_without_statistics_and_layers_that_do_not_run_are_left(folder: Path) -> None:
    task = ImageClassification(ANIMALS)
    examples = load(Data(str(folder / "fit.parquet"), "fit"), task)
    model = resnet(3)
    first = model.resnet.embedder.embedder
    first.normalization = torch.nn.BatchNorm2d(8, track_running_stats=False).eval()
    model.spare = torch.nn.BatchNorm2d(4)
    model.spare.running_mean.fill_(5.0)
    batchnorm.estimate(task, model, processor(), examples, batch_size=SIZE)
    assert first.normalization.running_mean is None
    assert model.spare.running_mean.tolist() == [5.0] * 4 and int(model.spare.num_batches_tracked) == 0


def test_broken_weights_are_an_error_that_names_the_layer(folder: Path) -> None:
    task = ImageClassification(ANIMALS)
    examples = load(Data(str(folder / "fit.parquet"), "fit"), task)
    model = resnet(3)
    with torch.no_grad():
        model.resnet.embedder.embedder.convolution.weight.fill_(float("inf"))
    with pytest.raises(EvaluationError, match=r"normalization: BatchNorm statistics are not finite"):
        batchnorm.estimate(task, model, processor(), examples, batch_size=SIZE)


def scored(results: Any, kind: str) -> float:
    (row,) = [row for row in results.rows if row.kind == kind]
    return float(row.scores["test"]["log_loss"].value)


def test_the_soup_is_scored_and_written_with_the_statistics_of_its_own_weights(folder: Path, tmp_path: Path) -> None:
    from transformers import AutoModelForImageClassification

    out = tmp_path / "soup"
    outcome = run(recipe(folder), Options(out=out, check=True))
    model = averaged(folder)
    expected = updated(model, folder)
    written = load_file(out / "model.safetensors")
    assert all(np.allclose(written[name], value, rtol=1e-5, atol=1e-7) for name, value in expected.items())
    reloaded = AutoModelForImageClassification.from_pretrained(out).eval()
    pixels = batch(*(Picture(one["bytes"], 0, "") for one in pictures(6, 4)["image"]))
    with torch.inference_mode():
        assert torch.allclose(reloaded(pixels).logits, model(pixels).logits, atol=1e-4)
        assert torch.equal(reloaded(pixels).logits, outcome.soup.load()(pixels).logits)
    alone = Recipe((Ingredient(str(out)),), evaluate=replace(recipe(folder).evaluate, batch_size=SIZE))  # type: ignore[type-var]
    assert scored(outcome.results, "soup") == scored(hf_soups.evaluate(alone), "ingredient")
    plain = hf_soups.evaluate(recipe(folder, recompute_batchnorm=None))
    assert scored(plain, "soup") != scored(outcome.results, "soup")
    for kept in ("ingredient", "ensemble"):
        rows = [[r.scores for r in results.rows if r.kind == kept] for results in (plain, outcome.results)]  # type: ignore[union-attr]
        assert rows[0] == rows[1]
    card, lock = (out / "README.md").read_text(), json.loads((out / "soup.lock.json").read_text())
    assert "estimated anew" in card and "are averaged" not in card
    assert lock["reproducible"] == "tolerance" and sorted(lock["recomputed"]["tensors"]) == sorted(expected)


def test_the_pinned_recipe_makes_the_same_bytes_again_and_two_processes_do(folder: Path, tmp_path: Path) -> None:
    run(recipe(folder), Options(out=tmp_path / "soup"))
    hf_soups.merge(tmp_path / "soup" / "soup.yaml", tmp_path / "again", local=folder)
    for file in ("model.safetensors", "soup.yaml"):
        assert (tmp_path / "soup" / file).read_bytes() == (tmp_path / "again" / file).read_bytes(), file
    for answer in both(
        lambda ranks: hf_soups.merge(recipe(folder), tmp_path / "both", max_shard_size="10KB", ranks=ranks)
    ):
        assert isinstance(answer, hf_soups.Soup), answer
    parts = [load_file(part) for part in sorted((tmp_path / "both").glob("*.safetensors"))]
    assert len(parts) > 1
    whole = load_file(tmp_path / "soup" / "model.safetensors")
    assert {name for part in parts for name in part} == set(whole)
    assert all(np.array_equal(value, whole[name]) for part in parts for name, value in part.items())


def test_a_soup_in_sixteen_bits_is_scored_with_its_statistics_as_they_are_written(folder: Path, tmp_path: Path) -> None:
    asked = recipe(folder)
    narrow = replace(asked, output=Output(dtype="bfloat16"))
    outcome = run(narrow, Options(out=tmp_path / "soup"))
    alone = Recipe((Ingredient(str(tmp_path / "soup")),), evaluate=asked.evaluate)
    assert scored(outcome.results, "soup") == scored(hf_soups.evaluate(alone), "ingredient")


def test_an_ingredient_alone_is_as_it_is(folder: Path, tmp_path: Path) -> None:
    asked = recipe(folder, ingredients=recipe(folder).ingredients[:1])
    outcome = run(asked, Options(out=tmp_path / "soup"))
    one, same = (load_file(place / "model.safetensors") for place in (folder / "run-1", tmp_path / "soup"))
    assert all(np.array_equal(value, same[name]) for name, value in one.items())
    assert not outcome.soup.statistics
    swept = recipe(
        folder,
        ingredients=asked.ingredients,
        method="interpolate",
        base=Ingredient(str(folder / "run-2")),
        select=Select("sweep", options=Sweep("alpha", (0.0, 0.5, 1.0), rule=0.5)),
    )
    outcome = run(swept, Options())
    curve = outcome.selection.curve  # type: ignore[union-attr]
    ends = [point.scores["test"] for point in curve.points]  # type: ignore[union-attr]
    table = {row.name: row.scores["test"]["log_loss"].value for row in outcome.results.rows}  # type: ignore[union-attr]
    assert ends[2] == table["run-1"] and ends[0] == table["run-2"]
    assert outcome.soup.statistics


def test_answers_are_kept_by_the_rows_that_the_statistics_are_of(folder: Path, tmp_path: Path) -> None:
    asked = recipe(folder)
    cache = Predictions(tmp_path / "cache")

    def answers(on: str | None) -> tuple[Any, str]:
        made = replace(asked, recompute_batchnorm=on)
        candidates = Candidates(Evaluator(made.evaluate, ANIMALS, cache), opened)  # type: ignore[arg-type]
        soup = candidates.checkpoint(made)
        return candidates.outputs(soup, ["test"])["test"], candidates.identity(soup)

    def opened(ingredient: Ingredient) -> Any:
        from hf_soups.hub.opening import Opener

        return Opener(None, None).pull(ingredient)

    found = {on: answers(on) for on in (None, "fit", "validation")}
    assert len({identity for _, identity in found.values()}) == 3
    for one, other in ((None, "fit"), ("fit", "validation")):
        assert not np.array_equal(np.asarray(found[one][0]), np.asarray(found[other][0]))
    kept = sorted(path.name for path in (tmp_path / "cache").rglob("*.arrow"))
    again = answers("fit")
    assert np.array_equal(np.asarray(again[0]), np.asarray(found["fit"][0]))
    assert kept and sorted(path.name for path in (tmp_path / "cache").rglob("*.arrow")) == kept


def test_a_greedy_choice_and_a_learned_one_are_written_with_their_own_statistics(folder: Path, tmp_path: Path) -> None:
    outcome = run(recipe(folder, select=Select("greedy")), Options(out=tmp_path / "greedy", allow_single=True))
    assert bool(outcome.soup.statistics) == (len(outcome.soup.recipe.ingredients) > 1)
    shutil.copy(folder / "validation.parquet", tmp_path / "stop.parquet")
    asked = recipe(folder, select=Select("learned", options=Learning(epochs=1, lr=0.5, batch_size=24)))
    stop = replace(asked.evaluate.datasets["validation"], role="calibrate")  # type: ignore[union-attr]
    asked = replace(asked, evaluate=replace(asked.evaluate, datasets={**asked.evaluate.datasets, "validation": stop}))  # type: ignore[union-attr,type-var]
    learned = run(asked, Options(out=tmp_path / "learned")).soup
    assert learned.recipe.weights is not None and learned.statistics
    model = learned.load()
    own = {name: model.state_dict()[name].numpy().copy() for name in learned.statistics}
    for name, value in updated(model, folder).items():
        assert np.allclose(own[name], value, rtol=1e-5, atol=1e-7), name


def warnings(plan: Any) -> list[str]:
    return [found.message for found in plan.findings if found.level == "warning" and "BatchNorm" in found.message]


def test_averaged_statistics_are_warned_of_with_what_to_do(folder: Path, tmp_path: Path) -> None:
    plain = recipe(folder, recompute_batchnorm=None)
    (said,) = warnings(hf_soups.plan(plain))
    assert "running statistics of 6 BatchNorm layers" in said and "--recompute-batchnorm" in said
    assert warnings(hf_soups.plan(recipe(folder))) == []
    assert warnings(hf_soups.plan(replace(plain, ingredients=plain.ingredients[:1]))) == []
    from tests.models import classifier

    text = Ingredient(str(classifier(tmp_path / "bert")))
    assert warnings(hf_soups.plan(replace(plain, ingredients=(text, text)))) == []
    (said,) = warnings(hf_soups.plan(recipe(folder, ingredients=(text, text))))
    assert "nothing is recomputed" in said


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("recompute_batchnorm: fitt", r"unknown value 'fitt'.*did you mean 'fit'"),
        ("recompute_batchnorm: test", r"test has role test, and what is reported on may not decide the soup"),
        ("recompute_batchnorm: [fit]", r"recompute_batchnorm"),
        ("recompute_batchnorms: fit", r"did you mean 'recompute_batchnorm'"),
    ],
)
def test_what_cannot_be_recomputed_on_is_an_error(text: str, message: str, folder: Path) -> None:
    with pytest.raises(RecipeError, match=message):
        loads(to_yaml(recipe(folder, recompute_batchnorm=None)) + text + "\n")


def test_the_key_needs_data_and_is_read_back(folder: Path) -> None:
    asked = recipe(folder)
    assert loads(to_yaml(asked)) == asked
    with pytest.raises(RecipeError, match=r"recompute_batchnorm: fit: names a dataset of evaluate:, which is missing"):
        loads(f"ingredients: [{folder / 'run-1'}]\nrecompute_batchnorm: fit\n")
    nested = replace(asked, ingredients=(Ingredient(replace(asked, evaluate=None)), *asked.ingredients))
    with pytest.raises(RecipeError, match=r"recompute_batchnorm: not allowed in a recipe that is itself an ingredient"):
        hf_soups.plan(nested)
