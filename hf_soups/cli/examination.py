"""What logits tell besides scores, a line each: calibration, effective robustness, diversity."""

from __future__ import annotations

from hf_soups.evaluation.results import Results
from hf_soups.evaluation.statistics import Interval
from hf_soups.evaluation.verdict import published


def lines(results: Results) -> list[str]:
    """Those that there is something to tell of."""
    return [line for line in (_calibration(results), _robustness(results), _diversity(results)) if line]


def _calibration(results: Results) -> str:
    """Of the models that count, on the first dataset of the report, as they are."""
    if not results.calibration:
        return ""
    dataset = next(iter(results.calibration[0].before))
    errors = ", ".join(f"{found.name} {found.before[dataset].value:.4f}" for found in results.calibration)
    return f"expected calibration error on {dataset}: {errors}"


def _robustness(results: Results) -> str:
    """Of the soup, on every shifted dataset that has a line; without any the reason."""
    soup = published(results)
    found = {
        one.shifted: position.effective
        for one in results.robustness
        for position in one.positions
        if soup is not None and position.name == soup.name and position.effective is not None
    }
    if found and soup is not None:
        above = ", ".join(f"{name} {_signed(effective)}" for name, effective in found.items())
        return f"effective robustness of {soup.name}: {above}"
    reason = next((one.why_not for one in results.robustness if one.why_not), None)
    return f"no effective robustness: {reason}" if reason else ""


def _diversity(results: Results) -> str:
    """Of the ingredients on the test data; without any, on the first."""
    tests = [name for name, report in results.datasets.items() if report.role == "test"]
    name = next((name for name in (*tests, *results.diversity) if name in results.diversity), None)
    if name is None:
        return ""
    found = results.diversity[name]
    return (
        f"diversity of the {found.models} ingredients on {name}: exactly one of two is right on "
        f"{found.disagreement:.1%} of the rows"
    )


def _signed(found: Interval) -> str:
    return f"{found.value:+.4f} [{found.low:+.4f}, {found.high:+.4f}]"
