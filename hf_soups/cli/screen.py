"""What a person sees while a merge works: words on stderr, and one moving line on a terminal."""

from __future__ import annotations

import os
import sys
import threading
import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import click

from hf_soups.cli.output import Printer, size, wrapped
from hf_soups.cli.plan import show_plan
from hf_soups.cli.results import show_results
from hf_soups.cli.selection import show_selection
from hf_soups.pipeline import Listener
from hf_soups.planning import Plan

if TYPE_CHECKING:
    from hf_soups.evaluation.results import DatasetReport, Results
    from hf_soups.selection import Selection

EVERY = 0.1  # seconds between two states of the moving line


class Screen(Listener):
    """Tells people on stderr what goes on; a moving line only on a terminal."""

    def __init__(self, printer: Printer) -> None:
        self.printer = printer
        self._line: Line | None = None

    def tell(self, text: str) -> None:
        if self._line is not None:
            self._line.leave()
        self.printer.say(f"{text} …")

    def planned(self, plan: Plan) -> None:
        if self.printer.human:
            show_plan(self.printer, plan, data=False)

    def loaded(self, datasets: Sequence[DatasetReport]) -> None:
        from hf_soups.evaluation.findings import expected

        for report in datasets:
            self.printer.say(wrapped(f"  {expected(report)}"))

    def evaluated(self, results: Results, selection: Selection | None) -> None:
        if selection is not None:
            show_selection(self.printer, selection)
        if self.printer.human:
            show_results(self.printer, results)

    def writing(self, total: int) -> Callable[[int], None]:
        if not (self.printer.human and sys.stderr.isatty()) or os.environ.get("HF_HUB_DISABLE_PROGRESS_BARS") == "1":
            return lambda count: None
        self._line = Line(total)
        return self._line.move

    def reading(self, total: int) -> Callable[[int], None]:
        return self.writing(total)


class Line:
    """Bytes done, rate and time left, on one line that is written over.

    total: bytes that are expected; the line ends when they are done, whatever comes after.
    """

    def __init__(self, total: int) -> None:
        self.total = total
        self._begun = time.monotonic()
        self._done, self._shown, self._open = 0, 0.0, False
        self._lock = threading.Lock()

    def move(self, count: int) -> None:
        """`count` more bytes are done."""
        with self._lock:
            over = self._done >= self.total
            self._done += count
            now = time.monotonic()
            ends = self._done >= self.total
            if over or (now - self._shown < EVERY and not ends):
                return
            self._shown, self._open = now, not ends
            rate = self._done / max(now - self._begun, 1e-6)
            left = duration(max(0, self.total - self._done) / max(rate, 1e-6))
            text = f"{size(self._done)} of {size(self.total)}, {size(int(rate))}/s, {left} left"
            click.echo(f"\r  {text}   " + ("\n" if ends else ""), nl=False, err=True)

    def leave(self) -> None:
        """Let other words begin on a line of their own."""
        with self._lock:
            if self._open:
                click.echo(err=True)
            self._open = False


def duration(seconds: float) -> str:
    """`40 s`, `12 min`, `3 h 05 min`."""
    if seconds < 120:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 120 else f"{minutes // 60} h {minutes % 60:02d} min"
