"""The YAML at the head of a card: what the Hub reads, links and filters by."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hf_soups.card.facts import Facts
from hf_soups.card.markdown import is_repo, plain
from hf_soups.evaluation.results import DatasetReport
from hf_soups.evaluation.splits import SELECTION_ROLES
from hf_soups.evaluation.statistics import Interval
from hf_soups.evaluation.verdict import published, reported

if TYPE_CHECKING:
    from huggingface_hub import EvalResult, ModelCardData

TAGS = ["merge", "model-soup", "hf_soups"]


def metadata(facts: Facts) -> ModelCardData:
    """Parents, licence, task and scores, in the Hub's terms."""
    from huggingface_hub import ModelCardData

    parents = [*facts.parents, *([facts.base] if facts.base else [])]
    base_model = list(dict.fromkeys(o.name for o in parents if o.sha and is_repo(o.name)))
    scores = _scores(facts)
    return ModelCardData(
        base_model=base_model or None,
        base_model_relation="merge" if base_model else None,
        library_name=facts.library_name,
        license=facts.license,
        pipeline_tag=facts.pipeline_tag,
        language=[plain(language) for language in facts.languages] or None,
        datasets=_datasets(facts) or None,
        metrics=[plain(metric) for metric in facts.results.metrics] if facts.results else None,
        tags=TAGS,
        model_name=name(facts),
        eval_results=scores or None,
    )


def name(facts: Facts) -> str:
    """What to call the soup."""
    return plain(facts.repo_id.split("/")[-1]) if facts.repo_id else "Model soup"


def _datasets(facts: Facts) -> list[str]:
    """Those that the weights depend on: of the ingredients, and of the selection. Test data are in the model index."""
    used = facts.results.datasets.values() if facts.results else ()
    chosen_on = [d.source.path for d in used if d.role in SELECTION_ROLES and d.source.revision]
    return [d for d in dict.fromkeys([*facts.datasets, *chosen_on]) if is_repo(d)]


def _scores(facts: Facts) -> list[EvalResult]:
    from huggingface_hub import EvalResult

    results = facts.results
    row = published(results) if results else None
    if results is None or row is None:
        return []
    return [
        EvalResult(
            task_type=results.task,
            dataset_type=_dataset_id(report),
            dataset_name=f"{plain(report.name)} ({report.role})",
            dataset_config=plain(report.source.config) if report.source.config else None,
            dataset_split=plain(report.source.split) if report.source.split else None,
            dataset_revision=report.source.revision,
            metric_type=plain(metric),
            metric_name=_metric_name(plain(metric), row.scores[report.name][metric]),
            metric_value=round(row.scores[report.name][metric].value, 6),
        )
        for report in reported(results)
        if not report.shared  # whoever compares models by these numbers never reads the card
        for metric in results.metrics
    ]


def _metric_name(metric: str, found: Interval) -> str:
    """The Hub has no field for an interval, but shows this text beside the value."""
    return f"{metric} ({found.level:.0%} interval {found.low:.4f} to {found.high:.4f})"


def _dataset_id(report: DatasetReport) -> str:
    path = report.source.path
    return path if report.source.revision and is_repo(path) else f"local:{plain(path)}"
