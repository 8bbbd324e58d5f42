"""What can go wrong, said so that the reader knows what, where and what to do next."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class SoupError(Exception):
    """Any error that hf_soups raises on purpose; the command line prints it without a traceback."""


class RecipeError(SoupError):
    """The recipe does not say something that can be done."""


class CheckpointError(SoupError):
    """A file or folder is not the checkpoint that it should be."""


class AlignmentError(SoupError):
    """The ingredients do not fit together; the message lists every reason."""


class HubError(SoupError):
    """The Hub refused, or does not have, what was asked of it."""


class EvaluationError(SoupError):
    """A dataset, task or metric cannot be used as asked."""


class SelectionError(SoupError):
    """No soup was found that is worth writing."""


def did_you_mean(word: str, options: Iterable[str]) -> str:
    """`; did you mean 'density'?`, or the options when nothing is close enough to suggest."""
    names = sorted(options)
    close = difflib.get_close_matches(word, names, n=1, cutoff=0.6)
    if close:
        return f"; did you mean {close[0]!r}?"
    return f"; choose from {', '.join(names)}" if names else ""
