"""One folder of a sweep: the probed head, a fine-tuned model, or an adapter."""

from __future__ import annotations

import json
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from hf_soups.checkpoint.folder import write_text
from hf_soups.errors import CheckpointError, RecipeError, did_you_mean
from hf_soups.evaluation.data import Examples
from hf_soups.recipe.arguments import glob
from hf_soups.training.batches import tokenize
from hf_soups.training.job import Progress
from hf_soups.training.loop import seeded, train
from hf_soups.training.origin import revision
from hf_soups.training.probe import probe
from hf_soups.training.readme import base_of, readme
from hf_soups.training.sweep import HEAD, Lora, Run, Sweep

FIRST_WEIGHTS = 0  # seed of layers that the checkpoint lacks: the same for every run of every sweep


@dataclass(frozen=True)
class Start:
    """A model in memory, ready to be probed or trained."""

    model: Any
    tokenizer: Any
    device: torch.device
    precision: str

    def forward(self, inputs: dict[str, torch.Tensor]) -> torch.Tensor:
        """Logits of one batch, in the sweep's precision."""
        low = torch.autocast(self.device.type, torch.bfloat16) if self.precision == "bfloat16" else nullcontext()
        with low:
            return self.model(**{k: v.to(self.device) for k, v in inputs.items()}).logits


