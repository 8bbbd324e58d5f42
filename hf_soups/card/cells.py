"""How a card writes a score, a difference and the name of a dataset."""

from __future__ import annotations

from hf_soups.card.markdown import escape
from hf_soups.evaluation.benchmarks import Measured
from hf_soups.evaluation.results import DatasetReport
from hf_soups.evaluation.statistics import Interval
from hf_soups.evaluation.verdict import Comparison

DECIMALS = 3
ROLES = {
    "select": "selection",
    "fit": "fitting",
    "calibrate": "calibration",
    "test": "test",
    "shift": "shift",
}


def value(found: Interval) -> str:
    """`0.852 ± 0.011`: the longer side of the interval, where the two differ."""
    side = max(found.high - found.value, found.value - found.low)
    return f"{found.value:.{DECIMALS}f} ± {side:.{DECIMALS}f}"


def measured(found: Measured | None) -> str:
    """`0.310 ± 0.010`: a benchmark's value and its standard error, if it tells one."""
    if found is None:
        return "—"
    side = "" if found.stderr is None else f" ± {found.stderr:.{DECIMALS}f}"
    return f"{found.value:.{DECIMALS}f}{side}"


def difference(found: Interval) -> str:
    """`+0.005 [-0.002, +0.011]`, with real minus signs."""
    return f"{_signed(found.value)} [{_signed(found.low)}, {_signed(found.high)}]"


def tests(found: Comparison) -> tuple[str, str]:
    """`34 to 29` and `0.615`: rows that only the first, only the second gets right; McNemar's p-value, adjusted."""
    if found.paired is None:
        return "", ""
    p = found.adjusted
    shown = "" if p is None else f"{p:.{DECIMALS}f}" if p >= 10**-DECIMALS else f"&lt; {10**-DECIMALS}"
    return f"{found.paired.wins:,} to {found.paired.losses:,}", shown


def _signed(number: float) -> str:
    text = f"{number:+.{DECIMALS}f}"
    return text[1:] if float(text) == 0 else text.replace("-", "\N{MINUS SIGN}")


def place(report: DatasetReport) -> str:
    """`amazon (shift)`"""
    return f"{escape(report.name)} ({ROLES[report.role]})"
