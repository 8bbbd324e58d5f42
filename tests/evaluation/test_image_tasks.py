"""Images: read from every place, decoded in the batch, asked by label and by name."""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from hf_soups.checkpoint import LocalFiles, Origin, StateDict, Stored
from hf_soups.errors import CheckpointError, EvaluationError
from hf_soups.evaluation import tasks
from hf_soups.evaluation.cache import Predictions
from hf_soups.evaluation.data import load
from hf_soups.evaluation.evaluator import Evaluator
from hf_soups.evaluation.examples import Examples
from hf_soups.evaluation.metrics import METRICS, score
from hf_soups.evaluation.outputs import mean
from hf_soups.evaluation.predict import predict
from hf_soups.evaluation.tasks.image_classification import ImageClassification
from hf_soups.evaluation.tasks.zero_shot import ZeroShotImageClassification, zero_shot_head
from hf_soups.recipe import Data, Evaluate

from .conftest import dense

Write = Callable[[str, Mapping[str, Sequence[Any]]], str]
ANIMALS = ("cat", "dog", "ant")
pytestmark = pytest.mark.usefixtures("one_thread")


def encoded(pixels: np.ndarray, mode: str | None = None, kind: str = "PNG") -> bytes:
    from PIL import Image

    image = Image.fromarray(pixels)
    buffer = io.BytesIO()
    (image.convert(mode) if mode else image).save(buffer, kind)
    return buffer.getvalue()


def images(count: int, seed: int = 0) -> list[bytes]:
    """Random pictures of different sizes."""
    random = np.random.default_rng(seed)
    sizes = random.integers(8, 24, size=(count, 2))
    return [encoded(random.integers(0, 256, size=(*size, 3), dtype=np.uint8)) for size in sizes]


@pytest.fixture
def parquet(tmp_path: Path) -> Callable[..., Data]:
    """A dataset with an image column and a label column whose classes are named."""

    def write(contents: Sequence[bytes], labels: Sequence[int], names: Sequence[str] = ANIMALS) -> Data:
        from datasets import ClassLabel, Dataset, Features, Image

        features = Features({"image": Image(), "label": ClassLabel(names=list(names))})
        rows = {"image": [{"bytes": c, "path": None} for c in contents], "label": list(labels)}
        Dataset.from_dict(rows, features=features).to_parquet(tmp_path / "images.parquet")
        return Data(str(tmp_path / "images.parquet"), "test")

    return write


@pytest.fixture(scope="module")
def processor() -> Any:
    from transformers import ViTImageProcessorPil

    return ViTImageProcessorPil(size={"height": 16, "width": 16})


def vit(seed: int = 0) -> Any:
    from transformers import ViTConfig, ViTForImageClassification

    torch.manual_seed(seed)
    return ViTForImageClassification(
        ViTConfig(
            hidden_size=16, num_hidden_layers=2, num_attention_heads=2, intermediate_size=32, image_size=16,
            patch_size=8, num_labels=3, initializer_range=0.5,
        )
    )  # fmt: skip


def resnet(seed: int = 0) -> Any:
    from transformers import ResNetConfig, ResNetForImageClassification

    torch.manual_seed(seed)
    return ResNetForImageClassification(
        ResNetConfig(embedding_size=8, hidden_sizes=[8, 16], depths=[1, 1], layer_type="basic", num_labels=3)
    )


@pytest.mark.parametrize("build", [vit, resnet])
def test_batches_of_images_are_answered_as_one_by_one_and_as_the_model_itself_does(
    build: Callable[[], Any], parquet: Callable[..., Data], processor: Any
) -> None:
    from PIL import Image

    contents, labels = images(11), [i % 3 for i in range(11)]
    task = ImageClassification(ANIMALS)
    examples = load(parquet(contents, labels), task)
    assert examples.inputs == tuple(contents) and examples.references.tolist() == labels
    model = build().train()
    together = dense(predict(task, model, processor, examples, batch_size=4))
    alone = dense(predict(task, model, processor, examples, batch_size=1))
    assert together == pytest.approx(alone, abs=1e-5)
    assert model.training  # it was run in evaluation mode, and comes back as it was
    model.eval()
    for content, row in zip(contents, together, strict=True):
        pixels = processor(Image.open(io.BytesIO(content)), return_tensors="pt")
        with torch.no_grad():
            assert row == pytest.approx(model(**pixels).logits[0].numpy(), abs=1e-5)


