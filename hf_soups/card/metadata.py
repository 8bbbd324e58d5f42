"""The YAML at the head of a card: what the Hub reads, links and filters by."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from hf_soups.card.facts import Facts
from hf_soups.card.markdown import is_repo, plain
from hf_soups.evaluation.results import DatasetReport
from hf_soups.evaluation.splits import SELECTION_ROLES
from hf_soups.evaluation.statistics import Interval
from hf_soups.evaluation.verdict import published, reported

if TYPE_CHECKING:
    from huggingface_hub import EvalResult

TAGS = ["merge", "model-soup", "hf_soups"]


def metadata(facts: Facts) -> dict[str, Any]:
    """Parents, licence, task and scores, in the Hub's terms."""
    parents = [*facts.parents, *([facts.base] if facts.base else [])]
    base_model = list(dict.fromkeys(o.name for o in parents if o.sha and is_repo(o.name)))
    content: dict[str, Any] = {
        "base_model": base_model or None,
        "datasets": _datasets(facts) or None,
        "language": [plain(language) for language in facts.languages] or None,
        "library_name": facts.library_name,
        "license": facts.license,
        "metrics": [plain(metric) for metric in facts.results.metrics] if facts.results else None,
        "model_name": name(facts),
        "pipeline_tag": facts.pipeline_tag,
        "tags": TAGS,
        "base_model_relation": "merge" if base_model else None,
    }
    if scores := _scores(facts):
        from huggingface_hub import ModelCardData  # which knows how to write a model index, but takes long to import

        return dict(ModelCardData(**content, eval_results=scores).to_dict())
    return {key: value for key, value in content.items() if value is not None}


def name(facts: Facts) -> str:
    """What to call the soup."""
    return plain(facts.repo_id.split("/")[-1]) if facts.repo_id else "Model soup"


def _datasets(facts: Facts) -> list[str]:
    """Those that the weights depend on: of the ingredients, and of the selection. Test data are in the model index."""
    used = facts.results.datasets.values() if facts.results else ()
    chosen_on = [d.source.path for d in used if d.role in SELECTION_ROLES and d.source.revision]
    return [d for d in dict.fromkeys([*facts.datasets, *chosen_on]) if is_repo(d)]


def _scores(facts: Facts) -> list[EvalResult]:
    results = facts.results
    row = published(results) if results else None
    if results is None or row is None:
        return []
    from huggingface_hub import EvalResult

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
