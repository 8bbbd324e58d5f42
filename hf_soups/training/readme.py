"""The README of an ingredient: metadata that merging tools and the Hub read, and how it was trained."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

from hf_soups.errors import RecipeError
from hf_soups.evaluation.data import Examples
from hf_soups.training.origin import public_name
from hf_soups.training.sweep import Run, Sweep


def base_of(sweep: Sweep) -> str | None:
    """The id of the model that every run starts from, as readers will find it on the Hub."""
    if sweep.card.head is not None:
        return sweep.card.head
    return public_name(sweep.model) if sweep.head == "existing" else None


def readme(sweep: Sweep, run: Run | None, source: Path, examples: Examples, result: dict[str, Any]) -> str:
    """Front matter and a page of text, without a path of this machine.

    run: None for the head.
    source: the folder that this one was made from; its README says under which licence.
    """
    return f"---\n{_front_matter(sweep, run, source, examples)}---\n\n{_text(sweep, run, examples, result)}"


def _front_matter(sweep: Sweep, run: Run | None, source: Path, examples: Examples) -> str:
    import yaml

    origin = sweep.card.base_model or public_name(sweep.model)
    data = examples.source
    adapter = run is not None and run.lora is not None
    entries = {
        "language": sweep.card.language,
        "license": sweep.card.license or _license(source),
        "library_name": "peft" if adapter else "transformers",
        "pipeline_tag": "text-classification",
        "base_model": origin if run is None else base_of(sweep) or origin,
        "base_model_relation": "adapter" if adapter else "finetune",
        "datasets": list(sweep.card.datasets) or ([data.path] if data.revision else None),
        "tags": ["hf-soups", "model-soup-head" if run is None else "model-soup-ingredient", *(["lora"] * adapter)],
    }
    if entries["base_model"] is None:
        del entries["base_model_relation"]
    return yaml.safe_dump({k: v for k, v in entries.items() if v is not None}, sort_keys=False, allow_unicode=True)


def _license(source: Path) -> str | None:
    from huggingface_hub import metadata_load

    file = source / "README.md"
    if not file.is_file():
        return None
    try:
        found = (metadata_load(file) or {}).get("license")
    except ValueError as error:
        raise RecipeError(f"{source.name}/README.md: its front matter cannot be read; set card: license:") from error
    return None if found is None else str(found)


def _text(sweep: Sweep, run: Run | None, examples: Examples, result: dict[str, Any]) -> str:
    origin = sweep.card.base_model or public_name(sweep.model) or "a local model"
    labels = ", ".join(sweep.labels)
    if run is None:
        return (
            f"# Shared head on {origin}\n\n"
            f"A text classifier ({labels}): a logistic regression on the features of the frozen model, fitted to "
            f"{result['examples']:,} examples of {examples.source.path}. Every ingredient of the sweep starts from it "
            "(LP-FT, arXiv:2202.10054), so their weights can be averaged.\n"
        )
    settings = {k: v for k, v in asdict(run).items() if v is not None and k not in ("name", "lora")}
    settings |= {f"lora {k}": v for k, v in asdict(run.lora).items()} if run.lora else {}
    settings |= {"max_length": sweep.max_length, "batch_size": sweep.batch_size, "precision": sweep.precision}
    if run.lora is None:
        settings["frozen"] = ", ".join(f"`{glob}`" for glob in sweep.freeze) or "nothing"
    settings |= {"optimizer": "AdamW, gradients clipped at norm 1", "steps": result["steps"]}
    rows = "".join(f"| {k.replace('_', ' ')} | {_shown(v)} |\n" for k, v in settings.items())
    return (
        f"# {run.name}\n\n"
        f"{'A LoRA adapter for' if run.lora else 'A fine-tuning of'} {base_of(sweep) or origin}: text classification "
        f"({labels}), trained on {result['examples']:,} examples of {examples.source.path}. One ingredient of a "
        "model soup, made by `hf-soups finetune`; it was not chosen by any evaluation.\n\n"
        f"| setting | value |\n| --- | --- |\n{rows}"
    )


def _shown(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:g}"
    return ", ".join(value) if isinstance(value, (list, tuple)) else str(value)