def make_head(sweep: Sweep, source: Path, examples: Examples, folder: Path, progress: Progress) -> dict[str, Any]:
    """Fill `folder` with the model at `source` and a probed classifier; returns what to record."""
    start = _load(sweep, source, new_head=True)
    batches = tokenize(examples, start.tokenizer, sweep.max_length, sweep.batch_size)
    total, done = -(-examples.n // sweep.batch_size), 0

    def tick() -> None:
        nonlocal done
        done += 1
        progress(HEAD, done, total)

    progress(HEAD, 0, total)
    probe(start.model, batches, sweep.labels, start.forward, tick)
    result = {"examples": examples.n}
    _save(start, folder)
    write_text(folder / "README.md", readme(sweep, None, source, examples, result))
    return result


def make_run(
    sweep: Sweep, run: Run, head: Path, examples: Examples, folder: Path, progress: Progress
) -> dict[str, Any]:
    """Fill `folder` with the model at `head`, fine-tuned as `run` says; returns what to record."""
    start = _load(sweep, head, new_head=False)
    batches = tokenize(examples, start.tokenizer, sweep.max_length, sweep.batch_size)
    with seeded(run.seed, start.device):
        start = _prepared(sweep, run, start)
        result: dict[str, Any] = train(
            start.model, batches, run, start.forward, lambda done, total: progress(run.name, done, total)
        )
    if run.lora is not None:
        result["parameters"] = sum(p.numel() for p in start.model.parameters() if p.requires_grad)
    _save(start, folder)
    if run.lora is not None:
        _settle_adapter(folder, sweep, head)
    write_text(folder / "README.md", readme(sweep, run, head, examples, result))
    return result


def _load(sweep: Sweep, source: Path, new_head: bool) -> Start:
    """The model at `source`, in float32, with the sweep's labels."""
    from accelerate import PartialState
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    device = PartialState().device
    options: dict[str, Any] = {"ignore_mismatched_sizes": True} if new_head else {}
    if device.type == "cpu" and sweep.precision == "bfloat16":
        options["attn_implementation"] = "eager"  # torch's fused attention makes a step half as long again (2.13)
    if new_head:
        names = dict(enumerate(sweep.labels))
        options |= {"num_labels": len(names), "id2label": names, "label2id": {v: k for k, v in names.items()}}
    with _quiet(), seeded(FIRST_WEIGHTS, torch.device("cpu")), _as_checkpoint_error(sweep.model):
        tokenizer = AutoTokenizer.from_pretrained(source)
        model = AutoModelForSequenceClassification.from_pretrained(
            source, dtype=torch.float32, use_safetensors=True, **options
        )
    found = [model.config.id2label[i] for i in range(model.config.num_labels)]
    if found != list(sweep.labels):
        raise RecipeError(
            f"labels: {', '.join(sweep.labels)}, but the classifier of {sweep.model} has {', '.join(found)}; "
            "name these, in this order, or say `head: probe`"
        )
    if tokenizer.pad_token is None:
        tokenizer.pad_token = tokenizer.eos_token
    model.config.pad_token_id = tokenizer.pad_token_id
    return Start(model.to(device), tokenizer, device, sweep.precision)


def _prepared(sweep: Sweep, run: Run, start: Start) -> Start:
    """With this run's dropout, frozen parameters and adapter."""
    if run.dropout is not None:
        for module in start.model.modules():
            if isinstance(module, nn.Dropout):
                module.p = run.dropout
    if run.lora is not None:
        return Start(_with_adapter(start.model, run.lora, run.name), start.tokenizer, start.device, start.precision)
    _freeze(start.model, sweep.freeze)
    return start


def _freeze(model: nn.Module, globs: tuple[str, ...]) -> None:
    names = [name for name, _ in model.named_parameters()]
    for pattern in globs:
        if not any(glob(pattern).fullmatch(name) for name in names):
            raise RecipeError(f"freeze: {pattern!r} matches no parameter{did_you_mean(pattern, names)}")
    for name, parameter in model.named_parameters():
        parameter.requires_grad_(not any(glob(pattern).fullmatch(name) for pattern in globs))
    if not any(p.requires_grad for p in model.parameters()):
        raise RecipeError("freeze: nothing is left to train; freeze less")


def _with_adapter(model: nn.Module, lora: Lora, run: str) -> Any:
    """The model with a LoRA adapter, everything else frozen.

    No task type: with SEQ_CLS, PEFT trains and stores a copy of the classifier; here the shared head is the head.
    """
    from peft import LoraConfig, get_peft_model

    config = LoraConfig(
        r=lora.r, lora_alpha=lora.alpha, lora_dropout=lora.dropout, target_modules=list(lora.targets), bias="none"
    )
    with warnings.catch_warnings():  # peft 0.21 asks transformers 5.23 by a name that it is about to lose
        warnings.filterwarnings("ignore", "`is_gradient_checkpointing`", FutureWarning)
        try:
            return get_peft_model(model, config)
        except ValueError as error:
            linear = {name.rpartition(".")[2] for name, m in model.named_modules() if isinstance(m, nn.Linear)}
            unknown = [target for target in lora.targets if target not in linear]
            hint = did_you_mean(unknown[0], linear) if unknown else ""
            raise RecipeError(
                f"runs: {run}: lora: targets: {', '.join(lora.targets)}: not in the model{hint}"
            ) from error


def _save(start: Start, folder: Path) -> None:
    with _quiet():
        start.model.save_pretrained(folder)
        start.tokenizer.save_pretrained(folder)
    _without_paths(folder / "tokenizer_config.json")


def _without_paths(file: Path) -> None:
    """Tokenizers remember where they were loaded from: a folder of this machine."""
    if file.is_file():
        content = json.loads(file.read_text(encoding="utf-8"))
        content.pop("name_or_path", None)
        write_text(file, json.dumps(content, indent=2, ensure_ascii=False) + "\n")


def _settle_adapter(folder: Path, sweep: Sweep, head: Path) -> None:
    """Name the base as others will find it, and list the targets in an order that does not depend on a hash seed."""
    file = folder / "adapter_config.json"
    config = json.loads(file.read_text(encoding="utf-8"))
    base = base_of(sweep)
    config["base_model_name_or_path"] = base or str(head.resolve())
    config["revision"] = revision(sweep.model) if sweep.head == "existing" else None
    config["target_modules"] = sorted(config["target_modules"])
    write_text(file, json.dumps(config, indent=2, sort_keys=True) + "\n")


@contextmanager
def _quiet() -> Iterator[None]:
    """Without transformers' bars and reports on layers that we replace anyway."""
    from transformers.utils import logging

    verbosity, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(verbosity)
        if bars:
            logging.enable_progress_bar()


@contextmanager
def _as_checkpoint_error(model: str) -> Iterator[None]:
    from safetensors import SafetensorError

    try:
        yield
    except (OSError, ValueError, KeyError, RuntimeError, SafetensorError) as error:
        reason = next((line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__)
        raise CheckpointError(f"{model}: cannot be loaded as a text classifier: {reason}") from error
