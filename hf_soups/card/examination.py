"""What a card tells besides scores: calibration, effective robustness, how differently the ingredients err."""

from __future__ import annotations

from hf_soups.card.cells import difference, value
from hf_soups.card.logit_axes import ROBUSTNESS_FIGURE
from hf_soups.card.markdown import details, escape, listed, table
from hf_soups.evaluation.results import Results
from hf_soups.evaluation.robustness import Robustness
from hf_soups.evaluation.statistics import LEVEL


def examination(results: Results, figure: bool) -> list[str]:
    """Markdown of each part that there is something to tell of."""
    return [part for part in (_calibration(results), _robustness(results, figure), _diversity(results)) if part]


def _calibration(results: Results) -> str:
    """Expected calibration error of the models that count, before and after temperature scaling."""
    if not results.calibration:
        return ""
    datasets = list(results.calibration[0].before)
    scaled = any(found.after for found in results.calibration)
    rows = []
    for found in results.calibration:
        rows.append([escape(found.name), "1", *(value(found.before[name]) for name in datasets)])
        if found.temperature is not None:
            cells = [value(found.after[name]) for name in datasets]
            rows.append([escape(found.name), f"{found.temperature:.3g}", *cells])
    header = ["model", "temperature", *map(escape, datasets)]
    unfitted = [escape(found.name) for found in results.calibration if scaled and found.temperature is None]
    notes = ["An ensemble is often better calibrated than its members; averaging weights does not promise that."]
    if scaled:
        fitted = listed([escape(d.name) for d in results.datasets.values() if d.role == "calibrate"])
        notes.append(f"Temperatures other than 1 were fitted on {fitted}, for the least log loss.")
    if unfitted:
        notes.append(f"The data settle no temperature for {listed(unfitted)}.")
    return details(
        f"Expected calibration error, ± its {LEVEL:.0%} interval", f"{table(header, rows)}\n\n{' '.join(notes)}"
    )


def _robustness(results: Results, figure: bool) -> str:
    """How far each model is above the baselines' line, or why there is no line."""
    if not results.robustness:
        return ""
    reasons = [f"{escape(r.shifted)}: {escape(r.why_not, None)}" for r in results.robustness if r.why_not]
    lines = [r for r in results.robustness if r.slope is not None]
    if not lines:
        return f"No effective robustness: {escape(results.robustness[0].why_not or '', None)}."
    baselines = sum(p.baseline for p in lines[0].positions)
    shown = [i for i, p in enumerate(lines[0].positions) if not p.baseline]
    rows = [[escape(lines[0].positions[i].name), *(_cell(r, i) for r in lines)] for i in shown]
    parts = [
        f"![Accuracy under shift against accuracy on {escape(lines[0].reference)}, logit axes]({ROBUSTNESS_FIGURE})"
        if figure
        else "",
        table(["model", *(escape(r.shifted) for r in lines)], rows),
        f"Accuracy under shift minus what a line through the {baselines} baselines (the ingredients, the base if it "
        "was evaluated, and what `evaluate: baselines` names), fitted in logit scale, gives for the accuracy on "
        f"{escape(lines[0].reference)}; above 0 is more robust than its accuracy explains. {LEVEL:.0%} intervals are "
        "of new rows for the same baselines.",
        f"No line for {listed(reasons)}." if reasons else "",
    ]
    return details("Effective robustness", "\n\n".join(filter(None, parts)))


def _cell(robustness: Robustness, position: int) -> str:
    found = robustness.positions[position].effective
    return "" if found is None else difference(found)


def _diversity(results: Results) -> str:
    """One line, of the first dataset that reports; without one, of the first."""
    name = next((d.name for d in results.datasets.values() if d.role == "test" and d.name in results.diversity), None)
    name = name or next(iter(results.diversity), None)
    if name is None:
        return ""
    found = results.diversity[name]
    kappa = "" if found.kappa is None else f", Cohen's kappa is {found.kappa:.3f}"
    override = "" if found.override is None else f", and their mean logits are right on {found.override:.1%} of those"
    return (
        f"Diversity of the {found.models} ingredients on {escape(name)}, means over pairs: exactly one of two is right "
        f"on {found.disagreement:.1%} of the rows{override}{kappa}; the KL divergence of their probabilities is "
        f"{found.divergence:.3g} nats."
    )