def test_statistics_of_batchnorm_are_used_and_not_touched(parquet: Callable[..., Data], processor: Any) -> None:
    task, model = ImageClassification(ANIMALS), resnet()
    examples = load(parquet(images(6), [0, 1, 2] * 2), task)
    first = dense(predict(task, model, processor, examples))
    before = {name: value.clone() for name, value in model.state_dict().items()}
    predict(task, model.train(), processor, examples, batch_size=3)
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    for name, buffer in model.named_buffers():
        if name.endswith("running_var"):
            buffer.mul_(4.0)
    assert not np.allclose(dense(predict(task, model, processor, examples)), first)


def test_images_come_from_folders_of_classes_and_from_names_of_files(tmp_path: Path, table: Write) -> None:
    contents = images(6)
    for number, content in enumerate(contents):
        folder = tmp_path / "pets" / "test" / ANIMALS[number // 2]
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"{number}.png").write_bytes(content)
    task = ImageClassification(("dog", "ant", "cat"))  # not the order of the folders
    of_folders = load(Data(str(tmp_path / "pets"), "test", split="test"), task)
    assert sorted(zip(of_folders.inputs, of_folders.references, strict=True)) == sorted(
        zip(contents, [2, 2, 0, 0, 1, 1], strict=True)
    )
    names = [f"pets/test/{ANIMALS[i // 2]}/{i}.png" for i in range(6)]
    listed = table("list.csv", {"file_name": names, "label": [ANIMALS[i // 2] for i in range(6)]})
    of_files = load(Data(listed, "test"), task)
    assert of_files.inputs == tuple(contents) and of_files.references.tolist() == [2, 2, 0, 0, 1, 1]
    broken = table("broken.csv", {"file_name": [names[0], "pets/none.png"], "label": ["cat", "dog"]})
    with pytest.raises(EvaluationError, match=r"file_name: row 1 .*: pets/none\.png: No such file"):
        load(Data(broken, "test"), task)


def test_grey_transparent_and_turned_images_become_rgb_as_the_eye_sees_them(
    parquet: Callable[..., Data], processor: Any
) -> None:
    from PIL import Image

    seen = np.zeros((12, 10), np.uint8)
    seen[:, :5] = 200
    turned = Image.fromarray(np.rot90(np.stack([seen] * 3, axis=2)).copy())
    buffer = io.BytesIO()
    exif = Image.Exif()
    exif[0x0112] = 6  # to be shown turned by 90 degrees clockwise
    turned.save(buffer, "PNG", exif=exif)
    same = [encoded(seen), encoded(seen, "RGB"), encoded(seen, "RGBA"), encoded(seen, "P"), buffer.getvalue()]
    task, model = ImageClassification(ANIMALS), vit()
    answers = dense(predict(task, model, processor, load(parquet(same, [0] * 5), task)))
    for row in answers:
        assert row == pytest.approx(answers[1], abs=1e-5)


def test_a_broken_image_names_its_row(parquet: Callable[..., Data], processor: Any) -> None:
    task = ImageClassification(ANIMALS)
    cut = images(1)[0][:-40]
    examples = load(parquet([*images(2), cut], [0, 1, 2]), task)
    with pytest.raises(EvaluationError, match=r"images\.parquet: the image in row 2 .*truncated.*leave it out"):
        predict(task, vit(), processor, examples)
    examples = load(parquet([*images(1), b"no image at all"], [0, 1]), task)
    with pytest.raises(EvaluationError, match=r"row 1 .*its 15 bytes are no image"):
        predict(task, vit(), processor, examples)


def test_what_is_no_image_is_named(table: Write, parquet: Callable[..., Data]) -> None:
    task = ImageClassification(ANIMALS)
    with pytest.raises(EvaluationError, match=r"row 0 .*holds int, not an image"):
        load(Data(table("a.jsonl", {"image": [3, 4], "label": [0, 1]}), "test"), task)
    with pytest.raises(EvaluationError, match=r"which column is the image\? It has text, label"):
        load(Data(table("a.csv", {"text": ["x"], "label": ["cat"]}), "test"), task)
    with pytest.raises(EvaluationError, match=r"label 'cat' in row 0 .* is not one of the model's: 0 = ape, 1 = bee"):
        load(parquet(images(2), [0, 1]), ImageClassification(("ape", "bee")))


def test_a_model_without_image_processor_files_is_named() -> None:
    with pytest.raises(CheckpointError, match=r"no image processor files \(preprocessor_config\.json or"):
        ImageClassification(ANIMALS).processor(StateDict({}))


def test_the_image_processor_comes_from_the_checkpoints_files(tmp_path: Path, processor: Any) -> None:
    vit().save_pretrained(tmp_path)
    processor.save_pretrained(tmp_path)
    found = ImageClassification(ANIMALS).processor(Stored(LocalFiles(tmp_path), Origin(name="run")))
    assert type(found) is type(processor) and found.to_dict() == processor.to_dict()


# Zero-shot


@pytest.fixture(scope="module")
def clip_tokenizer() -> Any:
    from tokenizers import Tokenizer, models, pre_tokenizers, processors
    from transformers import PreTrainedTokenizerFast

    words = ["<pad>", "<s>", "</s>", "<unk>", *"a photo of the drawing . black cat dog ant".split()]
    inner = Tokenizer(models.WordLevel({word: i for i, word in enumerate(words)}, unk_token="<unk>"))
    inner.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    inner.post_processor = processors.TemplateProcessing(single="<s> $A </s>", special_tokens=[("<s>", 1), ("</s>", 2)])
    return PreTrainedTokenizerFast(
        tokenizer_object=inner, unk_token="<unk>", pad_token="<pad>", bos_token="<s>", eos_token="</s>",
        model_max_length=16, model_input_names=["input_ids", "attention_mask"],
    )  # fmt: skip


def clip(seed: int = 0) -> Any:
    from transformers import CLIPConfig, CLIPModel

    sizes = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 32}
    torch.manual_seed(seed)
    return CLIPModel(
        CLIPConfig(
            text_config={**sizes, "vocab_size": 14, "max_position_embeddings": 16, "eos_token_id": 2},
            vision_config={**sizes, "image_size": 16, "patch_size": 8},
            projection_dim=8,
        )
    ).eval()


def siglip(seed: int = 0) -> Any:
    from transformers import SiglipConfig, SiglipModel

    sizes = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 32}
    torch.manual_seed(seed)
    return SiglipModel(
        SiglipConfig(
            text_config={**sizes, "vocab_size": 14, "max_position_embeddings": 16},
            vision_config={**sizes, "image_size": 16, "patch_size": 8},
        )
    ).eval()


def both(processor: Any, tokenizer: Any) -> Any:
    from hf_soups.evaluation.tasks.zero_shot import _Processor

    return _Processor(processor, tokenizer)


def pixels_of(processor: Any, examples: Examples) -> torch.Tensor:
    from PIL import Image

    pixels: torch.Tensor = processor([Image.open(io.BytesIO(c)) for c in examples.inputs], return_tensors="pt")[
        "pixel_values"
    ]
    return pixels


def test_with_one_template_the_logits_are_clips_own(
    parquet: Callable[..., Data], processor: Any, clip_tokenizer: Any
) -> None:
    task, model = ZeroShotImageClassification(), clip()
    examples = load(parquet(images(7), [0, 1, 2, 0, 1, 2, 0]), task)
    assert examples.choices == ANIMALS
    found = dense(predict(task, model, both(processor, clip_tokenizer), examples, batch_size=3))
    prompts = clip_tokenizer([f"a photo of a {name}." for name in ANIMALS], padding=True, return_tensors="pt")
    with torch.no_grad():
        own = model(**prompts, pixel_values=pixels_of(processor, examples)).logits_per_image
    assert found == pytest.approx(own.numpy(), rel=1e-4)
    assert score(METRICS["accuracy"], found, examples.references) == pytest.approx(
        (own.argmax(1).numpy() == examples.references).mean()
    )


def test_a_sigmoid_model_reads_prompts_of_full_length(
    parquet: Callable[..., Data], processor: Any, clip_tokenizer: Any
) -> None:
    task, model = ZeroShotImageClassification(), siglip()
    examples = load(parquet(images(4), [0, 1, 2, 0]), task)
    found = dense(predict(task, model, both(processor, clip_tokenizer), examples))
    prompts = clip_tokenizer([f"a photo of a {name}." for name in ANIMALS], padding="max_length", return_tensors="pt")
    with torch.no_grad():
        own = model(input_ids=prompts["input_ids"], pixel_values=pixels_of(processor, examples)).logits_per_image
    assert found == pytest.approx((own - model.logit_bias).detach().numpy(), abs=1e-4)


def test_the_head_is_the_normalised_mean_of_normalised_embeddings_times_the_scale(clip_tokenizer: Any) -> None:
    model, templates = clip(), ("a photo of a {}.", "the {}", "a drawing of the black {} .")
    found = zero_shot_head(model, clip_tokenizer, ("cat", "black_dog"), templates).detach().double().numpy()
    for row, name in zip(found, ("cat", "black dog"), strict=True):
        total = np.zeros(8)
        for template in templates:
            ids = clip_tokenizer(template.format(name), return_tensors="pt")
            vector = model.get_text_features(**ids).pooler_output[0].detach().double().numpy()
            total += vector / np.linalg.norm(vector)
        expected = total / np.linalg.norm(total) * np.exp(model.logit_scale.item())
        assert row == pytest.approx(expected, rel=1e-4, abs=1e-5)


def test_a_prompt_that_the_model_cannot_read_whole_is_refused(clip_tokenizer: Any) -> None:
    with pytest.raises(EvaluationError, match=r"'a a a .* cat' has 23 tokens, the model reads 16"):
        zero_shot_head(clip(), clip_tokenizer, ("cat", "dog"), ("a " * 20 + "{}",))


def test_classes_are_those_of_the_recipe_or_of_the_data(table: Write, parquet: Callable[..., Data]) -> None:
    data = parquet(images(3), [0, 1, 2])
    reordered = load(data, ZeroShotImageClassification(labels=("ant", "dog", "cat", "bee")))
    assert reordered.choices == ("ant", "dog", "cat", "bee") and reordered.references.tolist() == [2, 1, 0]
    assert reordered.fingerprint != load(data, ZeroShotImageClassification()).fingerprint
    assert reordered.select([0]).choices == reordered.choices
    unnamed = table("a.csv", {"image": ["x.png"], "label": ["cat"]})
    with pytest.raises(EvaluationError, match=r"which classes are there\? .*evaluate: \{options: \{labels: "):
        load(Data(unnamed, "test"), ZeroShotImageClassification())
    with pytest.raises(EvaluationError, match=r"label 'cat' in row 0 .* is not one of the model's: 0 = ape"):
        load(data, ZeroShotImageClassification(labels=("ape", "bee")))


def test_other_templates_are_another_question(
    parquet: Callable[..., Data], processor: Any, clip_tokenizer: Any, tmp_path: Path
) -> None:
    data, asked = {"test": parquet(images(4), [0, 1, 2, 0])}, 0

    def built() -> tuple[Any, Any]:
        nonlocal asked
        asked += 1
        return clip(), both(processor, clip_tokenizer)

    answers = []
    for templates in ((), ("the {}",), ()):
        section = Evaluate(
            data, task="zero-shot-image-classification", options={"templates": templates} if templates else {}
        )
        answers.append(dense(Evaluator(section, ("LABEL_0", "LABEL_1"), Predictions(tmp_path / "cache")).outputs(
            "run", built)["test"]))  # fmt: skip
    assert asked == 2 and answers[0].tobytes() == answers[2].tobytes() and not np.allclose(answers[0], answers[1])
    assert dense(mean(answers[:2])) == pytest.approx((answers[0] + answers[1]) / 2)
    with pytest.raises(EvaluationError, match="image-classification has no 'templates'"):
        Evaluator(
            Evaluate(data, task="image-classification", options={"templates": ["the {}"]}),
            ANIMALS,
            Predictions(tmp_path),
        )


def test_image_models_tell_their_task() -> None:
    assert tasks.infer({"architectures": ["ViTForImageClassification"]}) == "image-classification"
    assert tasks.infer({"architectures": ["CLIPModel"]}) == "zero-shot-image-classification"


# The main job


def saved(model: Any, folder: Path, *parts: Any) -> Path:
    for part in (model, *parts):
        part.save_pretrained(folder)
    return folder


@pytest.mark.parametrize("build", [vit, resnet])
def test_a_soup_of_image_classifiers_is_measured_beside_its_ingredients(
    build: Callable[[int], Any], parquet: Callable[..., Data], processor: Any, tmp_path: Path
) -> None:
    import hf_soups

    folders = []
    for seed in range(2):
        model = build(seed)
        model.config.id2label = dict(enumerate(ANIMALS))
        model.config.label2id = {name: i for i, name in enumerate(ANIMALS)}
        folders.append(str(saved(model, tmp_path / f"run-{seed}", processor)))
    section = Evaluate({"test": parquet(images(24), [i % 3 for i in range(24)])}, metrics=("log_loss",))
    found = hf_soups.evaluate(hf_soups.Recipe(tuple(map(hf_soups.Ingredient, folders)), evaluate=section))
    assert found.task == "image-classification"
    assert [row.name for row in found.rows] == ["run-0", "run-1", "mean individual", "uniform soup", "ensemble"]
    soup = hf_soups.merge(folders).load()
    task = ImageClassification(ANIMALS)
    examples = load(section.datasets["test"], task)
    expected = score(METRICS["log_loss"], predict(task, soup, processor, examples), examples.references)
    assert found.rows[3].scores["test"]["log_loss"].value == pytest.approx(expected, rel=1e-5)


def test_wise_ft_of_dual_encoders_has_the_zero_shot_model_in_its_table(
    parquet: Callable[..., Data], processor: Any, clip_tokenizer: Any, tmp_path: Path
) -> None:
    import hf_soups

    folders = [str(saved(clip(seed), tmp_path / f"run-{seed}", processor, clip_tokenizer)) for seed in range(2)]
    section = Evaluate(
        {"test": parquet(images(24), [i % 3 for i in range(24)])}, options={"templates": ["the {}", "a {} ."]}
    )
    recipe = hf_soups.Recipe(
        (hf_soups.Ingredient(folders[1]),), "interpolate", {"alpha": 0.5}, hf_soups.Ingredient(folders[0]),
        evaluate=section,
    )  # fmt: skip
    found = hf_soups.evaluate(recipe)
    assert found.task == "zero-shot-image-classification"
    assert [(row.name, row.kind) for row in found.rows] == [
        ("run-0", "base"), ("run-1", "ingredient"), ("interpolate of all", "soup"),
    ]  # fmt: skip
    hf_soups.merge(recipe, tmp_path / "out", check=True)
    from transformers import AutoModelForZeroShotImageClassification, AutoProcessor

    card = (tmp_path / "out" / "README.md").read_text()
    assert "pipeline_tag: zero-shot-image-classification" in card
    assert "AutoModelForZeroShotImageClassification, AutoProcessor" in card  # which do load it:
    AutoModelForZeroShotImageClassification.from_pretrained(tmp_path / "out")
    assert AutoProcessor.from_pretrained(tmp_path / "out").tokenizer.get_vocab() == clip_tokenizer.get_vocab()
    assert "templates:" in (tmp_path / "out" / "soup.yaml").read_text()


@pytest.mark.parametrize(
    "options", [{"templates": 5}, {"labels": None}, {"templates": []}, {"templates": ["no place"]}]
)
def test_options_of_the_wrong_kind_are_named(options: dict[str, Any]) -> None:
    with pytest.raises(EvaluationError, match="evaluate: options: "):
        ZeroShotImageClassification(**options)
