"""Models that are larger than a device: the same answers from weights on disk, in less memory."""

from __future__ import annotations

import gc
import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import hf_soups
from hf_soups import Data, Evaluate, Ingredient, Recipe
from hf_soups.checkpoint import LocalFiles, Origin, Stored
from hf_soups.errors import CheckpointError
from hf_soups.evaluation.cache import Predictions
from hf_soups.evaluation.evaluator import Evaluator
from hf_soups.evaluation.predict import ready
from hf_soups.model import load_model
from hf_soups.placement import Placed, device_of, is_dispatched, place
from hf_soups.selection.candidates import Candidates
from hf_soups.selection.greedy import soup_of
from tests.models import classifier, fine_tune


def bert() -> Any:
    from transformers import BertConfig, BertForMaskedLM

    return BertForMaskedLM(
        BertConfig(
            vocab_size=100, hidden_size=32, num_hidden_layers=4, num_attention_heads=2, intermediate_size=64,
            max_position_embeddings=40,
        )
    )  # fmt: skip


def llama(tied: bool = False) -> Any:
    from transformers import LlamaConfig, LlamaForCausalLM

    return LlamaForCausalLM(
        LlamaConfig(
            vocab_size=100, hidden_size=32, num_hidden_layers=4, num_attention_heads=2, intermediate_size=64,
            max_position_embeddings=40, tie_word_embeddings=tied,
        )
    )  # fmt: skip


def tied_llama() -> Any:
    return llama(tied=True)


def t5() -> Any:
    from transformers import T5Config, T5ForConditionalGeneration

    return T5ForConditionalGeneration(
        T5Config(
            vocab_size=100, d_model=32, d_kv=16, d_ff=64, num_layers=2, num_heads=2, decoder_start_token_id=0,
        )
    )  # fmt: skip


def vit() -> Any:
    from transformers import ViTConfig, ViTForImageClassification

    return ViTForImageClassification(
        ViTConfig(
            hidden_size=32, num_hidden_layers=4, num_attention_heads=2, intermediate_size=64, image_size=16,
            patch_size=8, num_labels=3,
        )
    )  # fmt: skip


def clip() -> Any:
    """With a parameter of its own, beside those of its parts."""
    from transformers import CLIPConfig, CLIPModel

    sizes = {"hidden_size": 32, "num_hidden_layers": 3, "num_attention_heads": 2, "intermediate_size": 64}
    text = {**sizes, "vocab_size": 100, "max_position_embeddings": 40, "bos_token_id": 1, "eos_token_id": 99}
    return CLIPModel(
        CLIPConfig(text_config=text, vision_config={**sizes, "image_size": 16, "patch_size": 8}, projection_dim=16)
    )


def saved(folder: Path, model: Any, seed: int) -> Stored:
    """The model with random weights, as a checkpoint in a folder."""
    torch.manual_seed(seed)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.normal_(std=0.3)
    model.save_pretrained(folder)
    return opened(folder)


def opened(folder: Path) -> Stored:
    return Stored(LocalFiles(folder), Origin(folder.name))


def answered(model: Any) -> torch.Tensor:
    """Logits of a few rows, as an evaluation asks for them."""
    torch.manual_seed(0)
    ids, pixels = torch.randint(4, 99, (3, 8)), torch.randn(3, 3, 16, 16)
    inputs = {"pixel_values": pixels} if model.main_input_name == "pixel_values" else {"input_ids": ids}
    if model.config.is_encoder_decoder:
        inputs["decoder_input_ids"] = ids
    if model.config.model_type == "clip":
        inputs = {"pixel_values": pixels, "input_ids": ids}
    dtype = next(model.parameters()).dtype
    with ready(model, str(dtype).removeprefix("torch.")) as device, torch.inference_mode():
        output = model(**{name: value.to(device) for name, value in inputs.items()})
    found: torch.Tensor = output.logits_per_image if "logits_per_image" in output else output.logits
    return found


def least(checkpoint: Stored) -> int:
    """Bytes of the largest layer: with so much, everything is on disk."""
    with pytest.raises(CheckpointError) as refused:
        place(checkpoint, max_memory={"cpu": 1})
    found = re.search(r"takes ([\d,]+) bytes", str(refused.value))
    assert found is not None
    return int(found[1].replace(",", ""))


def folders(placed: Placed) -> list[Path]:
    """Files of weights that were put on disk."""
    assert placed.kept is not None
    return sorted(placed.kept.folder.iterdir())


BUILDERS: list[Callable[[], Any]] = [bert, llama, tied_llama, t5, vit, clip]


