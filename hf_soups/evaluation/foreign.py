"""Calls into `datasets` and the Hub's client: without their noise, with errors that say where."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from hf_soups.errors import EvaluationError


@contextmanager
def as_evaluation_error(where: str) -> Iterator[None]:
    """Whatever `datasets`, its readers and the Hub raise (any class is possible), with the dataset it happened at."""
    from datasets.exceptions import DatasetsError

    try:
        yield
    except Exception as error:
        cause = error.__cause__ if isinstance(error, DatasetsError) and error.__cause__ else error
        reason = next((line.strip() for line in str(cause).splitlines() if line.strip()), type(cause).__name__)
        if "corresponds to no data" in reason:
            raise EvaluationError(f"{where}: no rows; fill it, or name another dataset") from error
        raise EvaluationError(f"{where}: cannot be read: {reason}") from error


@contextmanager
def quiet() -> Iterator[None]:
    """Without the progress bars and the log lines of `datasets`; errors are raised, not logged."""
    import datasets
    from huggingface_hub.utils import are_progress_bars_disabled as hub_bars_off
    from huggingface_hub.utils import disable_progress_bars, enable_progress_bars

    were_off, hub_were_off = datasets.are_progress_bars_disabled(), hub_bars_off()
    verbosity = datasets.logging.get_verbosity()
    datasets.disable_progress_bars()
    disable_progress_bars()
    datasets.logging.set_verbosity(datasets.logging.CRITICAL)
    try:
        yield
    finally:
        datasets.logging.set_verbosity(verbosity)
        if not were_off:
            datasets.enable_progress_bars()
        if not hub_were_off:
            enable_progress_bars()
