"""Metrics of `evaluate` that bring their own code: refused, or fetched at one commit and run."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from hf_soups.errors import EvaluationError
from hf_soups.evaluation.foreign import as_evaluation_error, quiet
from hf_soups.recipe import Measure

if TYPE_CHECKING:
    from hf_soups.evaluation.metrics import Metric
    from hf_soups.recipe import Evaluate


def refuse_untrusted(evaluate: Evaluate | None, trust_remote_code: bool) -> None:
    """EvaluationError if a metric would run code that nobody allowed; nothing is looked up or fetched before."""
    if evaluate is None or trust_remote_code:
        return
    for metric in evaluate.metrics:
        if isinstance(metric, Measure):
            raise EvaluationError(
                f"evaluate: metrics: {metric.label} would run its own code on this machine; read it, then allow it "
                "with --trust-remote-code (in Python trust_remote_code=True), or choose a built-in metric"
            )


def loaded(measure: Measure, token: str | None = None) -> Metric:
    """The metric, its code imported and run: for callers that have been allowed to.

    A Space is fetched at the commit that its revision is now, and a script is found by a path that says so: a folder
    in the working directory never takes the place of either.
    """
    from hf_soups.evaluation.metrics import Consumes, own_metric

    place, _, revision = measure.name.removeprefix("evaluate:").partition("@")
    local = place.startswith((".", "~", "/"))
    commit = None
    if local:
        script = _script(Path(measure.name.removeprefix("evaluate:")))
    else:
        script, commit = _fetched(place, revision or None, token)
    consumes = cast(Consumes, measure.consumes)
    module = _imported(script, measure)
    made = own_metric(module, greater_is_better=measure.greater_is_better, consumes=consumes, key=measure.key)
    return replace(made, commit=commit)


def _script(path: Path) -> Path:
    """The script at a path, or the one in a folder that has its name, as `evaluate` has it."""
    place = path.expanduser().resolve()
    script = place / f"{place.name}.py" if place.is_dir() else place
    if script.suffix != ".py" or not script.is_file():
        raise EvaluationError(f"evaluate: metrics: {script.name}: no such script; give a .py file or its folder")
    return script


def _fetched(id: str, revision: str | None, token: str | None) -> tuple[Path, str | None]:
    """The script of a Space at one commit, and which that is; without a namespace it is `evaluate-metric`'s."""
    from huggingface_hub import HfApi, snapshot_download

    repo = id if "/" in id else f"evaluate-metric/{id}"
    with quiet(), as_evaluation_error(f"evaluate: metrics: the Space {repo}"):
        sha = HfApi(token=token).space_info(repo, revision=revision).sha
        folder = snapshot_download(repo, repo_type="space", revision=sha, allow_patterns="*.py", token=token)
    script = Path(folder) / f"{repo.split('/')[1]}.py"
    if not script.is_file():
        raise EvaluationError(f"evaluate: metrics: the Space {repo} has no {script.name}, so it is no metric")
    return script, sha


def _imported(script: Path, measure: Measure) -> Any:
    import evaluate

    try:
        with quiet():
            return evaluate.load(str(script), keep_in_memory=True)
    except Exception as error:  # whatever its code raises; most often a library that it needs
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise EvaluationError(f"evaluate: metrics: {measure.label} cannot be loaded: {reason}") from error