@pytest.mark.parametrize("share", [0.0, 0.4, 0.7, 0.95, 0.999])
@pytest.mark.parametrize("build", BUILDERS)
def test_a_model_on_disk_answers_bit_by_bit_as_one_in_memory(
    build: Callable[[], Any], share: float, tmp_path: Path
) -> None:
    one, other = (saved(tmp_path / str(seed), build(), seed) for seed in (1, 2))
    expected = [answered(load_model(checkpoint)) for checkpoint in (one, other)]
    assert not torch.equal(*expected)
    limit = max(least(one), int(share * one.nbytes))
    placed = place(one, max_memory={"cpu": limit})
    assert is_dispatched(placed.model) and device_of(placed.model).type == "cpu"
    assert sum(p.numel() * 4 for p in placed.model.parameters() if not p.is_meta) <= limit
    on_disk = sorted(file.stat().st_size for file in folders(placed))
    assert sum(on_disk) >= one.nbytes - limit
    assert torch.equal(answered(placed.model), expected[0])
    assert torch.equal(answered(placed.model), expected[0])  # and again, from the same files
    placed.fill(other)
    assert torch.equal(answered(placed.model), expected[1])
    assert sorted(file.stat().st_size for file in folders(placed)) == on_disk  # the first candidate's are gone
    placed.fill(one)
    assert torch.equal(answered(placed.model), expected[0])


def test_texts_are_written_by_a_model_on_disk_as_by_one_in_memory(tmp_path: Path) -> None:
    checkpoint = saved(tmp_path / "t5", t5(), 1)
    placed, ids = place(checkpoint, max_memory={"cpu": 70_000}), torch.tensor([[5, 6, 7, 1]])
    with ready(placed.model, "float32"):
        written = placed.model.generate(ids, max_new_tokens=8)
    assert torch.equal(written, load_model(checkpoint).generate(ids, max_new_tokens=8))


def test_sixteen_bits_are_placed_as_such_and_take_half(tmp_path: Path) -> None:
    checkpoint = saved(tmp_path / "llama", llama(), 1)
    placed = place(checkpoint, "bfloat16", {"cpu": 35_000})
    assert {p.dtype for p in placed.model.parameters()} == {torch.bfloat16}
    whole = load_model(checkpoint).to(torch.bfloat16)
    assert torch.equal(answered(placed.model), answered(whole))
    assert sum(file.stat().st_size for file in folders(placed)) <= checkpoint.nbytes / 2


def test_what_fits_is_as_it_always_was(tmp_path: Path) -> None:
    checkpoint = saved(tmp_path / "bert", bert(), 1)
    for limit in (None, {"cpu": checkpoint.nbytes}):
        placed = place(checkpoint, max_memory=limit)
        assert placed.kept is None and not is_dispatched(placed.model)
    assert place(checkpoint, max_memory={"cpu": checkpoint.nbytes - 1}).kept is not None
    assert place(checkpoint, "bfloat16", max_memory={"cpu": checkpoint.nbytes}).kept is not None


def test_the_folder_goes_with_the_model(tmp_path: Path) -> None:
    placed = place(saved(tmp_path / "bert", bert(), 1), max_memory={"cpu": 70_000})
    assert placed.kept is not None
    folder = placed.kept.folder
    assert list(folder.iterdir())
    del placed
    gc.collect()
    assert not folder.exists()


def test_a_layer_that_fits_nowhere_is_an_error_that_says_what_to_do(tmp_path: Path) -> None:
    checkpoint = saved(tmp_path / "bert", bert(), 1)
    with pytest.raises(
        CheckpointError, match=r"bert: .* takes [\d,]+ bytes, and device cpu has 20,000 for weights; .*max_memory"
    ):
        place(checkpoint, max_memory={"cpu": 20_000})
    with pytest.raises(CheckpointError, match=r"max_memory: .*twenty"):
        place(checkpoint, max_memory={"cpu": "twenty"})


def test_candidates_that_are_run_from_disk_answer_alike(tmp_path: Path) -> None:
    base = classifier(tmp_path / "base", num_hidden_layers=4)
    runs = [fine_tune(base, tmp_path / f"run-{i}", i, scale=0.3) for i in range(3)]
    random = torch.Generator().manual_seed(0)
    words = "good bad film plot fine dull".split()
    rows = []
    for _ in range(40):
        drawn = torch.randint(len(words), (5,), generator=random).tolist()
        rows.append({"text": " ".join(words[i] for i in drawn), "label": drawn[0] % 2})
    (tmp_path / "test.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    data = Evaluate({"test": Data(str(tmp_path / "test.jsonl"), "test")}, batch_size=8, metrics=("log_loss",))
    recipe = Recipe(tuple(Ingredient(str(folder)) for folder in runs))

    def outputs(name: str, max_memory: dict[int | str, int | str] | None) -> list[Any]:
        evaluator = Evaluator(data, ("negative", "positive"), Predictions(tmp_path / name))
        candidates = Candidates(evaluator, lambda one: opened(Path(str(one.model))), max_memory=max_memory)
        soups = [candidates.checkpoint(soup_of(recipe, which)) for which in ([0], [0, 1], [0, 1, 2])]
        return [np.asarray(candidates.outputs(soup)["test"]) for soup in soups]

    ordinary = outputs("ordinary", None)
    threads = torch.get_num_threads()
    torch.set_num_threads(2)  # several batches at once would take the weights from each other
    try:
        from_disk = outputs("disk", {"cpu": 20_000})
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(threads)
    assert not np.array_equal(ordinary[0], ordinary[1])
    assert all(np.array_equal(one, other) for one, other in zip(ordinary, from_disk, strict=True))
    asked = Recipe(recipe.ingredients, evaluate=data)
    table = hf_soups.evaluate(asked, max_memory={"cpu": 20_000})
    assert [row.kind for row in table.rows][-2:] == ["soup", "ensemble"]


PROGRAM = """
import re, sys, torch
from pathlib import Path
from hf_soups.checkpoint import LocalFiles, Origin, Stored
from hf_soups.evaluation.predict import ready
from hf_soups.placement import place
import transformers, accelerate.hooks, transformers.models.llama.modeling_llama
folder, limit = Path(sys.argv[1]), sys.argv[2]
def peak():
    return int(re.search("VmHWM:\\s+(\\d+)", Path("/proc/self/status").read_text())[1]) * 1024
before = peak()
placed = place(Stored(LocalFiles(folder), Origin("it")), max_memory={"cpu": limit} if limit else None)
with ready(placed.model, "float32"), torch.inference_mode():
    print(placed.model(input_ids=torch.arange(6)[None]).logits.double().sum().item())
print(peak() - before)
print(placed.kept.folder if placed.kept else "")
"""


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="says how much memory a process has taken")
def test_a_model_on_disk_takes_less_memory_and_leaves_no_folder(tmp_path: Path) -> None:
    from transformers import LlamaConfig, LlamaForCausalLM

    config = LlamaConfig(
        vocab_size=1000, hidden_size=512, num_hidden_layers=14, num_attention_heads=4, intermediate_size=2048
    )
    LlamaForCausalLM(config).save_pretrained(tmp_path / "llama")  # 240 MB, of which a layer has 17
    found = {}
    for limit in ("", "40MB"):
        done = subprocess.run(
            [sys.executable, "-c", PROGRAM, str(tmp_path / "llama"), limit],
            capture_output=True, text=True, check=True, env={**os.environ, "OMP_NUM_THREADS": "1"},
        )  # fmt: skip
        found[limit] = done.stdout.splitlines()
    assert found[""][0] == found["40MB"][0]
    whole, less = (int(found[limit][1]) for limit in ("", "40MB"))
    assert whole > 240e6 and less < 120e6, (whole, less)
    assert found["40MB"][2] and not Path(found["40MB"][2]).exists()


@pytest.mark.parametrize("asked", [{0: "1GB"}, {"gpu": 5}])
def test_a_device_that_is_not_there_is_an_error(asked: dict[int | str, int | str], tmp_path: Path) -> None:
    if torch.cuda.is_available() and 0 in asked:
        pytest.skip("it is there")
    with pytest.raises(CheckpointError, match=r"max_memory: "):
        place(saved(tmp_path / "bert", bert(), 1), max_memory=asked)


def test_the_command_line_reads_sizes_by_device() -> None:
    import click
    from click.testing import CliRunner

    from hf_soups.cli.options import MEMORY

    @MEMORY
    def said(max_memory: Any) -> None:
        click.echo(repr(max_memory))

    command = click.command()(said)
    assert (
        CliRunner().invoke(command, ["--max-memory", "0=20GB, cpu=500MB"]).output
        == "{0: 20000000000, 'cpu': 500000000}\n"
    )
    for wrong in ("20GB", "disk=1GB", "0=much", "-1=2GB"):
        assert CliRunner().invoke(command, ["--max-memory", wrong]).exit_code != 0, wrong


@pytest.mark.gpu
@pytest.mark.parametrize("build", BUILDERS)
def test_a_model_larger_than_a_gpu_answers_as_on_a_processor(build: Callable[[], Any], tmp_path: Path) -> None:
    if not torch.cuda.is_available():
        pytest.skip("no GPU")
    one, other = (saved(tmp_path / str(seed), build(), seed) for seed in (1, 2))
    expected = [answered(load_model(checkpoint)).cpu() for checkpoint in (one, other)]
    limit = int(0.5 * one.nbytes)
    for memory in ({0: limit, "cpu": one.nbytes // 4}, {0: limit}, {0: limit, "cpu": one.nbytes}):
        placed = place(one, max_memory=memory)
        assert is_dispatched(placed.model) and device_of(placed.model).type == "cuda"
        assert torch.allclose(answered(placed.model).cpu(), expected[0], atol=1e-2, rtol=1e-2)
        placed.fill(other)
        assert torch.allclose(answered(placed.model).cpu(), expected[1], atol=1e-2, rtol=1e-2)
